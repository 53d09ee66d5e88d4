package identitycloud

import (
	"slices"
	"strings"
	"testing"
)

func TestParseCodes(t *testing.T) {
	for _, tc := range []struct {
		in   string
		want string // the codes, or ! and a part of the error
	}{
		{"", "403,500,510"},
		{"  ", "403,500,510"},
		{"none", ""},
		{"503", "503"},
		{"504, 503 ,504", "503,504"},
		{"+503", "403,500,503,510"},
		{"-500", "403,510"},
		{"+503,-403,-500,-510", "503"},
		{"-403,-500,-510", ""},
		{"+500", "403,500,510"},
		{"+503,-503", "403,500,510"},
		{"503,+504", "!mixes codes with changes"},
		{"+503,504", "!mixes codes with changes"},
		{"none,503", `!"none" in "none,503" is not a code`},
		{"-501", "!takes away 501, which is not on the list 403,500,510"},
		{"99", "!expected 100 to 999"},
		{"+1000", "!expected 100 to 999"},
		{"-1", "!expected 100 to 999"},
		{"99999999999", "!is not a code"},
		{"+-503", "!is not a code"},
		{"++503", "!is not a code"},
		{"+", "!is not a code"},
		{"503,", "!is not a code"},
		{",", "!is not a code"},
		{"5xx", "!is not a code"},
		{"503;504", "!is not a code"},
		{"500-510", "!is not a code"},
	} {
		defaults := []int{403, 500, 510}
		got, err := ParseCodes(defaults, tc.in)
		if part, isError := strings.CutPrefix(tc.want, "!"); isError {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: got %v, %v, want an error with %q", tc.in, got, err, part)
			}
			continue
		}
		want := tc.want
		if want == "" {
			want = "(empty)"
		}
		if err != nil || list(got) != want || got == nil {
			t.Errorf("%q: got %v, %v, want %s", tc.in, got, err, want)
		}
		if !slices.Equal(defaults, []int{403, 500, 510}) {
			t.Errorf("%q changed the defaults: %v", tc.in, defaults)
		}
	}
}

func TestDefaultCodesAreThoseOfDataloadAndFourMore(t *testing.T) {
	d := DefaultUnknownCodes()
	if !slices.Equal(d.API, []int{403, 500, 504, 510}) || !slices.Equal(d.HTTP, []int{403, 408, 429, 500, 501, 502, 503, 504}) {
		t.Errorf("got %v", d)
	}
}

func FuzzParseCodes(f *testing.F) {
	for _, s := range []string{"", "none", "403,500", "+503,-501", "+ 3", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		codes, err := ParseCodes([]int{403}, s)
		if err != nil {
			return
		}
		if codes == nil || !slices.IsSorted(codes) {
			t.Errorf("%q: got %v", s, codes)
		}
		for _, code := range codes {
			if code < 100 || code > 999 {
				t.Errorf("%q: got %v", s, codes)
			}
		}
	})
}
