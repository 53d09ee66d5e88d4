package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/delta"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/store"
	"durable-dataload/internal/undo"
)

// A rollback goes over its items in rounds. In round 0 are all of them; in a
// later one those that an earlier one has not attempted, or that failed in it.
// The ledger has an entry a batch of items and round, decided once, as that of a
// migration: Claim says that the batch was begun, Decide what became of its
// items, and DecideVerified what was found when they were looked at again.
//
// All that it sends may be sent again: see RollBackBatch.

// RollbackBegun is what a rollback has before it.
type RollbackBegun struct {
	Items   int `json:"items"`
	Batches int `json:"batches"`
	Round   int `json:"round"`
}

// BeginRollback says which round is to be done: the one that was cut off, or
// another one for what is left. Run again before anything was done in it, it
// gives the same. It fails with Refused where previous values are encrypted and
// this worker cannot open them.
func (a *Activities) BeginRollback(ctx context.Context, run Run) (RollbackBegun, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(run)
	if err != nil {
		return RollbackBegun{}, err
	}
	if err := artifacts.CheckFolder(o.spec.OutputDir); err != nil {
		return RollbackBegun{}, refused(err)
	}
	if err := a.checkIdentities(o.rollback.Migration); err != nil {
		return RollbackBegun{}, storageError(err)
	}
	begun := RollbackBegun{Items: int(o.index.Records()), Batches: o.index.Batches()}
	if begun.Round, err = o.nextRound(ctx); err != nil {
		return begun, ended(ctx, err)
	}
	return begun, storageError(o.folder.SaveRollbackRound(begun.Round))
}

// nextRound is the present round, or the next if that one is decided and items
// are left.
func (o *opened) nextRound(ctx context.Context) (int, error) {
	round, err := o.folder.RollbackRound()
	if err != nil {
		return 0, err
	}
	cutOff, left := false, false
	type looked struct{ cutOff, left bool }
	err = store.Ahead(ctx, string(o.folder), o.index.Batches(), func(ctx context.Context, n int) (l looked, err error) {
		in, err := o.inRound(ctx, round, n+1)
		if err != nil {
			return l, err
		}
		if slices.Contains(in, true) {
			decided, err := o.isDecided(ctx, round, n+1)
			if err != nil || !decided {
				return looked{cutOff: true}, err
			}
		}
		in, err = o.inRound(ctx, round+1, n+1)
		return looked{left: slices.Contains(in, true)}, err
	}, func(l looked) error {
		left = left || l.left
		if cutOff = l.cutOff; cutOff {
			return store.ErrEnough
		}
		return nil
	})
	if left && !cutOff {
		round++
	}
	return round, err
}

// checkIdentities opens the first of the files of previous values.
func (a *Activities) checkIdentities(of migration.Folder) error {
	if of == "" {
		return nil
	}
	batches, err := undo.Batches(of.Undo())
	if err != nil || len(batches) == 0 {
		return err
	}
	_, err = a.previousValues(of, batches[0])
	return err
}

// previousValues are those of a batch of a migration, by line. Of the files of
// several rounds the first that has a line holds.
func (a *Activities) previousValues(of migration.Folder, batch int) (map[int64]undo.Entry, error) {
	files, err := undo.Read(of.Undo(), batch)
	if err != nil {
		return nil, err
	}
	byLine := map[int64]undo.Entry{}
	for _, f := range files {
		entries, err := f.Entries(a.identities...)
		if errors.Is(err, undo.ErrSealed) {
			return nil, refused(fmt.Errorf("the previous values of the updated records are encrypted; expected the key to them: give the file with the private key of age with --undo-identity, to each worker where they run by themselves"))
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if _, earlier := byLine[e.Line]; !earlier {
				byLine[e.Line] = e
			}
		}
	}
	return byLine, nil
}

