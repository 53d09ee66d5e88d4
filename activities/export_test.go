package activities

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// toExport has a sandbox with n users, and begins an export of it: from here on the rig's run is that of the export.
func toExport(t *testing.T, n int, change func(*migration.Export), options ...option) *rig {
	t.Helper()
	r := newRig(t, people(1), options...)
	r.people(1, n)
	r.exportTo("users.csv", change)
	return r
}

// people creates users in the sandbox.
func (r *rig) people(from, to int) {
	r.t.Helper()
	var records []target.Record
	for i := from; i <= to; i++ {
		record, err := r.client().Encode(fmt.Appendf(nil, `{"email":"a%d@example.com","created":"2015-12-15 07:36:25","givenName":"Name, %d","photos":[],"password":{"type":"password-bcrypt","value":"hash %d"}}`, i, i, i), "")
		noError(r.t, err)
		records = append(records, record)
	}
	answer := r.client().Create(r.t.Context(), records)
	if len(answer.Results) != len(records) || slices.ContainsFunc(answer.Results, func(result target.Result) bool { return result.ID == "" }) {
		r.t.Fatalf("the users were not created: %+v", answer)
	}
}

// exportTo begins an export into a file of the output folder.
func (r *rig) exportTo(name string, change func(*migration.Export)) migration.Export {
	r.t.Helper()
	work := r.spec.Folder.Work()
	e := migration.Export{
		Output: store.Join(r.spec.OutputDir, name), Target: r.spec.Target, PageSize: 4,
		Attributes: []string{"email", "givenName", "password", "photos"}, Limits: migration.Limits{Workers: 9}, Timeout: 20 * time.Second,
	}
	e.ID, e.Folder = migration.ExportOf(work, e.Output)
	if change != nil {
		change(&e)
	}
	noError(r.t, store.MkdirAll(r.spec.OutputDir))
	noError(r.t, e.Folder.SaveOptions(e))
	if _, err := e.Folder.CreateStart(migration.Start{ID: e.ID, StartedAt: now}); err != nil {
		r.t.Fatal(err)
	}
	r.run = Run{Folder: e.Folder.RunFolder, ID: "export-run"}
	return e
}

func since(earlier string, r *rig) func(*migration.Export) {
	return func(e *migration.Export) {
		_, e.Since = migration.ExportOf(r.spec.Folder.Work(), store.Join(r.spec.OutputDir, earlier))
	}
}

func (r *rig) beginExport() ExportBegun { return must[ExportBegun](r, r.acts.BeginExport, r.run) }

func (r *rig) readPages(pass string) (p ExportPages) {
	r.t.Helper()
	for !p.Done {
		p = must[ExportPages](r, r.acts.ReadExportPages, ExportPagesInput{Run: r.run, Pass: pass})
	}
	return p
}

func (r *rig) reconcile(round int) ExportReconciled {
	r.t.Helper()
	r.readPages(PassListed(round))
	return must[ExportReconciled](r, r.acts.ReconcileExport, ExportReconcileInput{Run: r.run, Round: round})
}

func (r *rig) publish() migration.ExportSummary {
	r.t.Helper()
	return must[migration.ExportSummary](r, r.acts.PublishExport, ExportPublishInput{Run: r.run, Round: 1, FinishedAt: now.Add(time.Hour)})
}

// readExport reads all that an export has before it lists the records.
func (r *rig) readExport() {
	r.t.Helper()
	if r.beginExport().All {
		r.readPages(PassAll)
	}
	must[ExportCut](r, r.acts.CutExport, r.run)
	r.readPages(PassChanged)
}

// exportAll does all of an export.
func (r *rig) exportAll() migration.ExportSummary {
	r.t.Helper()
	r.readExport()
	r.reconcile(1)
	return r.publish()
}

