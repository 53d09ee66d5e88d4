package validate

import (
	"strings"

	"durable-dataload/internal/dupkeys"
	"durable-dataload/internal/identitycloud"
)

// node is one attribute of a schema, made ready for checking.
type node struct {
	path      string // with dots; "" for the record itself
	kind      valueKind
	typeName  string // as the schema has it
	length    int    // in characters, 0 = no limit
	required  bool
	email     bool
	reserved  bool
	open      bool // members that are not known are fine
	members   map[string]*node
	mandatory []*node  // members that must have a value, or have such members
	names     []string // paths of all attributes below it, those within plurals not among them

	// stranger stands for members that are not known, and whose names are not to be told; it has them within.
	stranger, within *node

	// keys collects the values, if they must be unique.
	keys *dupkeys.Finder
	// seen is the object in which the attribute had a value last; see checker.
	seen uint64
}

// valueKind is what a value has to be.
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

// kindOf reads the type of a schema. A type that is not known may be anything.
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

// platform are the attributes that every entity type has, and the password, whose values have a form of their own: what
// can be checked without a schema.
var platform = identitycloud.Schema{Attributes: []identitycloud.Attribute{
	{Name: "id", Type: "id"}, {Name: "uuid", Type: "uuid"},
	{Name: "created", Type: "dateTime"}, {Name: "lastUpdated", Type: "dateTime"},
	{Name: "password", Type: "password"},
}}

// newShape makes a schema ready. Without one it knows the platform's own attributes and lets all others pass.
func newShape(schema *identitycloud.Schema) *node {
	root := &node{kind: object, open: schema == nil}
	if schema == nil {
		schema = &platform
	}
	root.addMembers(schema.Attributes)
	for _, name := range identitycloud.SystemAttributes {
		if n := root.members[name]; n != nil {
			n.reserved = identitycloud.Refuses(name)
		}
		root.doNotDemand(name)
	}
	return root
}

func (n *node) addMembers(attributes []identitycloud.Attribute) {
	n.members = map[string]*node{}
	for _, a := range attributes {
		m := &node{
			path: join(n.path, a.Name), kind: kindOf(a.Type), typeName: a.Type, length: a.Length,
			required: a.Has("required"), email: a.Has("email-address"),
		}
		if m.kind == object || m.kind == plural {
			m.addMembers(a.Attributes)
			m.open = len(a.Attributes) == 0
		}
		// The elements of a plural get their ids from the platform, as records do.
		if n.kind == plural && a.Type == "id" {
			m.reserved, m.required = true, false
		}
		n.members[a.Name] = m
		n.names = append(n.names, m.path)
		if m.kind == object {
			n.names = append(n.names, m.names...)
		}
		// A plural may be empty, so what its elements must have is asked of each, and not of the record.
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

// at is the attribute at a path, which is made where unknown ones are fine; nil if there is none.
func (n *node) at(path string) *node {
	name, rest, nested := strings.Cut(path, ".")
	m := n.members[name]
	if m == nil {
		if !n.open {
			return nil
		}
		m = &node{path: join(n.path, name)}
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

// unknown is the attribute that stands for a member that is not known. named says that the name comes from the header
// or the mapping, and not out of a value, so that it may be told.
func (n *node) unknown(name string, named func(path string) bool) *node {
	path := join(n.path, name)
	if named(path) {
		m := &node{path: path, kind: unknownAttribute}
		n.members[name] = m
		return m
	}
	if n.stranger == nil {
		n.stranger = &node{path: n.path, kind: unknownAttribute, within: n}
	}
	return n.stranger
}

// demanded is the first attribute at or below the node that must have a value.
func (n *node) demanded() *node {
	if n.required || len(n.mandatory) == 0 {
		return n
	}
	return n.mandatory[0].demanded()
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
