package source

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// framingTests mark in the input where pieces begin: ¶ before each record, ∅ before each empty line, and ∑ before a quote
// that is never closed. The marks are removed before the test. Line numbers are derived from them too.
var framingTests = []struct {
	name   string
	input  string
	fields [][]string // of each record; a single field that starts with ! is the error
}{
	{"nothing", "", nil},
	{"one record", "¶a,b,c\n", [][]string{{"a", "b", "c"}}},
	{"no line end", "¶a,b\n¶c,d", [][]string{{"a", "b"}, {"c", "d"}}},
	{"CRLF", "¶a,b\r\n¶c,d\r\n", [][]string{{"a", "b"}, {"c", "d"}}},
	{"CRLF and LF", "¶a\r\n¶b\n¶c\r\n¶d", [][]string{{"a"}, {"b"}, {"c"}, {"d"}}},
	{"CRLF cut short", "¶a,b\r\n¶c,d\r", [][]string{{"a", "b"}, {"c", "d"}}},
	{"empty lines", "∅\n∅\r\n¶a\n∅\n∅\n¶b\n∅\r\n¶c\n∅\n", [][]string{{"a"}, {"b"}, {"c"}}},
	{"empty line without end", "¶a\n∅\r", [][]string{{"a"}}},
	{"empty line with a space", "¶a\n¶ \n", [][]string{{"a"}, {" "}}},
	{"empty fields", "¶,,\n¶,\n", [][]string{{"", "", ""}, {"", ""}}},
	{"empty field in quotes", "¶\"\"\n¶\"\",\"\"\n", [][]string{{""}, {"", ""}}},
	{"quotes", "¶\"a\",\"b\"\n¶\"c\",d\n¶e,\"f\"", [][]string{{"a", "b"}, {"c", "d"}, {"e", "f"}}},
	{"comma in quotes", "¶\"a,b\",c\n", [][]string{{"a,b", "c"}}},
	{"quotes in quotes", "¶\"a\"\"b\",\"\"\"\",\"\"\"x\"\"\"\n¶c\n", [][]string{{`a"b`, `"`, `"x"`}, {"c"}}},
	{"line breaks in quotes", "¶\"a\nb\",\"c\r\n\r\nd\"\r\n¶e,f\n", [][]string{{"a\nb", "c\r\n\r\nd"}, {"e", "f"}}},
	{"line break behind doubled quotes", "¶\"a\"\"\n\"\"b\"\n¶c\n", [][]string{{"a\"\n\"b"}, {"c"}}},
	{"CR in quotes", "¶\"a\rb\",\"\r\"\n", [][]string{{"a\rb", "\r"}}},
	{"quoted record is the last", "¶a\n¶\"b\nc\"", [][]string{{"a"}, {"b\nc"}}},
	{"quoted record ends in CRLF", "¶\"a\"\r\n¶\"b\"\r\n", [][]string{{"a"}, {"b"}}},
	{"bare quotes", "¶5\" disk,a\"b\"c,d\"\n¶e,f,g\n", [][]string{{`5" disk`, `a"b"c`, `d"`}, {"e", "f", "g"}}},
	{"bare quotes next to each other", "¶a\"\",b\"\"\"\n¶c,d\n", [][]string{{`a""`, `b"""`}, {"c", "d"}}},
	{"bare quote and quoted line break", "¶a\",\"b\nc\"\n¶d,e\n", [][]string{{`a"`, "b\nc"}, {"d", "e"}}},
	{"quotes behind a space", "¶a, \"b\n¶c\",d\n", [][]string{{"a", ` "b`}, {`c"`, "d"}}},
	{"comma in a quoted field before a quote", "¶\"a,\"\"b\nc\"\n¶d\n", [][]string{{"a,\"b\nc"}, {"d"}}},
	{"unicode", "¶é,\"日\n本\",🦊\n¶\u2028,\u0085,\ufeff\n", [][]string{{"é", "日\n本", "🦊"}, {"\u2028", "\u0085", "\ufeff"}}},
	{"zero bytes", "¶a\x00,\x00\n", [][]string{{"a\x00", "\x00"}}},

	{"text behind quotes", "¶a,\"b\"c,d\n¶e,f,g\n", [][]string{{"!column 2: " + faultAfterQuote.String()}, {"e", "f", "g"}}},
	{"space behind quotes", "¶\"a\" ,b\n", [][]string{{"!column 1: " + faultAfterQuote.String()}}},
	{"quote behind text behind quotes is a literal", "¶\"a\"b\"\n¶c\n", [][]string{{"!column 1: " + faultAfterQuote.String()}, {"c"}}},
	{"a quote is missing, the next one closes", "¶a,\"b\nc,\"d\"\n¶e,f\n", [][]string{{"!column 2: " + faultAfterQuote.String()}, {"e", "f"}}},
	{"CR outside of quotes", "¶a\rb,c\n¶d,e\n", [][]string{{"!column 1: " + faultCR.String()}, {"d", "e"}}},
	{"CR before a comma", "¶a,b\r,c\n", [][]string{{"!column 2: " + faultCR.String()}}},
	{"CR behind quotes", "¶\"a\"\r,c\n", [][]string{{"!column 1: " + faultCR.String()}}},
	{"CR CR LF", "¶a\r\r\n¶b\n", [][]string{{"!column 1: " + faultCR.String()}, {"b"}}},
	{"CR CR LF alone", "¶\r\r\n", [][]string{{"!column 1: " + faultCR.String()}}},
	{"quote behind CR is a literal", "¶a,\r\"b\n¶c\"\n", [][]string{{"!column 2: " + faultCR.String()}, {`c"`}}},

	{"open quote", "¶a\n∑\"b", [][]string{{"a"}}},
	{"open quote in the third field", "¶a\nb,\"c\n\",∑\"d\n\ne\"\"\n", [][]string{{"a"}}},
	{"open quote at the end", "¶a\nb,∑\"", [][]string{{"a"}}},
	{"open quote, doubled at the end", "∑\"\"\"", nil},
}

