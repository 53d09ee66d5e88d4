package target

import (
	"testing"
	"time"
)

func TestMomentsAreAsPreciseAsPrinted(t *testing.T) {
	second := time.Date(2012, 6, 13, 18, 2, 56, 0, time.UTC)
	for text, want := range map[string]Moment{
		"2012-06-13 18:02:56.012122 +0000":    {second.Add(12122 * time.Microsecond), second.Add(12123*time.Microsecond - 1)},
		"2012-06-13 18:02:56.01 +0000":        {second.Add(10 * time.Millisecond), second.Add(20*time.Millisecond - 1)},
		"2012-06-13 20:02:56.5 +0200":         {second.Add(500 * time.Millisecond), second.Add(600*time.Millisecond - 1)},
		"2012-06-13 18:02:56.123456789 +0000": {second.Add(123456789), second.Add(123456789)},
		"2012-06-13 18:02:56 +0000":           {second, second.Add(time.Second - 1)},
		"2012-06-13 18:02:56":                 {second, second.Add(time.Second - 1)},
		"2012-06-13 18:02:56Z":                {second, second.Add(time.Second - 1)},
		"2012-06-13T18:02:56Z":                {second, second.Add(time.Second - 1)},
		"2012-06-13T18:02:56.012Z":            {second.Add(12 * time.Millisecond), second.Add(13*time.Millisecond - 1)},
		"2012-06-13T20:02:56+02:00":           {second, second.Add(time.Second - 1)},
		"2012-06-13T18:02:56+0000":            {second, second.Add(time.Second - 1)},
		"2012-06-13T18:02:56":                 {second, second.Add(time.Second - 1)},
		"2012-06-13":                          {second.Truncate(24 * time.Hour), second.Truncate(24 * time.Hour).Add(24*time.Hour - 1)},
	} {
		got, ok := ParseMoment(text)
		if !ok || !got.Earliest.Equal(want.Earliest) || !got.Latest.Equal(want.Latest) || got.Earliest.Location() != time.UTC {
			t.Errorf("%q: got %v to %v, %t, want %v to %v", text, got.Earliest, got.Latest, ok, want.Earliest, want.Latest)
		}
	}
	for _, text := range []string{"", "yesterday", "13.06.2012", "2012-06-13 25:00:00", "1339610576"} {
		if got, ok := ParseMoment(text); ok || !got.IsZero() {
			t.Errorf("%q: got %v, want none", text, got)
		}
	}
}

func TestMomentsOverlap(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"2015-12-15 07:36:25", "2015-12-15 07:36:25.120000 +0000", true},
		{"2015-12-15 07:36:25", "2015-12-15T08:36:25+01:00", true},
		{"2015-12-15", "2015-12-15 23:59:59", true},
		{"2015-12-15 07:36:25", "2015-12-15 07:36:26", false},
		{"2015-12-15 07:36:25.1", "2015-12-15 07:36:25.2", false},
		{"", "2015-12-15 07:36:26", false},
		{"", "", false},
	} {
		a, _ := ParseMoment(tc.a)
		b, _ := ParseMoment(tc.b)
		if a.Overlaps(b) != tc.want || b.Overlaps(a) != tc.want {
			t.Errorf("%q and %q: got %t and %t, want %t", tc.a, tc.b, a.Overlaps(b), b.Overlaps(a), tc.want)
		}
	}
}

func TestOnlyUUIDsIgnoreCaseAsIDs(t *testing.T) {
	for id, want := range map[string]string{
		"EFD7FE4E-0000-4000-8000-00000000000A":  "efd7fe4e-0000-4000-8000-00000000000a",
		"efd7fe4e-0000-4000-8000-00000000000a":  "efd7fe4e-0000-4000-8000-00000000000a",
		"EFD7FE4EX0000-4000-8000-00000000000A":  "EFD7FE4EX0000-4000-8000-00000000000A",
		"GFD7FE4E-0000-4000-8000-00000000000A":  "GFD7FE4E-0000-4000-8000-00000000000A",
		"EFD7FE4E-0000-4000-8000-00000000000AB": "EFD7FE4E-0000-4000-8000-00000000000AB",
		"EFD7FE4E00000-4000-8000-00000000000A":  "EFD7FE4E00000-4000-8000-00000000000A",
		"Ab1":                                   "Ab1", "aB1": "aB1", "": "",
	} {
		if got := FoldID(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}
