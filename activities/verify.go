package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/delta"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// Records are read back in two ways: for the canary, by the run of the migration itself,
// and for a verification, which has a folder of its own. Either only reads, in the target
// and in the ledger. What was found of a batch is kept in the folder of the run, created
// once, until the summary is written.

// VerifyInput names a batch that is to be read back, or several.
type VerifyInput struct {
	Run   `json:"run"`
	Batch int `json:"batch"`
	Last  int `json:"last,omitempty"` // of several; 0 is one batch
	// Until is how long missing records are read again: new ones can be invisible for
	// minutes.
	Until time.Time `json:"until,omitzero"`
}

// VerifyBatch reads back the records of a batch, or of several, that were created, recovered
// or updated according to the ledger, and compares them with what was sent. It changes
// nothing but its own note of what was found: run again after that, it returns the same.
//
// A record is found by its uuid or, if that is not known, by its key: in bulk first, then
// by itself if it is missing or different there, since a search may be behind. Attributes
// that the input does not give, and those that the target sets, are not compared; nor is
// the plain text of a password, which the target does not show.
func (a *Activities) VerifyBatch(ctx context.Context, in VerifyInput) (migration.VerifyResult, error) {
	return onRun(ctx, a.readBack, in.Run, (*verificationRun).verifyBatches, in)
}

func (o *verificationRun) verifyBatches(ctx context.Context, in VerifyInput) (sum migration.VerifyResult, err error) {
	for batch := in.Batch; batch <= max(in.Batch, in.Last); batch++ {
		r, err := o.verifyBatch(ctx, batch, in.Until)
		if err != nil {
			return sum, err
		}
		sum.Add(r)
	}
	return sum, nil
}

func (o *verificationRun) verifyBatch(ctx context.Context, batch int, until time.Time) (migration.VerifyResult, error) {
	f, err := o.found(ctx, batch)
	if err == nil || !isNotFound(err) {
		return f.Result, err
	}
	v := &verifying{verificationRun: o, calls: o.caller(batch)}
	if err := v.readLoaded(ctx, batch); err != nil {
		return migration.VerifyResult{}, err
	}
	if err := v.read(ctx, v.records); err != nil {
		return migration.VerifyResult{}, err
	}
	if err := v.readMissing(ctx, until); err != nil {
		return migration.VerifyResult{}, err
	}
	return v.keep(ctx)
}

// verifying is the work on one batch.
type verifying struct {
	*verificationRun
	calls     *caller
	batch     source.Batch
	records   []*readBack
	notLoaded int
	types     delta.Types
}

// readBack is a record that is read back.
type readBack struct {
	line      int64
	uuid, key string
	json      []byte // as it was sent; nil if it cannot be encoded now

	seen        bool // the target has it
	refused     bool // it is not known whether the target has it
	differences []migration.Difference
	notCompared []string // attributes
	since       bool     // it differs, and was updated after the migration
}

// readLoaded reads the records of the batch that are to be read back.
func (v *verifying) readLoaded(ctx context.Context, batch int) (err error) {
	var all []source.Record
	if v.batch, all, err = v.batchRecords(batch); err != nil {
		return err
	}
	positions, loaded, err := v.toVerify(ctx, v.batch)
	if err != nil {
		return err
	}
	v.notLoaded = len(positions) - len(loaded)
	if v.types, err = v.calls.foldingTypes(ctx); err != nil {
		return err
	}
	for _, i := range positions {
		if known, ok := loaded[i]; ok {
			json, _ := v.json(all[i])
			v.records = append(v.records, &readBack{line: all[i].Line, uuid: known.UUID, key: v.encoder.KeyOf(all[i].Raw), json: json})
		}
	}
	return nil
}

