package sandbox

// The log of a state folder, truth.jsonl: what really happened, for tests and independent checkers to read, and at
// the same time the database itself. One file, so that the two can never disagree.
//
// It is append-only. Each line is one JSON object, ends with a newline, and is one call to one of the endpoints, or
// an action of a user of the site (faults such as stranger, see faults.go): the endpoint is then user.register or
// user.change.
// A line is on disk (fsync) before any byte of that call's answer leaves, and before the connection is broken where
// a fault breaks it. So every call that was answered has a line. A call that was under way when the process was
// killed may have none; then it wrote nothing. A last line without a newline is the remains of such a call: it
// counts as not written, and the next start cuts it off.
//
// All fields are always there, in this order; lists without entries are [].
//
//	seq         1, 2, 3, … without gaps, in the order of the file
//	received    when the call's header had arrived; RFC 3339 with nanoseconds, UTC
//	committed   when it took effect; never before that of the line above. created and lastUpdated of what it wrote
//	            are this by the clock that stamps entities (Options.StampSkew)
//	endpoint    entity.bulkCreate, entity.find, entity.count, entity, entity.update, entity.replace, entity.delete,
//	            entityType, user.register, user.change
//	number      ordinal of the call at this endpoint, in the order of arrival; faults are drawn by it
//	type_name   as given, "" if not given or not read
//	status      HTTP status of the answer; 0 if none was sent (refuse, reset-*, hang*, the client was gone)
//	code        API error code of the answer, as sent or as it would have been sent; 0 if none
//	fault       the injected fault, "" if none; "replayed" for the first of the two calls of a replay: its answer was not
//	            sent
//	records     bulkCreate: number of records in all_attributes, written or not; else 0
//	sha256      bulkCreate: of the decoded bytes of all_attributes, in hex. "" if they were not read (refuse, too large)
//	keys        bulkCreate: one entry a record, the i-th is the i-th record's email in lower case, "" without one.
//	            Other endpoints: the email that the call addressed, where it addressed by email
//	written     one entry a record that was created, updated or replaced: index (0-based position in all_attributes;
//	            0 for single records), id, uuid, email ("" without one), email_before (only where it changed),
//	            elements (only where plurals got new ones: how many ids after the last one they took), size (bytes of its
//	            JSON in entities)
//	refused     bulkCreate: one entry a record that was refused: index, code
//	deleted     the deleted record: id, uuid, email
//	attributes  paths of attributes (a.b) that no earlier call of this entity type had mentioned
//	entities    only where written is not empty, and always last: the stored records, whole, in the order of written
//
// A record that a half-writing fault left out is in neither written nor refused. To read only the truth and not the
// data, cut a line at `,"entities":[` and put back the brace: a JSON string cannot hold these bytes, since its
// quotes are escaped.
//
// The file holds user data, hashes of passwords as they were given: it is created with mode 0600.

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// TruthFile is the name of the log within a state folder.
const TruthFile = "truth.jsonl"

// Call is one line of the truth log, without the stored records themselves. The format is described at the top of
// this file and is stable.
type Call struct {
	Seq        int64     `json:"seq"`
	Received   time.Time `json:"received"`
	Committed  time.Time `json:"committed"`
	Endpoint   string    `json:"endpoint"`
	Number     int64     `json:"number"`
	TypeName   string    `json:"type_name"`
	Status     int       `json:"status"`
	Code       int       `json:"code"`
	Fault      string    `json:"fault"`
	Records    int       `json:"records"`
	SHA256     string    `json:"sha256"`
	Keys       []string  `json:"keys"`
	Written    []Written `json:"written"`
	Refused    []Refused `json:"refused"`
	Deleted    []Deleted `json:"deleted"`
	Attributes []string  `json:"attributes"`
}

// Written is a record that a call created or changed.
type Written struct {
	Index       int    `json:"index"`
	ID          int64  `json:"id"`
	UUID        string `json:"uuid"`
	Email       string `json:"email"`
	EmailBefore string `json:"email_before,omitempty"`
	Elements    int64  `json:"elements,omitempty"`
	Size        int    `json:"size"`
}

