package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"durable-dataload/internal/delta"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
	"durable-dataload/internal/undo"
)

// UpdateInput names a batch whose duplicates are to be updated.
type UpdateInput struct {
	Run   `json:"run"`
	Round int `json:"round"` // the last one that is over
	Batch int `json:"batch"`
}

// UpdateBatch updates the records of a batch that the target already has: find, compare,
// write down the previous values, update, outcomes.
//
// It may be run any number of times, concurrently too, because everything that it sends
// may be repeated. An update sets attributes to the values of the input, and so does a
// replaced plural: the second of two equal calls changes nothing. So a call whose answer
// is lost is made again, and two workers on the same batch send the same.
//
// A repeated call can overwrite what others wrote into the same attributes between the
// first call and the second. That is bounded: a batch is repeated for some minutes at
// most, each time only what still differs, never after its outcome is decided, and never
// after the run is sealed. A call in flight at that moment can arrive as late as its
// deadline.
//
// Before the first call the previous values are durable (package undo). The first undo
// file of a batch is binding: later attempts change the attributes that it names and no
// others, so that nothing is changed whose previous value is unknown. A record in it
// counts as updated, even if an earlier attempt has made all its changes.
func (a *Activities) UpdateBatch(ctx context.Context, in UpdateInput) (ledger.Updates, error) {
	beat := newPulse(ctx)
	defer beat.stop()
	m, err := a.migration(in.Run)
	if err != nil {
		return ledger.Updates{}, storageError(err)
	}
	u := &updating{migrationRun: m, calls: m.caller(in.Batch), key: ledger.Key{Round: in.Round, Batch: in.Batch}}
	beat.gate.Store(u.gate)
	outcomes, err := u.update(ctx)
	if err != nil {
		return ledger.Updates{}, ended(ctx, err)
	}
	return outcomes.Updates(), nil
}

// updating is the work on one batch.
type updating struct {
	*migrationRun
	calls   *caller
	key     ledger.Key
	batch   source.Batch
	encoded []encodedRecord
	pending []*update
	noted   map[int64]undo.Change // by line: what the undo files hold
	types   delta.Types
	closed  bool // this round has its undo file: no record is added to it
}

// update is the update of one record.
type update struct {
	position int
	line     int64
	key      string
	entity   *target.Entity // nil: not found
	changes  []delta.Change // still to be made
	updated  bool           // it is in the undo file
	failed   string         // why it cannot be updated, in words of this program
	refused  string         // why the target did not update it, in its words
}

func (r *update) hasFailed() bool { return r.failed != "" || r.refused != "" }

func (u *updating) update(ctx context.Context) (ledger.Outcomes, error) {
	decided, err := u.ledger.Decided(ctx, ledger.ByUpdate, u.key)
	if err == nil || !isNotFound(err) {
		return decided, err
	}
	if err := u.readPending(ctx); err != nil {
		return decided, err
	}
	if err := u.prepare(ctx); err != nil {
		return decided, err
	}
	for _, r := range u.pending {
		if err := u.change(ctx, r); err != nil {
			return decided, err
		}
	}
	return u.decide(ctx)
}

// readPending reads the duplicates of the batch that have no outcome of an update yet.
func (u *updating) readPending(ctx context.Context) error {
	batch, known, err := u.after(ctx, u.key.Round, u.key.Batch)
	if err != nil {
		return err
	}
	u.batch = batch
	records, encoded, err := u.readInput(u.batch)
	if err != nil {
		return err
	}
	u.encoded = encoded
	if u.types, err = u.calls.types(ctx); err != nil {
		return err
	}
	for i, r := range records {
		if known[i].Outcome == ledger.Duplicate {
			u.pending = append(u.pending, &update{position: i, line: r.Line, key: u.encoder.KeyOf(r.Raw), failed: u.encoded[i].reason})
		}
	}
	return nil
}

// prepare finds out what is to be changed, and writes the undo file.
func (u *updating) prepare(ctx context.Context) error {
	if err := u.find(ctx); err != nil {
		return err
	}
	for {
		if err := u.readUndo(); err != nil {
			return err
		}
		for _, r := range u.pending {
			if err := u.compare(r); err != nil {
				return err
			}
		}
		err := u.writeUndo()
		if !errors.Is(err, undo.ErrExists) {
			return err
		}
		// Another worker was faster, and its file is binding. Files stay, so this
		// happens once.
	}
}

func (u *updating) readUndo() error {
	files, err := undo.Read(u.of.Undo(), u.batch.Number)
	if err != nil {
		return err
	}
	u.noted = files.Changes()
	u.closed = slices.ContainsFunc(files, func(f undo.File) bool { return f.Round == u.key.Round })
	return nil
}

const (
	several  = "more than one record has this key in the target; nothing was changed, since it is ambiguous which one is meant"
	notThere = "the record with this key does not exist; the duplicate is on another unique attribute"
	another  = "the record was deleted and created again while it was updated; load it again"
	touched  = "the record was changed or created by another client while its batch was updated; load it again"
)

