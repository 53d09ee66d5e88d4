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

// A delta migration does not send a record whose key an earlier record of the input has:
// the first would create it and the second update it, in an order that is left to chance.

// findDuplicateKeys lists these records in the migration's folder, and counts them. The
// list of an earlier run is kept: it is of the same input.
func findDuplicateKeys(ctx context.Context, spec migration.Spec, folder migration.Folder) (int, error) {
	keys, err := dupkeys.Open(folder.DuplicateKeys())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, dupkeys.ErrCorrupt) {
		keys, err = writeDuplicateKeys(ctx, spec, folder)
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = keys.Close() }()
	return int(keys.Count()), nil
}

func writeDuplicateKeys(ctx context.Context, spec migration.Spec, folder migration.Folder) (*dupkeys.List, error) {
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

// duplicateKey is the reason why a record is not sent: an earlier one has its key. It is
// "" for the others.
func (m *migrationRun) duplicateKey(r source.Record) (string, error) {
	if m.duplicateKeys == nil {
		return "", nil
	}
	_, line, ok, err := m.duplicateKeys.Lookup(r.Number)
	if err != nil || !ok {
		return "", err
	}
	return fmt.Sprintf("duplicate key in the file, first in line %d; only the first is loaded", line), nil
}
