package main

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

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
