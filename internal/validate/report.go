package validate

import (
	"math"
	"sort"
	"time"
)

// Severity is what a finding means for a migration.
type Severity string

const (
	// Error: records will not arrive, or the file is refused.
	Error Severity = "error"
	// Warning: the migration may succeed, but check the finding.
	Warning Severity = "warning"
)

// Kind is the subject of a finding. Scripts may rely on the names.
type Kind string

// Kinds of findings.
const (
	KindFile        Kind = "file"              // the file or its header is not usable
	KindEncoding    Kind = "encoding"          // not UTF-8
	KindQuote       Kind = "quote"             // a quote that is never closed, or only by that of another record
	KindFields      Kind = "fields"            // a record cannot be split into the header's columns
	KindEmptyRecord Kind = "empty_record"      // no column has a value
	KindHeaderAgain Kind = "header_again"      // a record repeats the header
	KindCell        Kind = "cell"              // a placeholder or error text of a program instead of a value
	KindReplaced    Kind = "replaced"          // a value that the mapping does not know and replaces
	KindTransform   Kind = "transform"         // a value cannot be transformed
	KindTooLarge    Kind = "too_large"         // the record does not fit into a call
	KindNotTaken    Kind = "not_taken"         // the target does not take the record in this form, such as the type of a password hash
	KindNoKey       Kind = "no_key"            // the primary key is missing or empty
	KindInvisible   Kind = "invisible"         // an invisible character in a key
	KindNotUnique   Kind = "not_unique"        // the schema does not call the primary key unique
	KindKeyTwice    Kind = "key_twice"         // an earlier record has the primary key
	KindUniqueTwice Kind = "unique_twice"      // an earlier record has the value of another unique attribute
	KindUnknown     Kind = "unknown_attribute" // the schema does not have it
	KindReserved    Kind = "reserved_attribute"
	KindRequired    Kind = "required"
	KindType        Kind = "type"
	KindLength      Kind = "length"
	KindEmail       Kind = "email"
	KindDate        Kind = "date"
	KindRange       Kind = "range" // an implausible date
	KindPassword    Kind = "password"
	KindSelection   Kind = "selection" // the file has no records, or too few for --start-at or --canary
	KindTarget      Kind = "target"    // address, credentials, permission
	KindClock       Kind = "clock"
	KindMore        Kind = "more" // more kinds of findings than the report lists
)

// Finding is a fault or a remark, with all lines that it applies to.
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     Kind     `json:"kind"`
	// Attribute is the path of the attribute, if it is about one.
	Attribute string `json:"attribute,omitempty"`
	// Message says what was found, what was expected, and what to do. It contains no value of a record.
	Message string `json:"message"`
	// Count is how often it was found; 0 if it is not about records.
	Count int64 `json:"count,omitempty"`
	// Places are the first places, in the order of the file.
	Places []Place `json:"places,omitempty"`
}

// Place is where something was found.
type Place struct {
	// Line is the physical line of the fault or, for a record, of its start.
	Line int64 `json:"line"`
	// FirstLine is, for a duplicate value, the line of the first record with it.
	FirstLine int64 `json:"first_line,omitempty"`
}

// Report is the result of a validation.
type Report struct {
	File    string `json:"file"` // without its folder
	SHA256  string `json:"sha256"`
	Bytes   int64  `json:"bytes"`
	Records int64  `json:"records"` // after the header, including those before StartAt
	Sent    int64  `json:"sent"`    // would be sent
	// Findings are the errors and then the warnings.
	Findings []Finding `json:"findings"`
	// LargestRecord and LargestBatch are encoded sizes in a request; Limit is the largest size of a request's body.
	LargestRecord Size  `json:"largest_record"`
	LargestBatch  Size  `json:"largest_batch"`
	Limit         int64 `json:"limit"`
	// NotChecked lists what was not checked, and why.
	NotChecked []string `json:"not_checked"`
	Forecast   Forecast `json:"forecast"`
}

// Size is a size and the line on which the record or batch starts.
type Size struct {
	Bytes int64 `json:"bytes"`
	Line  int64 `json:"line"`
}

// Errors is the number of findings that are errors.
func (r *Report) Errors() (n int) {
	for _, f := range r.Findings {
		if f.Severity == Error {
			n++
		}
	}
	return n
}

// Warnings is the number of findings that are warnings.
func (r *Report) Warnings() int { return len(r.Findings) - r.Errors() }

