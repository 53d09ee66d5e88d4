package output

import (
	"errors"
	"io"
	"os"
	"syscall"
	"testing"
)

func TestAWriteErrorIsKept(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	o := New(full)
	if _, err := io.WriteString(o, "a"); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("the write gives %v, want that there is no room", err)
	}
	if !errors.Is(o.Err(), syscall.ENOSPC) || IsUnread(o) {
		t.Errorf("it remembers %v, unread %t", o.Err(), IsUnread(o))
	}
}

func TestAClosedReaderIsNoError(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	o := New(w)
	if _, err := io.WriteString(o, "a"); err != nil || IsUnread(o) {
		t.Errorf("with a reader: %v, unread %t", err, IsUnread(o))
	}
	_ = r.Close()
	for range 3 {
		if n, err := io.WriteString(o, "abc"); n != 3 || err != nil {
			t.Errorf("without a reader: %d, %v; want it dropped", n, err)
		}
	}
	if o.Err() != nil || !IsUnread(o) {
		t.Errorf("it remembers %v, unread %t", o.Err(), IsUnread(o))
	}
}
