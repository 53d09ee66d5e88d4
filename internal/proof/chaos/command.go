package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"durable-dataload/internal/proof/program"
)

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
		return e.launch(name, "starter", credentials(), e.arguments()...)
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
		"--data", input, "--apid_uri", "http://"+e.target.address,
		"--batch-size", strconv.Itoa(e.batch), "--workers", strconv.Itoa(e.flight), "--rate-limit", fmt.Sprint(e.rate),
		"--timeout", seconds(callTimeout), "--retry-rounds", strconv.Itoa(e.rounds()), "--retry-backoff", seconds(retryBackoff),
		"--breaker", strconv.Itoa(e.breaker),
	)
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
	flags := []string{"--task-queue", e.queue, "--state-dir", e.state}
	if e.bucket != nil {
		flags = append(flags, "--work-url", e.bucket.URL(workFolder))
	}
	return flags
}
