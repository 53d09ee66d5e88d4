package check

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// table is a CSV file with its bytes.
type table struct {
	data      []byte
	header    []string
	headerRaw []byte // without a byte order mark
	rows      []row
}

type row struct {
	number int // from 1
	line   int // on which it starts; the file's first is 1
	fields []string
	raw    []byte
}

func readTable(path string, comma rune) (*table, error) {
	comma = cmp.Or(comma, ',')
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t := &table{data: data}
	content := bytes.TrimPrefix(data, []byte("\xEF\xBB\xBF"))
	reader := csv.NewReader(bytes.NewReader(content))
	reader.FieldsPerRecord, reader.LazyQuotes, reader.Comma = -1, true, comma
	from := int64(0)
	for {
		fields, err := reader.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		raw := withoutEmptyLines(content[from:reader.InputOffset()])
		from = reader.InputOffset()
		if t.headerRaw == nil {
			t.header, t.headerRaw = fields, raw
			continue
		}
		line, _ := reader.FieldPos(0)
		t.rows = append(t.rows, row{number: len(t.rows) + 1, line: line, fields: fields, raw: raw})
	}
	if t.headerRaw == nil {
		return nil, fmt.Errorf("%s has no header", filepath.Base(path))
	}
	return t, nil
}

// withoutEmptyLines drops the empty lines before a record.
func withoutEmptyLines(raw []byte) []byte {
	for {
		switch {
		case bytes.HasPrefix(raw, []byte("\n")):
			raw = raw[1:]
		case bytes.HasPrefix(raw, []byte("\r\n")):
			raw = raw[2:]
		default:
			return raw
		}
	}
}

// summary is summary_*.json, as far as it is checked here.
type summary struct {
	SHA256  string `json:"data_sha256"`
	Records struct {
		Total, Created, Recovered, Updated, Failed, Unknown, Remaining int
	}
	Rounds []struct {
		Round, Batches, Calls, Created, Duplicate, Failed, Unknown int
		RetryFile                                                  *string `json:"retry_file"`
	}
	Files files
}

type files struct {
	Success       string
	Fail          string
	FailRecords   string `json:"fail_records"`
	Retry         []string
	Unresolved    *string
	Remaining     *string
	UpdateSuccess *string `json:"update_success"`
	UpdateFail    *string `json:"update_fail"`
	Report        string
}

func (f files) all() []string {
	names := append([]string{f.Success, f.Fail, f.FailRecords, f.Report}, f.Retry...)
	for _, optional := range []*string{f.Unresolved, f.Remaining, f.UpdateSuccess, f.UpdateFail} {
		if optional != nil {
			names = append(names, *optional)
		}
	}
	return names
}

func readSummary(path string) (s summary, err error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

// call is one line of the sandbox's log.
type call struct {
	Seq       int64
	Received  time.Time
	Committed time.Time
	Endpoint  string
	Status    int
	Code      int    // of the API's error, if it refused the call
	Fault     string // that the sandbox played
	Keys      []string
	Written   []written
	Deleted   []struct{ UUID string }
	TookNone  bool `json:"took_none"` // it answered that it has written nothing, and that answer was delivered
	Entities  []json.RawMessage
}

type written struct {
	Index int
	UUID  string
	Email string
}

// isOurs reports whether a call is one of the migration's that creates records.
func (c *checker) isOurs(call call) bool {
	return call.Endpoint == "entity.bulkCreate" && call.Seq > c.m.Before
}

// isRepeated reports whether a gateway has duplicated the call, and this is the first
// one, whose answer was dropped.
func (c call) isRepeated() bool { return c.Fault == "replayed" }

func readTruth(path string) ([]call, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	reader := bufio.NewReaderSize(f, 1<<20)
	var calls []call
	for {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return calls, nil // the remains of a line that was not written to its end do not count
		}
		if err != nil {
			return nil, err
		}
		var c call
		if err := json.Unmarshal(line, &c); err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", path, len(calls)+1, err)
		}
		calls = append(calls, c)
	}
}
