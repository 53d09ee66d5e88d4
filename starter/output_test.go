package main_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// startInto starts the migration with its outputs going elsewhere.
func (m *migration) startInto(stdout, stderr *os.File) *exec.Cmd {
	m.lab.t.Helper()
	c := exec.Command(filepath.Join(programs.dir, "starter"), m.arguments()...)
	c.Dir, c.Env = m.lab.dir, append([]string{"HOME=" + m.lab.path("home")}, m.env...)
	c.Stdout, c.Stderr = stdout, stderr
	program.EndWithThisProcess(c)
	must(m.lab.t, c.Start())
	return c
}

// exit waits for a process, and gives its exit code; -1 if a signal has ended it.
func exit(t *testing.T, c *exec.Cmd) int {
	t.Helper()
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
			t.Fatal(err)
		}
		return c.ProcessState.ExitCode()
	case <-time.After(2 * time.Minute):
		_ = c.Process.Kill()
		t.Fatal("it does not end")
		return 0
	}
}

func TestOutputThatNobodyReadsEndsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		ctrlC bool
		code  int
	}{{"it comes to its end", false, 0}, {"Ctrl-C stops it properly", true, 5}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLab(t)
			m := l.migration(l.sandbox(), l.users(fakeusers.Options{Records: 60, Seed: 5}), 2, "--rate-limit", "10")
			r, w, err := os.Pipe()
			must(t, err)
			p := m.startInto(w, w)
			_ = w.Close()
			for lines := bufio.NewScanner(r); lines.Scan(); {
				if strings.HasPrefix(lines.Text(), "Migrating ") {
					break
				}
			}
			_ = r.Close()
			for deadline := time.Now().Add(time.Minute); m.decided() == 0; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("nothing is loaded")
				}
			}
			if c.ctrlC {
				must(t, p.Process.Signal(syscall.SIGINT))
			}
			if code := exit(t, p); code != c.code {
				t.Errorf("the exit code is %d, want %d", code, c.code)
			}
			m.check()
		})
	}
}

func TestAStatusThatNobodyReadsEnds(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 60, Seed: 7}), 1, "--rate-limit", "1")
	p := m.startUntil(2)
	c := exec.Command(filepath.Join(programs.dir, "starter"), append([]string{"status", "--latest", "--watch", "--json"}, m.locations()...)...)
	c.Env = []string{"HOME=" + l.path("home")}
	r, err := c.StdoutPipe()
	must(t, err)
	program.EndWithThisProcess(c)
	must(t, c.Start())
	if !bufio.NewScanner(r).Scan() {
		t.Error("it shows nothing")
	}
	_ = r.Close()
	if code := exit(t, c); code != 0 || p.hasEnded() {
		t.Errorf("the exit code is %d, the migration has ended: %t; want 0 while it runs", code, p.hasEnded())
	}
}

func TestOutputThatCannotBeWrittenIsAnError(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	var l *lab
	var input string
	for _, flags := range [][]string{{"--json"}, {}} {
		l = newLab(t)
		input = l.users(fakeusers.Options{Records: 4, Seed: 6})
		m := l.migration(l.sandbox(), input, 2, flags...)
		stderr, err := os.Create(l.path("stderr"))
		must(t, err)
		if code := exit(t, m.startInto(full, stderr)); code != 1 {
			t.Errorf("%v: the exit code is %d, want 1", flags, code)
		}
		if said := readAll(stderr.Name()); !strings.Contains(said, "starter: the output could not be written: ") || !strings.Contains(said, "the work itself was done") {
			t.Errorf("%v: it says %s, want that the output could not be written", flags, said)
		}
		_ = stderr.Close()
		m.check()
	}
	for _, args := range [][]string{
		{"--version"}, {"--help"}, {"sample", "-n", "3", "-o", "-"}, {"mapping", "default"}, {"mapping", "init", "--data", input},
		{"validate", "--offline", "--data", input}, {"validate", "--offline", "--json", "--data", input},
		{"list", "--json", "--state-dir", l.path("state")}, {"list", "--state-dir", l.path("state")}, {"status", "--latest", "--state-dir", l.path("state")},
		{"--dry-run", "--data", input, "--output-dir", l.path("dry")},
	} {
		c := exec.Command(filepath.Join(programs.dir, "starter"), args...)
		c.Dir, c.Env, c.Stdout = l.dir, []string{"HOME=" + l.path("home")}, full
		must(t, c.Start())
		if code := exit(t, c); code != 1 {
			t.Errorf("%v: the exit code is %d, want 1", args, code)
		}
	}
}
