package validate

import (
	"math"
	"time"
)

// Severity says what a finding means for a migration.
type Severity string

const (
	// Error: records will not arrive, or the file is refused.
	Error Severity = "error"
	// Warning: it may go well, and somebody should look.
	Warning Severity = "warning"
)

// Kind names what a finding is about. Scripts may rely on the names.
type Kind string

// Kinds of findings.
const (
	KindFile        Kind = "file"              // the file or its header is not usable
	KindEncoding    Kind = "encoding"          // not UTF-8
	KindQuote       Kind = "quote"             // a quote that is never closed, or closed by that of another record
	KindFields      Kind = "fields"            // a record cannot be split into the header's columns
	KindEmptyRecord Kind = "empty_record"      // no column has a value
	KindCell        Kind = "cell"              // what a program wrote in the place of a value
	KindReplaced    Kind = "replaced"          // a value that the mapping does not know, and replaces
	KindTransform   Kind = "transform"         // a value cannot be transformed
	KindTooLarge    Kind = "too_large"         // the record is larger than a call may be
	KindNoKey       Kind = "no_key"            // the primary key is missing or empty
	KindInvisible   Kind = "invisible"         // a character in a key that nobody sees
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
	KindRange       Kind = "range" // a date that is hardly meant
	KindPassword    Kind = "password"
	KindSelection   Kind = "selection" // the file has no records, or too few for --start-at or --canary
	KindTarget      Kind = "target"    // address, credentials, permission
	KindClock       Kind = "clock"
	KindMore        Kind = "more" // what there was no room to tell apart
)

// Finding is something that was found, with all the lines that it was found on put together.
type Finding struct {
	Severity Severity `json:"severity"`
	Kind     Kind     `json:"kind"`
	// Attribute is the path of the attribute, where it is about one.
	Attribute string `json:"attribute,omitempty"`
	// Message says what was found and what was expected, and what to do. It holds no value of a record.
	Message string `json:"message"`
	// Count is how often it was found; 0 if it is not about records.
	Count int64 `json:"count,omitempty"`
	// Places are the first of them, in the order of the file.
	Places []Place `json:"places,omitempty"`
}

// Place is where something was found.
type Place struct {
	// Line is the physical line on which the record starts, or which is meant itself.
	Line int64 `json:"line"`
	// FirstLine is, of a value that stands twice, the line of the first record that has it.
	FirstLine int64 `json:"first_line,omitempty"`
}

// Report is what validation has found.
type Report struct {
	File    string `json:"file"` // without its folder
	SHA256  string `json:"sha256"`
	Bytes   int64  `json:"bytes"`
	Records int64  `json:"records"` // after the header; with those before the first wanted one
	Sent    int64  `json:"sent"`    // would be sent
	// Findings are the errors and then the warnings.
	Findings []Finding `json:"findings"`
	// LargestRecord and LargestBatch are the sizes of the largest, in bytes of a request; Limit is what the body of a
	// request may have.
	LargestRecord Size  `json:"largest_record"`
	LargestBatch  Size  `json:"largest_batch"`
	Limit         int64 `json:"limit"`
	// NotChecked says what was not checked, and why.
	NotChecked []string `json:"not_checked"`
	Forecast   Forecast `json:"forecast"`
}

// Size is how large something is, and where it starts.
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

// maxFindings keeps the report of a file that is no data at all to a size that can be read.
const maxFindings = 500

// findings puts together what belongs together.
type findings struct {
	lines int // places that are kept of each
	by    map[findingKey]*Finding
	list  []*Finding
}

type findingKey struct {
	kind    Kind
	about   string // the attribute, or the message
	variant rune
}

// found is the finding with a key, made by describe the first time, with one more place.
func (s *findings) found(key findingKey, p Place, describe func() (Severity, string)) {
	f := s.by[key]
	if f == nil && len(s.list) >= maxFindings {
		key = findingKey{kind: KindMore}
		describe = func() (Severity, string) {
			return Error, "further problems, of too many kinds to list them; mend those above and validate again"
		}
		f = s.by[key]
	}
	if f == nil {
		f = &Finding{Kind: key.kind, Attribute: key.about}
		f.Severity, f.Message = describe()
		if f.Message == f.Attribute {
			f.Attribute = ""
		}
		s.by[key] = f
		s.list = append(s.list, f)
	}
	f.Count++
	if len(f.Places) < s.lines {
		f.Places = append(f.Places, p)
	}
}

// sorted gives the errors and then the warnings, each in the order in which they were found first.
func (s *findings) sorted() []Finding {
	all := []Finding{}
	for _, severity := range []Severity{Error, Warning} {
		for _, f := range s.list {
			if f.Severity == severity {
				all = append(all, *f)
			}
		}
	}
	return all
}

// Forecast is how long a migration of the file will take, as far as that can be known.
type Forecast struct {
	Calls int64 `json:"calls"` // of the first round; calls that are lost come again
	// AtLeast and AtMost bound the time of these calls. AtLeast is 0 if there is neither a limit of calls a second nor
	// a measured time of a call. AtMost has every call take as long as it may.
	AtLeast Seconds `json:"at_least_seconds"`
	AtMost  Seconds `json:"at_most_seconds"`
	// Delta is what a delta migration may need on top, if every record exists already: one call for each.
	Delta Seconds `json:"delta_at_most_seconds"`
	// CallTime is the measured time of a harmless call, 0 if none was made.
	CallTime Seconds `json:"call_time_seconds"`
}

// Seconds is a duration, to the microsecond.
type Seconds float64

func seconds(d time.Duration) Seconds { return Seconds(math.Round(d.Seconds()*1e6) / 1e6) }

func (s Seconds) duration() time.Duration { return time.Duration(float64(s) * float64(time.Second)) }
