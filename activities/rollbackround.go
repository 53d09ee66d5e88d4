package activities

import (
	"context"
	"slices"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/store"
)

// A rollback goes over its items in rounds. Round 0 has all of them; a later round has
// those that the earlier ones have not attempted, or that failed in them. The ledger has an
// entry for each batch of items and round, decided once, as that of a migration: Claim says
// that the batch was begun, Decide ByCall what became of its items, and ByReview what was
// found when they were read again.

// RollbackBegun is the work of a rollback.
type RollbackBegun struct {
	Items   int `json:"items"`
	Batches int `json:"batches"`
	Round   int `json:"round"`
}

// BeginRollback says which round is next: the one that was interrupted, or another one
// for what is left. Run again before anything was done in that round, it returns the
// same. It fails with Refused where previous values are encrypted and this worker has no
// key to them.
func (a *Activities) BeginRollback(ctx context.Context, run Run) (RollbackBegun, error) {
	return onRun(ctx, a.rollback, run, (*rollbackRun).begin, run)
}

func (o *rollbackRun) begin(ctx context.Context, _ Run) (begun RollbackBegun, err error) {
	if err := artifacts.CheckFolder(o.spec.OutputDir); err != nil {
		return begun, refused(err)
	}
	if err := o.activities.checkIdentities(o.rollback.Migration); err != nil {
		return begun, err
	}
	begun.Items, begun.Batches = int(o.index.Records()), o.index.Batches()
	if begun.Round, err = o.nextRound(ctx); err != nil {
		return begun, err
	}
	return begun, o.folder.Rollback().SaveRound(begun.Round)
}

// nextRound is the present round, or the one after it if that is decided and items are
// left.
func (o *rollbackRun) nextRound(ctx context.Context) (int, error) {
	round, err := o.folder.Rollback().Round()
	if err != nil {
		return 0, err
	}
	open, left := false, false
	type state struct{ open, left bool } // of a batch
	err = store.ForEachOrdered(ctx, o.folder.Path(), o.index.Batches(), func(ctx context.Context, n int) (s state, err error) {
		in, err := o.inRound(ctx, round, n+1)
		if err != nil {
			return s, err
		}
		if slices.Contains(in, true) {
			decided, err := o.isDecided(ctx, round, n+1)
			if err != nil || !decided {
				return state{open: true}, err
			}
		}
		in, err = o.inRound(ctx, round+1, n+1)
		return state{left: slices.Contains(in, true)}, err
	}, func(s state) error {
		left = left || s.left
		if open = s.open; open {
			return store.ErrEnough
		}
		return nil
	})
	if left && !open {
		round++
	}
	return round, err
}

// after is what is known of the items of a batch after a round.
func (o *rollbackRun) after(ctx context.Context, round, batch int) (known []ledger.Record, err error) {
	b, err := o.index.Batch(batch)
	if err != nil {
		return nil, err
	}
	known = slices.Repeat([]ledger.Record{{Outcome: ledger.None}}, b.Records)
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
		verified, err := o.ledger.Decided(ctx, ledger.ByReview, ledger.Key{Round: r, Batch: batch})
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
func (o *rollbackRun) inRound(ctx context.Context, round, batch int) ([]bool, error) {
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
	// Settled counts the items up to After that need nothing more.
	Settled migration.RollbackCounts `json:"settled"`
}

// PlanRollback says what is to be done next. It changes nothing.
func (a *Activities) PlanRollback(ctx context.Context, in RollbackPlanInput) (RollbackPlan, error) {
	return onRun(ctx, a.rollback, in.Run, (*rollbackRun).plan, in)
}

func (o *rollbackRun) plan(ctx context.Context, in RollbackPlanInput) (RollbackPlan, error) {
	plan := RollbackPlan{After: in.After, Total: o.index.Batches()}
	isDone := o.isDecided
	if in.Verify {
		isDone = o.isVerified
	}
	type state struct {
		done  bool
		known []ledger.Record
	}
	err := store.ForEachOrdered(ctx, o.folder.Path(), plan.Total-in.After, func(ctx context.Context, n int) (l state, err error) {
		if l.done, err = isDone(ctx, in.Round, in.After+n+1); err != nil {
			return l, err
		}
		l.known, err = o.after(ctx, in.Round, in.After+n+1)
		return l, err
	}, func(l state) error {
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

func (o *rollbackRun) isDecided(ctx context.Context, round, batch int) (bool, error) {
	_, err := o.ledger.Decided(ctx, ledger.ByCall, ledger.Key{Round: round, Batch: batch})
	if isNotFound(err) {
		return false, nil
	}
	return err == nil, err
}

// isVerified says that a batch was verified after the last round that changed something
// in it.
func (o *rollbackRun) isVerified(ctx context.Context, round, batch int) (bool, error) {
	for r := round; r >= 0; r-- {
		_, err := o.ledger.Decided(ctx, ledger.ByReview, ledger.Key{Round: r, Batch: batch})
		if err == nil || !isNotFound(err) {
			return err == nil, err
		}
		if decided, err := o.isDecided(ctx, r, batch); err != nil || decided {
			return false, err
		}
	}
	return false, nil
}

// isUndone reports whether an item is in its state before the migration.
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

// VerifyRollback reads the items of a batch that are undone again: what was deleted must
// be gone, what was restored must have its previous values. It counts the batch as it is
// then. It changes nothing in the target.
func (a *Activities) VerifyRollback(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	return onRun(ctx, a.rollback, in.Run, (*rollbackRun).verifyBatch, in)
}

func (o *rollbackRun) verifyBatch(ctx context.Context, in RollbackInput) (migration.RollbackCounts, error) {
	b, err := o.undoing(ctx, in)
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
	if _, _, err := b.ledger.Decide(ctx, ledger.ByReview, b.key, outcomes.Outcomes(true, "")); err != nil {
		return migration.RollbackCounts{}, err
	}
	return b.counts(ctx)
}

// verify returns the reason why an item is not undone after all, or "". It reads an item up
// to lookUpTries times: recent writes can be invisible for a while.
func (b *undoing) verify(ctx context.Context, item rollback.Item, outcome ledger.Outcome) (reason string, err error) {
	for try := 1; ; try++ {
		entity, reason, err := b.read(ctx, item)
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
