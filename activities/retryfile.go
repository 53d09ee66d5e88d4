package activities

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// RetryFileInput asks for the retry file that a round will load.
type RetryFileInput struct {
	Run   `json:"run"`
	Round int       `json:"round"` // 1…: the file holds what is unknown after the round before
	Now   time.Time `json:"now"`   // of the workflow: in the file's name, the first time
}

// WriteRetryFile writes the records that are unknown after the earlier rounds
// into retry_<datetime>.csv, raw, with the input's header, and lists their
// batches. If there are none it writes nothing. The rounds before must be over.
func (a *Activities) WriteRetryFile(ctx context.Context, in RetryFileInput) (migration.RetryFile, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(in.Run)
	if err != nil {
		return migration.RetryFile{}, err
	}
	file, err := o.retryFile(ctx, in.Round, in.Now)
	if err != nil || file.Records == 0 {
		return file, ended(ctx, err)
	}
	return file, ended(ctx, o.writeRetryFile(ctx, file))
}

// retryFile gives the name and the list of a retry round: those that were
// fixed before, or new ones.
func (o *opened) retryFile(ctx context.Context, round int, now time.Time) (migration.RetryFile, error) {
	file, err := o.folder.RetryFile(round)
	if !errors.Is(err, migration.ErrAbsent) {
		return file, err
	}
	file = migration.RetryFile{Round: round}
	if store.IsURL(string(o.folder)) {
		file.List = fmt.Sprintf("round-%d-%s.list", round, rand.Text())
	}
	list, err := store.NewWriter(o.folder.RoundList(file))
	if err != nil {
		return file, err
	}
	defer list.Discard()
	err = o.eachUnknown(ctx, round, func(batch int, unknown []bool) error {
		file.Batches++
		for _, u := range unknown {
			if u {
				file.Records++
			}
		}
		return addToRoundList(list, batch)
	})
	if err != nil || file.Records == 0 {
		return migration.RetryFile{Round: round}, err
	}
	return o.beginRound(ctx, file, list, now)
}

// beginRound fixes a retry round with its list, unless it has begun, and gives
// what holds.
func (o *opened) beginRound(ctx context.Context, file migration.RetryFile, list *store.Writer, now time.Time) (_ migration.RetryFile, err error) {
	if err := list.Commit(ctx); err != nil {
		return file, err
	}
	owner, err := o.folder.Owner()
	if err != nil {
		return file, err
	}
	if file.Name, err = artifacts.ReserveRetryName(o.spec.OutputDir, owner, fmt.Sprintf("round %d", file.Round), now); err != nil {
		return file, err
	}
	return o.folder.CreateRetryFile(file)
}

func (o *opened) writeRetryFile(ctx context.Context, file migration.RetryFile) error {
	w, err := artifacts.NewRetryWriter(o.spec.OutputDir, file.Name, o.index.Header())
	if err != nil {
		return err
	}
	defer w.Discard()
	err = o.eachUnknown(ctx, file.Round, func(batch int, unknown []bool) error {
		_, records, err := o.batchRecords(batch)
		if err != nil {
			return err
		}
		for i, r := range records {
			if unknown[i] {
				if err := w.Add(r.Raw); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.Commit(ctx, file.Records)
}

// eachUnknown visits the batches, in order, that have records for a retry
// round: unknown after the rounds before it.
func (o *opened) eachUnknown(ctx context.Context, round int, visit func(batch int, unknown []bool) error) error {
	length, err := o.roundLength(round - 1)
	if err != nil {
		return err
	}
	type unknownOf struct {
		batch   int
		records []bool
	}
	return store.Ahead(ctx, string(o.folder), length, func(ctx context.Context, n int) (u unknownOf, err error) {
		if u.batch, err = o.roundBatch(round-1, n+1); err != nil {
			return u, err
		}
		b, err := o.index.Batch(u.batch)
		if err != nil {
			return u, err
		}
		records, err := o.ledger.After(ctx, round-1, u.batch, b.Records)
		for _, r := range records {
			u.records = append(u.records, r.Outcome == ledger.Unknown)
		}
		return u, err
	}, func(u unknownOf) error {
		if !slices.Contains(u.records, true) {
			return nil
		}
		return visit(u.batch, u.records)
	})
}