func TestFraming(t *testing.T) {
	for _, c := range framingTests {
		t.Run(c.name, func(t *testing.T) {
			input, want, open := unmarked(c.input)
			for name, s := range scanners(input, comma) {
				got, err := pieces(s)
				var unclosed *unclosedError
				if open < 0 && err != nil || open >= 0 && !errors.As(err, &unclosed) {
					t.Fatalf("%q %s: error %v; want open quote at %d", input, name, err, open)
				}
				if open >= 0 {
					at := len(input) - len(unclosed.record) + unclosed.open
					line := unclosed.line + lines(unclosed.record[:unclosed.open])
					if wantLine := 1 + strings.Count(input[:open], "\n"); at != open || line != int64(wantLine) {
						t.Errorf("%q %s: open quote at %d, line %d; want %d, line %d", input, name, at, line, open, wantLine)
					}
				}
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%q %s: pieces\n%+v; want\n%+v", input, name, got, want)
				}
				if fields := fieldsOf(got, comma); !reflect.DeepEqual(fields, c.fields) {
					t.Errorf("%q %s: fields %q; want %q", input, name, fields, c.fields)
				}
			}
		})
	}
}

// With another delimiter in place of the comma the records begin at the same bytes.
func TestFramingWithAnotherDelimiter(t *testing.T) {
	for _, text := range []string{";", `\t`, "|", "\x1f", "#"} {
		d, err := ParseDelimiter(text)
		must(t, err)
		exchange := strings.NewReplacer(",", string(rune(d)), string(rune(d)), ",")
		for _, c := range framingTests {
			input, want, _ := unmarked(c.input)
			for i, p := range want {
				want[i].raw = []byte(exchange.Replace(string(p.raw)))
			}
			var fields [][]string
			for _, record := range c.fields {
				record = slices.Clone(record)
				for i, value := range record {
					if !strings.HasPrefix(value, "!") {
						record[i] = exchange.Replace(value)
					}
				}
				fields = append(fields, record)
			}
			for name, s := range scanners(exchange.Replace(input), d) {
				got, _ := pieces(s)
				if !reflect.DeepEqual(got, want) {
					t.Errorf("%s, delimiter %s, %s: pieces\n%+v; want\n%+v", c.name, text, name, got, want)
				}
				if gotFields := fieldsOf(got, d); !reflect.DeepEqual(gotFields, fields) {
					t.Errorf("%s, delimiter %s, %s: fields %q; want %q", c.name, text, name, gotFields, fields)
				}
			}
		}
	}
}