// after is what is known of the items of a batch after a round.
func (o *opened) after(ctx context.Context, round, batch int) (known []ledger.Record, err error) {
	b, err := o.index.Batch(batch)
	if err != nil {
		return nil, err
	}
	known = make([]ledger.Record, b.Records)
	for i := range known {
		known[i].Outcome = ledger.None
	}
	for r := range round + 1 {
		decided, _, _, err := o.ledger.Round(ctx, r, batch, b.Records)
		if err != nil {
			return nil, err
		}
		for i, d := range decided {
			if d.Outcome != ledger.None {
				known[i] = d
			}
		}
		verified, err := o.ledger.Verified(ctx, ledger.Key{Round: r, Batch: batch})
		if isNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		words := verified.Errors
		for i := range known {
			if ledger.Outcome(verified.Letters[i]) == ledger.Failed {
				known[i], words = ledger.Record{Outcome: ledger.Failed, Round: r, Error: words[0]}, words[1:]
			}
		}
	}
	return known, nil
}

// inRound says which items of a batch are in a round.
func (o *opened) inRound(ctx context.Context, round, batch int) ([]bool, error) {
	known, err := o.after(ctx, round-1, batch)
	if err != nil {
		return nil, err
	}
	in := make([]bool, len(known))
	for i, k := range known {
		in[i] = k.Outcome == ledger.None || k.Outcome == ledger.Failed
	}
	return in, nil
}

// RollbackPlanInput asks for the batches of items from one on that are to be
// undone in a round, or to be verified after it.
type RollbackPlanInput struct {
	Run    `json:"run"`
	Round  int  `json:"round"`
	Verify bool `json:"verify,omitempty"`
	After  int  `json:"after"` // batch, 0 = from the start
	Limit  int  `json:"limit"`
}

// RollbackPlan is the next batches that have something to do.
type RollbackPlan struct {
	Batches []int `json:"batches"`
	After   int   `json:"after"` // the batch up to which this plan goes
	Total   int   `json:"total"`
	// Settled counts the items on the way that are done with.
	Settled migration.RollbackCounts `json:"settled"`
}

// PlanRollback says what is to be done next. It changes nothing.
func (a *Activities) PlanRollback(ctx context.Context, in RollbackPlanInput) (RollbackPlan, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(in.Run)
	if err != nil {
		return RollbackPlan{}, err
	}
	plan, err := o.planRollback(ctx, in)
	return plan, ended(ctx, err)
}

func (o *opened) planRollback(ctx context.Context, in RollbackPlanInput) (RollbackPlan, error) {
	plan := RollbackPlan{After: in.After, Total: o.index.Batches()}
	isDone := o.isDecided
	if in.Verify {
		isDone = o.isVerified
	}
	type looked struct {
		done  bool
		known []ledger.Record
	}
	err := store.Ahead(ctx, string(o.folder), plan.Total-in.After, func(ctx context.Context, n int) (l looked, err error) {
		if l.done, err = isDone(ctx, in.Round, in.After+n+1); err != nil {
			return l, err
		}
		l.known, err = o.after(ctx, in.Round, in.After+n+1)
		return l, err
	}, func(l looked) error {
		if len(plan.Batches) == in.Limit {
			return store.ErrEnough
		}
		plan.After++
		if !l.done && slices.ContainsFunc(l.known, func(k ledger.Record) bool { return isUndone(k.Outcome) == in.Verify }) {
			plan.Batches = append(plan.Batches, plan.After)
		} else {
			plan.Settled.Add(countRollback(l.known))
		}
		return nil
	})
	return plan, err
}