// exported are the rows of a file of the output folder, by email; unpacked.
func (r *rig) exported(name string) map[string][]string {
	r.t.Helper()
	data, err := store.Read(store.Join(r.spec.OutputDir, name))
	noError(r.t, err)
	var reader io.Reader = bytes.NewReader(data)
	if path.Ext(name) == ".gz" {
		reader, err = gzip.NewReader(reader)
		noError(r.t, err)
	}
	rows, err := csv.NewReader(reader).ReadAll()
	noError(r.t, err)
	all := map[string][]string{}
	for _, row := range rows[1:] {
		if _, twice := all[row[1]]; twice {
			r.t.Errorf("%s is in the file twice", row[1])
		}
		all[row[1]] = row
	}
	return all
}

// wantExported compares the emails, a1 to an without some.
func wantExported(t *testing.T, got map[string][]string, n int, without ...int) {
	t.Helper()
	for i := 1; i <= n; i++ {
		email := fmt.Sprintf("a%d@example.com", i)
		if _, ok := got[email]; ok == slices.Contains(without, i) {
			t.Errorf("%s is in the file: %v", email, ok)
		}
	}
	if want := n - len(without); len(got) != want {
		t.Errorf("the file has %d records, want %d", len(got), want)
	}
}

func (r *rig) remove(email string) {
	r.t.Helper()
	noError(r.t, r.client().Delete(r.t.Context(), by(email)))
}

func TestAnExportHasEachUserOnceWhateverHappensMeanwhile(t *testing.T) {
	r := toExport(t, 11, nil)
	begun := r.beginExport()
	if !begun.All || begun.Records != 11 || len(begun.NotShown) > 0 {
		t.Errorf("it begins with %+v", begun)
	}
	r.selecting = func(_ int, page target.Page) error {
		if page.After == "4" {
			r.selecting = nil
			r.edit("a1@example.com", `{"givenName":"changed behind the pages"}`)
			r.remove("a2@example.com") // behind them
			r.remove("a9@example.com") // before them
			r.people(12, 12)
		}
		return nil
	}
	if p := r.readPages(PassAll); p.Records != 11 {
		t.Errorf("%+v, want the 11 that are left", p)
	}
	r.edit("a3@example.com", `{"givenName":"changed after the pages"}`)
	r.people(13, 13)
	must[ExportCut](r, r.acts.CutExport, r.run)
	r.readPages(PassChanged)
	r.edit("a4@example.com", `{"givenName":"changed after all"}`)
	r.remove("a5@example.com")
	r.people(14, 14)
	found := r.reconcile(1)
	if found.Listed != 11 || found.Read != 2 || found.Gone != 2 || found.Unlisted != 0 || found.Counted == nil || *found.Counted != 11 {
		t.Errorf("it is reconciled: %+v", found)
	}
	expect(t, "reconciled again", r.reconcile(1), found)
	s := r.publish()
	if s.Records != 11 || s.Deleted != 2 || s.ExitCode() != 0 || s.NotShown != nil || len(s.SHA256) != 64 {
		t.Errorf("%+v", s)
	}
	rows := r.exported("users.csv")
	wantExported(t, rows, 14, 2, 5, 9)
	for email, name := range map[string]string{"a1": "changed behind the pages", "a3": "changed after the pages", "a4": "changed after all", "a6": "Name, 6", "a14": "Name, 14"} {
		row := rows[email+"@example.com"]
		if row[2] != name || row[0] != r.entity(email + "@example.com")["uuid"] || !strings.Contains(row[3], `"value":"hash `) || row[4] != "" {
			t.Errorf("the row of %s is %q, want %q", email, row, name)
		}
	}
	if got := r.output("users.csv"); !strings.HasPrefix(got, "uuid,email,givenName,password,photos\n") {
		t.Errorf("the header is %.60q", got)
	}
	if file := r.output("users.csv.json"); !strings.Contains(file, s.SHA256) {
		t.Errorf("the summary file is %s", file)
	}
	expect(t, "published again", r.publish(), s)
	if names, err := store.List(r.run.Folder.Export().Pages("")); err != nil || len(names) > 0 {
		t.Errorf("what was read is still kept: %q, %v", names, err)
	}
}

