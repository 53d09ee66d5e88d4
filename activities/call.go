package activities

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/delta"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/target"
)

// caller makes the calls of one activity to the target: it waits for a start slot,
// repeats what may be repeated, and sends nothing once the run is sealed.
type caller struct {
	*core
	log       *slog.Logger
	needsFind bool // see asked
}

func (c *core) caller(batch int) *caller {
	return &caller{core: c, log: c.activities.log.With("batch", batch)}
}

// slot waits until a call may start at once. It fails if this process must not
// begin anything new.
func (c *caller) slot(ctx context.Context) (*gate.Slot, error) {
	waiting, stopWaiting := c.activities.untilStopping(ctx)
	defer stopWaiting()
	slot, err := c.gate.Enter(waiting)
	if errors.Is(err, gate.ErrEnded) {
		return nil, runIsOver()
	}
	if err != nil {
		if cause := context.Cause(waiting); cause != nil {
			err = cause
		}
		return nil, err
	}
	if err := c.activities.stopping(ctx); err != nil {
		slot.Release()
		return nil, err
	}
	return slot, nil
}

// withSlot returns the context of a call that runs to its end even if ctx is
// cancelled. Immediately before the request is sent, behind all waiting, it checks
// whether the run is over: a worker may have been suspended since it got its slot.
// The run was sealed before its claims were read, so either this check sees the
// seal, or the seal saw this claim. If the gate closes in between, the wait for it
// ends when this process stops.
func (c *caller) withSlot(ctx context.Context, slot *gate.Slot) (calling context.Context, called func()) {
	waiting, called := c.activities.untilStopping(ctx)
	return gate.WithSlot(context.WithoutCancel(ctx), waiting, slot, c.runOver), called
}

// seal ends the run: nothing is sent for it any more. The limiter forgets what was
// ordered for it; if it does not hear of the end, it does so by itself, later.
func (c *core) seal(ctx context.Context) error {
	if err := c.folder.Seal(c.run.ID); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if _, err := c.limiter.Order(ctx, "end-"+c.run.ID, limiter.Order{Run: c.limitedRun(), End: true}); err != nil {
		c.activities.log.Warn("the limiter was not told that the run has ended", "error", err.Error())
	}
	return nil
}

// errRunOver says that the artifacts of the run are written, or about to be.
var errRunOver = errors.New("the run was over")

// runOver fails when nothing may be sent any more, or when that cannot be told.
func (c *core) runOver() error {
	sealed, err := c.folder.Sealed(c.run.ID)
	if err == nil && sealed {
		err = errRunOver
	}
	return err
}

// notSealed fails when the run is over: then nothing is sent any more, and what is
// undecided stays undecided.
func (c *core) notSealed() error {
	err := c.runOver()
	if isRunOver(err) {
		return runIsOver()
	}
	return err
}

// isRunOver reports whether a call was not made because its run is over.
func isRunOver(err error) bool { return errors.Is(err, errRunOver) || errors.Is(err, gate.ErrEnded) }

// runIsOver is the error of an activity that has nothing more to do.
func runIsOver() error {
	return temporal.NewNonRetryableApplicationError("the run is over; nothing was sent", Over, nil)
}

const (
	callTries   = 4
	callBackoff = time.Second / 2 // times the number of the attempt

	lookUpTries   = 3
	lookUpBackoff = time.Second
)

// read makes a call that changes nothing, up to callTries times.
func (c *caller) read(ctx context.Context, call func(context.Context) error) error {
	return c.repeatedly(ctx, func() error {
		// A read that is cut off loses nothing.
		reading, done := c.activities.untilStopping(ctx)
		defer done()
		err := call(reading)
		if cause := context.Cause(reading); err != nil && cause != nil {
			return cause
		}
		return err
	})
}

// write makes a call that sets values, up to callTries times. A call that has
// started runs to its end, even if this worker stops.
func (c *caller) write(ctx context.Context, call func(context.Context) error) error {
	return c.repeatedly(ctx, func() error {
		slot, err := c.slot(ctx)
		if err != nil {
			return err
		}
		defer slot.Release()
		calling, called := c.withSlot(ctx, slot)
		defer called()
		if err := call(calling); !isRunOver(err) {
			return err
		}
		return runIsOver()
	})
}

// change makes one step of a change.
func (c *caller) change(ctx context.Context, ref target.Ref, step target.Step) error {
	return c.write(ctx, func(ctx context.Context) error { return c.target.Apply(ctx, ref, step) })
}

// repeatedly makes a call until its outcome is known, up to callTries times.
func (c *caller) repeatedly(ctx context.Context, call func() error) error {
	return repeat(ctx, callTries, callBackoff, func(try int) error {
		if err := c.activities.stopping(ctx); err != nil {
			return err
		}
		err := call()
		if err != nil && mayPass(err) {
			c.log.Warn("a call failed", "try", try, "error", err.Error())
		}
		return err
	}, mayPass)
}

// repeat makes a call up to tries times while its error may pass. The pause grows
// by backoff with each attempt.
func repeat(ctx context.Context, tries int, backoff time.Duration, call func(try int) error, mayPass func(error) bool) error {
	for try := 1; ; try++ {
		err := call(try)
		if err == nil || try == tries || !mayPass(err) {
			return err
		}
		if err := sleep(ctx, time.Duration(try)*backoff); err != nil {
			return err
		}
	}
}

