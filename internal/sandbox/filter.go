package sandbox

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// The filters of entity.find and entity.count. From the strongest binding to the weakest:
//
//	attribute is null, attribute is not null
//	attribute = value, and !=, <, >, <=, >=
//	not condition, ! condition
//	condition and condition
//	condition or condition
//
// with parentheses around conditions. An attribute is a path such as primaryAddress.city; one that leads through a
// plural holds if it holds for any element. A value is a string in single or double quotes, a number, true or false.
// Within a string a backslash takes the next character as it is, and a doubled quote is one quote.
//
// A comparison with a null attribute is neither true nor false, and so is its negation, as in SQL.

// maxFilterDepth is how deep parentheses and nots may be nested.
const maxFilterDepth = 500

// verdict is what a filter says of an entity. Negation turns the scale around, and takes the least of its parts, or
// the greatest.
type verdict int

const (
	no verdict = iota
	unknown
	yes
)

type filter interface {
	judge(entity map[string]any) verdict
	// where returns the region of possible matches, so that not all entities need to be read.
	where(t *table) region
}

type (
	allOf      []filter
	anyOf      []filter
	negation   struct{ of filter }
	isNull     struct{ path []string }
	comparison struct {
		attribute string
		path      []string
		operator  string
		text      string    // the value as text; folded for email, in lower case for uuid
		date      time.Time // the value where the attribute is a date
	}
)

func (f allOf) judge(entity map[string]any) verdict {
	least := yes
	for _, part := range f {
		if least = min(least, part.judge(entity)); least == no {
			break
		}
	}
	return least
}

func (f anyOf) judge(entity map[string]any) verdict {
	greatest := no
	for _, part := range f {
		if greatest = max(greatest, part.judge(entity)); greatest == yes {
			break
		}
	}
	return greatest
}

func (f negation) judge(entity map[string]any) verdict {
	return yes - f.of.judge(entity)
}

func (f isNull) judge(entity map[string]any) verdict {
	if len(valuesAt(entity, f.path)) == 0 {
		return yes
	}
	return no
}

func (f comparison) judge(entity map[string]any) verdict {
	greatest := unknown
	values := valuesAt(entity, f.path)
	for i, value := range values {
		v := f.compare(value)
		if i == 0 || v > greatest {
			greatest = v
		}
	}
	return greatest
}

func (f comparison) compare(value any) verdict {
	order, ok := f.order(value)
	if !ok {
		return unknown
	}
	holds := false
	switch f.operator {
	case "=":
		holds = order == 0
	case "!=":
		holds = order != 0
	case "<":
		holds = order < 0
	case ">":
		holds = order > 0
	case "<=":
		holds = order <= 0
	case ">=":
		holds = order >= 0
	}
	if holds {
		return yes
	}
	return no
}

// order compares an attribute's value with that of the filter, if the two can be compared.
func (f comparison) order(value any) (int, bool) {
	switch value := value.(type) {
	case string:
		if isDate(f.attribute) {
			date, ok := parseDate(value)
			return date.Compare(f.date), ok
		}
		if f.attribute == "email" {
			value = foldEmail(value)
		}
		return strings.Compare(value, f.text), true
	case json.Number:
		return compareNumbers(string(value), f.text)
	case bool:
		return strings.Compare(strconv.FormatBool(value), f.text), f.text == "true" || f.text == "false"
	default:
		return 0, false
	}
}

// compareNumbers compares whole numbers exactly and others as floating point.
func compareNumbers(a, b string) (int, bool) {
	aInt, aErr := strconv.ParseInt(a, 10, 64)
	bInt, bErr := strconv.ParseInt(b, 10, 64)
	if aErr == nil && bErr == nil {
		return cmp.Compare(aInt, bInt), true
	}
	aFloat, aErr := strconv.ParseFloat(a, 64)
	bFloat, bErr := strconv.ParseFloat(b, 64)
	return cmp.Compare(aFloat, bFloat), aErr == nil && bErr == nil
}

