package activities

import (
	"encoding/binary"
	"fmt"
	"os"

	"durable-dataload/internal/private"
)

// A round list names the batches of a retry round, in order: a number of four
// bytes each, little-endian, so that any position is one read.
const roundListEntry = 4

type roundList struct{ file *os.File }

func openRoundList(path string) (*roundList, error) {
	f, err := os.Open(path)
	return &roundList{f}, err
}

func (l *roundList) batch(position int) (int, error) {
	var entry [roundListEntry]byte
	if _, err := l.file.ReadAt(entry[:], int64(position-1)*roundListEntry); err != nil {
		return 0, fmt.Errorf("%s, entry %d: %w", l.file.Name(), position, err)
	}
	return int(binary.LittleEndian.Uint32(entry[:])), nil
}

func (l *roundList) close() { _ = l.file.Close() }

func addToRoundList(w *private.Writer, batch int) error {
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, uint32(batch)))
	return err
}
