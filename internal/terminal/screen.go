// Package terminal prints what a command shows: permanent lines, a line of
// progress, and values for scripts. Progress goes to stderr, the result to stdout.
package terminal

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/term"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/output"
	"durable-dataload/internal/safetext"
)

// plainInterval is how often a line of progress is printed where there is no
// terminal.
const plainInterval = 10 * time.Second

// Options are what a screen needs to know of the command line.
type Options struct {
	JSON bool // the result is printed for scripts
}

// Screen may be used by many goroutines at once.
type Screen struct {
	Options
	Stdout, Stderr io.Writer

	terminal bool // stderr is one that moves its cursor
	width    int

	mu    sync.Mutex
	line  bool      // a progress line stands on the terminal
	shown time.Time // the last line of progress
}

// New returns the screen of a command.
func New(stdout, stderr io.Writer, o Options) *Screen {
	return &Screen{Options: o, Stdout: stdout, Stderr: stderr, terminal: output.IsTerminal(stderr) && os.Getenv("TERM") != "dumb", width: 80}
}

// measure takes the width of the terminal, which may have changed.
func (s *Screen) measure() {
	if f, ok := s.Stderr.(*os.File); ok && s.terminal {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 20 {
			s.width = w
		}
	}
}

// Interval is how often progress is polled for.
func (s *Screen) Interval() time.Duration {
	if s.terminal {
		return 500 * time.Millisecond
	}
	return time.Second
}

// Say prints a line that stays. Control characters in it do not reach the terminal, where it
// is broken between words.
func (s *Screen) Say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
	text = safetext.Text(text)
	if s.measure(); s.terminal {
		text = Wrap(text, s.width-1)
	}
	fmt.Fprintln(s.Stderr, text)
}

// Progress shows a line that the next one replaces on a terminal. Elsewhere it is printed now
// and then.
func (s *Screen) Progress(line Line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.terminal {
		if time.Since(s.shown) >= plainInterval {
			s.shown = time.Now()
			fmt.Fprintln(s.Stderr, safetext.Text(line.String()))
		}
		return
	}
	s.wipe()
	s.measure()
	fmt.Fprint(s.Stderr, safetext.Text(line.fit(s.width-1)))
	s.line = true
}

// ReadProgress shows now and then how much of a file was read.
func (s *Screen) ReadProgress(what string) func(bytes int64) {
	shown := time.Now()
	return func(bytes int64) {
		every := plainInterval
		if s.terminal {
			every = s.Interval()
		}
		if time.Since(shown) >= every {
			shown = time.Now()
			s.Progress(Line{What: fmt.Sprintf("%s: %s KiB", what, figures.Number(int(bytes>>10)))})
		}
	}
}

// Clear removes the line of progress.
func (s *Screen) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wipe()
}

func (s *Screen) wipe() {
	if s.line {
		fmt.Fprint(s.Stderr, "\r\x1b[K")
		s.line = false
	}
}

// PrintJSON prints a value for scripts on stdout.
func (s *Screen) PrintJSON(value any) { _ = WriteJSON(s.Stdout, value) }

// WriteJSON writes a value for scripts, in the form of the summary files.
func WriteJSON(w io.Writer, value any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(value); err != nil {
		return err
	}
	_, err := w.Write(safetext.JSON(b.Bytes()))
	return err
}

// Meter measures how fast a number grows.
type Meter struct{ samples []sample }

// sample is how many were done at a time.
type sample struct {
	at   time.Time
	done int
}

// rateWindow is over which time the speed is taken.
const rateWindow = 30 * time.Second

// Add says how many are done now. A lower number than before begins again.
func (m *Meter) Add(now time.Time, done int) {
	if n := len(m.samples); n > 0 && done < m.samples[n-1].done {
		m.samples = nil
	}
	m.samples = append(m.samples, sample{now, done})
	for len(m.samples) > 2 && now.Sub(m.samples[0].at) > rateWindow {
		m.samples = m.samples[1:]
	}
}

// PerSecond is the speed over the last samples, 0 while they span less than a second.
func (m *Meter) PerSecond() float64 {
	if len(m.samples) == 0 {
		return 0
	}
	first, last := m.samples[0], m.samples[len(m.samples)-1]
	if last.at.Sub(first.at) < time.Second {
		return 0
	}
	return float64(last.done-first.done) / last.at.Sub(first.at).Seconds()
}
