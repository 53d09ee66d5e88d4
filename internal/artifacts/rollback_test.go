package artifacts

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTheFilesOfARollbackHoldEveryRecordOnce(t *testing.T) {
	for name, c := range map[string]struct {
		success, fail []int64
		total         int
		ok            bool
	}{
		"all":       {[]int64{2, 5}, []int64{3}, 3, true},
		"none":      {nil, nil, 0, true},
		"too few":   {[]int64{2, 5}, nil, 3, false},
		"too many":  {[]int64{2, 5}, []int64{3}, 2, false},
		"one twice": {[]int64{2, 5}, []int64{5}, 3, false},
	} {
		dir := t.TempDir()
		s, err := NewRollbackSet(dir, "stamp")
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range c.success {
			if err := s.Success(1, line, "u", "a@example.com"); err != nil {
				t.Fatal(err)
			}
		}
		for _, line := range c.fail {
			if err := s.Fail(1, line, "a reason"); err != nil {
				t.Fatal(err)
			}
		}
		err = s.Commit(t.Context(), c.total)
		if c.ok && err != nil || !c.ok && !errors.Is(err, ErrDoesNotAddUp) {
			t.Errorf("%s: %v, want it to add up: %v", name, err, c.ok)
		}
		files, _ := os.ReadDir(dir)
		if want := map[bool]int{true: 2, false: 0}[c.ok]; len(files) != want {
			t.Errorf("%s: %v, want %d files", name, files, want)
		}
		if name == "all" {
			data, _ := os.ReadFile(filepath.Join(dir, "rollback_success_stamp.csv"))
			if string(data) != "batch,line,uuid,email\n1,2,u,a@example.com\n1,5,u,a@example.com\n" {
				t.Errorf("the file is %q", data)
			}
		}
	}
}
