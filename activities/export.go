package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/export"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// An export reads pages of records, by their ids, in passes over the target:
//
//   - all, the records of the target; an export since an earlier one does not have it;
//   - changed, those that were changed since the export, or the earlier one, began;
//   - listed, the ids and versions of all records in the end. It finds what was deleted, and what the other
//     passes do not have in this version, which is then looked up by id.
//
// A page is a file in the folder, created once, with the cursor of the next one: so a pass resumes after its last
// page, whatever was killed, and of two workers that read the same page one wins. The file for the user is made of
// these pages in the end.

// The passes of an export.
const (
	PassAll     = "all"
	PassChanged = "changed"
)

// PassListed is the pass that lists the records, in a round of it.
func PassListed(round int) string { return fmt.Sprintf("listed-%d", round) }

// exportOverlap is how much earlier than a time by the clock of the Date header changes are read: it covers the
// difference to the clock that stamps records.
const exportOverlap = 15 * time.Minute

// exportRun is a run that exports records.
type exportRun struct {
	*core
	export   migration.Export
	exporter target.Exporter
}

func (a *Activities) export(run Run) (*exportRun, error) { return openAs[*exportRun](a, run) }

func (a *Activities) openExport(run Run, e migration.Export) (*exportRun, error) {
	if !e.Since.IsZero() {
		if err := a.takes(e.Since.RunFolder); err != nil {
			return nil, err
		}
	}
	start, err := run.Folder.Start()
	if err != nil {
		return nil, err
	}
	c, err := a.openCore(run, e.Connection(), start)
	if err != nil {
		return nil, err
	}
	exporter, ok := c.target.(target.Exporter)
	if !ok {
		return nil, refused(fmt.Errorf("records of the target %s cannot be exported", c.traits.Name))
	}
	return &exportRun{core: c, export: e, exporter: exporter}, nil
}

func (o *exportRun) at() migration.ExportFolder { return o.folder.Export() }

// ExportBegun is what is known of an export before the first record is read.
type ExportBegun struct {
	All     bool          `json:"all,omitempty"` // it has the pass over all records
	Lag     time.Duration `json:"lag,omitempty"`
	Records int64         `json:"records,omitempty"` // by the target's count; 0: not known
	// NotShown are the columns of passwords of which the target shows no hashes.
	NotShown []string `json:"not_shown,omitempty"`
}

// exportPlan is what the begin of an export has fixed, for all of its runs.
type exportPlan struct {
	At       time.Time       `json:"at"`    // of the begin, by the target's clock
	Since    time.Time       `json:"since"` // from when on changes are read
	Columns  []export.Column `json:"columns"`
	Key      string          `json:"key,omitempty"` // top-level attribute that has the key; "" where there is none
	NotShown []string        `json:"not_shown,omitempty"`
}

const (
	exportPlanFile = "plan.json"
	exportCutFile  = "cut.json"
)

func (o *exportRun) plan() (exportPlan, error) {
	return migration.Marked[exportPlan](o.at(), exportPlanFile)
}

// BeginExport fixes the columns and the begin of an export, once, and tries what the passes need. It fails with Refused
// where the target does not take the selection. Nothing of the filter is in its errors.
func (a *Activities) BeginExport(ctx context.Context, run Run) (ExportBegun, error) {
	return onRun(ctx, a.export, run, func(o *exportRun, ctx context.Context, _ Run) (ExportBegun, error) { return o.begin(ctx) }, run)
}

func (o *exportRun) begin(ctx context.Context) (begun ExportBegun, err error) {
	if err := o.notCancelled(); err != nil {
		return begun, err
	}
	plan, err := o.plan()
	if errors.Is(err, migration.ErrAbsent) {
		plan, err = o.makePlan(ctx)
	}
	if err == nil {
		err = o.folder.DropFailure()
	}
	if err != nil {
		return begun, err
	}
	begun = ExportBegun{All: o.export.Since.IsZero(), Lag: o.export.Lag, NotShown: plan.NotShown}
	counted, err := o.count(ctx, time.Time{})
	if counted != nil {
		begun.Records = *counted
	}
	return begun, err
}

// notCancelled fails for an export that was cancelled for good, perhaps while this run began. Then its pages are gone.
func (o *exportRun) notCancelled() error {
	if o.folder.Cancelled() {
		return refused(errors.New("the export was cancelled for good"))
	}
	return nil
}

