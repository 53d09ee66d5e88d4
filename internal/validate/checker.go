package validate

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"durable-dataload/internal/dupkeys"
	"durable-dataload/internal/suggest"
)

// checker checks records, as JSON, against a schema. It scans the bytes and decodes only what it needs: the mapping produces
// only valid JSON.
type checker struct {
	root     *node
	findings *findings
	named    func(path string) bool // the attribute's name may be reported
	key      *node                  // of the primary key; nil if the schema does not have it
	nextYear int                    // created is in the future from this year on
	keys     [][]dupkeys.Hashed     // the values of each unique attribute
	hasher   dupkeys.Hasher
	doubts   func(kind string) (text string, refused bool) // of passwords; nil if there are none

	json  []byte
	pos   int
	place Place
	row   int64 // number of the record
	// objects counts the objects that were scanned. An attribute whose seen is the number of an object had a value in it.
	objects uint64
}

// check checks one encoded record.
func (c *checker) check(record []byte, number, line int64) {
	c.json, c.pos, c.row, c.place = record, 0, number, Place{Line: line}
	c.object(c.root)
}

func (c *checker) found(n *node, kind Kind, variant rune, describe func() (Severity, string)) {
	c.findings.found(findingKey{kind, n.path, variant}, c.place, describe)
}

// object scans an object; its opening bracket is next.
func (c *checker) object(n *node) {
	c.objects++
	this := c.objects
	c.pos++
	next := &n.first
	for c.space(); c.peek() != '}' && c.pos < len(c.json); c.space() {
		if c.peek() == ',' {
			c.pos++
			c.space()
		}
		m := c.name(n, *next)
		c.space()
		if m == nil {
			c.skip()
			continue
		}
		*next, next = m, &m.next
		if c.member(m) {
			m.seen = this
		}
	}
	c.pos++
	for _, m := range n.mandatory {
		if m.seen != this {
			c.found(m.demanded(), KindRequired, 0, func() (Severity, string) {
				return Error, "no value; the schema requires one in every record"
			})
		}
	}
}

// name scans the name of a member of n, with its colon, and returns the attribute; nil if an open object does not know it. The
// records of a file nearly always have their members in the same order: expected is the one that was there before.
func (c *checker) name(n, expected *node) *node {
	if expected != nil && expected.label != nil && bytes.HasPrefix(c.json[c.pos:], expected.label) {
		c.pos += len(expected.label)
		return expected
	}
	name := c.text()
	c.space()
	c.pos++ // the colon
	m := n.members[string(name)]
	if m == nil && !n.open {
		m = n.unknown(string(name), c.named)
	}
	return m
}

// member scans the value of an attribute, and reports whether it has one.
func (c *checker) member(n *node) bool {
	if n.reserved {
		c.found(n, KindReserved, 0, func() (Severity, string) {
			return Error, "the platform sets this attribute itself and refuses it; remove the column or rename it"
		})
		c.skip()
		return false
	}
	if c.peek() == 'n' && n.kind != unknownAttribute {
		c.skip()
		return false
	}
	c.value(n)
	return true
}

// value scans a value that is not null.
func (c *checker) value(n *node) {
	first := c.peek()
	switch n.kind {
	case unknownAttribute:
		c.skip()
		c.found(n, KindUnknown, 0, func() (Severity, string) { return Error, c.unknownMessage(n) })
		return
	case object:
		if first == '{' {
			c.object(n)
			return
		}
	case plural:
		if first == '[' {
			c.plural(n)
			return
		}
	case password:
		c.password(n)
		return
	case text, date, dateTime, ipAddress:
		if first == '"' {
			value := c.text()
			c.checkText(n, value)
			c.unique(n, value)
			return
		}
	case boolean:
		if first == 't' || first == 'f' {
			c.skip()
			return
		}
	case integer, decimal:
		if number := c.number(); number != nil && (n.kind == decimal || !bytes.ContainsAny(number, ".eE")) {
			c.unique(n, number)
			return
		}
	default:
		if first == '"' {
			c.unique(n, c.text())
			return
		}
		c.skip()
		return
	}
	c.skip()
	c.found(n, KindType, rune(class(first)), func() (Severity, string) {
		return Error, fmt.Sprintf("%s is sent; the schema requires %s (%s)%s", kindOfJSON(first), expected[n.kind], n.typeName, hint(n.kind, first))
	})
}

