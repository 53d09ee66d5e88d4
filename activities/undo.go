package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/delta"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/target"
	"durable-dataload/internal/undo"
)

// Why an item failed. The target's own words are verbatim, in the fail file only.
const (
	changedSince   = "the record was changed after the migration, by another client or by the rollback of a later migration; --force undoes it anyway"
	keepsChanging  = "the record was changed each time while it was undone; rerun the command"
	deletedSince   = "the record was deleted after the migration, so its previous values cannot be restored"
	notAsBefore    = "the target accepts the previous values and then shows others"
	noValues       = "the migration's undo files do not have the previous values of this record; put the state folder back as it was"
	anotherUUID    = "the target answers with another record than the one requested"
	thereAgain     = "the record was deleted and exists again; rerun the command"
	valuesLost     = "the previous values were restored and have changed again; rerun the command"
	notAttempted   = "not attempted: the rollback was stopped"
	notKnown       = "the rollback was interrupted while it undid this record, so its state is not known; rerun the command"
	refusedByWords = "refused by the target; its words are in the fail file"
)

// ownReasons are those that hold no words of the target.
var ownReasons = []string{changedSince, anotherKey, thereBefore, tooEarly, madeAfter, notProven, changedThere, keepsChanging, deletedSince, notAsBefore, noValues, anotherUUID, thereAgain, valuesLost, notAttempted, notKnown}

// raceTries is how often an item is read again because it was changed between read and
// call.
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
		entity, reason, err := b.read(ctx, item)
		switch {
		case err != nil || reason != "":
			return ledger.Failed, reason, err
		case entity == nil:
			return ledger.Gone, "", nil
		case !b.rollback.Force && b.traits.ShowsUpdated && b.isChangedSince(entity): // else notOurs compares
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
		case err == nil || target.Is(err, target.NotFound):
			return ledger.Deleted, "", nil
		case target.Is(err, target.Conflict) && race < raceTries:
			continue
		case target.Is(err, target.Conflict):
			return ledger.Failed, keepsChanging, nil
		}
		if words, ok := target.Refusal(err); ok {
			return ledger.Failed, words, nil
		}
		return ledger.Failed, "", unreachable(err)
	}
}

// restore restores the previous values of a record: values and members of objects in one
// call, then each plural in a call of its own. It reads the record before each call, and
// is done when a read shows all previous values.
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
		entity, reason, err := b.read(ctx, item)
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
		steps, err := b.target.Steps(delta.Changes(left))
		if err == nil {
			err = b.calls.change(ctx, b.ref(entity), steps[0])
		}
		done = ledger.Restored
		if target.Is(err, target.Conflict) {
			races++
			continue
		}
		if words, ok := target.Refusal(err); ok {
			return ledger.Failed, words, nil
		}
		if err != nil {
			return ledger.Failed, "", unreachable(err)
		}
		calls++
	}
}

// reversed are the changes that undo those of an item.
func (b *undoing) reversed(item rollback.Item) ([]delta.Change, error) {
	if b.values[item.Batch] == nil {
		values, err := b.activities.previousValues(b.rollback.Migration, item.Batch)
		if err != nil {
			return nil, err
		}
		b.values[item.Batch] = values
	}
	entry := b.values[item.Batch][item.Line]
	var changes []delta.Change
	for _, path := range entry.Paths {
		back, err := b.types.Reversed(delta.Change{Path: path, Before: entry.Before[path], After: entry.After[path]})
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", item.Line, err)
		}
		changes = append(changes, back)
	}
	return changes, nil
}

// different are the changes that an entity does not have yet.
func (b *undoing) different(changes []delta.Change, entity *target.Entity) []delta.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c delta.Change) bool {
		return b.types.Equal(c.Path, c.After, delta.At(entity.Attributes, c.Path))
	})
}

// isOurs reports whether an attribute has the value that the migration set. The target does not
// show the text of a password; where the migration set one, the whole record must be
// unchanged since.
func (b *undoing) isOurs(c delta.Change, entity *target.Entity) bool {
	var password string
	if c.Path == "password" && json.Unmarshal(c.Before, &password) == nil && password != "" {
		return !b.isChangedSince(entity)
	}
	return b.types.Equal(c.Path, c.Before, delta.At(entity.Attributes, c.Path))
}

// isChangedSince reports whether a record was last updated after the migration, or that the
// target does not show when.
func (b *undoing) isChangedSince(entity *target.Entity) bool {
	return entity.Updated.IsZero() || entity.Updated.Earliest.After(b.end())
}

// end is the latest time that the clock which stamps records can have shown when the
// migration ended, which is known to the second.
func (b *undoing) end() time.Time {
	until := b.rollback.Until.Add(time.Second)
	if m := b.origin.Load(); m != nil {
		if latest, ok := m.ours.clocks.LatestOfAny(until); ok {
			return latest
		}
	}
	return b.clock.Latest(until)
}

// ref addresses a record in the state that was read.
func (b *undoing) ref(entity *target.Entity) target.Ref {
	ref := target.Ref{ID: entity.ID}
	if !b.rollback.Force {
		ref.Version = entity.Version
	}
	return ref
}

// read reads the record of an item: nil if there is none, or the reason why that is not
// known.
func (b *undoing) read(ctx context.Context, item rollback.Item) (*target.Entity, string, error) {
	entity, reason, err := b.calls.view(ctx, target.Ref{ID: item.UUID})
	if entity != nil && !strings.EqualFold(entity.ID, item.UUID) {
		return nil, anotherUUID, nil
	}
	return entity, reason, err
}

// checkIdentities checks that this process can open previous values: it opens the first
// file of them.
func (a *Activities) checkIdentities(of migration.Folder) error {
	if of.IsZero() {
		return nil
	}
	batches, err := undo.Batches(of.Undo())
	if err != nil || len(batches) == 0 {
		return err
	}
	_, err = a.previousValues(of, batches[0])
	return err
}

// previousValues are the values of the records of a batch before the migration, by line.
func (a *Activities) previousValues(of migration.Folder, batch int) (map[int64]undo.Entry, error) {
	files, err := undo.Read(of.Undo(), batch)
	if err != nil {
		return nil, err
	}
	values, err := files.Entries(a.identities...)
	if errors.Is(err, undo.ErrSealed) {
		return nil, refused(fmt.Errorf("the previous values of the updated records are encrypted; give the file with the private age key with --undo-identity, to each worker if workers run separately"))
	}
	return values, err
}
