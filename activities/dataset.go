package activities

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"

	"durable-dataload/internal/dupkeys"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// dataset is the records of a migration, as its folder has them: the copy of the
// input, the mapping, and what the ledger says of each. Besides the run that loads
// it, verifications, rollbacks and other migrations read it.
type dataset struct {
	of         migration.Folder
	primaryKey string
	index      *source.Index
	staged     store.RandomReader
	encoder    *mapping.Encoder
	format     target.Format
	tags       string // see migration.Start
	ledger     *ledger.Ledger
}

// openDataset opens the records of a migration to read them. A ledger that is not
// there is taken for an empty one.
func openDataset(folder migration.Folder, spec migration.Spec) (_ *dataset, err error) {
	d := &dataset{of: folder, primaryKey: spec.PrimaryKey, format: spec.Format(), ledger: ledger.New(ledger.NewFolder(folder.Ledger()))}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	if d.index, err = source.OpenIndex(folder.Index()); err != nil {
		return nil, err
	}
	if d.staged, err = store.OpenRandom(folder.Staged()); err != nil {
		return nil, err
	}
	start, err := folder.Start()
	if err != nil && !errors.Is(err, migration.ErrAbsent) { // it is just being inspected
		return nil, err
	}
	d.tags = start.Tags
	m, err := folder.ReadMapping(spec)
	if err != nil {
		return nil, err
	}
	d.encoder, err = spec.Encoder(d.index.Header(), m)
	return d, err
}

func (d *dataset) close() {
	if d.index != nil {
		_ = d.index.Close()
	}
	if d.staged != nil {
		_ = d.staged.Close()
	}
}

// batchRecords reads the records of a batch from the copy of the input.
func (d *dataset) batchRecords(batch int) (source.Batch, []source.Record, error) {
	b, err := d.index.Batch(batch)
	if err != nil {
		return b, nil, err
	}
	data, err := source.ReadCopy(d.staged, b)
	if err != nil {
		return b, nil, err
	}
	return b, records(b, data), nil
}

// after is what is known of the records of a batch after a round.
func (d *dataset) after(ctx context.Context, round, batch int) (b source.Batch, known []ledger.Record, err error) {
	if b, err = d.index.Batch(batch); err != nil {
		return b, nil, err
	}
	known, err = d.ledger.After(ctx, round, batch, b.Records)
	return b, known, err
}

func records(b source.Batch, data []byte) []source.Record {
	all := make([]source.Record, 0, b.Records)
	for r := range source.Records(b, data) {
		all = append(all, r)
	}
	return all
}

// json encodes a record as it is sent, nil if that cannot be done.
func (d *dataset) json(r source.Record) ([]byte, error) {
	json, err := d.encoder.Append(make([]byte, 0, 2*len(r.Raw)), r.Raw)
	if err != nil {
		return nil, err
	}
	return json, nil
}

// tag is the tag of a record: see target.NewTag. "" where records have none.
func (d *dataset) tag(r source.Record) string {
	if d.tags == "" {
		return ""
	}
	return target.NewTag(d.tags, r.Number)
}

// mark is the mark of a record as it is sent, "" where records have none. isTag says that
// no other record and no other migration has it.
func (d *dataset) mark(r source.Record, sent []byte) (mark string, isTag bool, err error) {
	if !d.format.Traits().Marks {
		return "", false, nil
	}
	tag := d.tag(r)
	record, err := d.format.Encode(sent, tag)
	return record.Mark, record.Mark == tag, err
}

// foldKey is a key as the target compares it.
func (d *dataset) foldKey(key string) string { return d.format.Traits().Fold(key) }

// keysInOrder are the dupkeys.Keys of the input.
func (d *dataset) keysInOrder(sent bool) iter.Seq2[dupkeys.Keyed, error] {
	return func(yield func(dupkeys.Keyed, error) bool) {
		for batch := 1; batch <= d.index.Batches(); batch++ {
			_, records, err := d.batchRecords(batch)
			if err != nil {
				yield(dupkeys.Keyed{}, err)
				return
			}
			for _, r := range records {
				key := d.encoder.KeyOf(r.Raw)
				if sent && key != "" {
					if _, err := d.json(r); err != nil {
						key = ""
					}
				}
				if !yield(dupkeys.Keyed{Record: r.Number, Line: r.Line, Key: key}, nil) {
					return
				}
			}
		}
	}
}

// encodedRecord is a record as it is sent, or the reason why it is not sent.
type encodedRecord struct {
	json   []byte        // of the record of the input
	record target.Record // as it is sent
	reason string
}

// readInput reads a batch from the input file itself, checks that it is what was
// inspected, and encodes its records.
func (m *migrationRun) readInput(b source.Batch) ([]source.Record, []encodedRecord, error) {
	f, err := store.OpenRandom(m.spec.DataFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s is missing: %w; restore it, and rerun the command to resume", m.spec.DataFile, source.ErrInputChanged)
	}
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = f.Close() }()
	if f.Size() != m.index.Size() {
		return nil, nil, fmt.Errorf("%s has %d bytes, expected %d: %w; restore it, and rerun the command to resume", m.spec.DataFile, f.Size(), m.index.Size(), source.ErrInputChanged)
	}
	data, err := source.ReadBatch(f, b)
	if err != nil {
		return nil, nil, err
	}
	all := records(b, data)
	encoded := make([]encodedRecord, len(all))
	for i, r := range all {
		if encoded[i], err = m.encode(r); err != nil {
			return nil, nil, err
		}
	}
	return all, encoded, nil
}

// encode encodes a record for the target, or gives the reason why it is not sent.
func (m *migrationRun) encode(r source.Record) (encodedRecord, error) {
	reason, err := m.duplicateKey(r)
	if err != nil || reason != "" {
		return encodedRecord{reason: reason}, err
	}
	json, err := m.json(r)
	if err != nil {
		return encodedRecord{reason: err.Error()}, nil //nolint:nilerr // it is the reason
	}
	record, err := m.format.Encode(json, m.tag(r))
	if err != nil {
		return encodedRecord{reason: err.Error()}, nil //nolint:nilerr // it is the reason
	}
	return encodedRecord{json: json, record: record}, nil
}
