package fakeusers

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config is a sample configuration of dataload: the columns of a file, and what is in them.
type Config struct {
	separator byte
	pattern   string // of the file's name, with {} for the datetime
	datetime  func(time.Time) string
	fields    []field
}

// field is one column.
type field struct {
	name     string
	required bool
	column   int                             // of Columns and created the one with this name; none without it
	value    func(r *random, n int64) string // nil for the generated value of the column
}

// none is the column of a field with a name that is not predefined.
const none = -1

// maxLength is the maximum length of a value in a configuration. A record of several such values still fits into
// memory, and exceeds the limit of the platform.
const maxLength = 1 << 20

// configuration is the JSON of a Config.
type configuration struct {
	Sample struct {
		Separator string `json:"separator"`
		File      struct {
			Pattern  string `json:"filename_pattern"`
			Datetime string `json:"filename_pattern_replace"`
		} `json:"file"`
		MinLength *int              `json:"min_length"`
		MaxLength *int              `json:"max_length"`
		Fields    []configuredField `json:"fields"`
	} `json:"sample"`
}

type configuredField struct {
	Name      string            `json:"name"`
	Type      string            `json:"type"`
	Required  *truth            `json:"required"`
	MinLength *int              `json:"min_length"`
	MaxLength *int              `json:"max_length"`
	Format    *string           `json:"format"`
	Passwords []json.RawMessage `json:"predefined_password_list"`
}

// truth is 0, 1, true or false.
type truth bool

func (t *truth) UnmarshalJSON(text []byte) error {
	switch string(text) {
	case "1", "true":
		*t = true
	case "0", "false":
		*t = false
	default:
		return fmt.Errorf("required is %s; expected 1 or 0", text)
	}
	return nil
}

// ParseConfig reads a configuration in the form of sample_config.json of github.com/janrain/dataload. The types of
// fields are those that sample/randomize.py has there: string, password, gender, boolean, date, datetime and client.
// An unknown type or setting is an error, so that nothing is ignored silently.
//
// The values are those of randomize.py, with these exceptions:
//
//   - Dates are before 1 January 2026, not before now, so that the same seed gives the same file.
//   - Of the format only {index} is replaced, counted from 0, and {{ and }} are braces.
//   - A password that is not required is empty where only required values are wanted, also if it has a list.
//
// The default separator is the comma, the default file name that of the sample configuration.
func ParseConfig(text []byte) (*Config, error) {
	var c configuration
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(&c)
	if err == nil {
		if _, end := decoder.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("there is something behind the object")
		}
	}
	if err != nil {
		return nil, fmt.Errorf("expected JSON as sample_config.json of dataload has it: %w", err)
	}
	s := c.Sample
	config := &Config{separator: ',', pattern: "sample_records_{}.csv"}
	if s.Separator != "" {
		if c := s.Separator[0]; len(s.Separator) != 1 || c == '"' || c < ' ' && c != '\t' || c > '~' {
			return nil, fmt.Errorf("the separator is %q; expected one ASCII character that is no quote, or a tab", s.Separator)
		}
		config.separator = s.Separator[0]
	}
	if s.File.Pattern != "" {
		config.pattern = s.File.Pattern
	}
	if rest := strings.Replace(config.pattern, "{}", "", 1); strings.ContainsAny(rest, "{}") {
		return nil, fmt.Errorf("filename_pattern is %q; expected at most one {}, and no other braces", config.pattern)
	}
	if s.File.Datetime == "" {
		s.File.Datetime = "%b_%d_%Y_%H_%M_%S"
	}
	if config.datetime, err = strftime(s.File.Datetime); err != nil {
		return nil, err
	}
	if len(s.Fields) == 0 {
		return nil, errors.New("the configuration has no fields; expected them in sample.fields, each with name, type and required")
	}
	for i, f := range s.Fields {
		if f.MinLength == nil {
			f.MinLength = s.MinLength
		}
		if f.MaxLength == nil {
			f.MaxLength = s.MaxLength
		}
		if slices.ContainsFunc(config.fields, func(before field) bool { return before.name == f.Name }) {
			err = errors.New("the name is there twice; expected each once")
		} else {
			err = config.add(f)
		}
		if err != nil {
			return nil, fmt.Errorf("field %d, %q: %w", i+1, f.Name, err)
		}
	}
	return config, nil
}

// FileName is the name that the configuration gives to a file made at this time. The datetime in it is in UTC.
func (c *Config) FileName(t time.Time) string {
	return strings.Replace(c.pattern, "{}", c.datetime(t.UTC()), 1)
}

// directives are those of Python's strftime that make sense in the name of a file, as layouts.
var directives = map[byte]string{
	'Y': "2006", 'y': "06", 'm': "01", 'b': "Jan", 'B': "January", 'd': "02", 'j': "002", 'a': "Mon", 'A': "Monday",
	'H': "15", 'I': "03", 'p': "PM", 'M': "04", 'S': "05", '%': "%",
}

// strftime formats times as Python does.
func strftime(format string) (func(time.Time) string, error) {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		if i++; i == len(format) || directives[format[i]] == "" {
			return nil, fmt.Errorf("filename_pattern_replace is %q; expected no other directives than %s", format, "%"+strings.Join(strings.Split("YymbBdjaAHIpMS%", ""), " %"))
		}
	}
	return func(t time.Time) string {
		var b strings.Builder
		for i := 0; i < len(format); i++ {
			if format[i] != '%' {
				b.WriteByte(format[i])
				continue
			}
			i++
			b.WriteString(t.Format(directives[format[i]]))
		}
		return b.String()
	}, nil
}

