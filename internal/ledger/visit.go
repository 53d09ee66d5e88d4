package ledger

import (
	"context"
	"errors"
)

// Abandoned is the reason of records for which a call may have been made, and nothing
// else is known.
const Abandoned = "claimed, and no outcome"

// Visit visits the decided entries of some records of a batch in a round: its entry,
// or that and those of its parts, first half first. open is called with the positions
// of each part without an outcome, and whether a call may have been made for it.
// Visit changes nothing.
func (l *Ledger) Visit(ctx context.Context, key Key, positions []int, decided func(Key, Outcomes), open func(positions []int, claimed bool)) error {
	o, err := l.Decided(ctx, ByCall, key)
	if errors.Is(err, ErrNotFound) {
		_, err := l.ClaimOf(ctx, key)
		if err == nil || errors.Is(err, ErrNotFound) {
			open(positions, err == nil)
			return nil
		}
		return err
	}
	if err != nil {
		return err
	}
	decided(key, o)
	if !o.Split {
		return nil
	}
	first, second := key.Halves()
	half := len(positions) / 2
	if err := l.Visit(ctx, first, positions[:half], decided, open); err != nil {
		return err
	}
	return l.Visit(ctx, second, positions[half:], decided, open)
}
