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
func (o *opened) roundList(round int) (*roundList, error) {
	o.listing.Lock()
	defer o.listing.Unlock()
	if list, ok := o.lists[round]; ok {
		return list, nil
	}
	file, err := o.folder.RetryFile(round)
	if err != nil {
		return nil, err
	}
	f, err := store.Open(o.folder.RoundList(file))
	if err != nil {
		return nil, err
	}
	if o.lists == nil {
		o.lists = map[int]*roundList{}
	}
	o.lists[round] = &roundList{f}
	return o.lists[round], nil
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