// compare finds what is still to be changed in a record.
func (u *updating) compare(r *update) error {
	noted, isNoted := u.noted[r.line]
	r.changes, r.updated = nil, isNoted
	switch {
	case r.hasFailed():
		return nil
	case r.entity == nil:
		r.failed = notThere
		return nil
	case isNoted && noted.UUID != r.entity.ID:
		r.failed = another
		return nil
	}
	changes, err := u.types.Changes(u.encoded[r.position].json, r.entity.Attributes)
	if err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	switch {
	case isNoted:
		changes = slices.DeleteFunc(changes, func(c delta.Change) bool { return !slices.Contains(noted.Paths, c.Path) })
	case u.closed && len(changes) > 0:
		r.failed = touched
		return nil
	}
	r.changes = changes
	return nil
}

// writeUndo writes down the previous values of the records that are to be changed, if
// any are not yet in an undo file.
func (u *updating) writeUndo() error {
	var entries []undo.Entry
	for _, r := range u.pending {
		if r.updated || len(r.changes) == 0 {
			continue
		}
		e := undo.Entry{
			Change: undo.Change{Line: r.line, UUID: r.entity.ID},
			Value:  undo.Value{Before: map[string]json.RawMessage{}, After: map[string]json.RawMessage{}},
		}
		for _, c := range r.changes {
			e.Paths = append(e.Paths, c.Path)
			e.Before[c.Path], e.After[c.Path] = c.Before, c.After
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		return nil
	}
	recipient, err := undo.ParseRecipient(u.spec.UndoRecipient)
	if err != nil {
		return err
	}
	if err := undo.Write(u.of.Undo(), u.batch.Number, u.key.Round, entries, recipient); err != nil {
		return err
	}
	for _, r := range u.pending {
		r.updated = r.updated || len(r.changes) > 0
	}
	return nil
}

// find finds the records in the target: in bulk, then one by one those that the search
// does not show, since new records can be invisible to it.
func (u *updating) find(ctx context.Context) error {
	var keys []string
	for _, r := range u.pending {
		switch {
		case r.failed != "":
		case r.key == "":
			r.failed = fmt.Sprintf("the record has no value in %s, the attribute by which it is looked up", u.spec.PrimaryKey)
		default:
			keys = append(keys, r.key)
		}
	}
	byKey, err := u.calls.findAll(ctx, u.spec.PrimaryKey, keys)
	if err != nil {
		return err
	}
	for _, r := range u.pending {
		if r.hasFailed() {
			continue
		}
		switch same := byKey[u.foldKey(r.key)]; len(same) {
		case 0:
		case 1:
			r.entity = &same[0]
			continue
		default: // ambiguous
			r.failed = several
			continue
		}
		if r.entity, r.refused, err = u.calls.view(ctx, target.Ref{Attribute: u.spec.PrimaryKey, Key: r.key}); err != nil {
			return err
		}
	}
	return nil
}

// change makes the changes of a record.
func (u *updating) change(ctx context.Context, r *update) error {
	if len(r.changes) == 0 || r.hasFailed() {
		return nil
	}
	steps, err := u.target.Steps(delta.Changes(r.changes))
	if words, ok := target.Refusal(err); ok {
		r.refused = words
		return nil
	}
	if err != nil {
		return fmt.Errorf("line %d: %w", r.line, err)
	}
	for i, step := range steps {
		err := u.calls.change(ctx, target.Ref{ID: r.entity.ID}, step)
		if words, ok := target.Refusal(err); ok {
			r.refused = refusedStep(steps, i, words)
			return nil
		}
		if err != nil {
			return unreachable(err)
		}
	}
	return nil
}

// refusedStep is the reason of a record whose step i was refused with these words.
func refusedStep(steps []target.Step, i int, words string) string {
	if step := steps[i]; i > 0 || step.Changes[0].IsList() {
		words = step.Changes[0].Path + ": " + words
	}
	if i > 0 && !steps[0].Changes[0].IsList() {
		words += " (other attributes were updated)"
	}
	return words
}

func (u *updating) decide(ctx context.Context) (ledger.Outcomes, error) {
	if err := u.calls.notSealed(); err != nil {
		return ledger.Outcomes{}, err
	}
	outcomes := ledger.NewOutcomes(u.batch.Records)
	for _, r := range u.pending {
		switch {
		case r.failed != "":
			outcomes.FailedHere(r.position, r.failed)
		case r.refused != "":
			outcomes.Failed(r.position, r.refused)
		case r.updated:
			outcomes.Updated(r.position)
		default:
			outcomes.Unchanged(r.position)
		}
	}
	updated := outcomes.Outcomes(false, "")
	updated.At = time.Now().UTC().Truncate(time.Millisecond)
	held, won, err := u.ledger.DecideAnswer(ctx, ledger.ByUpdate, u.key, updated)
	if won {
		u.observeBatch(ctx, u.key, held, ledger.None)
	}
	return held, err
}