func (o *opened) isDecided(ctx context.Context, round, batch int) (bool, error) {
	_, err := o.ledger.Decided(ctx, ledger.Key{Round: round, Batch: batch})
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// isVerified says that a batch was looked at again after the last round that has
// done something in it.
func (o *opened) isVerified(ctx context.Context, round, batch int) (bool, error) {
	for r := round; r >= 0; r-- {
		_, err := o.ledger.Verified(ctx, ledger.Key{Round: r, Batch: batch})
		if err == nil || !isNotFound(err) {
			return err == nil, err
		}
		if decided, err := o.isDecided(ctx, r, batch); err != nil || decided {
			return false, err
		}
	}
	return false, nil
}

// isUndone says that an item is as it was before the migration.
func isUndone(o ledger.Outcome) bool {
	return o == ledger.Deleted || o == ledger.Gone || o == ledger.Restored || o == ledger.Kept
}

func countRollback(known []ledger.Record) (c migration.RollbackCounts) {
	for _, k := range known {
		switch k.Outcome {
		case ledger.Deleted:
			c.Deleted++
		case ledger.Gone:
			c.Gone++
		case ledger.Restored:
			c.Restored++
		case ledger.Kept:
			c.Kept++
		case ledger.Failed:
			c.Failed++
		default:
			c.Left++
		}
	}
	return c
}

// RollbackInput names a batch of items.
type RollbackInput struct {
	Run   `json:"run"`
	Round int `json:"round"`
	Batch int `json:"batch"`
}

// RollBackBatch undoes the items of a batch: look, refuse what was changed since and
// what is somebody else's, delete or restore.
//
// It may be run any number of times, and at the same time as well, because all
// that it sends may be sent again:
//
//   - A delete by uuid deletes the record that was looked at or nothing: uuids do
//     not come back. So the second of two equal calls finds nothing, which after
//     a look that saw the record means done.
//   - A restore goes one call at a time, each after a look that says what is
//     left to do. A call whose answer was lost has done its part, or has not.
//   - Both carry the lastUpdated of that look, unless they are forced. Where the
//     record was changed between look and call, the target does nothing (code
//     330), and the next look tells who it was. So a late call of a worker that
//     was taken for dead does not write over what came after its look.
//
// A record that is found gone in a batch that was begun before may have been
// deleted then, by a worker that was killed; it counts as gone.
//
// Where the run is stopped in the middle of a batch, what is not attempted gets
// no outcome, and is left for another round.
func (a *Activities) RollBackBatch(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	stop := heartbeat(ctx)
	defer stop()
	counts, err := a.rollBackBatch(ctx, in)
	return counts, storageError(err)
}

func (a *Activities) rollBackBatch(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	b, err := a.undoing(ctx, in)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	decided, err := b.isDecided(ctx, in.Round, in.Batch)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	if decided {
		return b.counts(ctx)
	}
	if err := b.calls.notSealed(); err != nil {
		return migration.RollbackCounts{}, err
	}
	err = b.ledger.Claim(ctx, b.key, b.newClaim())
	if err != nil && !errors.Is(err, ledger.ErrClaimed) {
		return migration.RollbackCounts{}, err
	}
	outcomes := ledger.NewOutcomes(len(b.items))
	for i, item := range b.items {
		if !b.in[i] {
			continue
		}
		outcome, reason, err := b.undo(ctx, item)
		if errors.Is(err, errNotSent) || errors.Is(err, context.Canceled) {
			break
		}
		if err != nil {
			return migration.RollbackCounts{}, err
		}
		if outcome == ledger.Failed {
			outcomes.Failed(i, reason)
		} else {
			outcomes.RolledBack(i, outcome)
		}
	}
	if err := b.calls.notSealed(); err != nil {
		return migration.RollbackCounts{}, err
	}
	// What was done must be written down, even if nobody waits for it.
	ctx = context.WithoutCancel(ctx)
	held, won, err := b.ledger.DecideAnswer(ctx, b.key, outcomes.Outcomes(true, ""))
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	if won {
		b.tell(ctx, b.key, held, ledger.None)
	}
	return b.counts(ctx)
}

// undoing is the work on one batch of items.
type undoing struct {
	*opened
	calls  *caller
	key    ledger.Key
	items  []rollback.Item
	in     []bool // the round
	dry    bool   // nothing is changed
	values map[int]map[int64]undo.Entry
	sent   map[int]map[int64]loaded // by batch and line of the migration
	types  delta.Types
}

func (a *Activities) undoing(ctx context.Context, in RollbackInput) (*undoing, error) {
	o, err := a.open(in.Run)
	if err != nil {
		return nil, err
	}
	return a.undoingOf(ctx, o, in)
}

func (a *Activities) undoingOf(ctx context.Context, o *opened, in RollbackInput) (_ *undoing, err error) {
	b := &undoing{
		opened: o, calls: a.caller(o, in.Batch), key: ledger.Key{Round: in.Round, Batch: in.Batch},
		values: map[int]map[int64]undo.Entry{}, sent: map[int]map[int64]loaded{},
	}
	if b.types, err = b.calls.types(ctx); err != nil {
		return nil, err
	}
	if b.items, err = rollback.Read(o.staged, o.index, in.Batch); err != nil {
		return nil, err
	}
	b.in, err = o.inRound(ctx, in.Round, in.Batch)
	return b, err
}

// counts are those of the whole batch.
func (b *undoing) counts(ctx context.Context) (migration.RollbackCounts, error) {
	known, err := b.after(ctx, b.key.Round, b.key.Batch)
	return countRollback(known), err
}

// Why an item failed. The target's own words are given as they are, in the fail
// file only.
const (
	changedSince   = "the record was changed after the migration, by somebody or by the rollback of a later migration; --force undoes it all the same"
	keepsChanging  = "the record was changed each time while it was undone; give the same command again"
	deletedSince   = "the record was deleted after the migration, so its previous values cannot be restored"
	notAsBefore    = "the target takes the previous values and shows others"
	noValues       = "the migration's undo files do not have the previous values of this record; put the state folder back as it was"
	anotherUUID    = "the target answers with another record than was asked for"
	thereAgain     = "the record was deleted, and is there all the same; give the same command again"
	valuesLost     = "the previous values were restored, and are not there any more; give the same command again"
	notAttempted   = "not attempted: the rollback was stopped"
	notKnown       = "the rollback was cut off while it undid this record: whether it did is not known; give the same command again"
	refusedByWords = "refused by the target; its words are in the fail file"
)

// ownReasons are those that hold no words of the target.
var ownReasons = []string{changedSince, anotherKey, thereBefore, tooEarly, madeAfter, notProven, changedThere, keepsChanging, deletedSince, notAsBefore, noValues, anotherUUID, thereAgain, valuesLost, notAttempted, notKnown}

// raceTries is how often an item is looked at again because it was changed
// between look and call.
const raceTries = 3

// undo undoes one item.
func (b *undoing) undo(ctx context.Context, item rollback.Item) (ledger.Outcome, string, error) {
	switch item.Kind {
	case rollback.Delete:
		return b.remove(ctx, item)
	case rollback.Restore:
		return b.restore(ctx, item)
	}
	return ledger.Failed, item.Reason, nil
}

// remove deletes a record.
func (b *undoing) remove(ctx context.Context, item rollback.Item) (ledger.Outcome, string, error) {
	for race := 1; ; race++ {
		entity, reason, err := b.look(ctx, item)
		switch {
		case err != nil || reason != "":
			return ledger.Failed, reason, err
		case entity == nil:
			return ledger.Gone, "", nil
		case !b.rollback.Force && b.isChangedSince(entity):
			return ledger.Failed, changedSince, nil
		}
		if reason, err = b.notOurs(ctx, item, entity); err != nil || reason != "" {
			return ledger.Failed, reason, err
		}
		if b.dry {
			return ledger.Deleted, "", nil
		}
		ref := b.ref(entity)
		err = b.calls.write(ctx, func(ctx context.Context) error { return b.target.Delete(ctx, ref) })
		switch {
		case err == nil || isGone(err):
			return ledger.Deleted, "", nil
		case isMismatch(err) && race < raceTries:
			continue
		case isMismatch(err):
			return ledger.Failed, keepsChanging, nil
		}
		if words, ok := refusalOf(err); ok {
			return ledger.Failed, words, nil
		}
		return ledger.Failed, "", unreachable(err)
	}
}

// restore gives a record its previous values back: values and members of objects
// in one call, then each plural in one of its own. Before each call it looks, and
// the last look has found all as it was.
func (b *undoing) restore(ctx context.Context, item rollback.Item) (ledger.Outcome, string, error) {
	changes, err := b.reversed(item)
	if err != nil {
		return ledger.Failed, "", err
	}
	if len(changes) == 0 {
		return ledger.Failed, noValues, nil
	}
	done := ledger.Kept
	for calls, races := 0, 0; ; {
		entity, reason, err := b.look(ctx, item)
		switch {
		case err != nil || reason != "":
			return ledger.Failed, reason, err
		case entity == nil:
			return ledger.Failed, deletedSince, nil
		}
		left := b.different(changes, entity)
		switch {
		case len(left) == 0:
			return done, "", nil
		case !b.rollback.Force && slices.ContainsFunc(left, func(c delta.Change) bool { return !b.isOurs(c, entity) }):
			return ledger.Failed, changedSince, nil
		case b.dry:
			return ledger.Restored, "", nil
		case calls > len(changes):
			return ledger.Failed, notAsBefore, nil
		case races == raceTries:
			return ledger.Failed, keepsChanging, nil
		}
		err = b.calls.write(ctx, func(ctx context.Context) error { return b.putBack(ctx, b.ref(entity), left) })
		done = ledger.Restored
		if isMismatch(err) {
			races++
			continue
		}
		if words, ok := refusalOf(err); ok {
			return ledger.Failed, words, nil
		}
		if err != nil {
			return ledger.Failed, "", unreachable(err)
		}
		calls++
	}
}

// putBack makes the next call of a restore.
func (b *undoing) putBack(ctx context.Context, ref identitycloud.Ref, left []delta.Change) error {
	values := slices.DeleteFunc(slices.Clone(left), delta.Change.IsPlural)
	if len(values) == 0 {
		return b.target.Replace(ctx, ref, left[0].Path, left[0].After)
	}
	object, err := delta.Object(values)
	if err != nil {
		return err
	}
	return b.target.Update(ctx, ref, object)
}

// reversed are the changes that undo those of an item.
func (b *undoing) reversed(item rollback.Item) ([]delta.Change, error) {
	if b.values[item.Batch] == nil {
		values, err := b.calls.activities.previousValues(b.rollback.Migration, item.Batch)
		if err != nil {
			return nil, err
		}
		b.values[item.Batch] = values
	}
	entry := b.values[item.Batch][item.Line]
	var changes []delta.Change
	for _, path := range entry.Paths {
		back, err := delta.Change{Path: path, Before: entry.Before[path], After: entry.After[path]}.Reversed()
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", item.Line, err)
		}
		changes = append(changes, back)
	}
	return changes, nil
}

