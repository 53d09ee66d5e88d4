// Package delta compares a record of the target with the input, attribute by
// attribute.
//
// Attributes are named by paths: names separated by dots, as in the header of
// the input. An object is compared member by member, and members that the input
// does not name are ignored. It changes as a whole where a member has a dot in
// its name. A plural (a list) is compared as a whole: its elements in order,
// without the ids that the target assigns. password is also compared as a whole:
// type, value and salt belong together.
//
// A null is equal to a missing attribute, to an empty list, and to an object of
// nulls: targets show attributes without a value in these ways. A date is equal to the same date in the target's own form, which
// may be shorter. If the schema is known (see Types), values are compared by
// their type: "42" equals 42 in an integer, "true" equals true in a boolean, and a
// string that looks like a date is a string.
//
// The target never shows a password in plain text, so a plain text password
// always differs. A password object with a hash is equal if the target shows the
// same object, whenever it says that it was set.
package delta

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"durable-dataload/internal/target"
)

// Change is an attribute in which a record differs.
type Change struct {
	Path string
	// Before is the value in the target, null if it has none; After is the value
	// of the input.
	Before, After json.RawMessage
}

// To is the change as a target makes it.
func (c Change) To() target.Change { return target.Change{Path: c.Path, Value: c.After} }

// Reversed is the change that undoes another. Elements of lists lose the ids that
// the target assigned: it refuses these in new elements (code 320). A password
// loses the time when it was set.
func (t Types) Reversed(c Change) (Change, error) {
	back := Change{Path: c.Path, Before: c.After, After: c.Before}
	if isNull(c.Before) {
		back.After = null
		if c.To().IsList() {
			back.After = json.RawMessage("[]")
		}
		return back, nil
	}
	value, err := decode(c.Before)
	if err != nil {
		return back, fmt.Errorf("the previous value of %s is not JSON: %w", c.Path, err)
	}
	dropIDs(value)
	if members, ok := value.(map[string]any); ok && t.IsPassword(c.Path) {
		delete(members, passwordSet)
	}
	back.After, err = target.Marshal(value)
	return back, err
}

// dropIDs removes the ids from the elements of all lists in a value.
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

// whole are the attributes whose members belong together.
var whole = []string{"password"}

// passwordSet is the member of a password in which a target shows when it was set.
const passwordSet = "created"

var null = json.RawMessage("null")

// Types are the types of attributes by path, from a schema. The zero value has none:
// values are compared literally.
type Types struct {
	kinds map[string]string
	// fold are the attributes that are compared without case. Updates compare with
	// case: another spelling is another value.
	fold   map[string]bool
	traits target.Traits
}

// TypesOf returns the types of a schema of a target with these traits. The members of a
// plural's elements have paths as those of an object.
func TypesOf(s target.Schema, traits target.Traits) Types {
	t := Types{kinds: map[string]string{}, traits: traits}
	s.Each(func(path string, a target.Attribute) { t.kinds[path] = a.Type })
	return t
}

// Folding is t with the attributes of the schema that ignore case, and with key,
// compared without case.
func (t Types) Folding(s target.Schema, key string) Types {
	t.fold = map[string]bool{key: true}
	s.Each(func(path string, a target.Attribute) {
		if a.CaseSensitive != nil && !*a.CaseSensitive {
			t.fold[path] = true
		}
	})
	return t
}

// Has reports whether the schema has an attribute at a path.
func (t Types) Has(path string) bool {
	_, ok := t.kinds[path]
	return ok
}

// IsPassword reports whether the attribute is, or is in, a password.
func (t Types) IsPassword(path string) bool {
	name, _, _ := strings.Cut(path, ".")
	return slices.Contains(whole, name) || strings.HasPrefix(t.kinds[name], "password") || strings.HasPrefix(t.kinds[path], "password")
}

// IsHidden reports whether the target never shows the attribute: it is not compared.
func (t Types) IsHidden(path string) bool {
	name, _, _ := strings.Cut(path, ".")
	return slices.Contains(t.traits.Hidden, name)
}

// IsTime reports whether the attribute is a date or a time.
func (t Types) IsTime(path string) bool {
	return t.kinds[path] == "date" || t.kinds[path] == "dateTime"
}