func (o *exportRun) makePlan(ctx context.Context) (plan exportPlan, err error) {
	calls := o.caller(0)
	var schema target.Schema
	err = calls.read(ctx, func(ctx context.Context) (err error) {
		schema, err = o.target.Schema(ctx)
		return err
	})
	if target.Is(err, target.Forbidden) {
		schema, err = target.Schema{}, nil
	}
	if err != nil {
		return plan, unreachable(err)
	}
	if plan.Columns, err = export.Columns(schema, o.exporter.IDAttribute(), o.export.Attributes); err != nil {
		return plan, refused(err)
	}
	if root, _, _ := strings.Cut(o.traits.DefaultKey, "."); slices.Contains(export.Roots(plan.Columns), root) || has(schema, o.traits.DefaultKey) {
		plan.Key = root
	}
	plan.At = o.targetTime(time.Now())
	plan.Since = plan.At.Add(-exportOverlap)
	if !o.export.Since.IsZero() {
		earlier, err := o.export.Since.Summary()
		if err != nil {
			return plan, err
		}
		plan.Since = earlier.AsOf.Add(-exportOverlap)
	}
	if err := o.trySelection(ctx, calls, plan); err != nil {
		return plan, err
	}
	for _, column := range export.Passwords(plan.Columns) {
		var shows bool
		if err := calls.read(ctx, func(ctx context.Context) (err error) {
			shows, err = o.exporter.Shows(ctx, o.selection(nil), column)
			return err
		}); err != nil {
			return plan, unreachable(err)
		}
		if !shows {
			plan.NotShown = append(plan.NotShown, column)
		}
	}
	return migration.Mark(o.at(), exportPlanFile, plan)
}

// trySelection reads a record as the pass over what was changed does.
func (o *exportRun) trySelection(ctx context.Context, calls *caller, plan exportPlan) error {
	err := calls.read(ctx, func(ctx context.Context) error {
		_, _, err := o.exporter.Select(ctx, o.selection(export.Roots(plan.Columns)), target.Page{Since: plan.Since, Stamp: target.Updated, Most: 1})
		return err
	})
	_, isRefused := target.Refusal(err)
	switch {
	case target.Is(err, target.Forbidden):
		return refused(fmt.Errorf("the client may not search records (%w); give it the right to view them", err))
	case isRefused && o.export.Filter != "":
		var e *target.Error
		errors.As(err, &e)
		return refused(fmt.Errorf("the target refuses the filter (%s); check --filter: names of attributes as in the schema, texts in single quotes", e.Reason))
	case isRefused:
		return refused(fmt.Errorf("the target does not select records by the time of their last change (%w); an export needs a client that may see all system attributes", err))
	}
	return unreachable(err)
}

// targetTime is a time of ours by the clock of the target's Date header, as far as that is known.
func (o *exportRun) targetTime(t time.Time) time.Time {
	if skew := o.clock.Skew(); skew != nil {
		t = t.Add(skew.Low)
	}
	return t.UTC().Truncate(time.Second)
}

func (o *exportRun) selection(attributes []string) target.Selection {
	return target.Selection{Filter: o.export.Filter, Attributes: attributes}
}

// count counts the records that were created before a time; nil if the target does not tell.
func (o *exportRun) count(ctx context.Context, before time.Time) (*int64, error) {
	var n int64
	err := o.caller(0).read(ctx, func(ctx context.Context) (err error) {
		n, err = o.exporter.CountSelected(ctx, o.selection(nil), before)
		return err
	})
	if _, isRefused := target.Refusal(err); isRefused || target.Is(err, target.Forbidden) {
		return nil, nil
	}
	if err != nil {
		return nil, unreachable(err)
	}
	return &n, nil
}

// exportPage is a page of a pass, as it is kept.
type exportPage struct {
	Next    string      `json:"next,omitempty"` // cursor of the next page; "" after the last one
	Records int         `json:"records"`        // in all pages up to this one
	Rows    []exportRow `json:"rows"`

	// A page of records that were looked up by id has those as well that do not exist, and those that do not fit the
	// filter any more. Ids, folded. Missed says that the search has not listed any of the page.
	Gone   []string `json:"gone,omitempty"`
	Left   []string `json:"left,omitempty"`
	Missed bool     `json:"missed,omitempty"`
}