// Refused is a record of a bulk call that the API refused, with its API error code.
type Refused struct {
	Index int `json:"index"`
	Code  int `json:"code"`
}

// Deleted is a record that a call deleted.
type Deleted struct {
	ID    int64  `json:"id"`
	UUID  string `json:"uuid"`
	Email string `json:"email"`
}

func newCall(endpoint string, number int64, received time.Time) *Call {
	return &Call{
		Received: received.UTC(), Endpoint: endpoint, Number: number,
		Keys: []string{}, Written: []Written{}, Refused: []Refused{}, Deleted: []Deleted{}, Attributes: []string{},
	}
}

// ReadTruth reads the log of a state folder, also while a server writes it: the remains of an unfinished last line
// are left out. It holds all calls in memory, without the stored records, and is meant for tests.
func ReadTruth(stateDir string) ([]Call, error) {
	file, err := os.Open(filepath.Join(stateDir, TruthFile))
	if err != nil {
		return nil, fmt.Errorf("the truth log cannot be read: %w", err)
	}
	defer file.Close()
	var calls []Call
	_, err = readLines(file, func(_ int64, c *Call) error {
		calls = append(calls, *c)
		return nil
	})
	return calls, err
}

// entitiesMark separates the truth of a line from the stored records.
var entitiesMark = []byte(`,"entities":[`)

// encodeLine returns the line of a call and, for each stored record, its offset in the line.
func encodeLine(c *Call, bodies [][]byte) (line []byte, places []int64, err error) {
	line, err = json.Marshal(c)
	if err != nil {
		return nil, nil, err
	}
	if len(bodies) == 0 {
		return append(line, '\n'), nil, nil
	}
	line = append(line[:len(line)-1], entitiesMark...)
	for i, body := range bodies {
		if i > 0 {
			line = append(line, ',')
		}
		places = append(places, int64(len(line)))
		line = append(line, body...)
	}
	return append(line, "]}\n"...), places, nil
}

// decodeLine is encodeLine's inverse for the truth part. place is the offset of the first stored record in the line.
func decodeLine(line []byte) (c *Call, place int64, err error) {
	truth := line
	mark := bytes.Index(line, entitiesMark)
	if mark >= 0 {
		truth = append(append(make([]byte, 0, mark+1), line[:mark]...), '}')
	}
	c = &Call{}
	if err := json.Unmarshal(truth, c); err != nil {
		return nil, 0, err
	}
	if mark < 0 {
		if len(c.Written) > 0 {
			return nil, 0, errors.New("it says that records were written and does not hold them")
		}
		return c, 0, nil
	}
	end := mark + len(entitiesMark)
	place = int64(end)
	for i, w := range c.Written {
		if i > 0 {
			end++
		}
		end += w.Size
	}
	if end > len(line) || string(line[end:]) != "]}\n" {
		return nil, 0, errors.New("the sizes of its records do not add up to its length")
	}
	return c, place, nil
}

// readLines calls each for every whole line, with the offset in the file of the line's first stored record. end is the
// end of the last whole line: the rest is torn.
func readLines(r io.Reader, each func(place int64, c *Call) error) (end int64, err error) {
	lines := bufio.NewReaderSize(r, 1<<20)
	for number := int64(1); ; number++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return end, nil
		}
		if err != nil {
			return end, fmt.Errorf("the truth log cannot be read: %w", err)
		}
		c, place, err := decodeLine(line)
		if err == nil && c.Seq != number {
			err = fmt.Errorf("its seq is %d", c.Seq)
		}
		if err == nil {
			err = each(end+place, c)
		}
		if err != nil {
			return end, fmt.Errorf("the truth log is damaged: line %d, at byte %d, should be call %d, but %w; restore the file, or start with a new state folder",
				number, end, number, err)
		}
		end += int64(len(line))
	}
}
