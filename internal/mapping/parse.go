package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
	"golang.org/x/text/unicode/norm"
)

// MaxSize is the maximum size of a mapping file, in bytes. Real ones have some thousands.
const MaxSize = 1 << 20

// Parse reads a mapping file; messages call it name. It is strict: unknown content is an error, and it returns the first
// error in the file, with its line, what was found and what was expected. Compile checks what depends on the columns of
// the input.
func Parse(name string, text []byte) (*Mapping, error) {
	if name == "" {
		name = "the built-in mapping"
	}
	p := &parser{mapping: &Mapping{
		name: name, others: othersDefault, mentioned: map[string]*columnRules{}, saltColumns: map[string]bool{},
	}}
	if len(text) > MaxSize {
		return nil, fmt.Errorf("%s has %d bytes; expected a mapping file of at most %d", name, len(text), MaxSize)
	}
	p.file(text)
	if p.err != nil {
		return nil, p.err
	}
	return p.mapping, nil
}

// parser keeps the first error, and continues after it.
type parser struct {
	mapping *Mapping
	err     error
}

func (p *parser) fail(n *yaml.Node, format string, args ...any) {
	p.failAt(n.Line, format, args...)
}

func (p *parser) failAt(line int, format string, args ...any) {
	if p.err == nil {
		p.err = fmt.Errorf("%s, line %d: %s", p.mapping.name, line, fmt.Sprintf(format, args...))
	}
}

var yamlLine = regexp.MustCompile(`^yaml: line (\d+): `)

func (p *parser) file(text []byte) {
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	var document, second yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		p.failAt(1, "the file is empty; expected a mapping, with columns: or attributes: in it")
		return
	} else if err != nil {
		line := 1
		message := err.Error()
		if at := yamlLine.FindStringSubmatch(message); at != nil {
			line, _ = strconv.Atoi(at[1])
			message = message[len(at[0]):]
		}
		p.failAt(line, "this is not YAML: %s", strings.TrimPrefix(message, "yaml: "))
		return
	}
	if err := decoder.Decode(&second); !errors.Is(err, io.EOF) {
		p.failAt(1, "the file holds more than one document; expected one, without --- in it")
		return
	}
	p.refuseAliases(&document)
	if p.err != nil {
		return
	}
	p.keys(document.Content[0], "the file", map[string]func(*yaml.Node){
		"version": func(n *yaml.Node) { p.choice(n, "version", "1") },
		"others": func(n *yaml.Node) {
			p.mapping.others = p.choice(n, "others", othersDefault, othersText, othersIgnore, othersFail)
		},
		"missing":    func(n *yaml.Node) { p.mapping.mayMiss = p.choice(n, "missing", "fail", "ignore") == "ignore" },
		"columns":    p.columns,
		"attributes": p.attributes,
	})
}

// refuseAliases prevents a small file from expanding to a huge one.
func (p *parser) refuseAliases(n *yaml.Node) {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		p.fail(n, "an anchor or an alias (& or *) is not allowed; expected plain YAML; write it out, or put the text in quotes")
	}
	for _, c := range n.Content {
		p.refuseAliases(c)
	}
}

// keys reads a YAML mapping with known keys.
func (p *parser) keys(n *yaml.Node, what string, known map[string]func(*yaml.Node)) {
	names := slices.Sorted(maps.Keys(known))
	p.pairs(n, what, func(key *yaml.Node, name string, value *yaml.Node) {
		read, ok := known[name]
		if !ok {
			suggestion := didYouMean(name, names)
			if suggestion == "" {
				suggestion = "; expected one of " + strings.Join(names, ", ")
			}
			p.fail(key, "%s has the unknown key %q%s", what, name, suggestion)
			return
		}
		read(value)
	})
}

// pairs reads a YAML mapping with any keys, each once.
func (p *parser) pairs(n *yaml.Node, what string, read func(key *yaml.Node, name string, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		p.fail(n, "%s is %s; expected keys with values, as name: value", what, described(n))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode {
			p.fail(key, "a key of %s is %s; expected a name", what, described(key))
			continue
		}
		if seen[key.Value] {
			p.fail(key, "%s has the key %q twice; expected it once", what, key.Value)
			continue
		}
		seen[key.Value] = true
		read(key, key.Value, n.Content[i+1])
	}
}