// exportRow is a record of a page.
type exportRow struct {
	ID      string    `json:"id"`
	Key     string    `json:"key,omitempty"`
	Version string    `json:"version,omitempty"`
	Created time.Time `json:"created,omitzero"`
	Line    string    `json:"line,omitempty"` // of the file; none in the pass that lists
}

// row makes a row of a record; without columns it has no line.
func (o *exportRun) row(e target.Entity, columns []export.Column) (exportRow, error) {
	row := exportRow{ID: e.ID, Key: e.Text(o.traits.DefaultKey), Version: e.Version, Created: e.Created.Earliest}
	if columns == nil {
		return row, nil
	}
	line, err := export.Row(columns, e.Attributes)
	if err != nil {
		return row, fmt.Errorf("a record of the target cannot be written: %T", err) // whose text may quote the record
	}
	row.Line = string(line)
	return row, nil
}

// ExportPagesInput asks for the next pages of a pass.
type ExportPagesInput struct {
	Run  `json:"run"`
	Pass string `json:"pass"`
}

// ExportPages is how far a pass is.
type ExportPages struct {
	Pages   int  `json:"pages,omitempty"`
	Records int  `json:"records"` // on them
	Done    bool `json:"done"`
}

// pagesARead is how many pages one activity reads, so that the workflow can show the progress.
const pagesARead = 10

// ReadExportPages reads the next pages of a pass. Run again, it resumes after the last page that was written down.
func (a *Activities) ReadExportPages(ctx context.Context, in ExportPagesInput) (ExportPages, error) {
	return onRun(ctx, a.export, in.Run, (*exportRun).readPages, in)
}

func (o *exportRun) readPages(ctx context.Context, in ExportPagesInput) (ExportPages, error) {
	if s, err := o.at().Summary(); !errors.Is(err, migration.ErrAbsent) { // the export is over, and its pages are gone
		return ExportPages{Records: s.Records, Done: true}, err
	}
	n, last, err := o.lastPage(in.Pass)
	if err != nil || n > 0 && last.Next == "" {
		return ExportPages{Pages: n, Records: last.Records, Done: n > 0}, err
	}
	plan, err := o.plan()
	if err != nil {
		return ExportPages{}, err
	}
	page := target.Page{Stamp: target.Updated, Most: o.traits.MaxPage}
	if o.export.PageSize > 0 {
		page.Most = min(page.Most, o.export.PageSize)
	}
	columns, attributes := plan.Columns, export.Roots(plan.Columns)
	switch in.Pass {
	case PassChanged:
		page.Since = plan.Since
	case PassAll:
	default:
		columns, attributes = nil, []string{}
	}
	if plan.Key != "" {
		attributes = append(attributes, plan.Key)
	}
	if len(o.export.Attributes) == 0 && columns != nil {
		attributes = nil
	}
	calls := o.caller(0)
	for range pagesARead {
		page.After = last.Next
		next := exportPage{Records: last.Records}
		if next.Rows, next.Next, err = o.readPage(ctx, calls, o.selection(attributes), &page, columns); err != nil {
			return ExportPages{}, unreachable(err)
		}
		next.Records += len(next.Rows)
		n++
		if last, err = o.createPage(in.Pass, n, next); err != nil || last.Next == "" {
			break
		}
	}
	return ExportPages{Pages: n, Records: last.Records, Done: err == nil && last.Next == ""}, err
}

func has(s target.Schema, path string) bool {
	_, ok := s.At(path)
	return ok
}

// readPage reads a page. One that fails is asked for again with half as many records, since large ones can take too long.
func (o *exportRun) readPage(ctx context.Context, calls *caller, s target.Selection, page *target.Page, columns []export.Column) (rows []exportRow, next string, err error) {
	var entities []target.Entity
	err = calls.read(ctx, func(ctx context.Context) (err error) {
		entities, next, err = o.exporter.Select(ctx, s, *page)
		if err != nil && page.Most > leastOfAPage {
			page.Most = max(page.Most/2, leastOfAPage)
		}
		return err
	})
	if err != nil {
		return nil, "", err
	}
	rows = make([]exportRow, len(entities))
	for i, e := range entities {
		if rows[i], err = o.row(e, columns); err != nil {
			return nil, "", err
		}
	}
	return rows, next, nil
}

