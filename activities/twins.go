package activities

import (
	"context"
	"errors"
	"fmt"
	"os"

	"durable-dataload/internal/dupkeys"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
)

// In a delta migration a record whose key stands in the input before it is not
// sent: after the first one had created the record, the second would update it,
// and which of two batches comes first is chance.

// findTwins lists these records, in the migration's folder, and says how many
// there are. A list that an earlier run has made is kept: it is of the same
// input.
func findTwins(ctx context.Context, spec migration.Spec, folder migration.Folder) (int, error) {
	twins, err := dupkeys.Open(folder.DuplicateKeys())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, dupkeys.ErrCorrupt) {
		twins, err = writeTwins(ctx, spec, folder)
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = twins.Close() }()
	return int(twins.Count()), nil
}

func writeTwins(ctx context.Context, spec migration.Spec, folder migration.Folder) (*dupkeys.List, error) {
	d, err := openDataset(folder, spec)
	if err != nil {
		return nil, err
	}
	defer d.close()
	if !d.encoder.Has(spec.PrimaryKey) {
		return nil, refused(fmt.Errorf("%s gives no attribute %q, by which a delta migration finds the records that are there already; name another attribute with --primary-key, or let a mapping make this one", spec.ShownName(), spec.PrimaryKey))
	}
	return dupkeys.Find(ctx, d.keysInOrder(), folder.DuplicateKeys())
}

// twinOf is why a record is not sent: its key stands in the input before it. It
// is "" for the others.
func (m *migrationRun) twinOf(r source.Record) (string, error) {
	if m.duplicateKeys == nil {
		return "", nil
	}
	_, line, ok, err := m.duplicateKeys.Lookup(r.Number)
	if err != nil || !ok {
		return "", err
	}
	return fmt.Sprintf("the key stands twice in the file, first in line %d; only the first is loaded", line), nil
}
