package source

import (
	"errors"
	"strings"
	"testing"
)

func TestSelectionsBeyondTheFileAreRefused(t *testing.T) {
	for _, tc := range []struct {
		records, startAt int64
		canary           int
		want             string // "" = none
	}{
		{0, 0, 0, ""}, {0, 1, 0, ""}, {0, 1, 5, ""}, {10, 1, 0, ""}, {10, 10, 0, ""}, {10, 1, 9, ""}, {10, 9, 1, ""},
		{0, 2, 0, "has no records"},
		{10, 11, 0, "the last record of the file is 10; expected 1 to 10"},
		{10, 1 << 50, 3, "the last record of the file is 10"},
		{10, 1, 10, "expected 1 to 9"},
		{10, 1, 1 << 30, "expected 1 to 9"},
		{10, 9, 2, "there are 2 records to load"},
		{1, 1, 1, "leave --canary out"},
	} {
		err := CheckSelection("users.csv", tc.records, tc.startAt, tc.canary)
		var refusal *Refusal
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v", tc, err)
		case tc.want != "" && (!errors.As(err, &refusal) || refusal.Kind != NotInFile || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%+v: %v; want %q", tc, err, tc.want)
		}
	}
}

func TestInspectRefusesToStartAfterTheLastRecord(t *testing.T) {
	for _, o := range []InspectOptions{{BatchSize: 2, StartAt: 3}, {BatchSize: 2, CutAfter: 2}} {
		f := newFile(t, "email\na@example.com\nb@example.com\n")
		o.IndexPath, o.CopyTo = f.path+".index", f.path+".copy"
		_, err := f.inspect(o)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Kind != NotInFile {
			t.Errorf("%+v: %v; want it refused", o, err)
		}
		f.holdsOnly("users.csv")
	}
}
