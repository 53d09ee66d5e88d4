package activities

import (
	"compress/gzip"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// incoming is the folder of a schedule, in the rig's folder.
type incoming struct {
	*rig
	dir      string
	schedule migration.Schedule
}

func newIncoming(t *testing.T) *incoming {
	t.Helper()
	onDisk(t) // schedules read folders
	i := &incoming{rig: newRig(t, people(1))}
	base := filepath.Dir(i.spec.DataFile)
	i.dir = store.Join(base, "incoming")
	options := i.spec
	options.ID, options.DataFile, options.Folder, options.SHA256 = "", "", migration.Folder{}, ""
	i.schedule = migration.Schedule{
		ID: "nightly", Patterns: []string{store.Join(i.dir, "*")}, StateDir: store.Join(base, "state"), Options: options,
	}
	return i
}

// put makes a file that is as old as the others.
func (i *incoming) put(name, content string) migration.FoundFile {
	i.t.Helper()
	path := store.Join(i.dir, name)
	noError(i.t, os.MkdirAll(filepath.Dir(path), 0o700))
	noError(i.t, store.Write(path, []byte(content)))
	noError(i.t, os.Chtimes(path, now, now))
	return migration.FoundFile{Path: path, Size: int64(len(content)), ModTime: now}
}

func (i *incoming) find(after string, limit int) (names []string, more bool) {
	i.t.Helper()
	found := must[Found](i.rig, i.acts.FindFiles, FindInput{Schedule: i.schedule, After: after, Limit: limit})
	for _, f := range found.Files {
		name, err := filepath.Rel(i.dir, f.Path)
		noError(i.t, err)
		names = append(names, name)
	}
	return names, found.More
}

func (i *incoming) prepare(f migration.FoundFile) Prepared {
	i.t.Helper()
	return must[Prepared](i.rig, i.acts.PrepareFile, PrepareInput{Schedule: i.schedule, File: f})
}

func (i *incoming) putAway(f migration.FoundFile, folder string) string {
	i.t.Helper()
	return must[string](i.rig, i.acts.PutAway, PutAwayInput{File: f, Schedule: i.schedule, Folder: folder})
}

func TestFindFilesIgnoresUnfinishedFiles(t *testing.T) {
	i := newIncoming(t)
	for _, name := range []string{
		"b.csv", "a.csv", "c.csv.gz", ".hidden.csv", "d.csv.part", "e.csv.PARTIAL", "f.tmp", "g.csv~", "h.filepart",
		"success_Nov_22_2026_13_05_00.csv", "scheduled_Nov_22_2026_13_05_00.json", "folder/x.csv", "done/y.csv", "failed/z.csv",
	} {
		i.put(name, people(1))
	}
	noError(t, os.Symlink(store.Join(i.dir, "a.csv"), store.Join(i.dir, "link.csv")))
	names, more := i.find("", 100)
	expect(t, "found", names, []string{"a.csv", "b.csv", "c.csv.gz"})
	expect(t, "more", more, false)
	// Each file once, however many patterns it matches; not those put away.
	i.schedule.Patterns = []string{store.Join(i.dir, "*.csv"), store.Join(i.dir, "a*"), store.Join(i.dir, "*", "*.csv")}
	names, _ = i.find("", 100)
	expect(t, "found by several patterns", names, []string{"a.csv", "b.csv", "folder/x.csv"})
	names, more = i.find("", 2)
	expect(t, "first two", names, []string{"a.csv", "b.csv"})
	expect(t, "more after two", more, true)
	names, more = i.find(store.Join(i.dir, "b.csv"), 2)
	expect(t, "after them", names, []string{"folder/x.csv"})
	expect(t, "more at the end", more, false)
}

func TestAFileWithAnImpossibleNameIsFoundWithItsProblem(t *testing.T) {
	i := newIncoming(t)
	for _, name := range []string{"a.csv", "München\u202e\n.csv", "\xff\xfe.csv", "z.csv", strings.Repeat("ä", 125) + ".csv"} {
		i.put(name, people(1))
	}
	var problems []string
	var names []string
	for after := ""; ; {
		found := must[Found](i.rig, i.acts.FindFiles, FindInput{Schedule: i.schedule, After: after, Limit: 1})
		for _, f := range found.Files {
			names = append(names, filepath.Base(f.Path))
			if f.Problem != "" {
				problems = append(problems, f.Problem)
			}
			after = f.Path
		}
		if !found.More {
			break
		}
	}
	expect(t, "found, one after the other", names, []string{"München\u202e\n.csv", "a.csv", "z.csv", strings.Repeat("ä", 125) + ".csv", "\uFFFD\uFFFD.csv"})
	if len(problems) != 1 || !strings.Contains(problems[0], `"\xff\xfe.csv" is not UTF-8`) {
		t.Errorf("the problems are %q; want that of the name that is not UTF-8", problems)
	}
	for _, name := range []string{"München\u202e\n.csv", strings.Repeat("ä", 125) + ".csv"} {
		f := i.put(name, people(2))
		p := i.prepare(f)
		if p.Instead != nil || strings.ContainsFunc(p.Spec.ID, func(r rune) bool { return r <= ' ' || r > '~' }) {
			t.Errorf("%q: the id is %q, %+v; want one of ASCII", name, p.Spec.ID, p.Instead)
		}
		for range 2 { // the second one needs a number in its name
			f = i.put(name, people(2))
			if moved := i.putAway(f, DoneFolder); filepath.Base(filepath.Dir(moved)) != DoneFolder {
				t.Errorf("%q was moved to %q, want the folder %s", name, moved, DoneFolder)
			}
		}
	}
}

func TestAFileOfADamagedMigrationIsRefusedAlone(t *testing.T) {
	i := newIncoming(t)
	f := i.put("users.csv", people(3))
	p := i.prepare(f)
	noError(t, store.Write(store.Join(p.Spec.Folder.Path(), "start.json"), []byte("{")))
	if p := i.prepare(f); p.Instead == nil || p.Instead.Result != migration.FileRefused || !strings.Contains(p.Instead.Reason, "start.json is damaged") {
		t.Errorf("%+v; want the file refused, with what is damaged", p)
	}
	if p := i.prepare(i.put("others.csv", people(4))); p.Instead != nil {
		t.Errorf("%+v; want another file taken", p.Instead)
	}
}

func TestFindFilesRefusesWhatWouldFailEveryFile(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*incoming)
		words  []string
	}{
		"an output folder that is a file": {func(i *incoming) { i.schedule.Options.OutputDir = i.spec.DataFile }, []string{"--output-dir"}},
		"another mapping": {func(i *incoming) {
			i.schedule.Options.MappingFile, i.schedule.Options.Mapping = i.put("m.yaml", "x").Path, migration.MappingDigest([]byte("y"))
		}, []string{"m.yaml was changed", "schedule"}},
		"a target that is no address": {func(i *incoming) { i.schedule.Options.Target.URI = "ftp://somewhere" }, []string{"ftp://"}},
	} {
		t.Run(name, func(t *testing.T) {
			i := newIncoming(t)
			i.put("a.csv", people(1))
			tc.change(i)
			_, err := run[Found](i.rig, worker.Options{}, nil, i.acts.FindFiles, FindInput{Schedule: i.schedule, Limit: 10})
			expectType(t, err, Refused, false, tc.words...)
		})
	}
}