func described(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "a group of keys"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "empty"
	}
	return "a single value"
}

// text reads a single value as it is written: true, 1 and 007 are texts too.
func (p *parser) text(n *yaml.Node, what string) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" && n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) == 0 {
		p.fail(n, "%s is %s; expected a text", what, described(n))
	}
	return n.Value
}

// filled is a text that is not empty.
func (p *parser) filled(n *yaml.Node, what string) string {
	s := p.text(n, what)
	if s == "" {
		p.fail(n, "%s is empty; expected a text", what)
	}
	return s
}

func (p *parser) choice(n *yaml.Node, what string, choices ...string) string {
	s := n.Value // null without quotes is a choice too
	if n.Kind != yaml.ScalarNode || !slices.Contains(choices, s) {
		found := described(n)
		if n.Kind == yaml.ScalarNode {
			found = strconv.Quote(s)
		}
		p.fail(n, "%s is %s; expected %s%s", what, found, strings.Join(choices, ", "), didYouMean(s, choices))
	}
	return s
}

func (p *parser) boolean(n *yaml.Node, what string) bool {
	return p.choice(n, what, "true", "false") == "true"
}

// texts reads a list of texts; a single one needs no brackets.
func (p *parser) texts(n *yaml.Node, what string) []string {
	list := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		list = n.Content
	}
	all := []string{}
	for _, item := range list {
		all = append(all, p.text(item, what))
	}
	if len(all) == 0 {
		p.fail(n, "%s is an empty list; expected one text at least", what)
	}
	return all
}

func (p *parser) columns(n *yaml.Node) {
	p.pairs(n, "columns", func(key *yaml.Node, name string, value *yaml.Node) {
		if name == "" {
			p.fail(key, "a column has no name; expected a name of the header")
		}
		c := &columnRules{column: name, line: key.Line}
		p.mapping.columns = append(p.mapping.columns, c)
		p.mapping.mentioned[name] = c
		if value.Kind == yaml.ScalarNode && value.Value == "ignore" {
			return
		}
		list := []*yaml.Node{value}
		if value.Kind == yaml.SequenceNode {
			if list = value.Content; len(list) == 0 {
				p.fail(value, "the column %q has an empty list; expected attributes, or ignore", name)
			}
		}
		for _, item := range list {
			c.rules = append(c.rules, p.target(item, name, name))
		}
	})
}

// target reads where a value goes: an attribute's path, or a whole rule.
func (p *parser) target(n *yaml.Node, column, defaultTo string) *rule {
	if n.Kind == yaml.ScalarNode {
		r := &rule{line: n.Line, column: column, to: p.filled(n, "the attribute")}
		p.checkPath(n, r.to)
		return r
	}
	r := &rule{line: n.Line, column: column, to: defaultTo}
	p.rule(n, r)
	return r
}

func (p *parser) attributes(n *yaml.Node) {
	p.pairs(n, "attributes", func(key *yaml.Node, name string, value *yaml.Node) {
		r := &rule{line: key.Line, to: name}
		p.mapping.attributes = append(p.mapping.attributes, r)
		p.rule(value, r)
		if p.err == nil && r.constant == nil && r.join == nil && r.expression == "" {
			p.fail(key, "the attribute %q has no source; expected one of constant, join, expression; name the attribute of a column under columns", name)
		}
	})
}

func (p *parser) checkPath(n *yaml.Node, path string) {
	for _, name := range strings.Split(path, ".") {
		if name == "" || strings.TrimSpace(name) != name || strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsGraphic(r) }) {
			p.fail(n, "the attribute %q is not a path; expected a name, or names with dots between them, such as primaryAddress.city", path)
			return
		}
	}
}