// different are the changes that an entity does not have yet.
func (b *undoing) different(changes []delta.Change, entity *identitycloud.Entity) []delta.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c delta.Change) bool {
		return b.types.Equal(c.Path, c.After, delta.At(entity.Attributes, c.Path))
	})
}

// isOurs says that an attribute has the value that the migration gave it. The
// target does not show the text of a password; where the migration gave one, the
// whole record must be unchanged since.
func (b *undoing) isOurs(c delta.Change, entity *identitycloud.Entity) bool {
	var password string
	if c.Path == "password" && json.Unmarshal(c.Before, &password) == nil && password != "" {
		return !b.isChangedSince(entity)
	}
	return b.types.Equal(c.Path, c.Before, delta.At(entity.Attributes, c.Path))
}

// isChangedSince says that a record was last updated after the migration, or that
// the target does not tell when it was.
func (b *undoing) isChangedSince(entity *identitycloud.Entity) bool {
	return entity.LastUpdated.IsZero() || entity.LastUpdated.Earliest.After(b.end())
}

// end is the latest that the clock which stamps records can have shown when the
// migration ended, which is known to the second.
func (b *undoing) end() time.Time {
	until := b.rollback.Until.Add(time.Second)
	if b.originOf != nil {
		if latest, ok := b.originOf.ours.clocks.LatestOfAny(until); ok {
			return latest
		}
	}
	return b.clock.latest(until)
}

