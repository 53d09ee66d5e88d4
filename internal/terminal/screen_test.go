package terminal

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"
)

func TestControlCharactersDoNotReachTheTerminal(t *testing.T) {
	var stdout, stderr bytes.Buffer
	s := New(&stdout, &stderr, Options{})
	s.Say("a\x1b[2Jb")
	s.Progress(Line{What: "d\x1b[2Je"})
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
	s.Progress(Line{What: "first"})
	s.Progress(Line{What: "second"})
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
	s.Progress(Line{What: "ä234567890"})
	s.Progress(Line{What: "short"})
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

func TestALineOfProgressFitsAnyWidth(t *testing.T) {
	line := Line{Done: 215, Total: 500, What: "215/500", Left: "12s left", Parts: []string{"created 200", "failed 5", "unknown 10", "1,200 records/min"}}
	for width, want := range map[int]string{
		200: "[##########..............]  43% 215/500, created 200, failed 5, unknown 10, 1,200 records/min, 12s left",
		90:  "[####.......]  43% 215/500, created 200, failed 5, unknown 10, 1,200 records/min, 12s left",
		79:  "[########...........]  43% 215/500, created 200, failed 5, unknown 10, 12s left",
		40:  "[######.........]  43% 215/500, 12s left",
		20:  "215/500, 12s left",
		10:  "215/500",
		4:   "215…",
	} {
		if got := line.fit(width); got != want {
			t.Errorf("in %d characters: %q, want %q", width, got, want)
		}
	}
	if got := (Line{Done: 499, Total: 500}).bar(10); got != "[#########.]  99% " {
		t.Errorf("the bar of all but one is %q", got)
	}
	if got, want := line.String(), "215/500, created 200, failed 5, unknown 10, 1,200 records/min, 12s left"; got != want {
		t.Errorf("without a terminal %q, want %q", got, want)
	}
}

func TestLinesThatStayAreBrokenBetweenWords(t *testing.T) {
	for text, want := range map[string]string{
		"short":                            "short",
		"ä word more":                      "ä word\nmore",
		"  one two three":                  "  one two\n  three",
		"see http://127.0.0.1:8233/x here": "see\nhttp://127.0.0.1:8233/x\nhere",
		"a\nb":                             "a\nb",
	} {
		if got := Wrap(text, 10); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestADumbTerminalGetsPlainLines(t *testing.T) {
	t.Setenv("TERM", "dumb")
	if New(nil, os.Stderr, Options{}).terminal {
		t.Error("TERM=dumb is treated as a terminal that moves its cursor")
	}
}