func isDate(attribute string) bool {
	kind := schemaAt[attribute].Type
	return kind == "date" || kind == "dateTime"
}

// parseFilter reads a filter. known reports whether an attribute exists. The errors are the API's reasons.
func parseFilter(text string, known func(attribute string) bool) (filter, error) {
	p := &filterParser{text: text, known: known}
	if err := p.advance(); err != nil {
		return nil, err
	}
	f, err := p.or()
	if err != nil {
		return nil, err
	}
	if p.token.kind != endOfFilter {
		return nil, p.unexpected("and, or, or the end of the filter")
	}
	return f, nil
}

type tokenKind int

const (
	endOfFilter tokenKind = iota
	word
	quoted
	number
	symbol // an operator or a parenthesis
)

type token struct {
	kind tokenKind
	text string // without quotes and escapes
	at   int    // byte at which it begins
}

func (t token) is(keyword string) bool {
	return t.kind == word && strings.EqualFold(t.text, keyword)
}

func (t token) isSymbol(text string) bool {
	return t.kind == symbol && t.text == text
}

type filterParser struct {
	text  string
	known func(string) bool
	token token // the current one
	next  int   // where the one after it begins
	depth int
}

func (p *filterParser) or() (filter, error) {
	parts, err := p.joined("or", p.and)
	if len(parts) == 1 {
		return parts[0], err
	}
	return anyOf(parts), err
}

func (p *filterParser) and() (filter, error) {
	parts, err := p.joined("and", p.not)
	if len(parts) == 1 {
		return parts[0], err
	}
	return allOf(parts), err
}

