package activities

import (
	"encoding/binary"
	"fmt"
	"os"

	"durable-dataload/internal/store"
)

// A round list names the batches of a retry round, in order: a number of four
// bytes each, little-endian, so that any position is one read.
const roundListEntry = 4

type roundList struct{ file *os.File }

// roundList opens the list of a round, once: it does not change.
func (m *migrationRun) roundList(round int) (*roundList, error) {
	m.listing.Lock()
	defer m.listing.Unlock()
	if list, ok := m.lists[round]; ok {
		return list, nil
	}
	file, err := m.of.RetryFile(round)
	if err != nil {
		return nil, err
	}
	f, err := store.Open(m.of.RoundList(file))
	if err != nil {
		return nil, err
	}
	if m.lists == nil {
		m.lists = map[int]*roundList{}
	}
	m.lists[round] = &roundList{f}
	return m.lists[round], nil
}

func (l *roundList) batch(position int) (int, error) {
	var entry [roundListEntry]byte
	if _, err := l.file.ReadAt(entry[:], int64(position-1)*roundListEntry); err != nil {
		return 0, fmt.Errorf("%s, entry %d: %w", l.file.Name(), position, err)
	}
	return int(binary.LittleEndian.Uint32(entry[:])), nil
}

func (l *roundList) close() { _ = l.file.Close() }

func addToRoundList(w *store.Writer, batch int) error {
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, uint32(batch)))
	return err
}

// roundBatch is the batch at a position (from 1) of a round.
func (m *migrationRun) roundBatch(round, position int) (int, error) {
	if round == 0 {
		return position, nil
	}
	list, err := m.roundList(round)
	if err != nil {
		return 0, err
	}
	return list.batch(position)
}

// roundLength is the number of batches of a round.
func (m *migrationRun) roundLength(round int) (int, error) {
	if round == 0 {
		return m.index.Batches(), nil
	}
	r, err := m.of.RetryFile(round)
	return r.Batches, err
}
