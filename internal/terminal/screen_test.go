package terminal

import (
	"bytes"
	"strings"
	"testing"
)

func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	s := New(&stdout, &stderr, Options{})
	s.Say("a\x1b[2Jb")
	s.Progress("d\x1b[2Je")
	s.PrintJSON("f\u009b2Jg")
	for name, got := range map[string]string{"stderr": stderr.String(), "stdout": stdout.String()} {
		if strings.ContainsAny(got, "\x1b\u009b") {
			t.Errorf("%s has %q, want no control character", name, got)
		}
	}
}

func TestWithoutATerminalProgressIsPrintedNowAndThen(t *testing.T) {
	var stderr bytes.Buffer
	s := New(nil, &stderr, Options{})
	s.Progress("first")
	s.Progress("second")
	s.Clear()
	s.Say("said")
	if got, want := stderr.String(), "first\nsaid\n"; got != want {
		t.Errorf("stderr has %q, want %q", got, want)
	}
}

func TestALongLineOfProgressFitsTheTerminal(t *testing.T) {
	var stderr bytes.Buffer
	s := New(nil, &stderr, Options{})
	s.terminal, s.width = true, 10
	s.Progress("ä234567890")
	s.Progress("short")
	s.Say("said")
	if got, want := stderr.String(), "ä2345678…\r\x1b[Kshort\r\x1b[Ksaid\n"; got != want {
		t.Errorf("stderr has %q, want %q", got, want)
	}
}