// TestAnExportResumesAfterItsLastPage: the worker is stopped at every page in turn, and the next one is in another process.
func TestAnExportResumesAfterItsLastPage(t *testing.T) {
	r := toExport(t, 30, nil)
	r.beginExport()
	var pages []string // cursors of the pages that were given
	for n := 1; ; n++ {
		stop, reads := make(chan struct{}), 0
		r.selecting = func(_ int, page target.Page) error {
			if reads++; reads == 2 {
				close(stop)
				return errors.New("cut off")
			}
			pages = append(pages, page.After)
			return nil
		}
		p, err := run[ExportPages](r, worker.Options{}, stop, r.acts.ReadExportPages, ExportPagesInput{Run: r.run, Pass: PassAll})
		if p.Done {
			break
		}
		expectType(t, err, Unbegun, false)
		r.acts.Close()
		r.restart()
		if n > 9 {
			t.Fatalf("the pages %q were read, and it is not done", pages)
		}
	}
	if want := []string{"", "4", "8", "12", "16", "20", "24", "28", "30"}; !slices.Equal(pages, want) {
		t.Errorf("the pages %q were read, want %q", pages, want)
	}
	r.selecting = nil
	must[ExportCut](r, r.acts.CutExport, r.run)
	r.readPages(PassChanged)
	r.reconcile(1)
	r.publish()
	wantExported(t, r.exported("users.csv"), 30)
}

// TestAComparisonResumesAfterItsLastPage: many records came after the passes, and many are gone; the worker is stopped among
// those that are looked up.
func TestAComparisonResumesAfterItsLastPage(t *testing.T) {
	r := toExport(t, 3, nil)
	r.readExport()
	const late = 2*idsAPage + 10
	r.people(4, 3+late)
	r.remove("a2@example.com")
	r.readPages(PassListed(1))
	calls, calls1, stop := 0, (late+r.client().Traits().FindKeys-1)/r.client().Traits().FindKeys+1, make(chan struct{})
	r.findEntities = func() error {
		if calls++; calls == calls1 {
			close(stop)
			return errors.New("cut off")
		}
		return nil
	}
	in := ExportReconcileInput{Run: r.run, Round: 1}
	_, err := run[ExportReconciled](r, worker.Options{}, stop, r.acts.ReconcileExport, in)
	expectType(t, err, Unbegun, false)
	r.acts.Close()
	r.restart()
	found := must[ExportReconciled](r, r.acts.ReconcileExport, in)
	if found.Listed != late+2 || found.Read != late || found.Gone != 1 || found.Unlisted != 0 {
		t.Errorf("it is reconciled: %+v", found)
	}
	if calls != calls1+1 {
		t.Errorf("records were looked up in %d calls, one of them failed; want %d, each page once", calls, calls1+1)
	}
	if s := r.publish(); s.Records != late+2 || s.Deleted != 1 {
		t.Errorf("%+v", s)
	}
	wantExported(t, r.exported("users.csv"), late+3, 2)
}

