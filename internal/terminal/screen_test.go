package terminal

import (
	"bytes"
	"strings"
	"testing"
	"time"
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

func TestTheMeterTakesTheLastHalfMinute(t *testing.T) {
	var m Meter
	now := time.Now()
	m.Add(now.Add(-40*time.Second), 0)
	m.Add(now.Add(-20*time.Second), 100)
	m.Add(now, 200)
	if got := m.PerSecond(); got < 4.9 || got > 5.1 || len(m.samples) != 2 {
		t.Errorf("%v a second of %d samples, want 5 of the last 2", got, len(m.samples))
	}
	m.Add(now, 3) // another round
	if got := m.PerSecond(); got != 0 {
		t.Errorf("%v a second after the first sample of a round, want 0", got)
	}
}
