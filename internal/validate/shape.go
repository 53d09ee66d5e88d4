package validate

import (
	"bytes"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/target"
)

// node is one attribute of a schema, prepared for checking.
type node struct {
	path      string // with dots; "" for the record itself
	kind      valueKind
	typeName  string // as the schema has it
	length    int    // in characters, 0 = no limit
	required  bool
	email     bool
	reserved  bool
	open      bool // unknown members are accepted
	members   map[string]*node
	mandatory []*node  // members that are required, or contain required members
	names     []string // paths of all attributes below it, without those in plurals

	// unnamed stands for unknown members whose names may not be reported; its field within is the object that contains them.
	unnamed, within *node

	// unique counts the attributes whose values must be unique, from 1; 0 for others.
	unique int
	// What the checker has seen: the last object in which the attribute had a value, its name and the colon as they are in a
	// record, the first member of the last object, and the member that followed this one.
	seen        uint64
	label       []byte // nil: the attribute is looked up by its name
	first, next *node
}

// valueKind is the type of a value.
type valueKind uint8

const (
	anything valueKind = iota
	unknownAttribute
	text
	boolean
	integer
	decimal
	date
	dateTime
	ipAddress
	object
	plural
	password
)

// kindOf converts the type of a schema. An unknown type accepts any value.
func kindOf(name string) valueKind {
	switch name {
	case "string":
		return text
	case "boolean":
		return boolean
	case "integer":
		return integer
	case "decimal":
		return decimal
	case "date":
		return date
	case "dateTime":
		return dateTime
	case "ipAddress":
		return ipAddress
	case "object":
		return object
	case "plural":
		return plural
	}
	if name == "password" || strings.HasPrefix(name, "password-") {
		return password
	}
	return anything
}

// platform is what can be checked without a schema: the attributes that the target sets itself, of which those that a
// record may give are times, and the password, whose values have a format of their own.
func platform(traits target.Traits) *target.Schema {
	s := &target.Schema{Attributes: []target.Attribute{{Name: "password", Type: "password"}}}
	for _, name := range traits.System {
		a := target.Attribute{Name: name}
		if traits.ShowsCreated && slices.Contains(traits.Givable, name) {
			a.Type = "dateTime"
		}
		s.Attributes = append(s.Attributes, a)
	}
	return s
}

// newShape prepares a schema. Without one it checks what platform knows of, and accepts all others.
func newShape(schema *target.Schema, traits target.Traits) *node {
	root := &node{kind: object, open: schema == nil}
	if schema == nil {
		schema = platform(traits)
	}
	root.addMembers(schema.Attributes)
	for _, name := range traits.System {
		if n := root.members[name]; n != nil {
			n.reserved = traits.Refuses(name)
		}
		root.doNotDemand(name)
	}
	return root
}

func (n *node) addMembers(attributes []target.Attribute) {
	n.members = map[string]*node{}
	for _, a := range attributes {
		m := &node{
			path: join(n.path, a.Name), label: label(a.Name), kind: kindOf(a.Type), typeName: a.Type, length: a.Length,
			required: a.Has("required"), email: a.Has("email-address"),
		}
		if m.kind == object || m.kind == plural {
			m.addMembers(a.Attributes)
			m.open = len(a.Attributes) == 0
		}
		// The platform sets the ids of the elements of a plural, as it does for records.
		if n.kind == plural && a.Type == "id" {
			m.reserved, m.required = true, false
		}
		n.members[a.Name] = m
		n.names = append(n.names, m.path)
		if m.kind == object {
			n.names = append(n.names, m.names...)
		}
		// A plural may be empty, so its required members are checked in each element and not in the record.
		if m.required || m.kind == object && len(m.mandatory) > 0 {
			n.mandatory = append(n.mandatory, m)
		}
	}
}

func (n *node) doNotDemand(name string) {
	for i, m := range n.mandatory {
		if m.path == name {
			n.mandatory = append(n.mandatory[:i:i], n.mandatory[i+1:]...)
			return
		}
	}
}

// at returns the attribute at a path, nil if there is none. It is added if unknown attributes are accepted.
func (n *node) at(path string) *node {
	name, rest, nested := strings.Cut(path, ".")
	m := n.members[name]
	if m == nil {
		if !n.open {
			return nil
		}
		m = &node{path: join(n.path, name), label: label(name)}
		n.members[name] = m
	}
	if !nested {
		return m
	}
	if m.kind == anything && n.open {
		m.kind, m.open, m.members = object, true, map[string]*node{}
	}
	if m.kind != object {
		return nil
	}
	return m.at(rest)
}

// unknown returns the attribute that stands for an unknown member. named reports whether the name comes from the header or
// the mapping, and not from a value, so that it may be reported.
func (n *node) unknown(name string, named func(path string) bool) *node {
	path := join(n.path, name)
	if named(path) {
		m := &node{path: path, kind: unknownAttribute}
		n.members[name] = m
		return m
	}
	if n.unnamed == nil {
		n.unnamed = &node{path: n.path, kind: unknownAttribute, within: n}
	}
	return n.unnamed
}

// demanded returns the first required attribute at or below the node.
func (n *node) demanded() *node {
	if n.required || len(n.mandatory) == 0 {
		return n
	}
	return n.mandatory[0].demanded()
}

// label is a name and its colon in JSON. Where Go quotes a name in another way, no record has that text, and the attribute is
// looked up.
func label(name string) []byte { return append(strconv.AppendQuote(nil, name), ':') }

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// Dates outside of these years are implausible: a birthday in 0019, an expiry in 9999.
const (
	earliestYear = 1900
	latestYear   = 2100
)

// yearOf returns the year of a date or dateTime in the documented formats of the platform.
func yearOf(s []byte) (year int, ok bool) {
	if year, ok := plainYear(s); ok {
		return year, true
	}
	if m, ok := target.ParseMoment(string(s)); ok {
		return m.Earliest.Year(), true
	}
	t, err := time.Parse("20060102", string(s))
	return t.Year(), err == nil
}

// plainYear is a fast path for the two most frequent formats, 2006-01-02 and 2006-01-02 15:04:05.
func plainYear(s []byte) (year int, ok bool) {
	const form = "0000-00-00 00:00:00"
	if len(s) != len("0000-00-00") && len(s) != len(form) {
		return 0, false
	}
	for i, c := range s {
		if digit := c >= '0' && c <= '9'; digit != (form[i] == '0') || !digit && c != form[i] {
			return 0, false
		}
	}
	two := func(i int) int { return int(s[i]-'0')*10 + int(s[i+1]-'0') }
	year, month, day := two(0)*100+two(2), two(5), two(8)
	if month < 1 || month > 12 || day < 1 || day > time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day() {
		return 0, false
	}
	if len(s) == len(form) && (two(11) > 23 || two(14) > 59 || two(17) > 59) {
		return 0, false
	}
	return year, true
}

// isEmail reports whether s looks like an address. The platform does not document its exact rule.
func isEmail(s []byte) bool {
	name, domain, ok := bytes.Cut(s, []byte{'@'})
	return ok && len(name) > 0 && len(domain) > 0 && bytes.IndexByte(domain, '@') < 0 && !bytes.ContainsAny(s, " \t\r\n")
}

func isIPAddress(s []byte) bool {
	_, err := netip.ParseAddr(string(s))
	return err == nil
}