// rule reads one rule and checks that its keys go together.
func (p *parser) rule(n *yaml.Node, r *rule) {
	what := r.where()
	given := map[string]*yaml.Node{}
	known := map[string]func(*yaml.Node){
		"expression":     func(n *yaml.Node) { r.expression = p.filled(n, "expression") },
		"trim":           func(n *yaml.Node) { r.trim = p.boolean(n, "trim") },
		"case":           func(n *yaml.Node) { r.letters = p.choice(n, "case", "lower", "upper") },
		"normalize":      func(n *yaml.Node) { r.normalize = p.choice(n, "normalize", "NFC", "NFKC") },
		"blank-is-empty": func(n *yaml.Node) { r.blankIsEmpty = p.boolean(n, "blank-is-empty") },
		"default":        func(n *yaml.Node) { r.fallback = p.fallback(n) },
		"values":         func(n *yaml.Node) { r.values = p.values(n) },
		"ignore-case":    func(n *yaml.Node) { r.ignoreCase = p.boolean(n, "ignore-case") },
		"otherwise":      func(n *yaml.Node) { r.otherwise = p.otherwise(n) },
		"type":           func(n *yaml.Node) { r.typ = p.choice(n, "type", types...) },

		"true":      func(n *yaml.Node) { p.words(n, r, true) },
		"false":     func(n *yaml.Node) { p.words(n, r, false) },
		"layouts":   func(n *yaml.Node) { p.layouts(n, r) },
		"zone":      func(n *yaml.Node) { p.zone(n, r) },
		"format":    func(n *yaml.Node) { r.kind.dates.rfc3339 = p.choice(n, "format", "rfc3339") == "rfc3339" },
		"decimal":   func(n *yaml.Node) { r.kind.decimal = p.filled(n, "decimal") },
		"thousands": func(n *yaml.Node) { r.kind.thousand = p.filled(n, "thousands") },
		"separator": func(n *yaml.Node) { r.kind.plural.separator = p.filled(n, "separator") },
		"member":    func(n *yaml.Node) { r.kind.plural.member = p.filled(n, "member") },
		"loose":     func(n *yaml.Node) { r.kind.plural.loose = p.boolean(n, "loose") },
		"hash":      func(n *yaml.Node) { r.kind.password.hash = p.hash(n) },
		"salt": func(n *yaml.Node) {
			r.kind.password.saltColumn = p.filled(n, "salt")
			p.mapping.saltColumns[r.kind.password.saltColumn] = true
		},
		"salt-separator": func(n *yaml.Node) { r.kind.password.saltSeparator = p.filled(n, "salt-separator") },
		"salt-first":     func(n *yaml.Node) { r.kind.password.saltFirst = p.boolean(n, "salt-first") },
	}
	if r.column != "" {
		known["to"] = func(n *yaml.Node) { r.to = p.filled(n, "to") }
		known["split"] = func(n *yaml.Node) { r.split = p.splitting(n, r) }
	} else {
		known["constant"] = func(n *yaml.Node) { r.constant = p.constant(n) }
		known["join"] = func(n *yaml.Node) { r.join = p.texts(n, "join") }
		known["with"] = func(n *yaml.Node) { r.with = p.text(n, "with") }
	}
	for key, read := range known {
		known[key] = func(n *yaml.Node) {
			given[key] = n
			read(n)
		}
	}
	p.keys(n, what, known)
	if p.err != nil {
		return
	}
	p.checkPath(n, r.to)
	p.together(n, r, given)
	if p.err == nil {
		p.complete(n, r, given)
	}
}

// belongsTo says which keys need which type.
var belongsTo = map[string][]string{
	"true": {typeBoolean}, "false": {typeBoolean},
	"layouts": {typeDate, typeDateTime}, "zone": {typeDateTime}, "format": {typeDate, typeDateTime},
	"decimal": {typeDecimal}, "thousands": {typeInteger, typeDecimal},
	"separator": {typePlural}, "member": {typePlural}, "loose": {typePlural},
	"hash": {typePassword}, "salt": {typePassword}, "salt-separator": {typePassword}, "salt-first": {typePassword},
}

