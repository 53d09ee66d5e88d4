package activities

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"durable-dataload/internal/dupkeys"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
)

// A record is sent again only if the target would refuse it as a duplicate, had the first
// call written it. The target refuses by the primary key. A record without one is keyless;
// if the schema does not call the primary key unique, all records are. Another unique
// attribute does not help: the target would refuse the record, but nothing would tell which
// call wrote the one that exists.

// knownKeys are the keys of the migration, which do not change.
func (m *migrationRun) knownKeys() (migration.Keys, error) {
	m.listing.Lock()
	defer m.listing.Unlock()
	if m.keys != nil {
		return *m.keys, nil
	}
	keys, err := m.of.Keys()
	if err == nil {
		m.keys = &keys
	}
	return keys, err
}

// keyless says which records of a batch are keyless.
func (m *migrationRun) keyless(b source.Batch) (func(i int) bool, error) {
	keys, err := m.knownKeys()
	return func(i int) bool { return !keys.Marked && (!keys.Unique || b.Keyless(i)) }, err
}

// checkKeys finds out what the target refuses as a duplicate, once for all runs of a
// migration.
func (m *migrationRun) checkKeys(ctx context.Context) (Checked, error) {
	keys, err := m.knownKeys()
	if errors.Is(err, migration.ErrAbsent) {
		if keys, err = m.readKeys(ctx); err != nil {
			return Checked{}, err
		}
		keys, err = m.of.CreateKeys(keys)
	}
	switch {
	case err != nil:
		return Checked{}, storageError(err)
	case keys.Attribute != m.spec.PrimaryKey:
		return Checked{}, refused(fmt.Errorf("this migration was started with --primary-key %s; give the same", keys.Attribute))
	case m.spec.Delta && !keys.Unique && keys.Unread == "":
		return Checked{}, refused(fmt.Errorf("a delta migration finds records by --primary-key %s, which the schema does not call unique; expected a unique attribute (%s)",
			keys.Attribute, strings.Join(keys.Others, ", ")))
	}
	return Checked{KeylessNote: keys.Keyless(int(m.index.Records()), int(m.index.Keyless())).Note}, nil
}

// readKeys asks the target for its schema.
func (m *migrationRun) readKeys(ctx context.Context) (migration.Keys, error) {
	schema, err := m.target.Schema(gate.AtOnce(ctx))
	switch {
	case err == nil:
		return migration.NewKeys(m.spec.PrimaryKey, schema, m.traits), nil
	case isHidden(err):
		return migration.AssumeKeys(m.spec.PrimaryKey, m.traits, err), nil
	}
	return migration.Keys{}, err
}

// isHidden reports whether the target does not tell its schema, and will not.
func isHidden(err error) bool {
	_, refused := target.Refusal(err)
	return refused || target.Is(err, target.Forbidden)
}

// keylessSummary is what the summary says of keyless records; nil if there are none.
func (m *migrationRun) keylessSummary(unknown int) (*migration.Keyless, error) {
	keys, err := m.knownKeys()
	if err != nil {
		return nil, err
	}
	k := keys.Keyless(int(m.index.Records()), int(m.index.Keyless()))
	if k.Note == "" {
		return nil, nil
	}
	k.Unknown = unknown
	return &k, nil
}

// A delta migration does not send a record whose key an earlier record of the input has:
// the first would create it and the second update it, in an order that is left to chance.
// An earlier one that cannot be sent does not count.

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
	return dupkeys.Find(ctx, d.keysInOrder, d.foldKey, folder.DuplicateKeys())
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
