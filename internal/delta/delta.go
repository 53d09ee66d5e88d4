// Package delta finds out in what a record of the target differs from what the
// input says of it, attribute by attribute.
//
// Attributes are named by paths: names with dots between them, as in the header
// of the input. An object is compared member by member, and members that the
// input does not name are left alone. A plural, which is a list, is compared as
// a whole: its elements in their order, without the ids that the target gives
// them. password is compared as a whole as well: type, value and salt belong
// together.
//
// A null is equal to an attribute that is not there, and to an empty list where
// the other side is a list. A date is equal to the same date in the target's own
// form, which may be shorter.
//
// The target shows no plain text of a password: one that is given as plain text
// always differs. One that is given as an object with a hash is equal where the
// target shows the same object.
package delta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"durable-dataload/internal/identitycloud"
)

// Change is an attribute in which a record differs.
type Change struct {
	Path string
	// Before is what the target has, null where it has nothing; After is what
	// the input says.
	Before, After json.RawMessage
}

// IsPlural says that the attribute is a list, which the target replaces as a
// whole. (Its update would add the elements to those that are there.)
func (c Change) IsPlural() bool { return bytes.HasPrefix(c.After, []byte("[")) }

// Reversed is the change that undoes this one. Elements of lists go without the
// ids that the target gave them: it refuses these in new elements (code 320).
func (c Change) Reversed() (Change, error) {
	back := Change{Path: c.Path, Before: c.After, After: c.Before}
	if isNull(c.Before) {
		back.After = null
		if c.IsPlural() {
			back.After = json.RawMessage("[]")
		}
		return back, nil
	}
	value, err := decode(c.Before)
	if err != nil {
		return back, fmt.Errorf("the previous value of %s is not JSON: %w", c.Path, err)
	}
	dropIDs(value)
	back.After, err = encode(value)
	return back, err
}

// dropIDs takes the ids out of the elements of all lists in a value.
func dropIDs(value any) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			if members, ok := element.(map[string]any); ok {
				delete(members, "id")
			}
			dropIDs(element)
		}
	case map[string]any:
		for _, member := range v {
			dropIDs(member)
		}
	}
}

// reserved are the attributes that the target sets itself. Source: "system
// generated" on Akamai's page on entity.create. created can be given to a new
// record, and is not to be changed.
var reserved = []string{"id", "uuid", "created", "lastUpdated"}

// whole are the attributes whose members belong together.
var whole = []string{"password"}

var null = json.RawMessage("null")

// Changes compares a record as the input has it, a JSON object, with the
// attributes that the target has. The changes are in the order of their paths.
func Changes(record []byte, there map[string]json.RawMessage) ([]Change, error) {
	var want map[string]json.RawMessage
	if err := json.Unmarshal(record, &want); err != nil || want == nil {
		return nil, errors.New("the record is not a JSON object")
	}
	for _, name := range reserved {
		delete(want, name)
	}
	return changes(nil, "", want, there), nil
}

func changes(found []Change, prefix string, want, there map[string]json.RawMessage) []Change {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		path, after, before := prefix+name, want[name], there[name]
		if before == nil {
			before = null
		}
		if members, ok := object(after); ok && !slices.Contains(whole, path) {
			if inner, ok := object(before); ok || isNull(before) {
				found = changes(found, path+".", members, inner)
				continue
			}
		}
		if !Equal(after, before) {
			found = append(found, Change{Path: path, Before: before, After: after})
		}
	}
	return found
}

// At gives the value at a path, null where there is none.
func At(attributes map[string]json.RawMessage, path string) json.RawMessage {
	name, rest, deeper := strings.Cut(path, ".")
	value := attributes[name]
	if deeper {
		members, _ := object(value)
		return At(members, rest)
	}
	if value == nil {
		return null
	}
	return value
}

// Object makes one JSON object of the values of these changes, with objects
// within it for the paths: what an update sends.
func Object(changes []Change) ([]byte, error) {
	root := map[string]any{}
	for _, c := range changes {
		names := strings.Split(c.Path, ".")
		at := root
		for _, name := range names[:len(names)-1] {
			inner, ok := at[name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				at[name] = inner
			}
			at = inner
		}
		at[names[len(names)-1]] = c.After
	}
	data, err := encode(root)
	if err != nil {
		return nil, fmt.Errorf("the changes are not JSON: %w", err)
	}
	return data, nil
}

// encode is JSON in which <, > and & stand as they are.
func encode(value any) ([]byte, error) {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// Equal says that an attribute of the target has the value that was wanted.
// Both are JSON; what cannot be read equals nothing.
func Equal(want, there json.RawMessage) bool {
	a, errA := decode(want)
	b, errB := decode(there)
	return errA == nil && errB == nil && equal(a, b)
}

// equal compares what is wanted with what is there, of values within a plural
// all members, since a plural is replaced as a whole.
func equal(want, there any) bool {
	switch want := want.(type) {
	case nil:
		list, isList := there.([]any)
		return there == nil || isList && len(list) == 0
	case string:
		there, ok := there.(string)
		return ok && (want == there || sameDate(want, there))
	case json.Number:
		there, ok := there.(json.Number)
		return ok && sameNumber(want.String(), there.String())
	case []any:
		list, ok := there.([]any)
		if there == nil {
			return len(want) == 0
		}
		return ok && slices.EqualFunc(want, list, equalElement)
	case map[string]any:
		members, ok := there.(map[string]any)
		return ok && equalMembers(want, members)
	}
	return want == there
}

func equalElement(want, there any) bool {
	element, ok := there.(map[string]any)
	if _, wanted := want.(map[string]any); ok && wanted {
		element = maps.Clone(element)
		delete(element, "id")
		there = element
	}
	return equal(want, there)
}

func equalMembers(want, there map[string]any) bool {
	for name := range there {
		if _, named := want[name]; !named && !equal(nil, there[name]) {
			return false
		}
	}
	for name := range want {
		if !equal(want[name], there[name]) {
			return false
		}
	}
	return true
}

// sameDate says that both are dates, and that the target, which may show less of
// a date than it was given, shows this one. What was given stands for the
// beginning of its second, or day.
func sameDate(want, there string) bool {
	given, ok := identitycloud.ParseMoment(want)
	if !ok {
		return false
	}
	shown, ok := identitycloud.ParseMoment(there)
	return ok && !given.Earliest.Before(shown.Earliest) && !given.Earliest.After(shown.Latest)
}

// exactDigits is how many digits a number of 64 bits keeps.
const exactDigits = 15

func sameNumber(want, there string) bool {
	if want == there {
		return true
	}
	a, errA := strconv.ParseFloat(want, 64)
	b, errB := strconv.ParseFloat(there, 64)
	return errA == nil && errB == nil && a == b && len(want) <= exactDigits && len(there) <= exactDigits
}

func decode(raw json.RawMessage) (value any, err error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

func object(raw json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	return members, json.Unmarshal(raw, &members) == nil && members != nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