// together refuses keys that cannot be combined.
func (p *parser) together(n *yaml.Node, r *rule, given map[string]*yaml.Node) {
	for _, key := range slices.Sorted(maps.Keys(given)) {
		at := given[key]
		if wants, ok := belongsTo[key]; ok && !slices.Contains(wants, r.typ) {
			p.fail(at, "%s has %s, which goes with type: %s only", r.where(), key, strings.Join(wants, " or "))
		}
		switch key {
		case "split":
			for other := range given {
				if !slices.Contains([]string{"split", "trim", "case", "normalize", "default", "blank-is-empty"}, other) {
					p.fail(given[other], "%s has %s beside split; expected it in the parts, each of which can have a rule", r.where(), other)
				}
			}
		case "constant":
			if len(given) > 1 {
				p.fail(at, "%s has a constant and other keys; expected the constant alone", r.where())
			}
		case "with":
			if given["join"] == nil {
				p.fail(at, "%s has with, which goes with join only", r.where())
			}
		case "join":
			if given["expression"] != nil {
				p.fail(at, "%s has join and expression; expected one of the two", r.where())
			}
		case "ignore-case":
			if r.values == nil {
				p.fail(at, "%s has ignore-case, which goes with values only; the words of a boolean are compared so anyway", r.where())
			}
		case "otherwise":
			switch {
			case r.values == nil && r.typ != typeBoolean:
				p.fail(at, "%s has otherwise, which goes with values or type: boolean only", r.where())
			case r.values == nil && r.otherwise.what != "null" && r.otherwise.what != "fail":
				p.fail(at, "%s has otherwise: %s; expected null or fail beside type: boolean", r.where(), r.otherwise.what)
			}
		case "member", "loose":
			if (key == "member") != (r.kind.plural.separator != "") {
				p.fail(at, "%s has %s; expected member with separator, for parts, and loose without it, for JSON", r.where(), key)
			}
		case "salt", "salt-separator", "salt-first":
			switch {
			case r.kind.password.hash == "":
				p.fail(at, "%s has %s without hash; expected the kind of the hash too, as hash: sha-256", r.where(), key)
			case key == "salt-first" && given["salt-separator"] == nil:
				p.fail(at, "%s has salt-first, which goes with salt-separator only", r.where())
			case key == "salt" && given["salt-separator"] != nil:
				p.fail(at, "%s has salt and salt-separator; expected the salt in one place", r.where())
			case key == "salt" && (r.column == "" || r.values != nil || r.fallback != nil || r.expression != ""):
				p.fail(at, "%s has salt together with a source or a table; expected the unchanged hash of a column", r.where())
			}
		}
	}
	if w := &r.kind.password; w.needsSalt() && w.saltColumn == "" && w.saltSeparator == "" {
		p.fail(given["hash"], "%s is a salted hash without its salt; expected salt: <column>, or salt-separator if the salt is in the cell", r.where())
	}
	if (r.typ == typeDate || r.typ == typeDateTime) && len(r.kind.dates.layouts) == 0 {
		p.fail(n, "%s is a %s without layouts; expected how the input writes it, as layouts: [MM/DD/YYYY]", r.where(), r.typ)
	}
}

// complete adds defaults, and checks what can be checked without an input.
func (p *parser) complete(n *yaml.Node, r *rule, given map[string]*yaml.Node) {
	if r.kind.decimal == "" {
		r.kind.decimal = "."
	}
	if r.typ == typeDecimal && r.kind.thousand == r.kind.decimal {
		p.fail(given["thousands"], "%s has the same mark for thousands and decimal; expected two", r.where())
	}
	if r.typ == typeBoolean {
		p.completeWords(n, r)
	}
	r.kind.dates.time = r.typ == typeDateTime
	if r.kind.dates.zone == nil {
		r.kind.dates.zone = time.UTC
	}
	if r.otherwise.what == "" {
		r.otherwise.what = "keep"
		if r.typ == typeBoolean && r.values == nil {
			r.otherwise.what = "fail"
		}
	}
	if r.ignoreCase {
		folded := make(map[string]*string, len(r.values))
		for key, value := range r.values {
			if _, twice := folded[strings.ToLower(key)]; twice {
				p.fail(given["values"], "%s has %q in more than one case in values, and ignore-case; expected it once", r.where(), strings.ToLower(key))
			}
			folded[strings.ToLower(key)] = value
		}
		r.values = folded
	}
	if r.expression != "" {
		if _, err := compileExpression(r.expression, nil, r.column != ""); err != nil {
			p.fail(given["expression"], "%s: %s", r.where(), err)
			return
		}
	}
	if r.typ == typePassword && r.kind.password.hash != "" {
		r.kind.password.hash = hashPrefix + strings.TrimPrefix(r.kind.password.hash, hashPrefix)
	}
	p.try(r, given)
}

