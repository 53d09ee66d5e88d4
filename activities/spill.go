package activities

import (
	"encoding/json"
	"os"

	"durable-dataload/internal/durablefs"
)

// spill keeps values that memory has no room for, in a file without a name: it is gone when
// the process ends, however it ends.
type spill struct {
	file *os.File
	size int64
}

// spilled is where a value is.
type spilled struct {
	offset int64
	size   int32
}

func newSpill() (*spill, error) {
	file, err := durablefs.Nameless()
	return &spill{file: file}, err
}

func (s *spill) add(value any) (at spilled, err error) {
	data, err := json.Marshal(value)
	if err != nil {
		return at, err
	}
	if _, err := s.file.WriteAt(data, s.size); err != nil {
		return at, durablefs.TemporaryError(err)
	}
	at = spilled{s.size, int32(len(data))}
	s.size += int64(len(data))
	return at, nil
}

func (s *spill) get(at spilled, value any) error {
	data := make([]byte, at.size)
	if _, err := s.file.ReadAt(data, at.offset); err != nil {
		return durablefs.TemporaryError(err)
	}
	return json.Unmarshal(data, value)
}

func (s *spill) close() { _ = s.file.Close() }
