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
		{"none", "none"},
		{"503", "503"},
		{"504, 503 ,506", "503-504,506"},
		{"+503", "403,500,503,510"},
		{"-500", "403,510"},
		{"+503,-403,-500,-510", "503"},
		{"-403,-500,-510", "none"},
		{"+500", "403,500,510"},
		{"+503,-503", "403,500,510"},
		{"503,+504", "!mixes codes with changes"},
		{"+503,504", "!mixes codes with changes"},
		{"none,503", `!"none" in "none,503" is not a code`},
		{"-501", "!removes 501, which is not on the list 403,500,510"},
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
		{"500-510", "500-510"},
		{"501,500,400-402,402-404", "400-404,500-501"},
		{"+501-509", "403,500-510"},
		{"+400-600,-501-509", "400-500,510-600"},
		{"-500-501", "!removes 501, which is not on the list 403,510"},
		{"510-500", "!expected 100 to 999"},
		{"500-1000", "!expected 100 to 999"},
		{"500-", "!is not a code"},
		{"500-510-520", "!is not a code"},
	} {
		defaults := Codes{{403, 403}, {500, 500}, {510, 510}}
		got, err := ParseCodes(defaults, tc.in)
		if part, isError := strings.CutPrefix(tc.want, "!"); isError {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: got %v, %v, want an error with %q", tc.in, got, err, part)
			}
			continue
		}
		want := tc.want
		if err != nil || got.String() != want || got == nil {
			t.Errorf("%q: got %v, %v, want %s", tc.in, got, err, want)
		}
		if !slices.Equal(defaults, Codes{{403, 403}, {500, 500}, {510, 510}}) {
			t.Errorf("%q changed the defaults: %v", tc.in, defaults)
		}
	}
}

func TestDefaultCodesAreTheAPIsOwnErrorsAndEveryStatus(t *testing.T) {
	if d := DefaultUnknownCodes(); d.API.String() != "403,500-999" || d.HTTP.String() != "300-599" {
		t.Errorf("got %v", d)
	}
}

func FuzzParseCodes(f *testing.F) {
	for _, s := range []string{"", "none", "403,500", "+503,-501", "+ 3", "é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		codes, err := ParseCodes(Codes{{403, 403}}, s)
		if err != nil {
			return
		}
		before := 98
		for _, r := range codes {
			if r[0] <= before+1 || r[1] < r[0] || r[1] > 999 {
				t.Errorf("%q: got %v", s, codes)
			}
			before = r[1]
		}
		if again, err := ParseCodes(nil, codes.String()); codes == nil || err != nil || !slices.Equal(again, codes) {
			t.Errorf("%q: %v does not read as itself: %v, %v", s, codes, again, err)
		}
	})
}