// always repeats a call whatever its error is.
func always(error) bool { return true }

// sleep pauses, and fails if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// mayPass reports whether a call may succeed when it is repeated.
func mayPass(err error) bool {
	_, refused := target.Refusal(err)
	var application *temporal.ApplicationError
	return !refused && !errors.Is(err, errNotSent) && !errors.Is(err, context.Canceled) && !errors.As(err, &application)
}

// findAll looks keys up in bulk, and returns all matches by folded key.
func (c *caller) findAll(ctx context.Context, attribute string, keys []string) (map[string][]target.Entity, error) {
	return c.inGroups(attribute, keys, func(group []string) ([]target.Entity, error) {
		return c.find(ctx, attribute, group)
	})
}

// inGroups looks keys up, each once, as many at a time as one call of the target takes: a call
// that fails is repeated without the others. It returns all matches by folded key.
func (c *core) inGroups(attribute string, keys []string, find func(group []string) ([]target.Entity, error)) (map[string][]target.Entity, error) {
	all := map[string][]target.Entity{}
	seen := map[string]bool{"": true} // not by folded key: some servers compare exactly
	var groups [][]string
	var together []string
	for _, key := range keys {
		switch {
		case seen[key]:
		case c.traits.FindsAlone != nil && c.traits.FindsAlone(key):
			groups = append(groups, []string{key})
		default:
			together = append(together, key)
		}
		seen[key] = true
	}
	for _, group := range slices.AppendSeq(groups, slices.Chunk(together, c.traits.FindKeys)) {
		found, err := find(group)
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			folded := c.fold(attribute, e.ID)
			if attribute != target.ByID {
				folded = c.fold(attribute, e.Text(attribute))
			}
			if !slices.ContainsFunc(all[folded], func(other target.Entity) bool { return other.ID == e.ID }) {
				all[folded] = append(all[folded], e)
			}
		}
	}
	return all, nil
}

// fold is the form of a value of an attribute in which records are compared by it.
func (c *core) fold(attribute, value string) string {
	if attribute == target.ByID {
		return target.FoldID(value)
	}
	return c.traits.Fold(value)
}

// find looks keys up in one call. A target that refuses the search, or does not
// permit it, shows nothing.
func (c *caller) find(ctx context.Context, attribute string, keys []string) (found []target.Entity, err error) {
	err = c.read(ctx, func(ctx context.Context) error {
		found, err = c.target.Find(ctx, attribute, keys)
		return err
	})
	if _, refused := target.Refusal(err); refused || target.Is(err, target.Forbidden) {
		return nil, nil
	}
	return found, unreachable(err)
}

// view reads one record: nil if there is none, or the words with which the target
// refuses to show it.
func (c *caller) view(ctx context.Context, ref target.Ref) (_ *target.Entity, refused string, err error) {
	var entity target.Entity
	err = c.read(ctx, func(ctx context.Context) (err error) {
		entity, err = c.target.Get(ctx, ref)
		return err
	})
	switch {
	case err == nil:
		return &entity, "", nil
	case target.Is(err, target.NotFound):
		return nil, "", nil
	}
	if words, ok := target.Refusal(err); ok {
		return nil, words, nil
	}
	return nil, "", unreachable(err)
}

// asked makes a look-up, up to lookUpTries times. What cannot be looked up now may be
// shown later, so that is no error: it fails where this process stops, or where the
// caller needs an answer and the target refuses every attempt for a missing permission.
// (Some targets answer so in passing trouble as well.)
func (c *caller) asked(ctx context.Context, what string, call func(context.Context) error) error {
	if err := c.activities.stopping(ctx); err != nil {
		return err
	}
	ctx, done := c.activities.untilStopping(ctx)
	defer done()
	refused := c.needsFind
	err := repeat(ctx, lookUpTries, lookUpBackoff, func(try int) error {
		err := call(ctx)
		if err != nil && ctx.Err() == nil {
			c.log.Warn("a look-up failed", "what", what, "try", try, "error", err.Error())
			refused = refused && target.Is(err, target.Forbidden)
		}
		return err
	}, always)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case refused:
		return temporal.NewNonRetryableApplicationError("the client may not look records up ("+err.Error()+"), so duplicates stay unknown; give it the right to do so, or use --recovered-by refusal", Unreachable, nil)
	}
	return nil
}

// types are the types of the target's attributes. If the target does not tell them,
// values are compared as they are.
func (c *caller) types(ctx context.Context) (delta.Types, error) {
	schema, err := c.schema(ctx)
	return delta.TypesOf(schema, c.traits), err
}

// foldingTypes compare without case what the schema does, and the key.
func (c *caller) foldingTypes(ctx context.Context) (delta.Types, error) {
	schema, err := c.schema(ctx)
	return delta.TypesOf(schema, c.traits).Folding(schema, c.spec.PrimaryKey), err
}

// unreachable makes the error of a failed call one of the type Unreachable. Other
// errors it returns as they are.
func unreachable(err error) error {
	var failed *target.Error
	const advice = "; nothing is lost, rerun the command to resume"
	switch {
	case !errors.As(err, &failed):
		return err
	case failed.Class == target.Forbidden && !failed.Fault:
		return temporal.NewApplicationError("the client may not view or change records ("+err.Error()+"); give it the right to view and update them, and for a rollback to delete them"+advice, Unreachable)
	}
	return temporal.NewApplicationError(err.Error()+advice, Unreachable)
}