// updatedAfter says that a record was last updated after a time of ours that is
// known to the second.
func (o *opened) updatedAfter(entity *identitycloud.Entity, t time.Time) bool {
	return entity.LastUpdated.Earliest.After(o.clock.latest(t.Add(time.Second)))
}

// ref addresses a record as it was looked at.
func (b *undoing) ref(entity *identitycloud.Entity) identitycloud.Ref {
	ref := identitycloud.Ref{UUID: entity.UUID}
	if !b.rollback.Force {
		ref.LastUpdated = entity.LastUpdatedText()
	}
	return ref
}

// look gives the record of an item, nil if there is none, or the reason why it
// cannot be told.
func (b *undoing) look(ctx context.Context, item rollback.Item) (*identitycloud.Entity, string, error) {
	entity, reason, err := b.calls.view(ctx, identitycloud.Ref{UUID: item.UUID})
	if entity != nil && !strings.EqualFold(entity.UUID, item.UUID) {
		return nil, anotherUUID, nil
	}
	return entity, reason, err
}

// VerifyRollback looks at the items of a batch that are undone again: what was
// deleted must be gone, what was restored must have its previous values. It
// counts the batch as it is then. It sends nothing but looks.
func (a *Activities) VerifyRollback(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	ctx, done := restartable(ctx)
	defer done()
	counts, err := a.verifyRollback(ctx, in)
	return counts, ended(ctx, err)
}

