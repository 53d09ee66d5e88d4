package activities

import (
	"errors"
	"fmt"
	"os"

	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// encodedRecord is a record as it is sent, or the reason why it is not sent.
type encodedRecord struct {
	json   []byte
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
	return encodedRecord{json: json}, nil
}
