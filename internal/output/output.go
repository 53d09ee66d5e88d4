// Package output prints the results of a program. A failed write is an error of the program; a closed pipe is not: a
// migration does not end when the reader of its output does.
package output

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/term"
)

// SurvivePipes lets the process outlive the readers of its standard output and standard error: without it the first
// write after they are gone ends it.
func SurvivePipes() { signal.Ignore(syscall.SIGPIPE) }

// Writer remembers its first error. It may be used by many goroutines at once.
type Writer struct {
	w io.Writer

	mu     sync.Mutex
	err    error
	unread bool
}

// New returns a writer to w.
func New(w io.Writer) *Writer { return &Writer{w: w} }

// Write writes to the underlying writer. After its pipe is closed everything is dropped, which is not an error.
func (o *Writer) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.unread {
		return len(p), nil
	}
	n, err := o.w.Write(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, syscall.EPIPE):
		o.unread = true
		return len(p), nil
	case o.err == nil:
		o.err = err
	}
	return n, err
}

// Err is the first error of Write: some output was lost.
func (o *Writer) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// IsUnread reports whether w is a Writer whose reader has closed the pipe.
func IsUnread(w io.Writer) bool {
	o, ok := w.(*Writer)
	if !ok {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.unread
}

// IsTerminal reports whether w is a terminal, or writes to one.
func IsTerminal(w io.Writer) bool {
	if o, ok := w.(*Writer); ok {
		w = o.w
	}
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
