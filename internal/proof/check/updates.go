package check

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// isDelta reports whether the migration was to update what it found.
func (c *checker) isDelta() bool {
	return c.summary.Files.UpdateSuccess != nil || c.summary.Files.UpdateFail != nil
}

// takeUpdates reads the files of updates.
func (c *checker) takeUpdates() error {
	if !c.isDelta() {
		return nil
	}
	success, fail := c.summary.Files.UpdateSuccess, c.summary.Files.UpdateFail
	if success == nil || fail == nil {
		c.tell(AddsUp, "one of the two files of updates is missing in the summary")
		return nil
	}
	t, err := readTable(filepath.Join(c.dir, *success), ',')
	if err != nil {
		return err
	}
	key := -1
	if len(t.header) == 4 {
		key = slices.Index(c.input.header, t.header[2])
	}
	if key < 0 {
		c.tell(OneDisposition, "%s has the columns %q, expected batch, line, a column of the input, how", *success, t.header)
		return nil
	}
	c.takeRows(t, *success, []string{"batch", "line", t.header[2], "how"}, func(r *record, fields []string) {
		r.how = fields[3]
		if r.how != "updated" && r.how != "unchanged" {
			c.tell(OneDisposition, "line %d is a successful update with how %q", r.line, fields[3])
		}
		if key >= len(r.fields) || fields[2] != r.fields[key] {
			c.tell(OneDisposition, "line %d has the %s %q in %s", r.line, t.header[2], fields[2], *success)
		}
	})
	if t, err = readTable(filepath.Join(c.dir, *fail), ','); err != nil {
		return err
	}
	c.takeRows(t, *fail, []string{"batch", "line", "email", "error"}, func(r *record, fields []string) {
		r.how, r.error, r.byUpdate = "failed", fields[3], true
		c.same(r, "email", fields[2])
		if r.error == "" {
			c.tell(OneDisposition, "the update of line %d failed without a reason", r.line)
		}
	})
	return nil
}

// state is what became of one record of the target.
type state struct {
	uuid    string
	before  map[string]any // when the migration began to change it
	now     map[string]any
	changes int // calls of the migration that changed it
}

// updates compares the files of updates with what the target has.
func (c *checker) updates() error {
	if !c.isDelta() {
		return nil
	}
	byKey, byUUID, err := c.states()
	if err != nil {
		return err
	}
	mayChange, seen := map[string]bool{}, map[string]int{}
	for _, r := range c.records {
		s := byKey[r.key]
		if r.key == "" {
			s = nil
		}
		if first, repeated := seen[r.key]; repeated && r.key != "" {
			if !isTwice(r.error) && r.how != "unknown" && r.how != "remaining" {
				c.tell(TrueOutcome, "line %d has the key of line %d and is %s; only the first is to be loaded", r.line, first, r.how)
			}
			continue
		}
		seen[r.key] = r.line
		if isTwice(r.error) {
			c.tell(TrueOutcome, "line %d failed because its key stands before it, and it does not", r.line)
		}
		if r.how == "failed" && !r.byUpdate && c.isDuplicate(r) && s != nil {
			c.tell(TrueOutcome, "line %d failed as a duplicate, and was to be updated", r.line)
		}
		if r.how == "unknown" || r.byUpdate || r.how == "updated" {
			if s != nil {
				mayChange[s.uuid] = true
			}
		}
		if r.how != "updated" && r.how != "unchanged" {
			continue
		}
		switch {
		case s == nil:
			c.tell(TrueOutcome, "line %d is %s, and the target had no record with its email before", r.line, r.how)
			continue
		case r.how == "updated" && s.changes == 0:
			c.tell(TrueOutcome, "line %d is updated, and no call changed its record %s", r.line, s.uuid)
		}
		c.hasValues(r, s)
	}
	for uuid, s := range byUUID {
		if s.changes > 0 && !mayChange[uuid] && !c.m.Later {
			c.tell(TrueOutcome, "the record %s was changed, and no record of the input is updated with it", uuid)
		}
	}
	return c.undo(byUUID)
}