func TestAnExportReplacesNoFile(t *testing.T) {
	r := toExport(t, 5, nil)
	r.readExport()
	r.reconcile(1)
	output := store.Join(r.spec.OutputDir, "users.csv")
	publish := func() error {
		_, err := run[migration.ExportSummary](r, worker.Options{}, nil, r.acts.PublishExport, ExportPublishInput{Run: r.run, Round: 1, FinishedAt: now})
		return err
	}
	noError(t, store.Write(output, []byte("somebody else's")))
	expectType(t, publish(), Refused, false, "is not of this export")
	if got := r.output("users.csv"); got != "somebody else's" {
		t.Fatalf("the file is %q", got)
	}
	noError(t, store.Remove(output))

	// Killed after the file had its name: the next attempt finds that it is its own.
	pages := r.files(r.run.Folder.Export().Pages(""))
	noError(t, publish())
	written := r.output("users.csv")
	for name, data := range pages {
		noError(t, store.MkdirAll(store.Dir(name)))
		noError(t, store.Write(name, data))
	}
	summary := store.Join(string(r.run.Folder), "summary.json")
	kept, err := store.Read(summary)
	noError(t, err)
	noError(t, store.Remove(summary))
	noError(t, publish())
	if left := r.files(r.run.Folder.Export().Pages("")); len(left) > 0 {
		t.Errorf("%d files of what was read are left", len(left))
	}
	// Killed after the summary was kept.
	for name, data := range pages {
		noError(t, store.MkdirAll(store.Dir(name)))
		noError(t, store.Write(name, data))
	}
	noError(t, store.Write(summary, kept))
	noError(t, publish())
	if left := r.files(r.run.Folder.Export().Pages("")); len(left) > 0 {
		t.Errorf("%d files of what was read are left", len(left))
	}
	if got := r.output("users.csv"); got != written || len(r.exported("users.csv")) != 5 {
		t.Errorf("the file is\n%s\nwas\n%s", got, written)
	}
}

// files are the files of folders in a folder, by their names.
func (r *rig) files(folder string) map[string][]byte {
	r.t.Helper()
	all := map[string][]byte{}
	folders, err := store.List(folder)
	noError(r.t, err)
	for _, f := range folders {
		names, err := store.List(store.Join(folder, f))
		noError(r.t, err)
		for _, name := range names {
			name = store.Join(folder, f, name)
			all[name], err = store.Read(name)
			noError(r.t, err)
		}
	}
	return all
}

func TestAnExportSinceAnotherHasWhatChangedAndListsWhoWasDeleted(t *testing.T) {
	r := toExport(t, 9, nil)
	r.exportAll()
	uuids := r.uuids()
	r.edit("a2@example.com", `{"givenName":"second"}`)
	r.edit("a3@example.com", `{"givenName":"third"}`)
	r.remove("a3@example.com")
	r.remove("a4@example.com")
	r.people(10, 11)
	r.exportTo("changes.csv.gz", since("users.csv", r))
	s := r.exportAll()
	if s.Records != 3 || s.Deleted != 2 || s.Since != "users.csv" || s.Listed != 9 || s.DeletedFile != "changes.csv.gz.deleted" {
		t.Errorf("%+v", s)
	}
	rows := r.exported("changes.csv.gz")
	if names := slices.Sorted(maps.Keys(rows)); !slices.Equal(names, []string{"a10@example.com", "a11@example.com", "a2@example.com"}) || rows["a2@example.com"][2] != "second" {
		t.Errorf("changed are %q", rows)
	}
	want := fmt.Sprintf("uuid,email\n%s,a3@example.com\n%s,a4@example.com\n", uuids["a3@example.com"], uuids["a4@example.com"])
	if got := r.output(s.DeletedFile); got != want {
		t.Errorf("deleted are\n%swant\n%s", got, want)
	}

	r.edit("a10@example.com", `{"givenName":"tenth"}`)
	r.remove("a11@example.com")
	r.exportTo("more.csv", since("changes.csv.gz", r))
	if s = r.exportAll(); s.Records != 1 || s.Deleted != 1 || r.exported("more.csv")["a10@example.com"][2] != "tenth" {
		t.Errorf("since that one: %+v", s)
	}
	r.exportTo("none.csv", since("more.csv", r))
	if s = r.exportAll(); s.Records != 0 || s.Deleted != 0 || s.Listed != 8 {
		t.Errorf("nothing has changed: %+v", s)
	}
}

