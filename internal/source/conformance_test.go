package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// table is the content of a file as the migration reads it. A record that fails is listed by its line and fault.
type table struct {
	names   []string
	records [][]string
	faults  []string
	bytes   []byte // of all pieces
}

func readTable(t *testing.T, f *file, d Delimiter) (table, error) {
	t.Helper()
	if _, err := f.inspect(InspectOptions{BatchSize: 2, Delimiter: d}); err != nil {
		return table{}, err
	}
	x := f.index()
	got := table{names: x.Header().Names}
	for n := 1; n <= x.Batches(); n++ {
		b, err := x.Batch(n)
		must(t, err)
		data, err := f.read(b)
		must(t, err)
		for r := range Records(b, data) {
			fields, err := x.Header().Fields(r.Raw)
			if err != nil {
				got.faults = append(got.faults, fmt.Sprintf("line %d: %v", r.Line, err))
				continue
			}
			got.records = append(got.records, fields)
		}
	}
	all, err := pieces(newScanner(f.open(), d, ignore))
	must(t, err)
	for _, p := range all {
		got.bytes = append(got.bytes, p.raw...)
	}
	return got, nil
}

// The files of csv-spectrum are read as expected there. location_coordinates.csv has bare quotes in values that are not
// quoted: they are literals, as for the csv module of Python, with which dataload.py reads. A reader that refuses them
// would lose records that dataload.py has loaded.
func TestSpectrum(t *testing.T) {
	const dir = "testdata/csv-spectrum"
	files, err := filepath.Glob(filepath.Join(dir, "csvs", "*.csv"))
	if err != nil || len(files) != 12 {
		t.Fatalf("%d files, error %v; want 12", len(files), err)
	}
	for _, path := range files {
		name := strings.TrimSuffix(filepath.Base(path), ".csv")
		t.Run(name, func(t *testing.T) {
			content, err := os.ReadFile(path)
			must(t, err)
			expected, err := os.ReadFile(filepath.Join(dir, "json", name+".json"))
			must(t, err)
			if name == "location_coordinates" {
				expected = []byte("[" + string(expected) + "]")
			}
			var want []map[string]string
			must(t, json.Unmarshal(expected, &want))
			got, err := readTable(t, newFile(t, string(content)), comma)
			if err != nil || got.faults != nil {
				t.Fatalf("error %v, faults %q", err, got.faults)
			}
			var rows []map[string]string
			for _, record := range got.records {
				row := map[string]string{}
				for i, value := range record {
					row[got.names[i]] = value
				}
				rows = append(rows, row)
			}
			if !reflect.DeepEqual(rows, want) {
				t.Errorf("%q; want %q", rows, want)
			}
			if !bytes.Equal(got.bytes, content) {
				t.Errorf("the pieces give %q; want %q", got.bytes, content)
			}
		})
	}
}