// Changes compares a record of the input, a JSON object, with the attributes in the
// target. The changes are in the order of their paths.
func (t Types) Changes(record []byte, there map[string]json.RawMessage) ([]Change, error) {
	var want map[string]json.RawMessage
	if err := json.Unmarshal(record, &want); err != nil || want == nil || !utf8.Valid(record) {
		return nil, errors.New("the record is not a JSON object in UTF-8")
	}
	for _, name := range t.traits.System {
		delete(want, name)
	}
	return t.changes(nil, "", want, there), nil
}

func (t Types) changes(found []Change, prefix string, want, there map[string]json.RawMessage) []Change {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		path, after, before := prefix+name, want[name], there[name]
		if before == nil {
			before = null
		}
		if members, ok := object(after); ok && !slices.Contains(whole, path) {
			inner, ok := object(before)
			switch {
			case !ok && !isNull(before):
			case hasPaths(members):
				found = t.changes(found, path+".", members, inner)
				continue
			default:
				after = overlaid(inner, members)
			}
		}
		if !t.Equal(path, after, before) {
			if isNull(after) && t.isPlural(path, before) {
				after = json.RawMessage("[]")
			}
			found = append(found, Change{Path: path, Before: before, After: after})
		}
	}
	return found
}

// hasPaths reports whether paths lead to the members of an object: not to a name with a dot. The members of such an object
// change together.
func hasPaths(members map[string]json.RawMessage) bool {
	for name := range members {
		if strings.Contains(name, ".") {
			return false
		}
	}
	return true
}

// overlaid is an object with other members, and those of its own that they do not replace.
func overlaid(there, members map[string]json.RawMessage) json.RawMessage {
	all := map[string]json.RawMessage{}
	maps.Copy(all, there)
	maps.Copy(all, members)
	object, _ := target.Marshal(all) // of raw values
	return object
}

// isPlural reports whether an attribute is a plural, by the schema, or without one by its value in the target.
func (t Types) isPlural(path string, there json.RawMessage) bool {
	if len(t.kinds) > 0 {
		return t.kinds[path] == "plural"
	}
	return target.Change{Value: there}.IsList()
}

// Leaves returns the values of a record by path: of objects their members, without
// the attributes that the target sets itself, passwords, and empty values. Elements
// of plurals have no ids.
func (t Types) Leaves(attributes map[string]json.RawMessage) map[string]json.RawMessage {
	leaves := map[string]json.RawMessage{}
	for name, value := range attributes {
		if !slices.Contains(t.traits.System, name) && !t.IsHidden(name) {
			t.addLeaves(leaves, name, value)
		}
	}
	return leaves
}

func (t Types) addLeaves(leaves map[string]json.RawMessage, path string, value json.RawMessage) {
	if t.IsPassword(path) || isEmpty(value) {
		return
	}
	if members, ok := object(value); ok {
		for name, member := range members {
			t.addLeaves(leaves, path+"."+name, member)
		}
		return
	}
	if bytes.HasPrefix(value, []byte("[")) {
		if list, err := decode(value); err == nil {
			dropIDs(list)
			if plain, err := target.Marshal(list); err == nil {
				value = plain
			}
		}
	}
	leaves[path] = value
}

// isEmpty reports whether a value is empty: targets store an empty text as null.
func isEmpty(raw json.RawMessage) bool {
	switch string(bytes.TrimSpace(raw)) {
	case "", "null", `""`, "[]", "{}":
		return true
	}
	return false
}

// At returns the value at a path, null if there is none.
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

// Changes are the changes as a target makes them.
func Changes(changes []Change) []target.Change {
	to := make([]target.Change, len(changes))
	for i, c := range changes {
		to[i] = c.To()
	}
	return to
}

// Equal reports whether the attribute at a path of the target has the wanted value.
// Both are JSON; what is not JSON in UTF-8 equals nothing.
func (t Types) Equal(path string, want, there json.RawMessage) bool {
	a, errA := decode(want)
	b, errB := decode(there)
	return errA == nil && errB == nil && t.equal(path, a, b)
}