var expected = map[valueKind]string{
	text: "a string", boolean: "true or false, without quotes", integer: "a whole number, without quotes", decimal: "a number, without quotes",
	date: "a string", dateTime: "a string", ipAddress: "a string", object: "an object", plural: "a list of objects",
}

// class is the kind of a JSON value, by its first byte.
func class(first byte) byte {
	switch first {
	case '"', '{', '[', 'n', 't':
		return first
	case 'f':
		return 't'
	}
	return '0'
}

func kindOfJSON(first byte) string {
	return map[byte]string{'"': "a string", '{': "an object", '[': "a list", 'n': "null", 't': "true or false", '0': "a number"}[class(first)]
}

// hint says how to fix a string where another type is required: an untransformed column is always a string.
func hint(kind valueKind, first byte) string {
	switch {
	case first != '"':
		return ""
	case kind == object:
		return "; name the columns of an object with a dot, as primaryAddress.city"
	}
	return "; the column needs a transformation"
}

func (c *checker) unknownMessage(n *node) string {
	if n.within != nil {
		return "it contains an attribute that the schema does not have; the schema has " + strings.Join(n.within.names, ", ")
	}
	if like := suggest.Name(n.path, c.root.names); like != "" {
		return fmt.Sprintf("the schema does not have this attribute; did you mean %s?", like)
	}
	return "the schema does not have this attribute; rename the column, or remove it"
}

func (c *checker) checkText(n *node, value []byte) {
	if n.length > 0 && len(value) > n.length && utf8.RuneCount(value) > n.length {
		c.found(n, KindLength, 0, func() (Severity, string) {
			return Error, fmt.Sprintf("the value is too long; the schema allows %d characters", n.length)
		})
	}
	switch {
	case n.email && !isEmail(value):
		c.found(n, KindEmail, 0, func() (Severity, string) {
			return Error, "the value is not an e-mail address; expected name@domain, without spaces"
		})
	case n.kind == ipAddress && !isIPAddress(value):
		c.found(n, KindType, 0, func() (Severity, string) {
			return Error, "the value is not an IP address; expected one such as 192.0.2.1 or 2001:db8::1"
		})
	case n.kind == date || n.kind == dateTime:
		c.date(n, value)
	}
}

func (c *checker) date(n *node, value []byte) {
	year, ok := yearOf(value)
	switch {
	case !ok:
		c.found(n, KindDate, 0, func() (Severity, string) {
			return Error, "the value is not a date that the platform reads; expected yyyy-mm-dd, or yyyy-mm-dd hh:mm:ss in UTC"
		})
	case year < earliestYear || year > latestYear:
		c.found(n, KindRange, 0, func() (Severity, string) {
			return Warning, fmt.Sprintf("the year is not within %d to %d; check whether that is right", earliestYear, latestYear)
		})
	case n.path == "created" && year >= c.nextYear:
		c.found(n, KindRange, 1, func() (Severity, string) {
			return Warning, "the creation date is in a future year; check whether that is right"
		})
	}
}

// plural scans a list of objects.
func (c *checker) plural(n *node) {
	c.pos++
	for c.space(); c.peek() != ']' && c.pos < len(c.json); c.space() {
		if c.peek() == ',' {
			c.pos++
			c.space()
		}
		if first := c.peek(); first != '{' {
			at := c.pos
			if c.skip(); c.pos == at {
				c.pos++
			}
			c.found(n, KindType, 0x80|rune(class(first)), func() (Severity, string) {
				return Error, fmt.Sprintf("an element of the list is %s; expected a list of objects", kindOfJSON(first))
			})
			continue
		}
		c.object(n)
	}
	c.pos++
}

// password checks plain text, or {"type": …, "value": …}.
func (c *checker) password(n *node) {
	switch c.peek() {
	case '"':
		c.plainPassword(n, string(c.text()))
	case '{':
		c.passwordHash(n)
	default:
		c.skip()
		c.found(n, KindPassword, 'k', func() (Severity, string) {
			return Error, "the value is neither plain text nor an object; expected {\"type\": …, \"value\": …}"
		})
	}
}

func (c *checker) plainPassword(n *node, value string) {
	i := hashLike(value)
	if i < 0 {
		c.doubt(n, 'p', "")
		return
	}
	c.found(n, KindPassword, rune(0x100+i), func() (Severity, string) {
		h := &hashForms[i]
		if h.surely {
			return Error, h.message()
		}
		return Warning, h.message()
	})
}

