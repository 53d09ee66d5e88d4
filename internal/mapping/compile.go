package mapping

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"durable-dataload/internal/suggest"
)

// Compile prepares the mapping for records with this header. It refuses, with the line in the mapping file: a column that
// is listed and missing in the input, an attribute with two values, a value and an object at one path (a with a.b), an
// unlisted column if the file requires that all are listed, and an expression that does not match the columns.
func (m *Mapping) Compile(header []string) (*Records, error) {
	c := &compiling{Mapping: m, header: header, index: make(map[string]int, len(header)), records: &Records{columns: len(header), reads: map[int]bool{}}}
	for i, name := range header {
		if first, twice := c.index[name]; twice {
			return nil, fmt.Errorf("columns %d and %d have the same name; expected each name once; rename or remove one", first+1, i+1)
		}
		c.index[name] = i
	}
	for _, rules := range m.columns {
		if _, ok := c.index[rules.column]; !ok && !m.mayMiss {
			return nil, c.at(rules.line, "the column %q is not in the input%s", rules.column, c.didYouMean(rules.column))
		}
	}
	for i, name := range header {
		if err := c.column(i, name); err != nil {
			return nil, err
		}
	}
	for _, r := range m.attributes {
		if err := c.add(r, -1); err != nil {
			return nil, err
		}
	}
	return c.records, nil
}

type compiling struct {
	*Mapping
	header  []string
	index   map[string]int
	records *Records
}

// at is an error with its position; line 0 means no line of the file.
func (c *compiling) at(line int, format string, args ...any) error {
	place := c.name
	if line > 0 {
		place += fmt.Sprintf(", line %d", line)
	}
	return fmt.Errorf("%s: %s", place, fmt.Sprintf(format, args...))
}

// didYouMean suggests the column that was most likely meant, by number: in an input without a header, a name would be a
// value.
func (c *compiling) didYouMean(name string) string {
	if like := suggest.Name(name, c.header); like != "" {
		return fmt.Sprintf("; did you mean column %d?", c.index[like]+1)
	}
	return ""
}

func (c *compiling) column(i int, name string) error {
	rules, ok := c.mentioned[name]
	if !ok && c.saltColumns[name] {
		return nil
	}
	if !ok && c.others == othersDefault {
		if known, found := builtIn()[name]; found {
			for _, r := range known.rules {
				own := *r
				own.line = 0 // not a line of this file
				if err := c.add(&own, i); err != nil {
					return err
				}
			}
			return nil
		}
	}
	if ok {
		for _, r := range rules.rules {
			if err := c.add(r, i); err != nil {
				return err
			}
		}
		return nil
	}
	switch c.others {
	case othersIgnore:
		return nil
	case othersFail:
		return c.at(0, "column %d of the input is not mentioned, and others is fail; say under columns which attribute it is, or ignore", i+1)
	}
	return c.add(&rule{column: name, to: name}, i)
}

// add compiles a rule and adds its attribute; a split has several.
func (c *compiling) add(r *rule, column int) error {
	if r.split != nil {
		for _, p := range r.split.parts {
			l, err := c.leaf(p.rule, column)
			if err != nil {
				return err
			}
			c.cutPart(l, r, p)
			if err := c.place(p.rule, l); err != nil {
				return err
			}
		}
		return nil
	}
	l, err := c.leaf(r, column)
	if err != nil {
		return err
	}
	return c.place(r, l)
}

func (c *compiling) place(r *rule, l *leaf) error {
	conflict := c.records.record.add(r.path(), l)
	if conflict == nil {
		if l.replaced != nil {
			c.records.tables = append(c.records.tables, table{r.to, l})
		}
		return nil
	}
	other := conflict.source
	if conflict.line > 0 && conflict.line != l.line {
		other += fmt.Sprintf(" (line %d)", conflict.line)
	}
	return c.at(l.line, "the attribute %q gets a value from %s, and it, or an object at its path, from %s too; expected one source for each attribute; leave a column out with ignore, or send it to another attribute",
		r.to, l.source, other)
}

type makeRow func(dst []byte, fields []string) ([]byte, error)

// leaf compiles a rule into the function that computes its value.
func (c *compiling) leaf(r *rule, column int) (l *leaf, err error) {
	if column >= 0 {
		c.records.reads[column] = true
	}
	l = &leaf{column: column, name: r.column, rule: r.name(), source: r.where(), line: r.line}
	isText := (r.typ == "" || r.typ == typeString) && r.values == nil && r.fallback == nil
	change, finish := r.change(), r.finish()
	if isText && !r.blankIsEmpty {
		finish = appendText
	}
	switch {
	case r.constant != nil:
		l.row = func(dst []byte, _ []string) ([]byte, error) { return append(dst, r.constant...), nil }
	case r.expression != "":
		l.row, err = c.expression(r, column, change, finish)
	case r.join != nil:
		l.row, err = c.join(r, change, finish)
	case r.kind.password.saltColumn != "":
		l.row, err = c.salted(r, column, change)
	default:
		l.append = finish
		l.replaced, l.instead = r.replaced(change)
		if r.trim || r.normalize != "" || r.letters != "" {
			l.append = func(dst []byte, value string) ([]byte, error) { return finish(dst, change(value)) }
		}
		l.unchanged = isText && r.normalize == ""
	}
	return l, err
}

