package program

import (
	"cmp"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// Process is a server that runs until it is killed, or this process ends.
type Process struct {
	name   string
	cmd    *exec.Cmd
	ended  chan struct{}
	stderr *strings.Builder
}

// Start starts a server, and waits until its health check answers with 200. name is for people: "the S3 server".
func Start(ctx context.Context, name string, cmd *exec.Cmd, health string) (*Process, error) {
	p := &Process{name: name, cmd: cmd, ended: make(chan struct{}), stderr: &strings.Builder{}}
	cmd.Stderr = p.stderr
	EndWithThisProcess(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = cmd.Wait()
		close(p.ended)
	}()
	err := p.answers(ctx, health)
	if err != nil {
		p.Kill()
	}
	return p, err
}

func (p *Process) answers(ctx context.Context, health string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.ended:
			cancel(fmt.Errorf("%s has ended by itself: %s", p.name, cmp.Or(strings.TrimSpace(p.stderr.String()), "it has said nothing")))
		case <-ctx.Done():
		}
	}()
	return Answers(ctx, p.name, health)
}

// Answers waits until the health check of a server answers with 200, for a minute.
func Answers(ctx context.Context, name, health string) error {
	const ready = 3 * time.Minute // on a busy machine
	ctx, cancel := context.WithTimeoutCause(ctx, ready, fmt.Errorf("%s does not answer within %s", name, ready))
	defer cancel()
	for {
		err := Healthy(ctx, health)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the server, as the system would when memory is short.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}
