package activities

import (
	"cmp"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/export"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// ExportReconcileInput names a pass that has listed the records.
type ExportReconcileInput struct {
	Run   `json:"run"`
	Round int `json:"round"`
}

// ExportReconciled is what the pass has shown.
type ExportReconciled struct {
	Listed   int    `json:"listed"`
	Counted  *int64 `json:"counted,omitempty"`  // of those that were created before the export, nil if the target does not tell
	Unlisted int64  `json:"unlisted,omitempty"` // how many more were counted than listed
	Read     int    `json:"read,omitempty"`     // records that were looked up because no other pass had them as listed
	Gone     int    `json:"gone,omitempty"`
}

func foundPass(round int) string      { return fmt.Sprintf("found-%d", round) }
func reconciledFile(round int) string { return fmt.Sprintf("reconciled-%d.json", round) }

// ReconcileExport compares what was read with the list of all records: it looks up those of which no pass has the listed
// version, and those that are not listed. It compares the list with the target's count. What was looked up is written down
// page by page, so that another attempt resumes there. Run again after that, it returns the same.
func (a *Activities) ReconcileExport(ctx context.Context, in ExportReconcileInput) (ExportReconciled, error) {
	return onRun(ctx, a.export, in.Run, (*exportRun).reconcile, in)
}

func (o *exportRun) reconcile(ctx context.Context, in ExportReconcileInput) (r ExportReconciled, err error) {
	if done, err := migration.Marked[ExportReconciled](o.at(), reconciledFile(in.Round)); !errors.Is(err, migration.ErrAbsent) {
		return done, err
	}
	plan, err := o.plan()
	if err != nil {
		return r, err
	}
	cut, err := migration.Marked[ExportCut](o.at(), exportCutFile)
	if err != nil {
		return r, err
	}
	d, err := o.differences(ctx, in.Round, cut.AsOf.Add(-exportOverlap))
	if err != nil {
		return r, err
	}
	r.Listed, r.Read = d.listed, len(d.stale)
	if err := o.lookUpAll(ctx, in.Round, d, plan.Columns); err != nil {
		return r, err
	}
	if err := o.eachPage(ctx, foundPass(in.Round), func(p exportPage) error {
		r.Gone += len(p.Gone)
		if p.Missed { // by the search
			r.Listed += len(p.Rows)
			d.early += len(p.Rows)
		}
		return nil
	}); err != nil {
		return r, err
	}
	if r.Counted, err = o.count(ctx, cut.AsOf.Add(-exportOverlap)); err != nil {
		return r, err
	}
	if r.Counted != nil {
		r.Unlisted = max(0, *r.Counted-int64(d.early))
	}
	return migration.Mark(o.at(), reconciledFile(in.Round), r)
}

// idsAPage is how many records are looked up for a page.
const idsAPage = 500

// lookUpAll looks up the records that differ, in pages: first those that are listed, then the others.
func (o *exportRun) lookUpAll(ctx context.Context, round int, d differences, columns []export.Column) error {
	pass := foundPass(round)
	done, _, err := o.lastPage(pass)
	if err != nil {
		return err
	}
	n := 0
	for _, some := range []struct {
		ids    []string
		missed bool
	}{{d.stale, false}, {d.unlisted, true}} {
		for ids := range slices.Chunk(some.ids, idsAPage) {
			if n++; n <= done {
				continue
			}
			page, err := o.lookUp(ctx, ids, some.missed, columns)
			if err == nil {
				_, err = o.createPage(pass, n, page)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// lookUp makes a page of the records with these ids. missed says that the search has not listed them.
func (o *exportRun) lookUp(ctx context.Context, ids []string, missed bool, columns []export.Column) (exportPage, error) {
	page := exportPage{Missed: missed}
	found, err := o.findAll(ctx, ids)
	if err != nil {
		return page, err
	}
	for _, id := range ids {
		id = target.FoldID(id)
		e, exists := found[id]
		switch {
		case !exists:
			page.Gone = append(page.Gone, id)
			continue
		case missed && o.export.Filter != "":
			page.Left = append(page.Left, id)
			continue
		}
		row, err := o.row(e, columns)
		if err != nil {
			return page, err
		}
		page.Rows = append(page.Rows, row)
	}
	return page, nil
}

// differences are those between what is known and what is listed.
type differences struct {
	listed, early int      // records that are listed; of them, those that were created before a time
	stale         []string // ids of listed records that are not known in the listed version
	unlisted      []string // ids of known records that are not listed
}

func (o *exportRun) differences(ctx context.Context, round int, early time.Time) (d differences, err error) {
	var versions, ids hashes
	versionOf := func(row exportRow) string { return target.FoldID(row.ID) + "\n" + row.Version }
	err = o.eachKnown(ctx, func(row exportRow) error {
		versions.add(versionOf(row))
		return nil
	})
	if err != nil {
		return d, err
	}
	err = o.eachRow(ctx, PassListed(round), func(row exportRow) error {
		ids.add(target.FoldID(row.ID))
		d.listed++
		if row.Created.Before(early) {
			d.early++
		}
		if !versions.has(versionOf(row)) {
			d.stale = append(d.stale, row.ID)
		}
		return nil
	})
	if err != nil {
		return d, err
	}
	seen := map[string]bool{}
	return d, o.eachKnown(ctx, func(row exportRow) error {
		if id := target.FoldID(row.ID); !ids.has(id) && !seen[id] {
			seen[id] = true
			d.unlisted = append(d.unlisted, row.ID)
		}
		return nil
	})
}

// eachKnown visits the records that are known without the list: those of the passes and, of an export since an earlier one,
// those that the earlier one had.
func (o *exportRun) eachKnown(ctx context.Context, visit func(exportRow) error) error {
	err := o.eachEarlier(ctx, visit)
	if err == nil {
		err = o.eachRow(ctx, PassChanged, visit)
	}
	return err
}

// eachEarlier visits the records that are overridden by later ones.
func (o *exportRun) eachEarlier(ctx context.Context, visit func(exportRow) error) error {
	if o.export.Since.IsZero() {
		return o.eachRow(ctx, PassAll, visit)
	}
	return eachOfRoster(ctx, o.export.Since.Roster(), visit)
}

// eachOfRoster visits the records of a roster. They have no lines.
func eachOfRoster(ctx context.Context, path string, visit func(exportRow) error) error {
	file, err := store.Stream(ctx, path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	rows := csv.NewReader(file)
	rows.ReuseRecord, rows.FieldsPerRecord = true, 3
	for n := 0; ; n++ {
		cells, err := rows.Read()
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case errors.As(err, new(*csv.ParseError)), errors.Is(err, io.EOF):
			return fmt.Errorf("%s %w; without it only a new export of all records is possible", path, migration.ErrDamaged)
		case err != nil:
			return err
		case n == 0:
			continue // the header
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err := visit(exportRow{ID: strings.Clone(cells[0]), Key: strings.Clone(cells[1]), Version: strings.Clone(cells[2])}); err != nil {
			return err
		}
	}
}

// ExportPublishInput asks for the file.
type ExportPublishInput struct {
	Run        `json:"run"`
	Round      int       `json:"round"` // of the list that counts
	FinishedAt time.Time `json:"finished_at"`
}

// PublishExport makes the file of what was read, and gives it its name, after the files beside it have theirs. It replaces no
// file, also none that appears during an upload.
func (a *Activities) PublishExport(ctx context.Context, in ExportPublishInput) (migration.ExportSummary, error) {
	return onRun(ctx, a.export, in.Run, (*exportRun).publish, in)
}

func (o *exportRun) publish(ctx context.Context, in ExportPublishInput) (s migration.ExportSummary, err error) {
	if s, err = o.at().Summary(); err == nil {
		return s, o.at().SaveSummary(s) // an attempt that was killed may have left what was read
	} else if !errors.Is(err, migration.ErrAbsent) {
		return s, err
	}
	plan, err := o.plan()
	if err != nil {
		return s, err
	}
	p := &publishing{exportRun: o, gone: map[string]bool{}, filtered: map[string]bool{}}
	defer p.discard()
	if err := o.eachPage(ctx, foundPass(in.Round), p.leaveOut); err != nil {
		return s, err
	}
	if p.later, err = o.readLater(ctx, foundPass(in.Round)); err != nil {
		return s, err
	}
	if err := p.create(plan); err != nil {
		return s, err
	}
	if err := p.write(ctx); err != nil {
		return s, err
	}
	if s, err = p.summary(plan, in); err != nil {
		return s, err
	}
	return s, p.commit(ctx, s)
}

// publishing is the making of the files of an export.
type publishing struct {
	*exportRun
	gone, filtered map[string]bool // records that are left out, by folded id: see exportPage.Gone and Left
	later          *laterRows

	output, roster *store.Writer
	deletedFile    *store.Writer // nil for an export of all records
	digest         hash.Hash     // of output
	packed         *gzip.Writer  // nil if it is not compressed
	lines          io.Writer

	records, deleted, left int
}

func (p *publishing) leaveOut(page exportPage) error {
	for _, id := range page.Gone {
		p.gone[id] = true
	}
	for _, id := range page.Left {
		p.filtered[id] = true
	}
	return nil
}

func (p *publishing) create(plan exportPlan) (err error) {
	if p.output, err = store.NewWriter(p.export.Output); err != nil {
		return err
	}
	if p.roster, err = store.NewWriter(p.at().Roster()); err != nil {
		return err
	}
	if !p.export.Since.IsZero() {
		if p.deletedFile, err = store.NewWriter(p.export.DeletedFile()); err != nil {
			return err
		}
		if err := writeLine(p.deletedFile, p.exporter.IDAttribute(), p.traits.DefaultKey); err != nil {
			return err
		}
	}
	p.digest = sha256.New()
	p.lines = io.MultiWriter(p.output, p.digest)
	if strings.HasSuffix(strings.ToLower(store.Base(p.export.Output)), ".gz") {
		p.packed = gzip.NewWriter(p.lines)
		p.lines = p.packed
	}
	if err := writeLine(p.roster, "id", "key", "version"); err != nil {
		return err
	}
	return writeLine(p.lines, export.Names(plan.Columns)...)
}

func writeLine(w io.Writer, cells ...string) error {
	line, err := export.Line(cells)
	if err == nil {
		_, err = w.Write(line)
	}
	return err
}

// write writes all records: each once, in its last version.
func (p *publishing) write(ctx context.Context) error {
	isAll := p.export.Since.IsZero()
	err := p.eachEarlier(ctx, func(row exportRow) error {
		id := target.FoldID(row.ID)
		switch {
		case p.gone[id]:
			p.deleted++
			if p.deletedFile != nil {
				return writeLine(p.deletedFile, row.ID, row.Key)
			}
			return nil
		case p.filtered[id]:
			p.left++
			return nil
		}
		later, ok, err := p.later.take(id)
		switch {
		case err != nil:
			return err
		case ok && (isAll || later.Version != row.Version):
			return p.add(later)
		case isAll:
			return p.add(row)
		}
		return p.enlist(row) // it is as it was
	})
	if err != nil {
		return err
	}
	for _, id := range p.later.order {
		if p.gone[id] || p.filtered[id] {
			continue
		}
		row, ok, err := p.later.take(id)
		if err == nil && ok {
			err = p.add(row)
		}
		if err != nil {
			return err
		}
	}
	if p.packed != nil {
		return p.packed.Close()
	}
	return nil
}

// add adds a record to the file, and to the roster.
func (p *publishing) add(row exportRow) error {
	p.records++
	if _, err := io.WriteString(p.lines, row.Line); err != nil {
		return err
	}
	return p.enlist(row)
}

func (p *publishing) enlist(row exportRow) error {
	return writeLine(p.roster, row.ID, row.Key, row.Version)
}

func (p *publishing) summary(plan exportPlan, in ExportPublishInput) (migration.ExportSummary, error) {
	s := migration.ExportSummary{
		WorkflowID: p.start.ID, Output: store.Base(p.export.Output), EntityType: p.export.Target.EntityType, URI: p.export.Target.URI,
		StartedAt: p.start.StartedAt, FinishedAt: in.FinishedAt.UTC().Truncate(time.Second),
		Records: p.records, SHA256: hex.EncodeToString(p.digest.Sum(nil)), Columns: export.Names(plan.Columns), NotShown: plan.NotShown,
		Deleted: p.deleted, Left: p.left,
	}
	cut, err := migration.Marked[ExportCut](p.at(), exportCutFile)
	if err != nil {
		return s, err
	}
	s.AsOf = cut.AsOf
	r, err := migration.Marked[ExportReconciled](p.at(), reconciledFile(in.Round))
	if err != nil {
		return s, err
	}
	s.Listed, s.Counted, s.Unlisted = r.Listed, r.Counted, r.Unlisted
	if !p.export.Since.IsZero() {
		earlier, err := p.export.Since.Options()
		if err != nil {
			return s, err
		}
		s.Since, s.DeletedFile = store.Base(earlier.Output), store.Base(p.export.DeletedFile())
	}
	return s, nil
}

// commit gives the files their names, the output last.
func (p *publishing) commit(ctx context.Context, s migration.ExportSummary) error {
	isThere, err := p.isThere(ctx, s.SHA256)
	if err == nil {
		err = cmp.Or(p.notSealed(), p.notCancelled())
	}
	if err != nil {
		return err
	}
	if err := p.roster.Commit(ctx); err != nil {
		return err
	}
	if p.deletedFile != nil {
		if err := p.deletedFile.Commit(ctx); err != nil {
			return err
		}
	}
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	if err := store.Write(p.export.SummaryFile(), append(data, '\n')); err != nil {
		return err
	}
	if !isThere {
		err = p.output.CommitNew(ctx)
	}
	if errors.Is(err, store.ErrExists) {
		return p.taken()
	}
	if err != nil {
		return err
	}
	return p.at().SaveSummary(s)
}

// isThere reports whether an attempt that was killed has given the file its name. A file of somebody else is an error.
func (p *publishing) isThere(ctx context.Context, digest string) (bool, error) {
	there, err := store.Exists(p.export.Output)
	if err != nil || !there {
		return false, err
	}
	found, _, err := source.Digest(ctx, p.export.Output)
	if err == nil && found != digest {
		err = p.taken()
	}
	return err == nil, err
}

func (p *publishing) taken() error {
	return refused(fmt.Errorf("%s exists, and is not of this export, whose users are kept in %s; expected no file of this name: move it away, and rerun the command to write the file", p.export.Output, p.folder))
}

// discard drops what was not committed.
func (p *publishing) discard() {
	for _, w := range []*store.Writer{p.output, p.roster, p.deletedFile} {
		if w != nil {
			w.Discard()
		}
	}
	if p.later != nil {
		p.later.rows.close()
	}
}

// laterRows are the rows of the passes after the first, which replace those of the first and of each other.
type laterRows struct {
	rows  *spill
	at    map[string]spilled // by folded id
	order []string           // ids, in the order in which they came first
}

// readLater reads the rows of the pass over what was changed, and of those that were found later.
func (o *exportRun) readLater(ctx context.Context, found string) (_ *laterRows, err error) {
	l := &laterRows{at: map[string]spilled{}}
	if l.rows, err = newSpill(); err != nil {
		return nil, err
	}
	for _, pass := range []string{PassChanged, found} {
		if err = o.eachRow(ctx, pass, l.add); err != nil {
			l.rows.close()
			return nil, err
		}
	}
	return l, nil
}

func (l *laterRows) add(row exportRow) (err error) {
	id := target.FoldID(row.ID)
	if _, ok := l.at[id]; !ok {
		l.order = append(l.order, id)
	}
	l.at[id], err = l.rows.add(row)
	return err
}

// take returns the row with an id, and removes it; ok is false if there is none.
func (l *laterRows) take(id string) (row exportRow, ok bool, err error) {
	at, ok := l.at[id]
	if !ok {
		return row, false, nil
	}
	delete(l.at, id)
	return row, true, l.rows.get(at, &row)
}