// Add adds a finding that is not about records.
func (r *Report) Add(severity Severity, kind Kind, message string) {
	f := Finding{Severity: severity, Kind: kind, Message: message}
	if severity == Error {
		n := r.Errors()
		r.Findings = append(r.Findings[:n:n], append([]Finding{f}, r.Findings[n:]...)...)
		return
	}
	r.Findings = append(r.Findings, f)
}

// maxFindings keeps the report readable for a file that contains no usable data.
const maxFindings = 500

// findings groups the faults by key, in the order in which they were first found.
type findings struct {
	lines int // that are kept for each
	by    map[findingKey]*found
	list  []*found
	calls int
}

type findingKey struct {
	kind    Kind
	about   string // the attribute, or the message
	variant rune
}

// found is a finding, with the numbers of the calls that found its places.
type found struct {
	Finding
	key   findingKey
	calls []int
}

func newFindings(lines int) *findings { return &findings{lines: lines, by: map[findingKey]*found{}} }

// reset empties the findings, to be used again.
func (s *findings) reset() {
	clear(s.by)
	s.list, s.calls = s.list[:0], 0
}

// found adds a place to the finding with this key. describe is called for the first place.
func (s *findings) found(key findingKey, p Place, describe func() (Severity, string)) {
	f := s.by[key]
	if f == nil {
		f = s.add(key, describe)
	}
	s.calls++
	f.Count++
	if len(f.Places) < s.lines {
		f.Places = append(f.Places, p)
		f.calls = append(f.calls, s.calls)
	}
}

func (s *findings) add(key findingKey, describe func() (Severity, string)) *found {
	f := &found{key: key, Finding: Finding{Kind: key.kind, Attribute: key.about}}
	f.Severity, f.Message = describe()
	if f.Message == f.Attribute {
		f.Attribute = ""
	}
	s.by[key] = f
	s.list = append(s.list, f)
	return f
}

// merge adds the findings of the next part of the file. The kinds of findings beyond maxFindings become one.
func (s *findings) merge(part *findings) {
	more := found{key: findingKey{kind: KindMore}}
	for _, p := range part.list {
		f := s.by[p.key]
		switch {
		case f == nil && len(s.list) >= maxFindings:
			more.Count += p.Count
			more.Places, more.calls = append(more.Places, p.Places...), append(more.calls, p.calls...)
			continue
		case f == nil:
			f = s.add(p.key, func() (Severity, string) { return p.Severity, p.Message })
		}
		s.extend(f, p)
	}
	if more.Count == 0 {
		return
	}
	sort.Sort(byCall(more))
	f := s.by[more.key]
	if f == nil {
		f = s.add(more.key, func() (Severity, string) {
			return Error, "more problems, of too many kinds to list them; fix those above and validate again"
		})
	}
	s.extend(f, &more)
}

func (s *findings) extend(f, by *found) {
	f.Count += by.Count
	f.Places = append(f.Places, by.Places[:min(len(by.Places), s.lines-len(f.Places))]...)
}

// byCall sorts places in the order in which they were found.
type byCall found

func (b byCall) Len() int           { return len(b.calls) }
func (b byCall) Less(i, j int) bool { return b.calls[i] < b.calls[j] }
func (b byCall) Swap(i, j int) {
	b.calls[i], b.calls[j] = b.calls[j], b.calls[i]
	b.Places[i], b.Places[j] = b.Places[j], b.Places[i]
}

// sorted returns the errors and then the warnings, each in the order in which they were first found.
func (s *findings) sorted() []Finding {
	all := []Finding{}
	for _, severity := range []Severity{Error, Warning} {
		for _, f := range s.list {
			if f.Severity == severity {
				all = append(all, f.Finding)
			}
		}
	}
	return all
}

// Forecast estimates the duration of a migration of the file.
type Forecast struct {
	Calls int64 `json:"calls"` // of the first round; lost calls are repeated in later ones
	// AtLeast and AtMost bound the time of these calls. AtLeast is 0 if there is neither a limit of calls a second nor
	// a measured time of a call. AtMost assumes that every call takes the whole timeout.
	AtLeast Seconds `json:"at_least_seconds"`
	AtMost  Seconds `json:"at_most_seconds"`
	// Delta is the additional time of a delta migration in which every record exists already: one call for each.
	Delta Seconds `json:"delta_at_most_seconds"`
	// CallTime is the measured time of a harmless call, 0 if none was made.
	CallTime Seconds `json:"call_time_seconds"`
}

// Seconds is a duration with a precision of microseconds.
type Seconds float64

func seconds(d time.Duration) Seconds { return Seconds(math.Round(d.Seconds()*1e6) / 1e6) }

func (s Seconds) duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }
