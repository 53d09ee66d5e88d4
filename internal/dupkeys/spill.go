package dupkeys

import (
	"encoding/binary"
	"fmt"
	"iter"
	"os"

	"durable-dataload/internal/durablefs"
)

const (
	spillParts = 256
	spillBlock = 512 // entries of one part that are written together: 16 KiB
)

// spilled is an entry of a spill: the hash of a key, or a pair of numbers; a record number; its line.
type spilled struct {
	hash   [16]byte
	record int64
	line   int64
}

const spilledSize = 16 + 8 + 8

// spill keeps entries on disk in parts that are read one by one. It uses 4 MiB of memory. Its file has no name: the system
// removes it when the process ends, however it ends.
type spill struct {
	file    *os.File
	dir     string
	written int64                 // blocks in the file
	buffers [spillParts][]spilled // not yet written
	blocks  [spillParts][]int64   // numbers of the blocks of each part, in the order in which they were added
	scratch []byte
}

func newSpill(dir string) (*spill, error) {
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, inFolder(dir, err)
	}
	f, err := os.CreateTemp(dir, ".keys-*") // mode 0600
	if err != nil {
		return nil, inFolder(dir, err)
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return &spill{file: f, dir: dir, scratch: make([]byte, 0, spillBlock*spilledSize)}, nil
}

// inFolder adds to an error the folder that lacks space.
func inFolder(dir string, err error) error {
	if dir == os.TempDir() {
		return durablefs.TemporaryError(err)
	}
	return fmt.Errorf("the keys of the records cannot be kept in %s: %w; expected a folder that can be written and has room", dir, err)
}

func (s *spill) add(part int, e spilled) error {
	s.buffers[part] = append(s.buffers[part], e)
	if len(s.buffers[part]) < spillBlock {
		return nil
	}
	b := s.scratch[:0]
	for _, e := range s.buffers[part] {
		b = append(b, e.hash[:]...)
		b = binary.LittleEndian.AppendUint64(b, uint64(e.record))
		b = binary.LittleEndian.AppendUint64(b, uint64(e.line))
	}
	if _, err := s.file.WriteAt(b, s.written*int64(len(b))); err != nil {
		return inFolder(s.dir, err)
	}
	s.blocks[part] = append(s.blocks[part], s.written)
	s.written++
	s.buffers[part] = s.buffers[part][:0]
	return nil
}

// part returns the entries of one part, in the order in which they were added.
func (s *spill) part(part int) iter.Seq2[spilled, error] {
	return func(yield func(spilled, error) bool) {
		b := s.scratch[:spillBlock*spilledSize]
		for _, block := range s.blocks[part] {
			if _, err := s.file.ReadAt(b, block*int64(len(b))); err != nil {
				yield(spilled{}, err)
				return
			}
			for i := range spillBlock {
				raw := b[i*spilledSize:]
				e := spilled{
					hash:   [16]byte(raw),
					record: int64(binary.LittleEndian.Uint64(raw[16:])),
					line:   int64(binary.LittleEndian.Uint64(raw[24:])),
				}
				if !yield(e, nil) {
					return
				}
			}
		}
		for _, e := range s.buffers[part] {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (s *spill) close() { s.file.Close() }
