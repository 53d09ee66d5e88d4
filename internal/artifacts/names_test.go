package artifacts

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var second = time.Date(2026, 11, 22, 13, 5, 0, 999, time.UTC)

func TestAStampHasTheFormOfDataload(t *testing.T) {
	east := time.FixedZone("east", 2*3600)
	for at, want := range map[time.Time]string{
		second:          "Nov_22_2026_13_05_00",
		second.In(east): "Nov_22_2026_13_05_00",
		time.Date(2027, 1, 2, 3, 4, 5, 0, time.UTC): "Jan_02_2027_03_04_05",
	} {
		if got := Stamp(at); got != want {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
	if got, want := Name("success", Stamp(second), "csv"), "success_Nov_22_2026_13_05_00.csv"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Two state folders can have one output folder, and a schedule begins many migrations at once.
func TestMigrationsOfOneSecondGetUniqueNames(t *testing.T) {
	out := t.TempDir()
	const migrations = 12
	stamps, retries := make([]string, migrations), make([]string, migrations)
	var wg sync.WaitGroup
	for i := range migrations {
		wg.Go(func() {
			var err error
			owner := fmt.Sprintf("owner%d", i)
			if stamps[i], err = ReserveStamp(out, owner, "results", second); err != nil {
				t.Error(err)
			}
			if retries[i], err = ReserveRetryName(out, owner, "round 1", second); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for i := range migrations {
		for _, name := range []string{stamps[i], retries[i]} {
			if name == "" || seen[name] {
				t.Errorf("migration %d has the name %q, which is empty or taken", i, name)
			}
			seen[name] = true
		}
		if !strings.HasPrefix(retries[i], "retry_Nov_22_2026_13_05_") || !strings.HasSuffix(retries[i], ".csv") {
			t.Errorf("the retry file is called %q", retries[i])
		}
	}
	if !seen["Nov_22_2026_13_05_00"] || !seen["retry_Nov_22_2026_13_05_00.csv"] {
		t.Errorf("the second itself is not reserved: %v", seen)
	}
	// Another output folder has its own names.
	if got, err := ReserveStamp(t.TempDir(), "another", "results", second); err != nil || got != Stamp(second) {
		t.Errorf("in another folder: %q, %v; want %q", got, err, Stamp(second))
	}
	for i := range migrations {
		if err := Release(out, fmt.Sprintf("owner%d", i)); err != nil {
			t.Error(err)
		}
	}
	expectEmpty(t, "reservations that have ended", out)
}

func TestAReservationHoldsUntilItIsReleased(t *testing.T) {
	out := t.TempDir()
	next := second.Add(time.Second)
	reserve := func(owner, what, want string) {
		t.Helper()
		if got, err := ReserveStamp(out, owner, what, second); err != nil || got != want {
			t.Errorf("%s, %s: %q, %v; want %q", owner, what, got, err, want)
		}
	}
	reserve("killed", "results", Stamp(second))
	reserve("killed", "results", Stamp(second)) // and run again
	reserve("killed", "something else", Stamp(next))
	if err := Release(out, "kill"); err != nil { // is another one
		t.Error(err)
	}
	reserve("another", "results", Stamp(next.Add(time.Second)))
	if err := Release(out, "killed"); err != nil {
		t.Error(err)
	}
	reserve("a third one", "results", Stamp(second))
	if got, want := names(contents(t, out)), []string{".reserved_Nov_22_2026_13_05_00", ".reserved_Nov_22_2026_13_05_02"}; !slices.Equal(got, want) {
		t.Errorf("the folder has %q, want %q", got, want)
	}
	for _, name := range names(contents(t, out)) {
		if IsArtifact(name) {
			t.Errorf("%s is an artifact; want it to be none", name)
		}
	}
}

func TestExistingFilesAreNotOverwritten(t *testing.T) {
	for _, name := range []string{"success", "fail", "fail_records", "update_success", "update_fail", "remaining", "summary", "report"} {
		out := t.TempDir()
		extension := map[string]string{"summary": "json", "report": "html"}[name]
		if extension == "" {
			extension = "csv"
		}
		// Of another program, or of a migration that has ended.
		file := Name(name, Stamp(second), extension)
		must(t, os.WriteFile(filepath.Join(out, file), nil, 0o600))
		got, err := ReserveStamp(out, "owner", "results", second)
		want := Stamp(second.Add(time.Second))
		if err != nil || got != want {
			t.Errorf("beside %s: %q, %v; want the next second, %q", name, got, err, want)
		}
		if left := names(contents(t, out)); !slices.Equal(left, []string{".reserved_" + want, file}) {
			t.Errorf("beside %s there are %q; want one reservation", name, left)
		}
	}
	out := t.TempDir()
	// A link that leads nowhere is a name that is taken.
	must(t, os.Symlink("nowhere", filepath.Join(out, Name("retry", Stamp(second), "csv"))))
	got, err := ReserveRetryName(out, "owner", "round 1", second)
	if want := Name("retry", Stamp(second.Add(time.Second)), "csv"); err != nil || got != want {
		t.Errorf("beside a retry file: %q, %v; want %q", got, err, want)
	}
}

func TestAnOutputFolderIsCheckedBeforeItIsNeeded(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	must(t, CheckFolder(dir))
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder: %v, %v; want mode 0700", info, err)
	}
	expectEmpty(t, "checked", dir)
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for _, bad := range []string{file, filepath.Join(file, "below")} {
		if err := CheckFolder(bad); err == nil || !strings.Contains(err.Error(), "--output-dir") || !strings.Contains(err.Error(), bad) {
			t.Errorf("%s: %v; want an error that names the folder and the option", bad, err)
		}
	}
	if os.Geteuid() == 0 {
		return // root writes everywhere
	}
	must(t, os.Chmod(dir, 0o500))
	if err := CheckFolder(dir); err == nil || !strings.Contains(err.Error(), "writable") {
		t.Errorf("a folder that is read-only: %v; want an error that says so", err)
	}
}

func TestDropRemovesAFile(t *testing.T) {
	out := t.TempDir()
	must(t, os.WriteFile(filepath.Join(out, "retry.csv"), nil, 0o600))
	for range 2 { // gone already is no error
		if err := Drop(out, "retry.csv"); err != nil {
			t.Errorf("Drop: %v", err)
		}
	}
	expectEmpty(t, "dropped", out)
}

func TestIsArtifact(t *testing.T) {
	at := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	for _, k := range slices.Concat(kinds, otherKinds) {
		if name := Name(k.kind, Stamp(at), k.extension); !IsArtifact(name) {
			t.Errorf("%s is none; want one", name)
		}
	}
	for _, name := range []string{"users.csv", "success.csv", "success_users.csv", "fail_Nov_22_2026_13_05_00.txt", "my_fail_Nov_22_2026_13_05_00.csv", "retry_Nov_22_2026.csv", ""} {
		if IsArtifact(name) {
			t.Errorf("%s is one; want none", name)
		}
	}
}