// joined reads one part or several with a word between them.
func (p *filterParser) joined(word string, read func() (filter, error)) (parts []filter, err error) {
	for {
		part, err := read()
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		if !p.token.is(word) {
			return parts, nil
		}
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
}

func (p *filterParser) not() (filter, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxFilterDepth {
		return nil, fmt.Errorf("it is nested deeper than %d levels", maxFilterDepth)
	}
	switch {
	case p.token.is("not") || p.token.isSymbol("!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		of, err := p.not()
		if err != nil {
			return nil, err
		}
		return negation{of}, nil
	case p.token.isSymbol("("):
		if err := p.advance(); err != nil {
			return nil, err
		}
		f, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.token.isSymbol(")") {
			return nil, p.unexpected("and, or, or a closing parenthesis")
		}
		return f, p.advance()
	default:
		return p.condition()
	}
}

func (p *filterParser) condition() (filter, error) {
	if p.token.kind != word {
		return nil, p.unexpected("an attribute")
	}
	attribute := p.token.text
	if !p.known(attribute) {
		//lint:ignore ST1005 the API's own words
		return nil, fmt.Errorf("Unknown attribute (%s)", attribute)
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	path := strings.Split(attribute, ".")
	switch {
	case p.token.is("is"):
		return p.nullTest(path)
	case p.token.is("contains"):
		return nil, errors.New("the operator contains was removed")
	case p.token.kind == symbol && strings.Trim(p.token.text, "=!<>") == "" && p.token.text != "!":
		operator := p.token.text
		if err := p.advance(); err != nil {
			return nil, err
		}
		return p.comparison(attribute, path, operator)
	default:
		return nil, p.unexpected("an operator (=, !=, <, >, <=, >=, is null, is not null)")
	}
}

func (p *filterParser) nullTest(path []string) (filter, error) {
	if err := p.advance(); err != nil {
		return nil, err
	}
	not := p.token.is("not")
	if not {
		if err := p.advance(); err != nil {
			return nil, err
		}
	}
	if !p.token.is("null") {
		return nil, p.unexpected("null")
	}
	if not {
		return negation{isNull{path}}, p.advance()
	}
	return isNull{path}, p.advance()
}

func (p *filterParser) comparison(attribute string, path []string, operator string) (filter, error) {
	value := p.token
	isBool := value.is("true") || value.is("false")
	if value.kind != quoted && value.kind != number && !isBool {
		return nil, p.unexpected("a value: a string in quotes, a number, true or false")
	}
	f := comparison{attribute: attribute, path: path, operator: operator, text: value.text}
	switch {
	case isBool:
		f.text = strings.ToLower(value.text)
	case attribute == "email":
		f.text = foldEmail(value.text)
	case attribute == "uuid":
		f.text = strings.ToLower(value.text)
	case attribute == "id":
		if _, err := strconv.ParseInt(value.text, 10, 64); err != nil {
			return nil, errors.New("id is compared with something that is not a whole number")
		}
	case isDate(attribute):
		date, ok := parseDate(value.text)
		if !ok {
			return nil, fmt.Errorf("%s is compared with something that is not a date", attribute)
		}
		f.date = date
	}
	return f, p.advance()
}

func (p *filterParser) unexpected(expected string) error {
	found := "the end"
	switch p.token.kind {
	case quoted:
		found = "a string"
	case word, number, symbol:
		found = p.token.text
	}
	return fmt.Errorf("at character %d there should be %s, but there is %s",
		utf8.RuneCountInString(p.text[:p.token.at])+1, expected, found)
}

// advance reads the next token.
func (p *filterParser) advance() error {
	rest := strings.TrimLeftFunc(p.text[p.next:], unicode.IsSpace)
	at := len(p.text) - len(rest)
	p.token = token{at: at}
	if rest == "" {
		p.next = at
		return nil
	}
	length := 1
	switch c := rest[0]; {
	case c == '\'' || c == '"':
		return p.quoted(rest, at)
	case strings.IndexByte("!<>=", c) >= 0:
		if c != '=' && len(rest) > 1 && rest[1] == '=' {
			length = 2
		}
		p.token.kind = symbol
	case c == '(' || c == ')':
		p.token.kind = symbol
	case c == '-' || c >= '0' && c <= '9':
		length = numberLength(rest)
		if _, err := strconv.ParseFloat(rest[:length], 64); err != nil && !errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("at character %d there is a malformed number", utf8.RuneCountInString(p.text[:at])+1)
		}
		p.token.kind = number
	default:
		length = strings.IndexFunc(rest, func(r rune) bool { return !isWordRune(r) })
		if length < 0 {
			length = len(rest)
		}
		if length == 0 {
			return fmt.Errorf("at character %d there is a character that has no meaning here", utf8.RuneCountInString(p.text[:at])+1)
		}
		p.token.kind = word
	}
	p.token.text = rest[:length]
	p.next = at + length
	return nil
}

func isWordRune(r rune) bool {
	return r == '_' || r == '.' || unicode.IsLetter(r) || unicode.IsDigit(r)
}

func numberLength(s string) int {
	for i := 1; i < len(s); i++ {
		afterExponent := s[i-1] == 'e' || s[i-1] == 'E'
		if !strings.Contains("0123456789.eE", s[i:i+1]) && !(afterExponent && (s[i] == '-' || s[i] == '+')) {
			return i
		}
	}
	return len(s)
}

// quoted reads a string token; rest begins with its quote.
func (p *filterParser) quoted(rest string, at int) error {
	quote := rest[0]
	var text strings.Builder
	for i := 1; i < len(rest); i++ {
		switch {
		case rest[i] == '\\' && i+1 < len(rest):
			i++
			text.WriteByte(rest[i])
		case rest[i] == quote && i+1 < len(rest) && rest[i+1] == quote:
			i++
			text.WriteByte(quote)
		case rest[i] == quote:
			p.token = token{quoted, text.String(), at}
			p.next = at + i + 1
			return nil
		default:
			text.WriteByte(rest[i])
		}
	}
	return fmt.Errorf("the string that begins at character %d has no closing quote", utf8.RuneCountInString(p.text[:at])+1)
}