func (a *Activities) verifyRollback(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	b, err := a.undoing(ctx, in)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	known, err := b.after(ctx, in.Round, in.Batch)
	if err != nil {
		return migration.RollbackCounts{}, err
	}
	outcomes := ledger.NewOutcomes(len(known))
	for i, k := range known {
		if !isUndone(k.Outcome) {
			continue
		}
		reason, err := b.verify(ctx, b.items[i], k.Outcome)
		if err != nil {
			return migration.RollbackCounts{}, err
		}
		if reason != "" {
			outcomes.Failed(i, reason)
		}
	}
	if err := b.calls.notSealed(); err != nil {
		return migration.RollbackCounts{}, err
	}
	if _, _, err := b.ledger.DecideVerified(ctx, b.key, outcomes.Outcomes(true, "")); err != nil {
		return migration.RollbackCounts{}, err
	}
	return b.counts(ctx)
}

// verify gives the reason why an item is not undone after all, or "". What does
// not show as it should is looked at some times: what was written lately need not
// be seen at once.
func (b *undoing) verify(ctx context.Context, item rollback.Item, outcome ledger.Outcome) (reason string, err error) {
	for try := 1; ; try++ {
		entity, reason, err := b.look(ctx, item)
		if err != nil || reason != "" {
			return reason, err
		}
		if outcome == ledger.Deleted || outcome == ledger.Gone {
			if entity == nil {
				return "", nil
			}
			reason = thereAgain
		} else {
			changes, err := b.reversed(item)
			if err != nil || entity != nil && len(b.different(changes, entity)) == 0 {
				return "", err
			}
			reason = valuesLost
		}
		if try == lookUpTries {
			return reason, nil
		}
		if err := sleep(ctx, time.Duration(try)*lookUpBackoff); err != nil {
			return "", err
		}
	}
}

// RollbackArtifactsInput asks for the artifacts of a rollback.
type RollbackArtifactsInput struct {
	Run        `json:"run"`
	Round      int       `json:"round"`
	FinishedAt time.Time `json:"finished_at"`
}

// WriteRollback writes the two files of a rollback, and proves before that every
// item stands in exactly one of them. Nothing of this run may be sent any more.
func (a *Activities) WriteRollback(ctx context.Context, in RollbackArtifactsInput) (migration.RollbackSummary, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(in.Run)
	if err != nil {
		return migration.RollbackSummary{}, err
	}
	if err := o.folder.Seal(in.Run.ID); err != nil {
		return migration.RollbackSummary{}, ended(ctx, err)
	}
	summary, err := o.writeRollback(ctx, in)
	return summary, ended(ctx, err)
}

func (o *opened) writeRollback(ctx context.Context, in RollbackArtifactsInput) (migration.RollbackSummary, error) {
	summary := migration.RollbackSummary{
		WorkflowID: o.start.ID, Source: o.rollback.Source, EntityType: o.spec.Target.EntityType, URI: o.spec.Target.URI,
		StartedAt: o.start.StartedAt, FinishedAt: in.FinishedAt.UTC().Truncate(time.Second),
		Items: int(o.index.Records()), Reasons: map[string]int{},
	}
	set, err := artifacts.NewRollbackSet(o.spec.OutputDir, o.start.Stamp)
	if err != nil {
		return summary, err
	}
	defer set.Discard()
	summary.Success, summary.Fail = set.Names()
	err = store.Ahead(ctx, string(o.folder), o.index.Batches(), func(ctx context.Context, n int) (undone, error) {
		return o.readUndone(ctx, ledger.Key{Round: in.Round, Batch: n + 1})
	}, func(u undone) error { return u.add(set, &summary) })
	if err != nil {
		return summary, err
	}
	if err := set.Commit(ctx, summary.Items); err != nil {
		return summary, err
	}
	if err := releaseNames(o.folder, o.spec.OutputDir); err != nil {
		return summary, err
	}
	if err := o.folder.SaveRollbackSummary(summary); err != nil {
		return summary, err
	}
	if summary.IsDone() && o.rollback.Migration != "" {
		return summary, o.rollback.Migration.MarkRolledBack(migration.RolledBack{Rollback: o.start.ID, Done: true, Failed: summary.Records.Failed})
	}
	return summary, nil
}

