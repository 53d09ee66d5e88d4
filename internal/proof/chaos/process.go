package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"durable-dataload/internal/proof/program"
)

// process is one of the programs, running. Its output is in files.
type process struct {
	name           string
	cmd            *exec.Cmd
	stdout, stderr string
	done           chan struct{}
	killed         atomic.Bool // by us
	isForeign      bool        // not ours: what it prints may be user data
}

// launch starts a command. What it prints goes to files in a folder.
func launch(dir, name string, cmd *exec.Cmd) (*process, error) {
	p := &process{
		name: name, cmd: cmd, done: make(chan struct{}),
		stdout: filepath.Join(dir, name+".stdout"), stderr: filepath.Join(dir, name+".stderr"),
	}
	stdout, err := os.Create(p.stdout)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stdout.Close() }()
	stderr, err := os.Create(p.stderr)
	if err != nil {
		return nil, err
	}
	defer func() { _ = stderr.Close() }()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	program.EndWithThisProcess(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("%s does not start: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// kill ends it as the system would when memory is short. It says whether it
// ran until then.
func (p *process) kill() bool {
	if p.hasEnded() {
		return false
	}
	p.killed.Store(true)
	p.signal(syscall.SIGKILL)
	<-p.done
	return true
}

// dump has a Go program print its goroutines, and ends it.
func (p *process) dump() {
	if p.hasEnded() {
		return
	}
	p.killed.Store(true)
	p.signal(syscall.SIGCONT)
	p.signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(5 * time.Second):
		p.kill()
	}
}

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// endsIn reports whether it ends in time.
func (p *process) endsIn(limit time.Duration) bool {
	select {
	case <-p.done:
		return true
	case <-time.After(limit):
		return false
	}
}

// code is the exit code; -1 if a signal ended it.
func (p *process) code() int { return p.cmd.ProcessState.ExitCode() }

func (p *process) errors() string { return read(p.stderr) }

func read(path string) string {
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(data)
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// slot is the place of a process that is started again whenever it has ended.
type slot struct {
	episode *episode
	name    string
	start   func(name string) (*process, error)

	mu     sync.Mutex
	p      *process
	starts int
	pause  time.Duration
	asleep bool
	closed bool
}

func (e *episode) slot(name string, start func(string) (*process, error)) *slot {
	return &slot{episode: e, name: name, start: start}
}

// begin starts the process, and sees that there is always one from now on.
func (s *slot) begin() error {
	p, err := s.next()
	if err != nil {
		return err
	}
	go func() {
		for {
			<-p.done
			s.mu.Lock()
			closed, pause := s.closed, s.pause
			s.mu.Unlock()
			if closed {
				return
			}
			if !p.killed.Load() && s.episode.unexplained(time.Now().Add(-15*time.Second)) {
				s.episode.tell(comesToItsEnd, "%s ended by itself, with exit code %d: %s", p.name, p.code(), lastLines(p.errors(), 3))
			}
			time.Sleep(max(pause, 10*time.Millisecond))
			next, err := s.next()
			if err != nil {
				s.episode.tell(comesToItsEnd, "%v", err)
				return
			}
			p = next
		}
	}()
	return nil
}

func (s *slot) next() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	p, err := s.start(fmt.Sprintf("%s-%d", strings.ReplaceAll(s.name, " ", "-"), s.starts))
	if err != nil {
		return nil, err
	}
	s.p, s.asleep = p, false
	if s.closed {
		p.kill()
	}
	return p, nil
}

func (s *slot) kill(pause time.Duration) bool {
	s.mu.Lock()
	s.pause = pause
	p := s.p
	s.mu.Unlock()
	return p.kill()
}

// close lets the process end and not be started again.
func (s *slot) close() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.p
}

// launch starts one of the programs under a name that is its own, with nothing
// in its environment that is not given here.
func (e *episode) launch(name, program string, env []string, args ...string) (*process, error) {
	cmd := exec.Command(filepath.Join(e.programs, program), args...)
	cmd.Dir, cmd.Env = e.dir, append([]string{"HOME=" + e.path("home"), "TMPDIR=" + os.TempDir()}, env...)
	if e.bucket != nil {
		if err := e.alone(name, cmd); err != nil {
			return nil, err
		}
	}
	return e.launchCommand(name, cmd)
}

// launchForeign starts a program that is not ours.
func (e *episode) launchForeign(name string, cmd *exec.Cmd) (*process, error) {
	p, err := e.launchCommand(name, cmd)
	if err == nil {
		p.isForeign = true
	}
	return p, err
}

func (e *episode) launchCommand(name string, cmd *exec.Cmd) (*process, error) {
	p, err := launch(e.dir, name, cmd)
	if err == nil {
		e.mu.Lock()
		e.all = append(e.all, p)
		e.mu.Unlock()
	}
	return p, err
}

func (e *episode) command() (*process, error) {
	e.mu.Lock()
	e.starts++
	name := fmt.Sprintf("%s-%d", theStarter, e.starts)
	e.mu.Unlock()
	if e.service == nil {
		return e.launch(name, "starter", e.platform.environment(), e.arguments()...)
	}
	// The workers have the credentials.
	return e.launch(name, "starter", nil, append(append(e.arguments(), e.serviceFlags()...), "--task-queue", e.queue)...)
}

func (e *episode) arguments() []string {
	if e.bucket != nil {
		return e.options(e.input, "--state-dir", e.state, "--work-url", e.bucket.URL(workFolder))
	}
	return e.options(e.input, "--state-dir", e.state, "--output-dir", e.out)
}

// there is a command about the migration that another has begun.
func (e *episode) there(command ...string) []string {
	if e.bucket != nil {
		return append(command, "--work-url", e.bucket.URL(workFolder))
	}
	return append(command, "--state-dir", e.state)
}

// options are the command line of a migration of a file; places are those of
// what it keeps.
func (e *episode) options(input string, places ...string) []string {
	seconds := func(d time.Duration) string { return fmt.Sprint(d.Seconds()) }
	args := append(places,
		"--data", input,
		"--batch-size", strconv.Itoa(e.batch), "--workers", strconv.Itoa(e.flight), "--rate-limit", fmt.Sprint(e.rate),
		"--timeout", seconds(callTimeout), "--retry-rounds", strconv.Itoa(e.rounds()), "--retry-backoff", seconds(retryBackoff),
		"--breaker", strconv.Itoa(e.breaker),
	)
	args = append(append(args, e.platform.flags("http://"+e.target.address)...), e.platform.loading()...)
	if e.canary > 0 {
		args = append(args, "--canary", strconv.Itoa(e.canary))
	}
	if e.maxFailed != "" {
		args = append(args, "--max-failed", e.maxFailed)
	}
	return args
}

// serviceFlags lead a starter or a worker to the service.
func (e *episode) serviceFlags() []string {
	return program.ServiceFlags(e.service.address, e.clientFile)
}

// workerFlags have a worker take what the starter asks for.
func (e *episode) workerFlags() []string {
	flags := append(e.platform.flags("http://"+e.target.address), "--task-queue", e.queue, "--state-dir", e.state)
	if e.bucket != nil {
		flags = append(flags, "--work-url", e.bucket.URL(workFolder))
	}
	return flags
}