// passwordHash checks an object; its opening bracket is next.
func (c *checker) passwordHash(n *node) {
	var kind []byte
	hasType, hasValue := false, false
	c.pos++
	for c.space(); c.peek() != '}' && c.pos < len(c.json); c.space() {
		if c.peek() == ',' {
			c.pos++
			c.space()
		}
		name := c.text()
		isType, isValue := string(name) == "type", string(name) == "value"
		c.space()
		c.pos++
		c.space()
		if c.peek() != '"' {
			c.skip()
			continue
		}
		value := c.text()
		if isType {
			kind, hasType = value, true
		}
		hasValue = hasValue || isValue && len(value) > 0
	}
	c.pos++
	switch {
	case !hasType || !hasValue:
		c.found(n, KindPassword, 'm', func() (Severity, string) {
			return Error, "the password object lacks a type or a value; expected {\"type\": \"password-…\", \"value\": \"<hash>\"}"
		})
	default:
		c.doubt(n, 't', string(kind))
	}
}

// doubt reports what speaks against a password of a kind.
func (c *checker) doubt(n *node, variant rune, kind string) {
	if c.doubts == nil {
		return
	}
	text, refused := c.doubts(kind)
	if text == "" {
		return
	}
	severity := Warning
	if refused {
		severity, variant = Error, variant+1
	}
	c.found(n, KindPassword, variant, func() (Severity, string) { return severity, text })
}

// unique collects a value that no other record may have.
func (c *checker) unique(n *node, value []byte) {
	if n.unique == 0 || len(value) == 0 {
		return
	}
	key := string(value)
	if r, found := invisibleIn(key); found && !(n.email && r == ' ') { // already reported
		c.found(n, KindInvisible, r, func() (Severity, string) { return Warning, invisibleMessage(r) })
	}
	c.keys[n.unique-1] = append(c.keys[n.unique-1], dupkeys.Hashed{Record: c.row, Line: c.place.Line, Hash: c.hasher.Hash(key)})
}

// eachPath passes the paths of all members of an object, and of those in it.
func eachPath(record []byte, tell func(path string)) {
	var members map[string]json.RawMessage
	if json.Unmarshal(record, &members) != nil {
		return
	}
	for name, value := range members {
		tell(name)
		eachPath(value, func(path string) { tell(join(name, path)) })
	}
}

// The following functions scan JSON. Of invalid JSON they skip the rest.

func (c *checker) peek() byte {
	if c.pos < len(c.json) {
		return c.json[c.pos]
	}
	return 0
}

func (c *checker) space() {
	for c.pos < len(c.json) && c.json[c.pos] <= ' ' {
		c.pos++
	}
}

// string returns a string without its quotes.
func (c *checker) string() (raw []byte, escaped bool) {
	c.pos = min(c.pos+1, len(c.json))
	from := c.pos
	for {
		quote := bytes.IndexByte(c.json[c.pos:], '"')
		if quote < 0 {
			c.pos = len(c.json)
			return c.json[from:], escaped
		}
		backslash := bytes.IndexByte(c.json[c.pos:c.pos+quote], '\\')
		if backslash < 0 {
			c.pos += quote + 1
			return c.json[from : c.pos-1], escaped
		}
		escaped = true
		c.pos = min(c.pos+backslash+2, len(c.json))
	}
}

// text returns the text of a string. It is valid until the end of the record.
func (c *checker) text() []byte {
	raw, escaped := c.string()
	if !escaped {
		return raw
	}
	var text string
	_ = json.Unmarshal(append(append([]byte{'"'}, raw...), '"'), &text)
	return []byte(text)
}

// number returns a number, nil if there is none.
func (c *checker) number() []byte {
	from := c.pos
	for c.pos < len(c.json) && (c.json[c.pos] >= '0' && c.json[c.pos] <= '9' || bytes.IndexByte([]byte("+-.eE"), c.json[c.pos]) >= 0) {
		c.pos++
	}
	if c.pos == from {
		return nil
	}
	return c.json[from:c.pos]
}

// skip skips a value.
func (c *checker) skip() {
	depth := 0
	for c.pos < len(c.json) {
		switch c.json[c.pos] {
		case '"':
			c.string()
		case '{', '[':
			depth++
			c.pos++
		case '}', ']':
			if depth == 0 {
				return // the end of the enclosing value
			}
			depth--
			c.pos++
		case ',':
			if depth == 0 {
				return
			}
			c.pos++
			continue
		default:
			c.pos++
			continue
		}
		if depth == 0 {
			return
		}
	}
}
