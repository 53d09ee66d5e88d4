package check

import (
	"fmt"
	"path/filepath"
	"strconv"
)

// Tally has the effects of other users and of gateways on a migration.
type Tally struct {
	Met        map[string]int // records of calls, by the fault of the call
	Strangers  int            // users that registered with the address of a record
	Namesakes  int            // of these, with all data of the record, unchanged
	Taken      int            // of these, counted as the migration's
	Changed    int            // accounts of the migration that their users changed
	Keyless    int            // records without a key
	Repeated   int            // accounts that a gateway made a second time
	Misplaced  int            // successes with the uuid of another record, for a wrong order
	Failed     int            // records that fail because another user registered with their address
	Unresolved int            // unknown records with a key, whose address no other user has registered or changed
}

// Count returns the tally of a migration.
func Count(m Migration) (Tally, error) {
	c, err := looked(m)
	if err != nil {
		return Tally{}, err
	}
	t := Tally{Met: map[string]int{}}
	for _, call := range c.truth {
		if c.isOurs(call) && call.Fault != "" && !call.isRepeated() {
			t.Met[call.Fault] += len(call.Keys)
		}
	}
	strangers, changed := map[string]bool{}, map[string]bool{}
	for _, a := range c.target {
		switch {
		case a.isStranger:
			t.Strangers++
			strangers[a.key] = true
		case a.isOurs && a.changed:
			t.Changed++
			changed[a.key] = true
		case a.isOurs && a.byGateway:
			t.Repeated++
		}
	}
	records, failed := map[string]int{}, map[string]int{}
	for _, r := range c.records {
		a := c.target[r.uuid]
		switch {
		case r.key == "" || m.Emails == "shared":
			t.Keyless++
		case r.how == "unknown" && !strangers[r.key] && !changed[r.key]:
			t.Unresolved++
		}
		if r.misplaced {
			t.Misplaced++
		}
		if r.uuid != "" && a != nil && a.isStranger {
			t.Taken++
		}
		if !strangers[r.key] || r.how == "failed" && !c.isDuplicate(r) {
			continue
		}
		records[r.key]++
		if r.how == "failed" {
			failed[r.key]++
		}
		if a := c.strangerWith(r); a != nil {
			t.Namesakes++
		}
	}
	for key, n := range records {
		t.Failed += max(0, failed[key]-(n-1)) // of records with the same key all but one fail anyway
	}
	return t, nil
}

// strangerWith is the namesake of a record, nil if there is none.
func (c *checker) strangerWith(r *record) *account {
	for _, a := range c.target {
		if c.isNamesake(a, r) {
			return a
		}
	}
	return nil
}

// looked reads all that there is to compare.
func looked(m Migration) (*checker, error) {
	c := &checker{m: m, dir: filepath.Dir(m.Summary), told: map[string]int{}}
	if err := c.read(); err != nil {
		return nil, err
	}
	if err := c.places(); err != nil {
		return nil, err
	}
	if err := c.accounts(); err != nil {
		return nil, err
	}
	c.outcomes()
	return c, nil
}

// RolledBack holds that a rollback has deleted what the migration made, but for
// what its user has changed since, and what has the uuid of another record.
func RolledBack(m Migration) ([]Broken, error) {
	c, err := looked(m)
	if err != nil {
		return nil, err
	}
	deleted := map[string]bool{}
	for _, call := range c.truth {
		for _, d := range call.Deleted {
			deleted[d.UUID] = true
		}
	}
	c.broken = nil
	for _, r := range c.records {
		if a := c.target[r.uuid]; a != nil && a.isOurs && !a.changed && !r.misplaced && !deleted[r.uuid] {
			c.tell(Undone, "line %d is %s with the uuid %s, and it is there still after a rollback", r.line, r.how, r.uuid)
		}
	}
	return c.broken, nil
}

// Verified checks that a verification of all records, whose table is at path, lists
// each record that has the uuid of another.
func Verified(m Migration, path string) ([]Broken, error) {
	c, err := looked(m)
	if err != nil {
		return nil, err
	}
	t, err := readTable(path, ',')
	if err != nil {
		return nil, err
	}
	differs := map[string]bool{}
	for _, row := range t.rows {
		if len(row.fields) > 1 {
			differs[row.fields[1]] = true
		}
	}
	var broken []Broken
	for _, r := range c.records {
		if r.misplaced && !differs[strconv.Itoa(r.line)] {
			broken = append(broken, Broken{VerifyFinds, fmt.Sprintf("line %d has the uuid of another record, and %s does not name it", r.line, filepath.Base(path))})
		}
	}
	return broken, nil
}