// try converts the texts in the mapping file to JSON, so that an invalid one is found now and not record by record.
func (p *parser) try(r *rule, given map[string]*yaml.Node) {
	if r.split != nil {
		return
	}
	try := func(key, value string) {
		if value == "" {
			return
		}
		if _, err := r.appendOf()(nil, value); err != nil {
			p.fail(given[key], "%s: %s %q cannot be used: %s", r.where(), key, value, err)
		}
	}
	for _, value := range r.values {
		if value != nil {
			try("values", *value)
		}
	}
	if r.otherwise.what == "value" {
		try("otherwise", r.otherwise.value)
	}
	if r.fallback != nil && r.values == nil {
		try("default", *r.fallback)
	}
}

// fallback is the text that replaces an empty cell. A list or a group becomes JSON, which the type then reads.
func (p *parser) fallback(n *yaml.Node) *string {
	s := n.Value
	if n.Kind != yaml.ScalarNode {
		s = string(p.constant(n))
	} else {
		p.text(n, "default")
	}
	return &s
}

func (p *parser) values(n *yaml.Node) map[string]*string {
	table := map[string]*string{}
	p.pairs(n, "values", func(_ *yaml.Node, name string, value *yaml.Node) {
		if value.Kind == yaml.ScalarNode && value.Tag == "!!null" {
			table[name] = nil
			return
		}
		s := p.text(value, "a value")
		table[name] = &s
	})
	return table
}

func (p *parser) otherwise(n *yaml.Node) otherwise {
	if n.Kind != yaml.MappingNode {
		return otherwise{what: p.choice(n, "otherwise", "keep", "null", "fail")}
	}
	o := otherwise{what: "value"}
	p.keys(n, "otherwise", map[string]func(*yaml.Node){"value": func(n *yaml.Node) { o.value = p.text(n, "value") }})
	return o
}

// words reads the words for true or for false. Case does not count.
func (p *parser) words(n *yaml.Node, r *rule, means bool) {
	if r.kind.words == nil {
		r.kind.words = map[string]bool{}
	}
	for _, word := range p.texts(n, strconv.FormatBool(means)) {
		word = strings.ToLower(word)
		if word == "" {
			p.fail(n, "a word for %t is empty; expected a word; default says what an empty cell is", means)
		}
		if other, ok := r.kind.words[word]; ok && other != means {
			p.fail(n, "%q is a word for true and for false; expected one of the two", word)
		}
		r.kind.words[word] = means
	}
}

// completeWords adds the default word to a side without words.
func (p *parser) completeWords(n *yaml.Node, r *rule) {
	has := map[bool]bool{}
	for _, means := range r.kind.words {
		has[means] = true
	}
	if r.kind.words == nil {
		r.kind.words = map[string]bool{}
	}
	for _, means := range []bool{true, false} {
		word := strconv.FormatBool(means)
		if has[means] {
			continue
		}
		if _, taken := r.kind.words[word]; taken {
			p.fail(n, "%s has no word that means %s; expected %s: [a word, …]", r.where(), word, word)
		}
		r.kind.words[word] = means
	}
}

func (p *parser) layouts(n *yaml.Node, r *rule) {
	for _, text := range p.texts(n, "layouts") {
		l, err := parseLayout(text)
		if err != nil {
			p.fail(n, "%s: %s", r.where(), err)
		}
		r.kind.dates.layouts = append(r.kind.dates.layouts, l)
	}
}

func (p *parser) zone(n *yaml.Node, r *rule) {
	name := p.filled(n, "zone")
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		p.fail(n, "%s has the unknown zone %q; expected UTC, or a name of the time zone database, as Europe/Berlin", r.where(), name)
	}
	r.kind.dates.zone = zone
}