// undone is what became of the items of a batch.
type undone struct {
	items    []rollback.Item
	known    []ledger.Record
	left     string // why those without an outcome have none
	verified bool
}

func (o *opened) readUndone(ctx context.Context, key ledger.Key) (u undone, err error) {
	if u.items, err = rollback.Read(o.staged, o.index, key.Batch); err != nil {
		return u, err
	}
	if u.known, err = o.after(ctx, key.Round, key.Batch); err != nil {
		return u, err
	}
	if u.left, err = o.whyLeft(ctx, key); err != nil {
		return u, err
	}
	u.verified, err = o.isVerified(ctx, key.Round, key.Batch)
	return u, err
}

// add adds the items of a batch.
func (u undone) add(set *artifacts.RollbackSet, summary *migration.RollbackSummary) error {
	summary.Records.Add(countRollback(u.known))
	for i, item := range u.items {
		if isUndone(u.known[i].Outcome) {
			if !u.verified {
				summary.Unverified++
			}
			if err := set.Success(item.Batch, item.Line, item.UUID, item.Email); err != nil {
				return err
			}
			continue
		}
		reason := u.known[i].Error
		if u.known[i].Outcome == ledger.None {
			reason = u.left
		}
		if err := set.Fail(item.Batch, item.Line, reason); err != nil {
			return err
		}
		// The summary goes to Temporal, and the target's words may quote a record.
		if reason != item.Reason && !slices.Contains(ownReasons, reason) {
			reason = refusedByWords
		}
		summary.Reasons[reason]++
	}
	return nil
}

// whyLeft is the reason of items without an outcome: a batch that was begun and
// not written down may be done in part.
func (o *opened) whyLeft(ctx context.Context, key ledger.Key) (string, error) {
	decided, err := o.isDecided(ctx, key.Round, key.Batch)
	if err != nil || decided {
		return notAttempted, err
	}
	_, err = o.ledger.ClaimOf(ctx, key)
	if isNotFound(err) {
		return notAttempted, nil
	}
	return notKnown, err
}

// DryRun looks at all items of a rollback and counts what would be done, as far
// as it can be seen: it changes nothing, in the target or in the rollback's
// folder. It is not an activity. shown is called after each batch.
func (a *Activities) DryRun(ctx context.Context, r migration.Rollback, shown func(migration.RollbackCounts)) (sum migration.RollbackCounts, err error) {
	o := &opened{run: Run{Folder: migration.Folder(r.Folder)}, folder: migration.Folder(r.Folder), of: migration.Folder(r.Folder)}
	defer o.close()
	if err := a.checkIdentities(r.Migration); err != nil {
		return sum, plain(err)
	}
	if err := a.openRollback(o, r); err != nil {
		return sum, err
	}
	o.ledger = ledger.New(ledger.NewFolder(o.of.Ledger())) // empty: a dry run was never begun, and keeps nothing
	for batch := 1; batch <= o.index.Batches(); batch++ {
		b, err := a.undoingOf(ctx, o, RollbackInput{Batch: batch})
		if err != nil {
			return sum, err
		}
		b.dry = true
		known := make([]ledger.Record, len(b.items))
		for i, item := range b.items {
			outcome, _, err := b.undo(ctx, item)
			if err != nil {
				return sum, plain(err)
			}
			known[i].Outcome = outcome
		}
		sum.Add(countRollback(known))
		shown(sum)
	}
	return sum, nil
}

// plain gives an error that was made for Temporal its bare words.
func plain(err error) error {
	var application *temporal.ApplicationError
	if errors.As(err, &application) {
		return errors.New(application.Message())
	}
	return err
}