func TestPrepareFileFindsTheMigrationByContent(t *testing.T) {
	i := newIncoming(t)
	plain := i.put("users.csv", people(3))
	p := i.prepare(plain)
	if p.Instead != nil || !strings.HasPrefix(p.Spec.ID, "migration-users.csv-") || p.Spec.DataFile != plain.Path || p.Staged != "" {
		t.Fatalf("%+v; want a new migration of the file where it is", p)
	}
	want, _, err := migration.Identify(i.schedule.Options, migration.Input{Path: plain.Path, SHA256: p.Spec.SHA256}, i.schedule.StateDir, false)
	noError(t, err)
	expect(t, "the migration that a person gets", p.Spec, want)

	// Cut off, and delivered again under another name: the same migration.
	folder := p.Spec.Folder
	if _, err := folder.CreateStart(migration.Start{ID: p.Spec.ID, Stamp: "x"}); err != nil {
		t.Fatal(err)
	}
	noError(t, folder.SaveSpec(p.Spec))
	again := i.prepare(i.put("again.csv", people(3)))
	if again.Instead != nil || again.Spec.ID != p.Spec.ID || again.Spec.Folder != p.Spec.Folder {
		t.Errorf("the same content has the migration %s in %s; want %s", again.Spec.ID, again.Spec.Folder, p.Spec.ID)
	}

	// The file of an unfinished migration has another content now.
	i.schedule.KeepFiles = true
	other := i.prepare(i.put("users.csv", people(4)))
	if other.Instead == nil || other.Instead.Result != migration.FileRefused || !strings.Contains(other.Instead.Reason, "has changed since its migration "+p.Spec.ID) {
		t.Errorf("%+v; want it refused: its migration is not at its end", other.Instead)
	}

	// Done: known by its content, under any name.
	counts := migration.Counts{Total: 3, Created: 2, Failed: 1}
	noError(t, errors.Join(folder.SaveSummary(migration.Summary{WorkflowID: p.Spec.ID, FinishedAt: now, Records: counts}), folder.Finish(false)))
	known := i.prepare(i.put("third.csv", people(3)))
	if known.Instead == nil || known.Instead.Result != migration.FileKnown || known.Instead.WorkflowID != p.Spec.ID || *known.Instead.Records != counts {
		t.Errorf("%+v; want it known, with the figures of %s", known.Instead, p.Spec.ID)
	}
	if fresh := i.prepare(i.put("fourth.csv", people(5))); fresh.Instead != nil {
		t.Errorf("%+v; want a new content to be new", fresh.Instead)
	}
}

