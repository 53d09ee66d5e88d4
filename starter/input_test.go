package main_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

var restoreAdvice = regexp.MustCompile("restore (it|the file)")

func TestAnInputThatChangesUnderARunStopsIt(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		long   bool
		damage func(path string, content []byte) error
		says   string
	}{
		{"a byte near its end is another", false, func(path string, content []byte) error {
			at := bytes.LastIndexByte(content, '@')
			f, err := os.OpenFile(path, os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{'x'}, int64(at-1))
			return err
		}, "changed"},
		{"it is cut off", true, func(path string, content []byte) error { return os.Truncate(path, int64(len(content)/2)) }, "bytes, expected"},
		{"it is longer", true, func(path string, content []byte) error {
			return os.WriteFile(path, append(bytes.Clone(content), "one@more.test\n"...), 0o600)
		}, "bytes, expected"},
		{"it is gone", false, func(path string, _ []byte) error { return os.Remove(path) }, "is missing"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.long {
				program.Long(t)
			}
			t.Parallel()
			l, s := labWithSandbox(t)
			input := l.users(fakeusers.Options{Records: 200, Seed: 41})
			content := []byte(readAll(input))
			original := l.path("original.csv")
			must(t, os.WriteFile(original, content, 0o600))
			m := l.migration(s, input, 5, "--rate-limit", "8")
			p := m.startUntil(6)
			must(t, c.damage(input, content))
			p.ends(5)
			if text := p.errors(); !strings.Contains(text, c.says) || !strings.Contains(text, "users.csv") || !restoreAdvice.MatchString(text) {
				t.Errorf("it says:\n%s\nwant users.csv, %q and what to do", text, c.says)
			}
			e := m.evidence()
			e.Input = original
			verify(t, e)
			if f := m.figures(); f.Records["remaining"] == 0 || f.Records["created"] == 0 || f.Records["unknown"]+f.Records["failed"] > 0 {
				t.Errorf("the records are %v; want some created, the rest remaining", f.Records)
			}
			calls := s.calls()
			refused(t, m.start(), 1, "users.csv")
			s.wantCalls(calls)
			must(t, os.WriteFile(input, content, 0o600))
			m.run(0)
			m.check()
			if f := m.figures(); f.Records["created"] != 200 || len(m.artifacts("remaining_*")) > 0 {
				t.Errorf("the records are %v, remaining files %q; want 200 created and none", f.Records, m.artifacts("remaining_*"))
			}
		})
	}
}
