package engine

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/proof/program"
)

// The databases of these tests are fsynced often.
func TestMain(m *testing.M) {
	program.UseMemory()
	os.Exit(m.Run())
}

func TestTheDatabaseLiesInTheFolderWhateverThatIsCalled(t *testing.T) {
	names := []string{"Q#1", "a?mode=memory", "50%41", "two words", `it's "quoted"`, "Müller", "new\nline", "\xff\xfe", "[a-z]*", "a&b=c;d:e", `back\slash`}
	if !program.RunsLong() {
		names = []string{strings.Join(names, "")} // one after the other they take long
	}
	for _, name := range names {
		t.Run(strings.ToValidUTF8(name, "_"), func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, name)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			for range 2 { // the second start finds the database of the first one
				e, err := Start(ctx, dir, nil)
				must(t, err)
				if left := e.Left(); len(left) > 0 {
					t.Errorf("the databases of other versions are %q; want none", left)
				}
				e.Stop()
			}
			databases := 0
			err := filepath.WalkDir(parent, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if filepath.Dir(path) != dir {
					t.Errorf("%q lies outside the folder %q", path, dir)
				}
				if strings.HasPrefix(d.Name(), "temporal-") {
					databases++
				}
				info, err := d.Info()
				if err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%q has the mode %v; want it for its owner only", path, info.Mode())
				}
				return err
			})
			if err != nil || databases == 0 {
				t.Errorf("there are %d databases in the folder, %v", databases, err)
			}
			if _, err := os.Stat("Q"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file named Q was made: %v", err)
			}
		})
	}
}

func TestTheDatabaseHasAWriteAheadLog(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := Start(ctx, dir, nil)
	must(t, err)
	e.Stop()
	files, err := filepath.Glob(database(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v; want one database", files, err)
	}
	data, err := os.ReadFile(files[0])
	must(t, err)
	// https://www.sqlite.org/fileformat2.html, section 1.3.3: 2 is a write-ahead log, 1 a rollback journal.
	if len(data) < 20 || data[18] != 2 || data[19] != 2 {
		t.Errorf("the file format's write and read versions are %v; want 2 and 2", data[18:20])
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
