package ledger

import "reflect"

// AddFields adds the fields of counts, which are all of type int, to those of sum. It is
// deterministic, which workflowcheck cannot verify for package reflect.
//
//workflowcheck:ignore
func AddFields[T any](sum *T, counts T) {
	to, from := reflect.ValueOf(sum).Elem(), reflect.ValueOf(counts)
	for i := range from.NumField() {
		to.Field(i).SetInt(to.Field(i).Int() + from.Field(i).Int())
	}
}

// AddClasses adds numbers of records by class of reason to sum. The order does not matter.
//
//workflowcheck:ignore
func AddClasses(sum *map[string]int, more map[string]int) {
	if *sum == nil && len(more) > 0 {
		*sum = map[string]int{}
	}
	for class, n := range more {
		(*sum)[class] += n
	}
}

// Counts are numbers of records by outcome, and of calls made.
type Counts struct {
	Created   int `json:"created"`
	Duplicate int `json:"duplicate"`
	Failed    int `json:"failed"`
	Unknown   int `json:"unknown"`
	Calls     int `json:"calls"`
}

// Add adds other to c.
func (c *Counts) Add(other Counts) { AddFields(c, other) }

// Records is the number of records counted.
func (c Counts) Records() int { return c.Created + c.Duplicate + c.Failed + c.Unknown }

// Counts counts the records of the entry.
func (o Outcomes) Counts() Counts {
	var c Counts
	if o.Sent {
		c.Calls = 1
	}
	for i := range len(o.Letters) {
		switch Outcome(o.Letters[i]) {
		case Created:
			c.Created++
		case Duplicate:
			c.Duplicate++
		case Failed:
			c.Failed++
		case Unknown:
			c.Unknown++
		}
	}
	return c
}

// Reasons counts the failed and unknown records of the entry by class of reason, and
// the duplicates if these fail. It is nil if there are none.
func (o Outcomes) Reasons(duplicatesFail bool) map[string]int {
	records := make([]Record, len(o.Letters))
	if overlay(records, o, 0) != nil {
		return nil // it would not have been written
	}
	for i := range records {
		if Outcome(o.Letters[i]) == Halved {
			records[i].Outcome = None // its half has the reason
		}
	}
	return Reasons(records, duplicatesFail)
}

// Reasons is Outcomes.Reasons for records.
func Reasons(records []Record, duplicatesFail bool) map[string]int {
	var n map[string]int
	for _, r := range records {
		if r.Outcome == Failed || r.Outcome == Unknown || r.Outcome == Duplicate && duplicatesFail {
			if n == nil {
				n = map[string]int{}
			}
			n[r.Class()]++
		}
	}
	return n
}

// Updates are numbers of records by the result of their update.
type Updates struct {
	Updated   int `json:"updated"`
	Unchanged int `json:"unchanged"`
	Failed    int `json:"failed"`
}

// Add adds other to u.
func (u *Updates) Add(other Updates) { AddFields(u, other) }

// Records is the number of records counted.
func (u Updates) Records() int { return u.Updated + u.Unchanged + u.Failed }

// Updates counts the records of an entry of kind ByUpdate.
func (o Outcomes) Updates() Updates {
	var u Updates
	for i := range len(o.Letters) {
		switch Outcome(o.Letters[i]) {
		case Updated:
			u.Updated++
		case Unchanged:
			u.Unchanged++
		case Failed:
			u.Failed++
		}
	}
	return u
}