func (o *exportRun) pageName(pass string, n int) string {
	return store.Join(o.at().Pages(pass), fmt.Sprintf("%08d.json", n))
}

// lastPage is the last page of a pass that was written down, and its number; 0 if there is none.
func (o *exportRun) lastPage(pass string) (n int, p exportPage, err error) {
	names, err := store.List(o.at().Pages(pass))
	if err != nil || len(names) == 0 {
		return 0, p, err
	}
	p, err = o.page(pass, len(names))
	return len(names), p, err
}

func (o *exportRun) page(pass string, n int) (p exportPage, err error) {
	name := o.pageName(pass, n)
	data, err := store.Read(name)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(data, &p); err != nil {
		return p, fmt.Errorf("%s %w; remove the folder %s, and rerun the command to begin again", name, migration.ErrDamaged, o.folder)
	}
	return p, nil
}

// createPage writes a page down, unless it is there, and gives the one that holds. It fails once the run is over.
func (o *exportRun) createPage(pass string, n int, p exportPage) (exportPage, error) {
	if err := o.notSealed(); err != nil {
		return p, err
	}
	data, err := json.Marshal(p)
	if err != nil {
		return p, err
	}
	if err := store.MkdirAll(o.at().Pages(pass)); err != nil {
		return p, err
	}
	err = store.Create(o.pageName(pass, n), data)
	if errors.Is(err, store.ErrExists) {
		return o.page(pass, n)
	}
	return p, err
}

// eachPage visits all pages of a pass, in order.
func (o *exportRun) eachPage(ctx context.Context, pass string, visit func(exportPage) error) error {
	names, err := store.List(o.at().Pages(pass))
	if err != nil {
		return err
	}
	return store.ForEachOrdered(ctx, o.folder.Path(), len(names), func(_ context.Context, i int) (exportPage, error) {
		return o.page(pass, i+1)
	}, visit)
}

// eachRow visits the rows of all pages of a pass, in order.
func (o *exportRun) eachRow(ctx context.Context, pass string, visit func(exportRow) error) error {
	return o.eachPage(ctx, pass, func(p exportPage) error {
		for _, row := range p.Rows {
			if err := visit(row); err != nil {
				return err
			}
		}
		return nil
	})
}

// ExportCut is the time of which an export has every record.
type ExportCut struct {
	At   time.Time `json:"at"`    // by the clock of a worker
	AsOf time.Time `json:"as_of"` // by the target's
}

// CutExport decides that time, once: now. What was changed before it is visible after the lag.
func (a *Activities) CutExport(ctx context.Context, run Run) (ExportCut, error) {
	return onRun(ctx, a.export, run, func(o *exportRun, _ context.Context, _ Run) (ExportCut, error) {
		now := time.Now().UTC()
		return migration.Mark(o.at(), exportCutFile, ExportCut{At: now, AsOf: o.targetTime(now)})
	}, run)
}

// findAll reads records by their ids. Unlike caller.find it fails where the target shows nothing for any reason: what it
// does not find is gone.
func (o *exportRun) findAll(ctx context.Context, ids []string) (map[string]target.Entity, error) {
	calls := o.caller(0)
	found := map[string]target.Entity{}
	for some := range slices.Chunk(ids, o.traits.FindKeys) {
		err := calls.read(ctx, func(ctx context.Context) error {
			entities, err := o.target.Find(ctx, target.ByID, some)
			for _, e := range entities {
				found[target.FoldID(e.ID)] = e
			}
			return err
		})
		if err != nil {
			return nil, unreachable(err)
		}
	}
	return found, nil
}

// ExportEndInput is why a run of an export has no file.
type ExportEndInput struct {
	Run       `json:"run"`
	Failure   migration.Failure `json:"failure"`
	Cancelled bool              `json:"cancelled,omitempty"` // for good
}

// EndExport ends a run without a file: a late worker writes nothing any more. It keeps the reason, for status; or, of an export
// that was cancelled for good, only that, and removes what was read.
func (a *Activities) EndExport(ctx context.Context, in ExportEndInput) error {
	ctx, done := restartable(ctx)
	defer done()
	folder := in.Run.Folder.Export()
	err := folder.Seal(in.Run.ID)
	if err == nil && in.Cancelled {
		err = folder.Cancel()
	} else if err == nil {
		err = folder.SaveFailure(in.Failure)
	}
	return ended(ctx, err)
}
