package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/engine"
	"durable-dataload/internal/proof/program"
)

// scaleCommand loads a large file, kills the program with SIGKILL halfway, reruns the
// command, and reports the resources used: time, memory, disk, events.
func scaleCommand(args []string, out io.Writer) error {
	var records int64
	var batchSize int
	var dir string
	var separate, keep bool
	f := pflag.NewFlagSet("bench scale", pflag.ContinueOnError)
	f.Int64Var(&records, "records", 1_000_000, "synthetic records")
	f.IntVar(&batchSize, "batch-size", 100, "records in one call")
	f.BoolVar(&separate, "separate", false, "engine, worker and starter in processes of their own; the worker is killed")
	f.StringVar(&dir, "dir", "", "folder to work in, about 1 GB for each million records; default: a temporary one")
	f.BoolVar(&keep, "keep", false, "keep the folder")
	if err := f.Parse(args); err != nil {
		return err
	}
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "durable-dataload-scale-"); err != nil {
			return err
		}
	}
	if !keep {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	b := &bench{o: options{records: records, workers: 10, dir: dir, args: f.Args()}, data: filepath.Join(dir, "users.csv")}
	s := &scale{bench: b, out: out, dir: dir, batchSize: batchSize, separate: separate, peaks: map[string]int64{}}
	defer s.stop()
	return s.run()
}

type scale struct {
	*bench
	out       io.Writer
	dir       string
	batchSize int
	separate  bool

	running map[string]*exec.Cmd
	peaks   map[string]int64 // resident memory, bytes, by process
	env     []string
}

func (s *scale) run() error {
	s.running = map[string]*exec.Cmd{}
	if err := build(s.dir, "starter", "worker", "sandbox", "internal/proof/chaos/engine"); err != nil {
		return err
	}
	if err := s.invent(); err != nil {
		return err
	}
	said, err := s.launch("sandbox", "--address", "127.0.0.1:0", "--state-dir", s.path("sandbox"), "--client-id", clientID, "--client-secret", secret)
	if err != nil {
		return err
	}
	s.env = []string{"CAPTURE_CLIENT_ID=" + clientID, "CAPTURE_CLIENT_SECRET=" + secret, "CAPTURE_APID_URI=" + sandboxAddress(said)}
	command := append([]string{"--data", s.data, "--rate-limit", "0", "--workers", strconv.Itoa(s.o.workers),
		"--batch-size", strconv.Itoa(s.batchSize), "--state-dir", s.path("state"), "--output-dir", s.dir}, s.o.args...)
	killed := "starter"
	var service, worker []string
	if s.separate {
		killed = "worker"
		said, err := s.launch("engine", s.path("state", "engine"))
		if err != nil {
			return err
		}
		service = program.ServiceFlags(strings.TrimSpace(said), engine.ClientFile(s.path("state", "engine")))
		worker = append(service, "--state-dir", s.path("state"))
		if _, err := s.launch("worker", worker...); err != nil {
			return err
		}
		command = append(command, service...)
	}

	begin := time.Now()
	if _, err := s.launch("starter", command...); err != nil {
		return err
	}
	half := s.o.records / int64(s.batchSize) / 2
	for s.decided() < half {
		if err := s.look("starter", 100*time.Millisecond); err != nil {
			return err
		}
	}
	if err := s.running[killed].Process.Kill(); err != nil {
		return err
	}
	_ = s.running[killed].Wait()
	killedAt := time.Now()
	before := s.lastTruth()
	fmt.Fprintf(s.out, "half way after %s: %s killed\n", time.Since(begin).Round(100*time.Millisecond), killed)
	again := command
	if killed == "worker" {
		again = worker
	}
	if _, err := s.launch(killed, again...); err != nil {
		return err
	}
	for s.truthSize() <= before {
		if err := s.look(killed, 10*time.Millisecond); err != nil {
			return err
		}
	}
	fmt.Fprintf(s.out, "next call %s after the kill\n", time.Since(killedAt).Round(10*time.Millisecond))
	done := make(chan error, 1)
	go func() { done <- s.running["starter"].Wait() }()
	for {
		select {
		case err := <-done:
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
				return fmt.Errorf("the starter ended with %w; see its output in %s", err, s.path("starter.out"))
			}
			s.tell(time.Since(begin))
			return nil
		case <-time.After(100 * time.Millisecond):
			s.measure()
		}
	}
}