func TestPrepareFileBringsAFileToWhereWorkersElsewhereSeeIt(t *testing.T) {
	i := newIncoming(t)
	i.schedule.StateDir = "mem://schedule/work"
	found := i.put("users.csv", people(3))
	for range 2 { // it may be run again
		p := i.prepare(found)
		if p.Instead != nil || !strings.HasPrefix(p.Spec.DataFile, "mem://") || p.Staged != p.Spec.DataFile || p.Spec.InputName() != "users.csv" || p.Spec.DataOrigin != found.Path {
			t.Fatalf("%+v; want the migration of a copy in the bucket, called users.csv", p)
		}
		if data, err := store.Read(p.Staged); err != nil || string(data) != people(3) {
			t.Errorf("the copy is %q (%v)", data, err)
		}
	}
	copied := i.prepare(found).Staged
	if moved := must[string](i.rig, i.acts.PutAway, PutAwayInput{File: found, Schedule: i.schedule, Folder: DoneFolder, Staged: copied}); moved == "" {
		t.Error("the file was not put away")
	}
	if there, err := store.Exists(copied); there || err != nil {
		t.Errorf("the copy is still there (%v)", err)
	}
}

func TestPrepareFileStagesWhatIsNotPlain(t *testing.T) {
	i := newIncoming(t)
	var b strings.Builder
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(people(3))); err != nil {
		t.Fatal(err)
	}
	noError(t, w.Close())
	packed := i.put("users.csv.gz", b.String())
	p := i.prepare(packed)
	if p.Instead != nil || p.Staged == "" || p.Spec.DataFile != p.Staged || p.Spec.InputName() != "users.csv" || p.Spec.DataOrigin != packed.Path {
		t.Fatalf("%+v; want the migration of a plain copy, called users.csv", p)
	}
	if data, err := store.Read(p.Staged); err != nil || string(data) != people(3) {
		t.Errorf("the plain copy is %q (%v)", data, err)
	}
	if same := i.prepare(i.put("plain.csv", people(3))); same.Spec.Folder != p.Spec.Folder {
		t.Error("the plain file is another migration than the packed one; want one: the content is the same")
	}
	moved := must[string](i.rig, i.acts.PutAway, PutAwayInput{File: packed, Schedule: i.schedule, Folder: DoneFolder, Staged: p.Staged})
	if _, err := os.Stat(p.Staged); !errors.Is(err, os.ErrNotExist) || moved != store.Join(i.dir, "done", "users.csv.gz") {
		t.Errorf("the plain copy is still there (%v), the file is %s", err, moved)
	}
	bad := i.prepare(i.put("bad.csv.gz", b.String()[:20]))
	if bad.Instead == nil || bad.Instead.Result != migration.FileRefused || !strings.Contains(bad.Instead.Reason, "bad.csv.gz") {
		t.Errorf("%+v; want a damaged file refused", bad.Instead)
	}
}