// read finds records in the target and compares them.
func (v *verifying) read(ctx context.Context, records []*readBack) error {
	byID, err := v.search(ctx, target.ByID, records, func(r *readBack) string { return r.uuid })
	if err != nil {
		return err
	}
	byKey, err := v.search(ctx, v.spec.PrimaryKey, records, func(r *readBack) string {
		if r.uuid != "" {
			return ""
		}
		return r.key
	})
	if err != nil {
		return err
	}
	for _, r := range records {
		found := byID[v.fold(target.ByID, r.uuid)]
		if r.uuid == "" {
			found = byKey[v.foldKey(r.key)]
		}
		if len(found) > 1 { // ambiguous
			r.refused = true
			continue
		}
		if len(found) == 1 {
			if err := v.compare(r, &found[0]); err != nil {
				return err
			}
			if len(r.differences) == 0 {
				continue
			}
		}
		if err := v.view(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

// search looks records up in bulk, and returns all matches by folded value.
func (v *verifying) search(ctx context.Context, attribute string, records []*readBack, value func(*readBack) string) (map[string][]target.Entity, error) {
	var values []string
	for _, r := range records {
		values = append(values, value(r))
	}
	return v.calls.findAll(ctx, attribute, values)
}

// view reads one record by itself, and compares it.
func (v *verifying) view(ctx context.Context, r *readBack) error {
	r.seen, r.refused, r.differences = false, false, nil
	ref := target.Ref{ID: r.uuid}
	if r.uuid == "" {
		ref = target.Ref{Attribute: v.spec.PrimaryKey, Key: r.key}
	}
	if r.uuid == "" && r.key == "" {
		r.refused = true
		return nil
	}
	entity, words, err := v.calls.view(ctx, ref)
	switch {
	case err != nil:
		return err
	case words != "":
		r.refused = true
		return nil
	case entity == nil:
		return nil
	}
	return v.compare(r, entity)
}

// compare finds where a record of the target differs from what was sent.
func (v *verifying) compare(r *readBack, entity *target.Entity) error {
	r.seen, r.differences, r.notCompared, r.since = true, nil, nil, false
	if r.json == nil {
		r.refused = true
		return nil
	}
	var sent map[string]json.RawMessage
	if err := json.Unmarshal(r.json, &sent); err != nil {
		return fmt.Errorf("line %d: what was sent is not a JSON object", r.line)
	}
	for _, name := range slices.Sorted(maps.Keys(sent)) {
		if name == "password" && isPlainText(sent[name]) || slices.Contains(v.traits.Hidden, name) && string(sent[name]) != "null" {
			r.notCompared = append(r.notCompared, name)
		}
	}
	changes, err := v.types.Changes(r.json, entity.Attributes)
	if err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	for _, c := range changes {
		attribute := v.named(c.Path)
		isNoted := slices.ContainsFunc(r.differences, func(d migration.Difference) bool { return d.Attribute == attribute })
		if name, _, _ := strings.Cut(attribute, "."); !isNoted && !slices.Contains(r.notCompared, name) {
			r.differences = append(r.differences, migration.Difference{Line: r.line, Attribute: attribute, What: howItDiffers(c)})
		}
	}
	r.since = len(r.differences) > 0 && !v.verification.Ended.IsZero() && v.updatedAfter(entity, v.verification.Ended)
	return nil
}

// named is the part of a path that the schema or the mapping names. What is below it are names
// in a JSON value: user data, and any number of them.
func (v *verifying) named(path string) string {
	for !v.types.Has(path) && !v.encoder.Has(path) {
		end := strings.LastIndexByte(path, '.')
		if end < 0 {
			break
		}
		path = path[:end]
	}
	return path
}

// isPlainText reports whether a password was sent in plain text, to be hashed by the target.
func isPlainText(password json.RawMessage) bool {
	var plain string
	return json.Unmarshal(password, &plain) == nil && plain != ""
}

// howItDiffers describes a difference without its values.
func howItDiffers(c delta.Change) string {
	var sent, there []json.RawMessage
	areLists := json.Unmarshal(c.After, &sent) == nil && json.Unmarshal(c.Before, &there) == nil
	switch {
	case areLists && len(sent) != len(there):
		return fmt.Sprintf("has %d elements, expected %d", len(there), len(sent))
	case bytes.Equal(c.Before, []byte("null")):
		return "missing"
	case bytes.Equal(c.After, []byte("null")):
		return "has a value, expected none"
	}
	return "different"
}

// longestPause is between two attempts to read missing records.
const longestPause = 30 * time.Second

// readMissing reads missing records again, until a time.
func (v *verifying) readMissing(ctx context.Context, until time.Time) error {
	for pause := lookUpBackoff; ; pause = min(2*pause, longestPause) {
		var missing []*readBack
		for _, r := range v.records {
			if !r.seen && !r.refused {
				missing = append(missing, r)
			}
		}
		left := time.Until(until)
		if len(missing) == 0 || left <= 0 {
			return nil
		}
		if err := sleep(ctx, min(pause, left)); err != nil {
			return err
		}
		if err := v.read(ctx, missing); err != nil {
			return err
		}
	}
}

// keep writes down what was found, unless another attempt has, and returns what is
// written.
func (v *verifying) keep(ctx context.Context) (migration.VerifyResult, error) {
	f := found{Result: migration.VerifyResult{Attributes: map[string]int{}, NotCompared: map[string]int{}}}
	f.Result.NotLoaded = v.notLoaded
	for _, r := range v.records {
		switch {
		case r.refused:
			f.Result.Unseen++
			r.differences = []migration.Difference{{Line: r.line, What: "could not be compared"}}
		case !r.seen:
			f.Result.Missing++
			r.differences = []migration.Difference{{Line: r.line, What: "missing"}}
		case len(r.differences) > 0:
			f.Result.Different++
			for _, d := range r.differences {
				f.Result.Attributes[d.Attribute]++
			}
		default:
			f.Result.Equal++
		}
		if r.since {
			f.Result.ChangedSince++
		}
		for _, name := range r.notCompared {
			f.Result.NotCompared[name]++
		}
		f.Differences = append(f.Differences, r.differences...)
	}
	f.Result.Note(f.Differences...)
	data, err := json.Marshal(f)
	if err != nil {
		return f.Result, err
	}
	err = v.foundStore().Create(ctx, foundName(v.batch.Number), data)
	if errors.Is(err, ledger.ErrExists) {
		f, err = v.found(ctx, v.batch.Number)
	}
	return f.Result, err
}

// VerifyPlanInput asks for the batches from one on that are to be read back.
type VerifyPlanInput struct {
	Run   `json:"run"`
	After int `json:"after"` // batch, 0 = from the start
	Limit int `json:"limit"`
}

// VerifyPlan is the next batches that have records to read back.
type VerifyPlan struct {
	Batches []PlannedBatch `json:"batches"`
	After   int            `json:"after"`   // the batch up to which this plan goes
	Total   int            `json:"total"`   // batches of the input
	Records int            `json:"records"` // to read back, in all batches
	// Settled counts the records of the sample, up to After, in batches of which
	// nothing was loaded.
	Settled migration.VerifyCounts `json:"settled"`
}

// PlanVerify says what is to be read back next. It changes nothing.
func (a *Activities) PlanVerify(ctx context.Context, in VerifyPlanInput) (VerifyPlan, error) {
	return onRun(ctx, a.readBack, in.Run, (*verificationRun).plan, in)
}

func (o *verificationRun) plan(ctx context.Context, in VerifyPlanInput) (VerifyPlan, error) {
	plan := VerifyPlan{After: in.After, Total: o.index.Batches(), Records: o.sampleSize()}
	type sampled struct {
		PlannedBatch
		positions, loaded int
	}
	err := store.ForEachOrdered(ctx, o.folder.Path(), plan.Total-in.After, func(ctx context.Context, n int) (l sampled, err error) {
		b, err := o.index.Batch(in.After + n + 1)
		if err != nil {
			return l, err
		}
		positions, loaded, err := o.toVerify(ctx, b)
		return sampled{plannedBatch(b.Number, b), len(positions), len(loaded)}, err
	}, func(l sampled) error {
		if len(plan.Batches) == in.Limit {
			return store.ErrEnough
		}
		if l.loaded > 0 {
			plan.Batches = append(plan.Batches, l.PlannedBatch)
		} else {
			plan.Settled.NotLoaded += l.positions
		}
		plan.After = l.Position()
		return nil
	})
	return plan, err
}

// sampleSize is how many records are to be read back.
func (o *verificationRun) sampleSize() int {
	total := int(o.index.Records())
	if o.verification.Sample > 0 {
		return min(o.verification.Sample, total)
	}
	return total
}

// toVerify returns the positions in a batch that are in the sample, and what is known of
// those that were loaded.
func (o *verificationRun) toVerify(ctx context.Context, b source.Batch) (positions []int, loaded map[int]ledger.Record, err error) {
	positions = migration.Sampled(o.verification.Source, o.sampleSize(), int(o.index.Records()), int(b.FirstRecord-o.index.StartAt()), b.Records)
	if len(positions) == 0 {
		return nil, nil, nil
	}
	last, err := o.of.LastRound()
	if err != nil {
		return nil, nil, err
	}
	known, err := o.ledger.After(ctx, last, b.Number, b.Records)
	if err != nil {
		return nil, nil, err
	}
	loaded = map[int]ledger.Record{}
	for _, i := range positions {
		switch known[i].Outcome {
		case ledger.Created, ledger.Recovered, ledger.Updated, ledger.Unchanged:
			loaded[i] = known[i]
		}
	}
	return positions, loaded, nil
}