// use returns the index of another column that a rule needs. how is the verb for its error.
func (c *compiling) use(r *rule, how, name string) (int, error) {
	i, ok := c.index[name]
	if !ok {
		return 0, c.at(r.line, "%s %s the column %q, which is not in the input%s", r.where(), how, name, c.didYouMean(name))
	}
	c.records.reads[i] = true
	return i, nil
}

func (c *compiling) expression(r *rule, column int, change func(string) string, finish appendValue) (makeRow, error) {
	e, err := compileExpression(r.expression, c.index, r.column != "")
	var unknown *unknownColumn
	if errors.As(err, &unknown) {
		return nil, c.at(r.line, "%s: %s%s", r.where(), err, c.didYouMean(unknown.name))
	}
	if err != nil {
		return nil, c.at(r.line, "%s: %s", r.where(), err)
	}
	for _, used := range e.columns {
		c.records.reads[used.column] = true
	}
	if !r.fits(e.gives) {
		return nil, c.at(r.line, "%s: the expression returns %s; expected a text, or a value of the rule's type", r.where(), nameOf(e.gives))
	}
	return func(dst []byte, fields []string) ([]byte, error) {
		cell := ""
		if column >= 0 {
			cell = change(fields[column])
		}
		result, err := e.run(cell, fields)
		if err != nil {
			return nil, &stepError{"expression", err.Error()}
		}
		return r.appendResult(dst, result, finish)
	}, nil
}

func (c *compiling) join(r *rule, change func(string) string, finish appendValue) (makeRow, error) {
	columns := make([]int, len(r.join))
	for i, name := range r.join {
		var err error
		if columns[i], err = c.use(r, "joins", name); err != nil {
			return nil, err
		}
	}
	return func(dst []byte, fields []string) ([]byte, error) {
		var parts []string
		for _, i := range columns {
			if fields[i] != "" {
				parts = append(parts, fields[i])
			}
		}
		return finish(dst, change(strings.Join(parts, r.with)))
	}, nil
}

func (c *compiling) salted(r *rule, column int, change func(string) string) (makeRow, error) {
	salt, err := c.use(r, "takes the salt from", r.kind.password.saltColumn)
	return func(dst []byte, fields []string) ([]byte, error) {
		return r.appendSalted(dst, change(fields[column]), fields[salt])
	}, err
}

// cutPart makes the leaf of a part from the leaf for the whole cell.
func (c *compiling) cutPart(l *leaf, whole *rule, p part) {
	change := whole.change()
	cut := func(value string) string {
		if value = change(value); whole.isEmpty(value) {
			value = ""
			if whole.fallback != nil {
				value = *whole.fallback
			}
		}
		limit := -1
		if p.rest {
			limit = p.number + 1
		}
		parts := strings.SplitN(value, whole.split.at, limit)
		if p.number >= len(parts) {
			return ""
		}
		return parts[p.number]
	}
	l.unchanged = false
	if replaced := l.replaced; replaced != nil {
		l.replaced = func(value string) bool { return replaced(cut(value)) }
	}
	if l.append != nil {
		made := l.append
		l.append = func(dst []byte, value string) ([]byte, error) { return made(dst, cut(value)) }
		return
	}
	made, column := l.row, l.column
	l.row = func(dst []byte, fields []string) ([]byte, error) {
		own := slices.Clone(fields)
		own[column] = cut(fields[column])
		return made(dst, own)
	}
}

// change returns the transformation that a rule applies to a text first.
func (r *rule) change() func(string) string {
	form, normalized := forms[r.normalize]
	return func(s string) string {
		if r.trim {
			s = strings.TrimSpace(s)
		}
		if normalized {
			s = form.String(s)
		}
		switch r.letters {
		case "lower":
			s = strings.ToLower(s)
		case "upper":
			s = strings.ToUpper(s)
		}
		return s
	}
}

func (r *rule) isEmpty(s string) bool { return s == "" || r.blankIsEmpty && isBlank(s) }

// finish returns the steps after that: empty values, table, type.
func (r *rule) finish() appendValue {
	make := r.appendOf()
	if r.values != nil {
		make = r.throughTable(make)
	}
	fallback := ""
	if r.fallback != nil {
		fallback = *r.fallback
	}
	return func(dst []byte, value string) ([]byte, error) {
		if r.isEmpty(value) {
			if fallback == "" {
				return r.appendEmpty(dst), nil
			}
			value = fallback
		}
		return make(dst, value)
	}
}