func TestAFilterSelectsAndUsersLeaveIt(t *testing.T) {
	filter := func(e *migration.Export) { e.Filter = "familyName = 'Lee' or gender = 'female'" }
	r := toExport(t, 6, filter)
	for _, n := range []string{"a1", "a2", "a3"} {
		r.edit(n+"@example.com", `{"familyName":"Lee"}`)
	}
	r.edit("a5@example.com", `{"gender":"female"}`)
	if s := r.exportAll(); s.Records != 4 || s.Counted == nil || *s.Counted != 4 || s.Listed != 4 {
		t.Errorf("%+v", s)
	}
	wantExported(t, r.exported("users.csv"), 6, 4, 6)
	r.edit("a1@example.com", `{"familyName":"Li"}`)
	r.edit("a4@example.com", `{"familyName":"Lee"}`)
	r.remove("a2@example.com")
	r.exportTo("changes.csv", func(e *migration.Export) {
		filter(e)
		since("users.csv", r)(e)
	})
	if s := r.exportAll(); s.Records != 1 || s.Deleted != 1 || s.Left != 1 || len(r.exported("changes.csv")["a4@example.com"]) == 0 {
		t.Errorf("%+v", s)
	}
}

func TestWhatATargetDoesNotShowIsSaidBeforeAnythingIsRead(t *testing.T) {
	hide := func(names ...string) option {
		return func(_ *rig, o *sandbox.Options) { o.Hide = names }
	}
	r := toExport(t, 3, nil, hide("password"))
	if begun := r.beginExport(); !slices.Equal(begun.NotShown, []string{"password"}) {
		t.Errorf("it begins with %+v", begun)
	}
	if s := r.exportAll(); !slices.Equal(s.NotShown, []string{"password"}) || r.exported("users.csv")["a1@example.com"][3] != "" || !strings.Contains(s.Text(), "without passwords") {
		t.Errorf("%+v", s)
	}
	for says, change := range map[string]func(*migration.Export){
		"did you mean givenName":       func(e *migration.Export) { e.Attributes = []string{"givenNam"} },
		"refuses the filter (api 200)": func(e *migration.Export) { e.Filter = "nobody = 'secret@example.com'" },
		"refuses the filter":           func(e *migration.Export) { e.Filter = "email = 'secret@example.com" },
	} {
		r := toExport(t, 1, change)
		_, err := run[ExportBegun](r, worker.Options{}, nil, r.acts.BeginExport, r.run)
		expectType(t, err, Refused, false, says)
	}
	r = toExport(t, 1, nil, hide("lastUpdated"))
	_, err := run[ExportBegun](r, worker.Options{}, nil, r.acts.BeginExport, r.run)
	expectType(t, err, Refused, false, "the time of their last change")
}

// TestWhatIsCountedAndNotListedIsTold: a search that never shows one of the users.
func TestWhatIsCountedAndNotListedIsTold(t *testing.T) {
	r := toExport(t, 6, nil)
	r.selected = func(all []target.Entity) []target.Entity {
		return slices.DeleteFunc(all, func(e target.Entity) bool { return e.Text("email") == "a3@example.com" })
	}
	s := r.exportAll()
	if s.Records != 5 || s.Unlisted != 1 || s.ExitCode() != migration.ExitUnknown || !strings.Contains(s.Text(), " 1 record that the target counts, and does not list, is not in the file.") {
		t.Errorf("%+v", s)
	}
	// One that the pages have and the list has not is looked up.
	r = toExport(t, 6, nil)
	r.readExport()
	r.selected = func(all []target.Entity) []target.Entity {
		return slices.DeleteFunc(all, func(e target.Entity) bool { return e.Text("email") == "a3@example.com" })
	}
	if found := r.reconcile(1); found.Gone != 0 || found.Listed != 6 || found.Unlisted != 0 {
		t.Errorf("%+v", found)
	}
	if s := r.publish(); s.Records != 6 || s.Deleted != 0 {
		t.Errorf("%+v", s)
	}
}

// TestAPageThatFailsIsReadInSmallerOnes: an answer that is too large, or takes too long.
func TestAPageThatFailsIsReadInSmallerOnes(t *testing.T) {
	r := toExport(t, 300, func(e *migration.Export) { e.PageSize = 0 })
	r.beginExport()
	r.selecting = func(_ int, page target.Page) error {
		if page.Most > 700 {
			return errLost
		}
		return nil
	}
	if p := r.readPages(PassAll); p.Records != 300 {
		t.Errorf("%+v", p)
	}
}

