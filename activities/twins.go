package activities

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/validate"
)

// In a delta migration a record whose key stands in the input before it is not
// sent: after the first one had created the record, the second would update it,
// and which of two batches comes first is chance.

// findTwins lists these records, in the migration's folder, and says how many
// there are. A list that an earlier run has made is kept: it is of the same
// input.
func findTwins(ctx context.Context, spec migration.Spec, folder migration.Folder, m *mapping.Mapping) (int, error) {
	twins, err := validate.OpenTwins(folder.Twins())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, validate.ErrTwinsCorrupt) {
		twins, err = writeTwins(ctx, spec, folder, m)
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = twins.Close() }()
	return int(twins.Count()), nil
}

func writeTwins(ctx context.Context, spec migration.Spec, folder migration.Folder, m *mapping.Mapping) (*validate.Twins, error) {
	index, err := source.OpenIndex(folder.Index())
	if err != nil {
		return nil, err
	}
	defer func() { _ = index.Close() }()
	staged, err := store.OpenPieces(folder.Staged())
	if err != nil {
		return nil, err
	}
	defer func() { _ = staged.Close() }()
	encoder, err := spec.Encoder(index.Header(), m)
	if err != nil {
		return nil, err
	}
	o := &opened{spec: spec, index: index, staged: staged, encoder: encoder}
	if !encoder.Has(spec.PrimaryKey) {
		return nil, refused(fmt.Errorf("%s gives no attribute %q, by which a delta migration finds the records that are there already; name another attribute with --primary-key, or let a mapping make this one", spec.ShownName(), spec.PrimaryKey))
	}
	return validate.Twice(ctx, o.keysInOrder(), folder.Twins())
}

// keysInOrder gives the key of every record, in the order of the input.
func (o *opened) keysInOrder() iter.Seq2[validate.Keyed, error] {
	return func(yield func(validate.Keyed, error) bool) {
		for batch := 1; batch <= o.index.Batches(); batch++ {
			_, records, err := o.batchRecords(batch)
			if err != nil {
				yield(validate.Keyed{}, err)
				return
			}
			for _, r := range records {
				if !yield(validate.Keyed{Record: r.Number, Line: r.Line, Key: o.encoder.KeyOf(r.Raw)}, nil) {
					return
				}
			}
		}
	}
}

// twinOf is why a record is not sent: its key stands in the input before it. It
// is "" for the others.
func (o *opened) twinOf(r source.Record) (string, error) {
	if o.twins == nil {
		return "", nil
	}
	_, line, ok, err := o.twins.Lookup(r.Number)
	if err != nil || !ok {
		return "", err
	}
	return fmt.Sprintf("the key stands twice in the file, first in line %d; only the first is loaded", line), nil
}