// Peculiarities of real exports, and how they are read.
func TestOddFiles(t *testing.T) {
	for _, c := range []struct {
		name, input string
		records     [][]string
		faults      []string // records that fail alone
		refused     string   // or the file as a whole
	}{
		{"CRLF in quotes is kept", "a,b\r\n\"1\r\n2\",\"\r\n\"\r\n", [][]string{{"1\r\n2", "\r\n"}}, nil, ""},
		{"blank lines are no records", "\na,b\n\n1,2\n\r\n\n3,4\n\n", [][]string{{"1", "2"}, {"3", "4"}}, nil, ""},
		{"a line with a space is a record", "a,b\n \n", nil, []string{"line 2: the record has 1 field; expected 2 as in the header; values with commas or line breaks need quotes"}, ""},
		{"one column: a blank line is no record", "a\n1\n\n2\n", [][]string{{"1"}, {"2"}}, nil, ""},
		{"one column: quotes make an empty row", "a\n1\n\"\"\n2\n", [][]string{{"1"}, {""}, {"2"}}, nil, ""},
		{"all values are empty", "a,b,c\n,,\n,,\n", [][]string{{"", "", ""}, {"", "", ""}}, nil, ""},
		{"all values are empty, in quotes", "a,b\n\"\",\"\"\n", [][]string{{"", ""}}, nil, ""},
		{"the header alone", "a,b\n", nil, nil, ""},
		{"all names are empty", ",,\n1,2,3\n", nil, nil, "line 1: column 1 has no name; expected an attribute name in every column of the header; name the column or remove it"},

		{"a field too few, a field too many", "a,b\n1,2\n3\n\"4\n4\",5,6\n7,8\n", [][]string{{"1", "2"}, {"7", "8"}}, []string{
			"line 3: the record has 1 field; expected 2 as in the header; values with commas or line breaks need quotes",
			"line 4: the record has 3 fields; expected 2 as in the header; values with commas or line breaks need quotes"}, ""},
		{"the header is shorter", "a\n1,2\n", nil, []string{"line 2: the record has 2 fields; expected 1 as in the header; values with commas or line breaks need quotes"}, ""},
		{"text behind a closing quote", "a,b\n1,\"2\"x\n3,4\n", [][]string{{"3", "4"}}, []string{"line 2: column 2 (b): " + faultAfterQuote.String()}, ""},
		{"a quote that is not doubled", "a,b\n\"say \"hi\"\",2\n3,4\n", [][]string{{"3", "4"}}, []string{"line 2: column 1 (a): " + faultAfterQuote.String()}, ""},
		{"a bare quote is a literal", "a,b\n5\" disk,x\"y\n", [][]string{{`5" disk`, `x"y`}}, nil, ""},
		{"a quote behind a space is a literal", "a,b\n1, \"2\"\n", [][]string{{"1", ` "2"`}}, nil, ""},
		{"a quote that is never closed", "a,b\n1,2\n3,\"4\n5,6\n", nil, nil, "line 3: column 2 opens a quote that is not closed before the end of the file; expected a closing quote; close it, and double each quote that belongs to a value"},

		{"byte order mark", "\ufeffa,b\n1,2\n", [][]string{{"1", "2"}}, nil, ""},
		{"byte order mark before a quoted header", "\ufeff\"a\",\"b\"\n1,2\n", [][]string{{"1", "2"}}, nil, ""},
		{"byte order mark inside is a value", "a,b\n\ufeff1,2\n", [][]string{{"\ufeff1", "2"}}, nil, ""},
		{"zero bytes in a value", "a,b\n1\x00,\x00\n", [][]string{{"1\x00", "\x00"}}, nil, ""},
		{"zero bytes in a name", "a\x00,b\n1,2\n", nil, nil, "line 1: the file is binary, and no text; expected CSV in UTF-8; export the users as CSV, or decrypt or unpack the file"},

		{"line ends of old Macintosh programs", "a,b\r1,2\r3,4\r", nil, nil, "line 1: the header holds a carriage return that is not followed by a line feed; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)"},
		{"a carriage return outside of quotes", "a,b\n1\r2,3\n4,5\n", [][]string{{"4", "5"}}, []string{"line 2: column 1 (a): " + faultCR.String()}, ""},
		{"UTF-16 as Excel writes it", "\xff\xfea\x00\t\x00b\x00\r\x00\n\x00", nil, nil, `line 1: the file is UTF-16 text; expected CSV in UTF-8; save it as "CSV UTF-8", or give --encoding utf-16`},
		{"Windows-1252", "a,b\n1,Ren\xe9\n", nil, nil, `line 2: byte 6 of the line is not UTF-8; expected UTF-8 in the whole file; save it as "CSV UTF-8", or name the encoding with --encoding`},

		{"a name twice", "a,b,a\n1,2,3\n", nil, nil, `line 1: columns 1 and 3 have the same name; expected each name once; remove one of them`},
		{"names that differ in case", "a,A\n1,2\n", [][]string{{"1", "2"}}, nil, ""},
		{"a space around a name", "a , b\n1,2\n", nil, nil, `line 1: the name of column 1 has a space around it; expected an attribute name; remove the space`},
		{"a space around a value is kept", "a,b\n 1 , 2\n", [][]string{{" 1 ", " 2"}}, nil, ""},
		{"a formula is a value", "a,b\n=1+1,\"=cmd|' /C calc'!A0\"\n+1,-2\n@SUM(1),\"\t=2\"\n", [][]string{{"=1+1", "=cmd|' /C calc'!A0"}, {"+1", "-2"}, {"@SUM(1)", "\t=2"}}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t, c.input)
			got, err := readTable(t, f, comma)
			if c.refused != "" {
				var refusal *Refusal
				if !errors.As(err, &refusal) || err.Error() != "users.csv, "+c.refused {
					t.Errorf("%q gave error\n%v; want\nusers.csv, %s", c.input, err, c.refused)
				}
				return
			}
			if err != nil || !reflect.DeepEqual(got.records, c.records) || !reflect.DeepEqual(got.faults, c.faults) {
				t.Fatalf("%q: records %q, faults %q, error %v; want %q, %q", c.input, got.records, got.faults, err, c.records, c.faults)
			}
			if want := strings.TrimPrefix(c.input, "\ufeff"); strings.TrimPrefix(string(got.bytes), "\ufeff") != want {
				t.Errorf("the pieces give %q; want %q", got.bytes, want)
			}
		})
	}
}
