package target

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Entity is a record of the target, as the target returned it.
type Entity struct {
	ID string
	// Mark is that of Record.Mark, "" if the record has none.
	Mark string
	// Created and Updated are zero if the target does not show them.
	Created, Updated Moment
	// Version changes with every change of the record: see Ref.
	Version string
	// Attributes are all top-level attributes, those of Traits.System too, in the form of a record of the input and without
	// the mark; the bytes of their values are the target's, so numbers keep their digits. Attributes without a value are null or missing.
	Attributes map[string]json.RawMessage
}

// Text is the value at a path of names with dots between them, as text; "" if there is none.
func (e Entity) Text(path string) string {
	text, _ := TextIn(e.Attributes, path)
	return text
}

// TextAt is Entity.Text for a record of the input, a JSON object.
func TextAt(record []byte, path string) string {
	var attributes map[string]json.RawMessage
	if json.Unmarshal(record, &attributes) != nil {
		return ""
	}
	text, _ := TextIn(attributes, path)
	return text
}

// TextIn is Entity.Text for attributes; ok is false if there is no text.
func TextIn(attributes map[string]json.RawMessage, path string) (text string, ok bool) {
	name, rest, deeper := strings.Cut(path, ".")
	raw, ok := attributes[name]
	if !ok {
		return "", false
	}
	if deeper {
		var members map[string]json.RawMessage
		if json.Unmarshal(raw, &members) != nil {
			return "", false
		}
		return TextIn(members, rest)
	}
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		return text, true
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil && number != "" {
		return number.String(), true
	}
	return "", false
}

// Change is a new value of an attribute.
type Change struct {
	Path string
	// Value is JSON. null, and an empty list, remove the value. A list replaces the list that is there.
	Value json.RawMessage
}

// IsList reports whether the new value is a list.
func (c Change) IsList() bool { return bytes.HasPrefix(bytes.TrimSpace(c.Value), []byte("[")) }

// Step are changes that one call makes.
type Step struct{ Changes []Change }

// Nested returns the changes of a step as one JSON object, nested by path.
func (s Step) Nested() ([]byte, error) {
	root := map[string]any{}
	for _, c := range s.Changes {
		if !json.Valid(c.Value) || !utf8.Valid(c.Value) {
			return nil, errors.New("the new value of " + c.Path + " is not JSON in UTF-8")
		}
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
		at[names[len(names)-1]] = c.Value
	}
	return Marshal(root)
}

// Marshal encodes JSON without escaping <, > and &.
func Marshal(value any) ([]byte, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return []byte(strings.TrimSuffix(b.String(), "\n")), err
}

// Moment is a time with the precision of its text: a value without a fraction means its whole second, a date its whole day.
// This assumes that the rest was cut off, not rounded. The zero Moment means no time.
type Moment struct {
	// Earliest and Latest are the first and the last nanosecond that the value may mean, in UTC.
	Earliest, Latest time.Time
}

// IsZero reports whether there is no time: the attribute was missing, null, or in a format that ParseMoment does not know.
func (m Moment) IsZero() bool { return m.Earliest.IsZero() }

// Overlaps reports whether both may mean the same time, as "2015-12-15 07:36:25" and "2015-12-15 07:36:25.120000 +0000" do.
// A zero Moment overlaps nothing.
func (m Moment) Overlaps(o Moment) bool {
	return !m.IsZero() && !o.IsZero() && !m.Earliest.After(o.Latest) && !o.Earliest.After(m.Latest)
}

// ParseMoment parses a date or dateTime: RFC 3339, and the formats of the Identity Cloud, "2012-06-13 18:02:56.012122 +0000",
// also without the fraction or the zone (then UTC), with T for the blank, with Z for the zone, and the date alone.
func ParseMoment(s string) (Moment, bool) {
	for _, layout := range []string{
		"2006-01-02 15:04:05 -0700",
		"2006-01-02 15:04:05",
		"2006-01-02 15:04:05Z07:00",
		"2006-01-02T15:04:05Z07:00",
		"2006-01-02T15:04:05-0700",
		"2006-01-02T15:04:05",
		time.DateOnly,
	} {
		t, err := time.Parse(layout, s) // which accepts a fraction after the seconds in every layout
		if err != nil {
			continue
		}
		width := time.Second
		if layout == time.DateOnly {
			width = 24 * time.Hour
		}
		if at := strings.IndexAny(s, ".,"); at >= 0 {
			for i := at + 1; i < len(s) && s[i] >= '0' && s[i] <= '9' && width > 1; i++ {
				width /= 10
			}
		}
		t = t.UTC()
		return Moment{Earliest: t, Latest: t.Add(width - 1)}, true
	}
	return Moment{}, false
}

// FoldID returns the form in which ids are compared: equal forms are one record. A UUID has the same value in any case
// (RFC 9562, section 4); other ids differ.
func FoldID(id string) string {
	if IsUUID(id) {
		return strings.ToLower(id)
	}
	return id
}

// IsUUID reports whether an id is a UUID as text, in any case.
func IsUUID(id string) bool {
	const form = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"
	if len(id) != len(form) {
		return false
	}
	for i := range len(id) {
		digit := '0' <= id[i] && id[i] <= '9' || 'a' <= id[i]|0x20 && id[i]|0x20 <= 'f'
		if digit != (form[i] == 'x') || !digit && id[i] != '-' {
			return false
		}
	}
	return true
}

// FoldCase is a Traits.Fold that ignores case: FoldCase(a) == FoldCase(b) is strings.EqualFold(a, b), that is simple Unicode
// folding: K and the Kelvin sign are equal, ß and ss are not. Spaces count.
func FoldCase(key string) string {
	if isFolded(key) { // most are
		return key
	}
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			return r
		}
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		if 'A' <= least && least <= 'Z' {
			least += 'a' - 'A'
		}
		return least
	}, key)
}

// isFolded reports whether a key is in ASCII and has no upper case.
func isFolded(key string) bool {
	for i := range len(key) {
		if c := key[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return false
		}
	}
	return true
}
