package source

import (
	"bytes"
	"fmt"
)

// shapes checks whether the records have as many fields as the header. If all differ from it in the same way the header is
// wrong and not the records: there is a title above it, or it has lost a column. A single record is no evidence.
type shapes struct {
	fields  int // of each record so far
	records int64
	mixed   bool // some record is like the header, or unlike the others: the header may be right
	others  bool // the first record has another usual delimiter in it
}

func (s *shapes) see(h *Header, raw []byte) {
	if s.mixed {
		return
	}
	fields, b, d := 0, trimLineEnd(raw), h.Delimiter.byte()
	for pos := 0; pos >= 0; fields++ {
		pos = fieldAt(b, pos, d).next
	}
	if s.records == 0 {
		s.fields = fields
		for _, separator := range separators {
			s.others = s.others || separator.is != h.Delimiter && bytes.IndexByte(b, separator.is.byte()) >= 0
		}
	}
	s.records++
	s.mixed = fields == len(h.Names) || fields != s.fields
}

// refuse returns the Refusal at the end of the file, or nil.
func (s *shapes) refuse(i *inspection) error {
	if s.mixed || s.records < 2 {
		return nil
	}
	advice := "if there is a title or a note above the header, remove it, else name every column"
	if s.fields == 1 && s.others {
		advice = "the records seem to be separated by another character than the header; export the file again"
	}
	return i.refuse(i.headerLine, fmt.Sprintf("the header has %s, and each of the %d records has %d; expected a name for each field; %s",
		plural(len(i.header.Names), "field"), s.records, s.fields, advice))
}