func TestPrepareFileLeavesAFileThatIsNotTheOneFound(t *testing.T) {
	i := newIncoming(t)
	longer, gone := i.put("longer.csv", people(2)), i.put("gone.csv", people(2))
	i.put("longer.csv", people(3))
	noError(t, os.Remove(gone.Path))
	for _, f := range []migration.FoundFile{longer, gone} {
		if p := i.prepare(f); p.Instead == nil || p.Instead.Result != migration.FileGrowing {
			t.Errorf("%s: %+v; want it left to the next run", f.Path, p.Instead)
		}
	}
}

func TestPutAwayOverwritesNothing(t *testing.T) {
	i := newIncoming(t)
	i.put("done/users.csv.gz", "older")
	i.put("done/users-2.csv.gz", "before")
	f := i.put("users.csv.gz", "new")
	path := i.putAway(f, DoneFolder)
	expect(t, "path", path, store.Join(i.dir, "done", "users-3.csv.gz"))
	for name, want := range map[string]string{"users.csv.gz": "older", "users-2.csv.gz": "before", "users-3.csv.gz": "new"} {
		if data, err := store.Read(store.Join(i.dir, "done", name)); err != nil || string(data) != want {
			t.Errorf("%s is %q (%v); want %q", name, data, err, want)
		}
	}
	if _, err := os.Stat(f.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	// The same again, after a crash before it was known.
	expect(t, "path of a second attempt", i.putAway(f, DoneFolder), path)
	entries, err := os.ReadDir(store.Join(i.dir, "done"))
	if err != nil || len(entries) != 3 {
		t.Errorf("%d files (%v); want three", len(entries), err)
	}
}

func TestPutAwayLeavesAnotherFileWhereItIs(t *testing.T) {
	i := newIncoming(t)
	f := i.put("users.csv", people(2))
	i.put("users.csv", people(3))
	expect(t, "path", i.putAway(f, DoneFolder), "")
	if data, err := store.Read(f.Path); err != nil || string(data) != people(3) {
		t.Errorf("the new file is %q (%v); want it untouched", data, err)
	}
	// It came between the check and the move.
	to := store.Join(i.dir, "done", "users.csv")
	if path, err := moveTo(f, to); err != nil || path != "" {
		t.Errorf("moved to %q (%v); want it moved back", path, err)
	}
	if data, err := store.Read(f.Path); err != nil || string(data) != people(3) {
		t.Errorf("the new file is %q (%v); want it back", data, err)
	}
	if _, err := os.Stat(to); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is there (%v)", to, err)
	}
}

func TestTheSummaryOfARunIsWrittenOnce(t *testing.T) {
	i := newIncoming(t)
	out := i.t.TempDir()
	write := func(id string, known int) string {
		t.Helper()
		return must[string](i.rig, i.acts.WriteScheduled, WriteScheduledInput{Schedule: migration.Schedule{Options: migration.Spec{OutputDir: out}}, Scheduled: migration.Scheduled{
			WorkflowID: id, StartedAt: now, FinishedAt: now.Add(time.Minute), Known: known,
		}})
	}
	names := []string{write("one", 1), write("two", 2), write("one", 3)}
	expect(t, "names", names, []string{"scheduled_Nov_22_2026_13_05_00.json", "scheduled_Nov_22_2026_13_05_01.json", "scheduled_Nov_22_2026_13_05_00.json"})
	entries, err := os.ReadDir(out)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d files (%v); want two", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has the mode %v (%v); want 0600: it names files of people", e.Name(), info.Mode(), err)
		}
	}
	data, err := store.Read(store.Join(out, names[0]))
	if err != nil || !slices.Contains(strings.Fields(string(data)), "3") {
		t.Errorf("%s (%v); want what the second attempt says", data, err)
	}
}