// states follows the records that existed before through the log.
func (c *checker) states() (byKey, byUUID map[string]*state, err error) {
	byKey, byUUID = map[string]*state{}, map[string]*state{}
	for _, call := range c.truth {
		changes := call.Endpoint == "entity.update" || call.Endpoint == "entity.replace"
		if !changes && (call.Endpoint != "entity.bulkCreate" || call.Seq > c.m.Before) {
			continue
		}
		for i, w := range call.Written {
			if i >= len(call.Entities) {
				return nil, nil, fmt.Errorf("call %d wrote %d records, and the log holds %d", call.Seq, len(call.Written), len(call.Entities))
			}
			var entity map[string]any
			if err := json.Unmarshal(call.Entities[i], &entity); err != nil {
				return nil, nil, fmt.Errorf("call %d: %w", call.Seq, err)
			}
			s := byUUID[w.UUID]
			if s == nil {
				s = &state{uuid: w.UUID}
				byUUID[w.UUID] = s
				if call.Seq <= c.m.Before {
					byKey[strings.ToLower(w.Email)] = s
				}
			}
			if call.Seq > c.m.Before {
				s.changes++
			} else {
				s.before = entity
			}
			s.now = entity
		}
	}
	return byKey, byUUID, nil
}

// hasValues checks the columns that no transform touches, and the plurals.
func (c *checker) hasValues(r *record, s *state) {
	for i, name := range c.input.header {
		if i >= len(r.fields) {
			return
		}
		switch name {
		case "email", "givenName", "familyName", "displayName":
			if got, _ := s.now[name].(string); got != r.fields[i] {
				c.tell(TrueOutcome, "line %d is %s; column %s: the target has %q, the input %q", r.line, r.how, name, got, r.fields[i])
			}
		case "clients":
			var want []any
			if r.fields[i] != "" && json.Unmarshal([]byte(r.fields[i]), &want) != nil {
				continue
			}
			got, _ := s.now[name].([]any)
			if !slices.EqualFunc(want, got, func(w, g any) bool { return reflect.DeepEqual(w, withoutID(g)) }) {
				c.tell(TrueOutcome, "line %d is %s; the target has %d clients, the input %d, or others", r.line, r.how, len(got), len(want))
			}
		}
	}
}

func withoutID(element any) any {
	members, ok := element.(map[string]any)
	if !ok {
		return element
	}
	rest := map[string]any{}
	for name, value := range members {
		if name != "id" {
			rest[name] = value
		}
	}
	return rest
}

func isTwice(reason string) bool { return strings.Contains(reason, "duplicate key in the file") }

// undo checks that what every changed record was is on the disk.
func (c *checker) undo(byUUID map[string]*state) error {
	if c.m.Undo == "" {
		return nil
	}
	paths, err := filepath.Glob(filepath.Join(c.m.Undo, "*", "*.json"))
	if err != nil {
		return err
	}
	kept := map[string]map[string]any{}
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), ".") {
			continue // a write that was cut off
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var file struct {
			Changes []struct{ UUID string }
			Values  []struct{ Before map[string]any }
		}
		if err := json.Unmarshal(data, &file); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for i, change := range file.Changes {
			if kept[change.UUID] == nil && i < len(file.Values) {
				kept[change.UUID] = file.Values[i].Before
			}
		}
	}
	for uuid, s := range byUUID {
		if s.changes == 0 || s.before == nil {
			continue
		}
		before, ok := kept[uuid]
		if !ok {
			c.tell(Undoable, "the record %s was changed, and nothing is kept of what it was", uuid)
			continue
		}
		for _, name := range []string{"email", "givenName", "familyName", "displayName"} {
			if !reflect.DeepEqual(s.before[name], s.now[name]) && !reflect.DeepEqual(s.before[name], before[name]) {
				c.tell(Undoable, "the record %s had another %s than what is kept of it", uuid, name)
			}
		}
	}
	return nil
}