// equal compares the wanted value with the actual one; within a plural it compares
// all members, since a plural is replaced as a whole.
func (t Types) equal(path string, want, there any) bool {
	if isNothing(want) && isNothing(there) {
		return true
	}
	switch want := want.(type) {
	case []any:
		list, ok := there.([]any)
		return ok && slices.EqualFunc(want, list, func(want, there any) bool { return t.equalElement(path, want, there) })
	case map[string]any:
		members, ok := there.(map[string]any)
		return ok && t.equalMembers(path, want, members)
	}
	return t.equalScalar(path, want, there)
}

// isNothing reports whether a value says that there is none.
func isNothing(value any) bool {
	switch v := value.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		for _, member := range v {
			if !isNothing(member) {
				return false
			}
		}
		return true
	}
	return false
}

func (t Types) equalElement(path string, want, there any) bool {
	element, ok := there.(map[string]any)
	if _, wanted := want.(map[string]any); ok && wanted {
		element = maps.Clone(element)
		delete(element, "id")
		there = element
	}
	return t.equal(path, want, there)
}

func (t Types) equalMembers(path string, want, there map[string]any) bool {
	if t.IsPassword(path) {
		want, there = maps.Clone(want), maps.Clone(there)
		delete(want, passwordSet)
		delete(there, passwordSet)
	}
	for name := range there {
		if _, named := want[name]; !named && !t.equal(path+"."+name, nil, there[name]) {
			return false
		}
	}
	for name := range want {
		if !t.equal(path+"."+name, want[name], there[name]) {
			return false
		}
	}
	return true
}

// equalScalar compares values other than lists and objects.
func (t Types) equalScalar(path string, want, there any) bool {
	if want == there {
		return true
	}
	a, isScalarA := text(want)
	b, isScalarB := text(there)
	if !isScalarA || !isScalarB {
		return false
	}
	switch t.kinds[path] {
	case "integer", "decimal":
		return sameNumber(a, b)
	case "boolean":
		trueA, errA := strconv.ParseBool(strings.ToLower(a))
		trueB, errB := strconv.ParseBool(strings.ToLower(b))
		return errA == nil && errB == nil && trueA == trueB
	case "date", "dateTime":
		return a == b || sameDate(a, b)
	case "ipAddress":
		addressA, errA := netip.ParseAddr(a)
		addressB, errB := netip.ParseAddr(b)
		return errA == nil && errB == nil && addressA.Unmap() == addressB.Unmap()
	case "string":
		return a == b || isText(want) && isText(there) && t.sameFolded(path, a, b)
	case "uuid":
		return strings.EqualFold(a, b)
	}
	if _, isNumber := want.(json.Number); isNumber {
		_, isNumber = there.(json.Number)
		return isNumber && sameNumber(a, b)
	}
	return isText(want) && isText(there) && (sameDate(a, b) || t.sameFolded(path, a, b))
}

func isText(value any) bool {
	_, ok := value.(string)
	return ok
}

func (t Types) sameFolded(path, a, b string) bool {
	return t.fold[path] && t.traits.Fold(a) == t.traits.Fold(b)
}

// text is a value as text; ok is false for null, lists and objects.
func text(value any) (s string, ok bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// sameDate reports whether both are dates and the target, which may show a date with
// less precision, shows this one. The wanted value means the beginning of its second,
// or day.
func sameDate(want, there string) bool {
	given, ok := target.ParseMoment(want)
	if !ok {
		return false
	}
	shown, ok := target.ParseMoment(there)
	return ok && !given.Earliest.Before(shown.Earliest) && !given.Earliest.After(shown.Latest)
}

// exactDigits is the number of digits that a 64-bit number keeps.
const exactDigits = 15

func sameNumber(want, there string) bool {
	if want == there {
		return true
	}
	a, errA := strconv.ParseFloat(want, 64)
	b, errB := strconv.ParseFloat(there, 64)
	return errA == nil && errB == nil && a == b && len(want) <= exactDigits && len(there) <= exactDigits
}

// decode refuses what is not UTF-8: the decoder would read U+FFFD in its place, another
// value (RFC 8259, section 8.1).
func decode(raw json.RawMessage) (value any, err error) {
	if !utf8.Valid(raw) {
		return nil, errors.New("a text is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	err = decoder.Decode(&value)
	return value, err
}

func object(raw json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	return members, json.Unmarshal(raw, &members) == nil && members != nil
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