func (s *scale) tell(took time.Duration) {
	fmt.Fprintf(s.out, "%d records in %s: %.0f records a second, with the kill\n", s.o.records, took.Round(100*time.Millisecond), float64(s.o.records)/took.Seconds())
	for _, name := range []string{"starter", "worker", "engine", "sandbox"} {
		if peak, ok := s.peaks[name]; ok {
			fmt.Fprintf(s.out, "peak memory of the %s: %d MB\n", name, peak>>20)
		}
	}
	for _, size := range []struct{ what, path string }{
		{"input", s.data}, {"engine's database", s.path("state", "engine")}, {"ledger", s.glob("state", "migrations", "*", "ledger")},
		{"migration's folder without the ledger", s.glob("state", "migrations", "*")}, {"result files", s.dir},
	} {
		n := bytesBelow(size.path, strings.HasPrefix(size.what, "result") || strings.HasPrefix(size.what, "migration"))
		fmt.Fprintf(s.out, "%s: %d MB\n", size.what, n>>20)
	}
	s.stop()
	if err := historyCommand([]string{"--state-dir", s.path("state")}, s.out); err != nil {
		fmt.Fprintln(s.out, err)
	}
}

// launch starts a program and returns its first line, which may contain its address.
func (s *scale) launch(name string, args ...string) (string, error) {
	command := exec.Command(binary(s.dir, name), args...)
	command.Env = append(os.Environ(), s.env...)
	log, err := os.OpenFile(s.path(name+".out"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	defer func() { _ = log.Close() }()
	command.Stderr = log
	var said io.Reader
	if name == "sandbox" || name == "engine" {
		if said, err = command.StdoutPipe(); err != nil {
			return "", err
		}
	} else {
		command.Stdout = log
	}
	if err := command.Start(); err != nil {
		return "", err
	}
	s.running[name] = command
	if said == nil {
		return "", nil
	}
	return bufio.NewReader(said).ReadString('\n')
}

func (s *scale) stop() {
	for name, command := range s.running {
		_ = command.Process.Signal(syscall.SIGTERM)
		if name != "starter" {
			_ = command.Wait()
		}
		delete(s.running, name)
	}
}

// look waits a moment, and returns an error if a process has ended unexpectedly.
func (s *scale) look(name string, pause time.Duration) error {
	time.Sleep(pause)
	s.measure()
	if err := s.running[name].Process.Signal(syscall.Signal(0)); err != nil {
		return fmt.Errorf("the %s has ended: see %s", name, s.path(name+".out"))
	}
	return nil
}

// measure reads the peaks of memory, which Linux keeps (proc(5), VmHWM).
func (s *scale) measure() {
	for name, command := range s.running {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", command.Process.Pid))
		if err != nil {
			continue
		}
		_, after, _ := strings.Cut(string(status), "VmHWM:")
		line, _, _ := strings.Cut(after, " kB")
		kb, _ := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		s.peaks[name] = max(s.peaks[name], kb<<10)
	}
}

// decided is about how many batches have outcomes: the folders of the ledger
// that are full count, a thousand batches each.
func (s *scale) decided() int64 {
	folders, _ := filepath.Glob(s.path("state", "migrations", "*", "ledger", "0", "*"))
	if len(folders) == 0 {
		return 0
	}
	last, _ := os.ReadDir(folders[len(folders)-1])
	return int64(len(folders)-1)*1000 + int64(len(last)/2)
}

// lastTruth is truthSize when the target has ended the calls that a killed process had in
// flight.
func (s *scale) lastTruth() int64 {
	for last := s.truthSize(); ; {
		time.Sleep(100 * time.Millisecond)
		size := s.truthSize()
		if size == last {
			return size
		}
		last = size
	}
}

func (s *scale) truthSize() int64 {
	info, err := os.Stat(s.path("sandbox", "truth.jsonl"))
	if err != nil {
		return 0
	}
	return info.Size()
}

func (s *scale) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

func (s *scale) glob(names ...string) string {
	found, _ := filepath.Glob(s.path(names...))
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// bytesBelow is the size of a file, or of the files in a folder: of all that is
// below it, or only of those in it that are CSV, or no folder.
func bytesBelow(path string, flat bool) (sum int64) {
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // files come and go meanwhile
		}
		if d.IsDir() {
			if flat && p != path {
				return filepath.SkipDir
			}
			return nil
		}
		if flat && (strings.HasSuffix(p, ".bin") || strings.HasSuffix(p, "users.csv")) {
			return nil
		}
		if info, err := d.Info(); err == nil {
			sum += info.Size()
		}
		return nil
	})
	return sum
}