func TestParseDelimiter(t *testing.T) {
	for text, want := range map[string]byte{"": ',', ",": ',', ";": ';', "|": '|', "\t": '\t', `\t`: '\t', "\x01": 1, "^": '^', "-": '-', `\`: '\\'} {
		d, err := ParseDelimiter(text)
		if err != nil || d.byte() != want {
			t.Errorf("%q is %q, error %v; want %q", text, d.byte(), err, want)
		}
		if again, err := ParseDelimiter(d.String()); err != nil || again != d {
			t.Errorf("%q is written %q, which is %q, error %v", text, d.String(), again.byte(), err)
		}
	}
	for _, text := range []string{"\"", "\n", "\r", "\x00", " ", "a", "Z", "5", ".", "_", "@", ",,", "ab", `\n`, "é", "\x80", "→"} {
		if d, err := ParseDelimiter(text); err == nil {
			t.Errorf("%q is the delimiter %q; want an error", text, d.byte())
		}
	}
}

// unmarked removes the marks of a framing test. A piece extends to the next mark.
func unmarked(marked string) (input string, want []piece, open int) {
	var b strings.Builder
	open = -1
	unfinished := -1 // where the line of an open quote starts
	for _, r := range marked {
		switch r {
		case '¶', '∅':
			want = append(want, piece{offset: int64(b.Len()), line: int64(1 + strings.Count(b.String(), "\n")), blank: r == '∅'})
		case '∑':
			open = b.Len()
		default:
			b.WriteRune(r)
		}
	}
	input = b.String()
	if open >= 0 { // the record with the open quote begins after the last complete one, which is a line in these tests
		unfinished = 0
		if len(want) > 0 {
			start := int(want[len(want)-1].offset)
			unfinished = start + strings.Index(input[start:], "\n") + 1
		}
	}
	for i := range want {
		end := len(input)
		if i+1 < len(want) {
			end = int(want[i+1].offset)
		} else if unfinished >= 0 {
			end = unfinished
		}
		want[i].raw = []byte(input[want[i].offset:end])
	}
	return input, want, open
}

// scanners read the input at once, byte by byte, and with buffers that end at every position.
func scanners(input string, d Delimiter) map[string]*scanner {
	all := map[string]*scanner{
		"at once":      newScanner(strings.NewReader(input), d, ignore),
		"byte by byte": newScanner(iotest.OneByteReader(strings.NewReader(input)), d, ignore),
		"EOF early":    newScanner(iotest.DataErrReader(strings.NewReader(input)), d, ignore),
	}
	for _, size := range []int{1, 2, 3, 4, 7} {
		s := newScanner(strings.NewReader(input), d, ignore)
		s.buf = make([]byte, size)
		all["buffer of "+string(rune('0'+size))] = s
	}
	return all
}

func ignore([]byte) error { return nil }

func pieces(s *scanner) (all []piece, err error) {
	for {
		p, err := s.next()
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		p.raw = slices.Clone(p.raw)
		all = append(all, p)
	}
}

// fieldsOf splits the records, with a header of the same number of fields.
func fieldsOf(all []piece, d Delimiter) (fields [][]string) {
	for _, p := range all {
		if p.blank {
			continue
		}
		b := trimLineEnd(p.raw)
		h := &Header{Delimiter: d}
		for pos := 0; pos >= 0; pos = fieldAt(b, pos, d.byte()).next {
			h.Names = append(h.Names, "")
		}
		values, err := h.Fields(p.raw)
		if err != nil {
			values = []string{"!" + err.Error()}
		}
		for i := range values {
			if value, oneErr := h.Value(p.raw, i); err == nil && (oneErr != nil || value != values[i]) {
				panic(fmt.Sprintf("column %d of %q: the value is %q (%v), the fields are %q", i, p.raw, value, oneErr, values))
			}
		}
		fields = append(fields, values)
	}
	return fields
}

func TestRecordErrorsNameColumnsOnly(t *testing.T) {
	h := &Header{Names: []string{"email", "givenName", strings.Repeat("x", 61)}}
	for _, c := range []struct{ raw, want string }{
		{"secret\n", "the record has 1 field; expected 3 as in the header; values with commas or line breaks need quotes"},
		{"secret,secret,secret,secret\n", "the record has 4 fields; expected 3 as in the header; values with commas or line breaks need quotes"},
		{"secret,\"secret\"secret,secret\r\n", "column 2 (givenName): " + faultAfterQuote.String()},
		{"secret,secret,secret\rsecret", "column 3 (" + strings.Repeat("x", 60) + "…): " + faultCR.String()},
		{"secret,secret,secret,\"secret\"secret", "column 4: " + faultAfterQuote.String()},
		{"secret,\"secret", "column 2 (givenName): " + faultUnclosed.String()},
	} {
		fields, err := h.Fields([]byte(c.raw))
		var record *RecordError
		if !errors.As(err, &record) || err.Error() != c.want || fields != nil {
			t.Errorf("%q gave %q, error %v; want %s", c.raw, fields, err, c.want)
		}
		if value, err := h.Value([]byte(c.raw), 0); value != "" || err == nil || err.Error() != c.want {
			t.Errorf("%q gave the value %q, error %v; want %s", c.raw, value, err, c.want)
		}
	}
}

func TestFieldsOfOneMegabyte(t *testing.T) {
	long := strings.Repeat(`Behind the long "row",`+"\r\n", 1<<20/23)
	raw := []byte(`a,"` + strings.ReplaceAll(long, `"`, `""`) + `",` + strings.Repeat("z", 1<<20) + "\n")
	for name, s := range scanners("x\n"+string(raw)+"y\n", comma) {
		if strings.HasPrefix(name, "b") && name != "buffer of 7" {
			continue
		}
		all, err := pieces(s)
		if err != nil || len(all) != 3 || !bytes.Equal(all[1].raw, raw) || all[2].line != int64(3+strings.Count(long, "\n")) {
			t.Fatalf("%s: %d pieces, error %v", name, len(all), err)
		}
	}
	fields, err := (&Header{Names: []string{"a", "b", "c"}}).Fields(raw)
	if err != nil || fields[1] != long || len(fields[2]) != 1<<20 {
		t.Errorf("error %v, or other values", err)
	}
}

// If encoding/csv accepts an input, the values are those of encoding/csv, except that it converts CRLF in quotes to LF, as
// documented, and takes a CR outside of quotes for a letter. The pieces together are the input.
func FuzzValuesAndBytes(f *testing.F) {
	for _, c := range framingTests {
		input, _, _ := unmarked(c.input)
		f.Add([]byte(input), byte(','))
		f.Add([]byte(strings.ReplaceAll(input, ",", ";")), byte(';'))
	}
	f.Fuzz(func(t *testing.T, input []byte, delimiter byte) {
		d, err := ParseDelimiter(string(delimiter))
		if err != nil {
			return
		}
		s := newScanner(bytes.NewReader(input), d, ignore)
		s.buf = make([]byte, 1+len(input)%5)
		all, err := pieces(s)
		var unclosed *unclosedError
		if err != nil && !errors.As(err, &unclosed) {
			t.Fatalf("%q: %v", input, err)
		}

		var joined []byte
		line := int64(1)
		for _, p := range all {
			if p.offset != int64(len(joined)) || p.line != line || len(p.raw) == 0 {
				t.Fatalf("%q: piece %+v; want offset %d, line %d", input, p, len(joined), line)
			}
			joined = append(joined, p.raw...)
			line += lines(p.raw)
		}
		if unclosed != nil {
			if unclosed.record[unclosed.open] != '"' || unclosed.line != line {
				t.Fatalf("%q: %+v", input, unclosed)
			}
			joined = append(joined, unclosed.record...)
		}
		if !bytes.Equal(joined, input) {
			t.Fatalf("%q: pieces give %q", input, joined)
		}

		b := Batch{FirstRecord: 1, FirstLine: 1, delimiter: d}
		if unclosed == nil {
			var records []Record
			for r := range Records(b, input) {
				records = append(records, r)
			}
			var want []Record
			for _, p := range all {
				if !p.blank {
					want = append(want, Record{Number: int64(len(want) + 1), Line: p.line, Raw: p.raw})
				}
			}
			if !reflect.DeepEqual(records, want) {
				t.Fatalf("%q: records %+v; want %+v", input, records, want)
			}
		}

		r := csv.NewReader(bytes.NewReader(input))
		r.FieldsPerRecord, r.Comma = -1, rune(d.byte())
		want, err := r.ReadAll()
		if err != nil {
			return
		}
		if unclosed != nil {
			t.Fatalf("%q: quote open at %d; encoding/csv reads %q", input, unclosed.open, want)
		}
		got := fieldsOf(all, d)
		if len(got) != len(want) {
			t.Fatalf("%q: %q; want %q", input, got, want)
		}
		for i := range got {
			if len(got[i]) == 1 && strings.HasPrefix(got[i][0], "!column") && strings.HasSuffix(got[i][0], faultCR.String()) {
				continue
			}
			for j := range got[i] {
				got[i][j] = strings.ReplaceAll(got[i][j], "\r\n", "\n")
			}
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("%q: record %d is %q; want %q", input, i+1, got[i], want[i])
			}
		}
	})
}