func (p *parser) hash(n *yaml.Node) string {
	name := p.filled(n, "hash")
	if !slices.Contains(hashes, hashPrefix+strings.TrimPrefix(name, hashPrefix)) {
		p.fail(n, "hash is %q, which Akamai's pages do not name%s; expected one of %s; of any other kind the column may hold the whole object as JSON", name,
			didYouMean(name, hashes), strings.ReplaceAll(strings.Join(hashes, ", "), hashPrefix, ""))
	}
	return name
}

func (p *parser) splitting(n *yaml.Node, outer *rule) *splitting {
	s := &splitting{}
	add := func(number int, rest bool, n *yaml.Node) {
		s.parts = append(s.parts, part{number: number, rest: rest, rule: p.target(n, outer.column, "")})
	}
	p.keys(n, "split", map[string]func(*yaml.Node){
		"at": func(n *yaml.Node) { s.at = p.filled(n, "at") },
		"to": func(n *yaml.Node) {
			if n.Kind != yaml.MappingNode && n.Kind != yaml.SequenceNode {
				p.fail(n, "to is %s; expected a list of attributes, or numbers of parts with an attribute each, as 1: givenName", described(n))
			}
			if n.Kind == yaml.SequenceNode {
				for i, item := range n.Content {
					add(i, i == len(n.Content)-1, item)
				}
				return
			}
			p.pairs(n, "to", func(key *yaml.Node, name string, value *yaml.Node) {
				number, err := strconv.Atoi(name)
				if err != nil || number < 1 || number > 1000 {
					p.fail(key, "to has the part %q; expected a number from 1", name)
				}
				add(number-1, false, value)
			})
		},
	})
	if p.err == nil && (s.at == "" || len(s.parts) == 0) {
		p.fail(n, "%s has a split without at or to; expected both, as split: {at: \" \", to: [givenName, familyName]}", outer.where())
	}
	return s
}

// constant converts YAML to JSON.
func (p *parser) constant(n *yaml.Node) []byte {
	out := p.appendConstant(nil, n)
	if p.err != nil {
		return nil
	}
	return out
}

func (p *parser) appendConstant(dst []byte, n *yaml.Node) []byte {
	switch n.Kind {
	case yaml.SequenceNode:
		dst = append(dst, '[')
		for i, item := range n.Content {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = p.appendConstant(dst, item)
		}
		return append(dst, ']')
	case yaml.MappingNode:
		dst = append(dst, '{')
		first := true
		p.pairs(n, "a constant", func(_ *yaml.Node, name string, value *yaml.Node) {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(p.appendText(dst, n, name), ':')
			dst = p.appendConstant(dst, value)
		})
		return append(dst, '}')
	}
	var v any
	switch n.Tag {
	case "!!null":
		return appendNull(dst)
	case "!!bool", "!!int", "!!float":
		if err := n.Decode(&v); err != nil {
			p.fail(n, "a constant cannot be read; write a text in quotes")
			return dst
		}
	case "!!str", "!!timestamp":
		return p.appendText(dst, n, n.Value)
	default:
		p.fail(n, "a constant has the tag %s; expected a text, a number, true or false, null, a list or keys with values", n.Tag)
		return dst
	}
	if f, ok := v.(float64); ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		p.fail(n, "a constant is no number that JSON has; expected digits; write a text in quotes")
		return dst
	}
	if json.Valid([]byte(n.Value)) {
		return append(dst, n.Value...) // all its digits
	}
	out, err := json.Marshal(v)
	if err != nil {
		p.fail(n, "a constant cannot be read; write a text in quotes")
	}
	return append(dst, out...)
}

func (p *parser) appendText(dst []byte, n *yaml.Node, s string) []byte {
	out, err := appendString(dst, s)
	if err != nil {
		p.fail(n, "a text is not UTF-8")
		return dst
	}
	return out
}

// forms are the normal forms of Unicode by name.
var forms = map[string]norm.Form{"NFC": norm.NFC, "NFKC": norm.NFKC}

// BuiltIn is the mapping of Default.
var BuiltIn = sync.OnceValue(func() *Mapping {
	m, err := Parse("", Default())
	if err != nil {
		panic(err) // a test verifies that it can be parsed
	}
	return m
})