// rivalry is a context in which somebody else takes the name of the output at the last moment.
type rivalry struct {
	context.Context
	roster, output string
}

func (c rivalry) Err() error {
	if there, err := store.Exists(c.roster); there && err == nil { // the output is next
		_ = store.Create(c.output, []byte("somebody else's"))
	}
	return c.Context.Err()
}

func TestAnExportReplacesNoFileThatAppearsWhileItIsPublished(t *testing.T) {
	r := toExport(t, 5, nil)
	r.readExport()
	r.reconcile(1)
	o, err := r.acts.export(r.run)
	noError(t, err)
	output := store.Join(r.spec.OutputDir, "users.csv")
	in := ExportPublishInput{Run: r.run, Round: 1, FinishedAt: now}
	_, err = o.publish(rivalry{t.Context(), o.at().Roster(), output}, in)
	if err == nil || !strings.Contains(err.Error(), "users.csv exists, and is not of this export, whose users are kept in "+o.folder.Path()) {
		t.Errorf("%v; want that the file is not of this export", err)
	}
	if got := r.output("users.csv"); got != "somebody else's" {
		t.Errorf("the file is %q", got)
	}
	noError(t, store.Remove(output))
	if s := r.publish(); s.Records != 5 || len(r.exported("users.csv")) != 5 {
		t.Errorf("once it is moved away: %+v", s)
	}
}

func TestAnExportThatHasEndedReadsNothingMore(t *testing.T) {
	r := toExport(t, 60, func(e *migration.Export) { e.PageSize = 1 })
	folder := r.run.Folder.Export()
	r.beginExport()
	pages := must[ExportPages](r, r.acts.ReadExportPages, ExportPagesInput{Run: r.run, Pass: PassAll})
	if pages.Done || pages.Pages != 10 || pages.Records != 10 {
		t.Errorf("%+v; want ten pages of one record", pages)
	}
	stopped := migration.Failure{At: now, Stopped: true}
	must[struct{}](r, r.acts.EndExport, ExportEndInput{Run: r.run, Failure: stopped})
	if kept, err := folder.Failure(); err != nil || !kept.Stopped || !kept.At.Equal(now) {
		t.Errorf("kept is %+v, %v", kept, err)
	}
	if err := asked(r, "ReadExportPages", ExportPagesInput{Run: r.run, Pass: PassAll}); err == nil || !strings.Contains(err.Error(), "the run is over") {
		t.Errorf("a late worker: %v; want that the run is over", err)
	}
	r.run.ID = "resumed"
	r.beginExport()
	if _, err := folder.Failure(); !errors.Is(err, migration.ErrAbsent) {
		t.Errorf("the failure of the run before is %v", err)
	}
	if pages := must[ExportPages](r, r.acts.ReadExportPages, ExportPagesInput{Run: r.run, Pass: PassAll}); pages.Pages != 20 {
		t.Errorf("resumed: %+v; want twenty pages", pages)
	}
	must[struct{}](r, r.acts.EndExport, ExportEndInput{Run: r.run, Failure: stopped, Cancelled: true})
	if has, err := store.HasFolder(folder.Pages(PassAll)); has || err != nil || !folder.Cancelled() {
		t.Errorf("pages are left: %t, %v; it is cancelled: %t", has, err, folder.Cancelled())
	}
}

// Its pages are gone: the file would have no records.
func TestAnExportThatIsCancelledBesideItsRunWritesNoFile(t *testing.T) {
	r := toExport(t, 5, nil)
	r.readExport()
	r.reconcile(1)
	noError(t, r.run.Folder.Export().Cancel())
	isRefused(t, "its file", asked(r, "PublishExport", ExportPublishInput{Run: r.run, Round: 1, FinishedAt: now}), "cancelled for good")
	if files := r.outputs(); len(files) > 0 {
		t.Errorf("it has written %v", files)
	}
}