// throughTable looks a text up in the table first. The results of the table are converted once, here.
func (r *rule) throughTable(make appendValue) appendValue {
	ready := func(value *string) []byte {
		if value == nil || *value == "" {
			return r.appendEmpty(nil)
		}
		out, err := make(nil, *value)
		if err != nil {
			return nil // Parse has tried it, all but a hash with its salt elsewhere
		}
		return out
	}
	table := map[string][]byte{}
	for key, value := range r.values {
		table[key] = ready(value)
	}
	var other []byte
	switch r.otherwise.what {
	case "null":
		other = appendNull(nil)
	case "value":
		other = ready(&r.otherwise.value)
	}
	return func(dst []byte, value string) ([]byte, error) {
		var made []byte
		var ok bool
		if r.ignoreCase {
			var buf [32]byte
			made, ok = table[string(fold(&buf, value))]
		} else {
			made, ok = table[value]
		}
		switch {
		case ok:
			return append(dst, made...), nil
		case other != nil:
			return append(dst, other...), nil
		case r.otherwise.what == "fail":
			return nil, &stepError{"values", fmt.Sprintf("the value is not in the table; expected one of its %d", len(table))}
		}
		return make(dst, value)
	}
}

// replaced returns a function that finds the values that this rule loses, nil if it loses none: values that are neither in
// its table nor among its words, and become null or something else. expected is for messages.
func (r *rule) replaced(change func(string) string) (lost func(value string) bool, expected string) {
	var known []string
	switch {
	case r.values != nil && (r.otherwise.what == "null" || r.otherwise.what == "value"):
		known = slices.Sorted(maps.Keys(r.values))
	case r.values == nil && r.typ == typeBoolean && r.otherwise.what == "null":
		known = slices.Sorted(maps.Keys(r.kind.words))
	default:
		return nil, ""
	}
	const most = 12
	expected = strings.Join(known[:min(len(known), most)], ", ")
	if len(known) > most {
		expected += ", …"
	}
	instead := "null"
	if r.otherwise.what == "value" {
		instead = strconv.Quote(r.otherwise.value)
	}
	isKnown := func(value string) bool {
		var buf [32]byte
		switch {
		case r.values == nil:
			_, ok := r.kind.words[string(fold(&buf, value))]
			return ok
		case r.ignoreCase:
			_, ok := r.values[string(fold(&buf, value))]
			return ok
		}
		_, ok := r.values[value]
		return ok
	}
	return func(value string) bool {
		value = change(value)
		return !isKnown(value) && !r.isEmpty(value) && !isBlank(value) &&
			!(r.otherwise.what == "value" && (strings.EqualFold(value, r.otherwise.value) || saysNothing(value)))
	}, fmt.Sprintf("%s is sent instead; expected %s", instead, expected)
}

// unsaid are words without information that are used for missing values, in lower case, and unsaidPrefixes the prefixes of
// longer ones. Replacing them loses nothing.
var (
	unsaid         = []string{"n/a", "na", "n.a.", "ns", "none", "null", "x", "u", "-", "--", "?", "unspecified", "undisclosed", "undefined", "unbekannt", "keine angabe", "k.a.", "inconnu", "desconocido", "onbekend"}
	unsaidPrefixes = []string{"unknown", "not ", "prefer not", "rather not", "decline"}
)

func saysNothing(value string) bool {
	value = strings.ToLower(strings.TrimSpace(value))
	return slices.Contains(unsaid, value) || slices.ContainsFunc(unsaidPrefixes, func(p string) bool { return strings.HasPrefix(value, p) })
}

// appendResult processes the result of an expression: a text like one from a cell, anything else as JSON.
func (r *rule) appendResult(dst []byte, result any, finish appendValue) ([]byte, error) {
	switch v := result.(type) {
	case nil:
		return finish(dst, "")
	case string:
		return finish(dst, v)
	}
	if !r.fits(result) {
		return nil, &stepError{"expression", "the expression returned " + nameOf(result) + "; expected a text, or a value of the rule's type"}
	}
	if f, ok := result.(float64); ok && r.typ == typeInteger {
		result = int64(f)
	}
	dst, err := appendResult(dst, result, maxResult)
	if err != nil {
		return nil, &stepError{"expression", err.Error()}
	}
	return dst, nil
}

func nameOf(result any) string {
	switch result.(type) {
	case bool:
		return "true or false"
	case int, int64, float64:
		return "a number"
	case []any, []string:
		return "a list"
	}
	return "an object"
}

var errNoSalt = errors.New("the hash has no salt beside it; expected both, or neither")

// appendSalted appends the object of a hash with its salt from another column.
func (r *rule) appendSalted(dst []byte, hash, salt string) ([]byte, error) {
	if r.isEmpty(hash) {
		return appendNull(dst), nil
	}
	if salt == "" && r.kind.password.needsSalt() {
		return nil, errNoSalt
	}
	return r.kind.password.appendHash(dst, hash, salt)
}

// stringOf returns the text of a JSON string, "" for any other JSON.
func stringOf(text []byte) string {
	if len(text) < 2 || text[0] != '"' {
		return ""
	}
	if !slices.Contains(text, '\\') {
		return string(text[1 : len(text)-1])
	}
	var s string
	if json.Unmarshal(text, &s) != nil {
		return ""
	}
	return s
}