// add adds a column.
func (c *Config) add(f configuredField) error {
	if f.Name == "" {
		return errors.New("there is no name; expected that of an attribute")
	}
	if f.Required == nil {
		return errors.New("required is missing; expected 1 or 0")
	}
	value, err := f.maker()
	if err != nil {
		return err
	}
	added := field{name: f.Name, required: bool(*f.Required), column: none, value: value}
	if i := slices.IndexFunc(predefined, func(p field) bool { return p.name == f.Name }); i >= 0 {
		added.column = predefined[i].column
	}
	c.fields = append(c.fields, added)
	return nil
}

// maker makes the values of a field.
func (f configuredField) maker() (func(r *random, n int64) string, error) {
	switch f.Type {
	case "string":
		return f.text()
	case "password":
		return f.password()
	case "gender":
		return f.gender()
	case "boolean":
		return func(r *random, _ int64) string { return pick(r, booleans) }, nil
	case "date":
		return func(r *random, _ int64) string { return past(r).Format("01/02/2006") }, nil
	case "datetime":
		return func(r *random, _ int64) string { return past(r).Format(time.DateTime) }, nil
	case "client":
		return f.client()
	}
	return nil, fmt.Errorf("the type is %q; expected string, password, gender, boolean, date, datetime or client", f.Type)
}

// text is one word, of a random length, or the format with the number of the record.
func (f configuredField) text() (func(r *random, n int64) string, error) {
	if f.Format != nil {
		return numbered(*f.Format)
	}
	if f.MinLength == nil || f.MaxLength == nil {
		return nil, errors.New("there is no length; expected min_length and max_length, here or for all fields, or a format")
	}
	low, high := *f.MinLength, *f.MaxLength
	if low < 0 || low > high || high > maxLength {
		return nil, fmt.Errorf("min_length is %d and max_length %d; expected lengths from 0 to %d, the smaller one first", low, high, maxLength)
	}
	return func(r *random, _ int64) string {
		word := r.letters("abcdefghijklmnopqrstuvwxyz", low+r.below(high-low+1))
		return strings.ToUpper(word[:min(1, len(word))]) + word[min(1, len(word)):]
	}, nil
}

// numbered is a format of Python in which only {index} is replaced.
func numbered(format string) (func(r *random, n int64) string, error) {
	var parts []string // the number goes between them
	part := ""
	for rest := format; rest != ""; {
		at := strings.IndexAny(rest, "{}")
		if at < 0 {
			part += rest
			break
		}
		part += rest[:at]
		rest = rest[at:]
		switch {
		case strings.HasPrefix(rest, "{index}"):
			parts, part = append(parts, part), ""
			rest = rest[len("{index}"):]
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			part += rest[:1]
			rest = rest[2:]
		default:
			return nil, fmt.Errorf("the format is %q; expected {index} for the number of the record, and no other braces than {{ and }}", format)
		}
	}
	parts = append(parts, part)
	return func(_ *random, n int64) string { return strings.Join(parts, strconv.FormatInt(n-1, 10)) }, nil
}

// password is one of the list, or as often as each of these a plain text.
func (f configuredField) password() (func(r *random, n int64) string, error) {
	plain, err := f.text()
	if err != nil {
		return nil, err
	}
	list := make([]string, len(f.Passwords))
	for i, p := range f.Passwords {
		var b bytes.Buffer
		if err := json.Compact(&b, p); err != nil {
			return nil, err
		}
		list[i] = b.String()
	}
	return func(r *random, n int64) string {
		if i := r.below(len(list) + 1); i < len(list) {
			return list[i]
		}
		return plain(r, n)
	}, nil
}

// gender is a spelling of a gender, or in a quarter of all cases a word.
func (f configuredField) gender() (func(r *random, n int64) string, error) {
	other, err := f.text()
	if err != nil {
		return nil, err
	}
	return func(r *random, n int64) string {
		if r.below(4) == 0 {
			return other(r, n)
		}
		return pick(r, genders)
	}, nil
}

// client is a list of up to three objects like the one in the format, each with its own clientId and name.
func (f configuredField) client() (func(r *random, n int64) string, error) {
	wrong := errors.New(`a client has no format, or one that is no JSON object; expected one, as {"clientId": "", "name": ""}`)
	if f.Format == nil {
		return nil, wrong
	}
	members, ok := membersOf(*f.Format)
	if !ok {
		return nil, wrong
	}
	for _, name := range []string{"clientId", "name"} {
		if !slices.ContainsFunc(members, func(m member) bool { return m.name == name }) {
			members = append(members, member{name: name})
		}
	}
	return func(r *random, _ int64) string {
		list := make([]string, r.below(4))
		if len(list) == 0 {
			return pick(r, []string{"", "[]"})
		}
		for i := range list {
			object := make([]string, len(members))
			for j, m := range members {
				value := string(m.value)
				switch m.name {
				case "clientId":
					value = fmt.Sprintf(`"%d"`, 999_999+r.below(99_999_999-999_999+1))
				case "name":
					value = fmt.Sprintf(`"Client Name %d"`, i)
				}
				name, _ := json.Marshal(m.name) // of a string, which can always be written
				object[j] = string(name) + ": " + value
			}
			list[i] = "{" + strings.Join(object, ", ") + "}"
		}
		return "[" + strings.Join(list, ", ") + "]"
	}, nil
}

type member struct {
	name  string
	value json.RawMessage
}

// membersOf returns the members of a JSON object in their order.
func membersOf(text string) (members []member, ok bool) {
	if !json.Valid([]byte(text)) {
		return nil, false
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	if begin, err := decoder.Token(); err != nil || begin != json.Delim('{') {
		return nil, false
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, false
		}
		m := member{name: name.(string)}
		if err := decoder.Decode(&m.value); err != nil {
			return nil, false
		}
		members = append(members, m)
	}
	return members, true
}
