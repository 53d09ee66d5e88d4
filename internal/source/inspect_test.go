package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
)

func TestInspectRefusesUnusableFiles(t *testing.T) {
	long := strings.Repeat("n", 61)
	for _, c := range []struct{ name, input, want string }{
		{"empty file", "",
			"users.csv: the file is empty; expected a header with the attribute names, and then the records; check the export"},
		{"byte order mark alone", "\ufeff",
			"users.csv: the file is empty; expected a header with the attribute names, and then the records; check the export"},
		{"empty lines alone", "\ufeff\n\r\n\n",
			"users.csv: the file is empty; expected a header with the attribute names, and then the records; check the export"},
		{"UTF-16, little end first", "\xff\xfee\x00m\x00",
			`users.csv, line 1: the file is UTF-16 text; expected CSV in UTF-8; save it as "CSV UTF-8", or give --encoding utf-16`},
		{"UTF-16, big end first", "\xfe\xff\x00e\x00m",
			`users.csv, line 1: the file is UTF-16 text; expected CSV in UTF-8; save it as "CSV UTF-8", or give --encoding utf-16`},
		{"UTF-16 without a mark", "e\x00m\x00,\x00x\x00\n\x00",
			`users.csv, line 1: the file is UTF-16 text without a byte order mark; expected CSV in UTF-8; save it as "CSV UTF-8", or give --encoding utf-16le`},
		{"Excel workbook", "PK\x03\x04\x14\x00",
			`users.csv, line 1: the file is an Excel workbook or a ZIP archive; expected CSV in UTF-8; save it as "CSV UTF-8", or unpack it`},
		{"gzip", "\x1f\x8b\x08\x00",
			"users.csv, line 1: the file is compressed with gzip; expected CSV in UTF-8; unpack it, or give it a name that ends in .gz"},
		{"zstd", "\x28\xb5\x2f\xfd\x00",
			"users.csv, line 1: the file is compressed with zstd; expected CSV in UTF-8; unpack it, or give it a name that ends in .zst"},
		{"Latin-1 in a record", "email,city\na@example.com,ok\n\"b\n\",M\xfcnchen\n",
			`users.csv, line 4: byte 4 of the line is not UTF-8; expected UTF-8 in the whole file; save it as "CSV UTF-8", or name the encoding with --encoding`},
		{"Latin-1 in the header", "\n\ufeff,stra\xdfe\n",
			`users.csv, line 2: byte 9 of the line is not UTF-8; expected UTF-8 in the whole file; save it as "CSV UTF-8", or name the encoding with --encoding`},
		{"character cut off at the end", "a\nb\n\u00e9\xc3",
			`users.csv, line 3: byte 3 of the line is not UTF-8; expected UTF-8 in the whole file; save it as "CSV UTF-8", or name the encoding with --encoding`},
		{"encoded surrogate", "a\n\xed\xa0\x80\n",
			`users.csv, line 2: byte 1 of the line is not UTF-8; expected UTF-8 in the whole file; save it as "CSV UTF-8", or name the encoding with --encoding`},
		{"Latin-1 behind an open quote", "a\n\"b\n\xe9\n",
			`users.csv, line 3: byte 1 of the line is not UTF-8; expected UTF-8 in the whole file; save it as "CSV UTF-8", or name the encoding with --encoding`},
		{"CR alone", "email,city\ra@example.com,x\r",
			"users.csv, line 1: the header holds a carriage return that is not followed by a line feed; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)"},
		{"CR CR LF", "email,city\r\r\na@example.com,x\r\r\n",
			"users.csv, line 1: the header holds a carriage return that is not followed by a line feed; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)"},
		{"text behind quotes in the header", "\"email\"x,city\n",
			"users.csv, line 1: column 1 of the header has text after the closing quote; a quote inside a quoted value must be doubled; fix the header"},
		{"open quote", "email,city,zip\na@example.com,x,y\n\"b\n@example.com\",c,\"d\ne,f,g\n",
			"users.csv, line 4: column 3 opens a quote that is not closed before the end of the file; expected a closing quote; close it, and double each quote that belongs to a value"},
		{"open quote in the header", "\n\"email,city\na@example.com,x\n",
			"users.csv, line 2: column 1 opens a quote that is not closed before the end of the file; expected a closing quote; close it, and double each quote that belongs to a value"},
		{"name missing", "email,,city\n",
			"users.csv, line 1: column 2 has no name; expected an attribute name in every column of the header; name the column or remove it"},
		{"name missing at the end", "\n\nemail,\"\"\r\n",
			"users.csv, line 3: column 2 has no name; expected an attribute name in every column of the header; name the column or remove it"},
		{"name twice", "email,city,email\n",
			`users.csv, line 1: columns 1 and 3 have the same name; expected each name once; remove one of them`},
		{"value and object", "a,b,a.b\n",
			`users.csv, line 1: the name of column 1 is a value, and the name of column 3 makes it an object; expected one of the two; rename or remove one of them`},
		{"object and value", "a.b.c,b,a.b\n",
			`users.csv, line 1: the name of column 3 is a value, and the name of column 1 makes it an object; expected one of the two; rename or remove one of them`},
		{"space around a name", "email, city\n",
			`users.csv, line 1: the name of column 2 has a space around it; expected an attribute name; remove the space`},
		{"dot without a name", "email,a..b\n",
			`users.csv, line 1: the name of column 2 has a dot without a name on both sides; expected object.attribute; fix the name`},
		{"dot at the end of a long name", long + ".\n",
			`users.csv, line 1: the name of column 1 has a dot without a name on both sides; expected object.attribute; fix the name`},
		{"two byte order marks", "\ufeff\ufeffemail\n",
			"users.csv, line 1: the name of column 1 contains an invisible character; expected an attribute name; check that the file is UTF-8 and the header's quotes are right"},
		{"line break in a name", "\"email\ncity\",x\n",
			"users.csv, line 1: the name of column 1 contains an invisible character; expected an attribute name; check that the file is UTF-8 and the header's quotes are right"},
		{"no header", "secret,secret,secret@example.com\n",
			"users.csv, line 1: column 3 of the header contains an @, like an email address; expected attribute names; put a header on the first line"},
		{"semicolons", "email;city\n",
			"users.csv, line 1: the header is separated by semicolons; expected commas; set --delimiter ';', or export the file again"},
		{"tabs", "email\tcity\n",
			"users.csv, line 1: the header is separated by tabs; expected commas; set --delimiter '\\t', or export the file again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t, c.input)
			summary, err := f.inspect(InspectOptions{BatchSize: 2, CopyTo: f.path + ".copy"})
			var refusal *Refusal
			if !errors.As(err, &refusal) || err.Error() != c.want || summary != nil {
				t.Errorf("%q gave error\n%v; want\n%s", c.input, err, c.want)
			}
			f.holdsOnly("users.csv")
		})
	}
}

func TestInspectWithAnotherDelimiter(t *testing.T) {
	const input = "email;city;displayName\n¶\"a@example.com\";\"x;y\nz\";b,c\n;\"\";\"say \"\"hi\"\"\"\n¶d;\"e\n\n;f\";g\n"
	parts := strings.Split(input, "¶")
	f := newFile(t, strings.Join(parts, ""))
	summary := f.inspected(InspectOptions{BatchSize: 2, Delimiter: ';'})
	x := f.index()
	if names := []string{"email", "city", "displayName"}; !slices.Equal(summary.Header.Names, names) || !reflect.DeepEqual(x.Header(), summary.Header) || x.Header().Delimiter != ';' {
		t.Errorf("header %+v, in the index %+v; want the names %q and semicolons", summary.Header, x.Header(), names)
	}
	want := [][]string{{"a@example.com", "x;y\nz", "b,c"}, {"", "", `say "hi"`}, {"d", "e\n\n;f", "g"}}
	var got [][]string
	for n := 1; n <= x.Batches(); n++ {
		b, err := x.Batch(n)
		must(t, err)
		data, err := f.read(b)
		if err != nil || string(data) != parts[n] {
			t.Errorf("batch %d has %q, error %v; want %q", n, data, err, parts[n])
		}
		for r := range Records(b, data) {
			fields, err := x.Header().Fields(r.Raw)
			if err != nil {
				t.Errorf("record %d: %v", r.Number, err)
			}
			got = append(got, fields)
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("records %q; want %q", got, want)
	}

	for _, c := range []struct{ input, want string }{
		{"email,city\n", "feed: the header is separated by commas; expected semicolons; set --delimiter ',', or export the file again"},
		{"email|city\n", "feed: the header is separated by bars; expected semicolons; set --delimiter '|', or export the file again"},
		{"email;city;email\n", `feed: columns 1 and 3 have the same name; expected each name once; remove one of them`},
		{"email;city\na;b\nc;\"d", "feed: column 2 opens a quote that is not closed before the end of the file; expected a closing quote; close it, and double each quote that belongs to a value"},
	} {
		f := newFile(t, c.input)
		_, err := f.inspect(InspectOptions{BatchSize: 2, Delimiter: ';', Name: "feed"})
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.File+": "+refusal.Reason != c.want {
			t.Errorf("%q gave error\n%v; want\n%s", c.input, err, c.want)
		}
	}
	if _, err := x.Header().Fields([]byte("a;b\n")); err == nil || err.Error() != "the record has 2 fields; expected 3 as in the header; values with semicolons or line breaks need quotes" {
		t.Errorf("a record that is too short gave error %v", err)
	}
}

func TestInspectRefusesRecordsWithoutEnd(t *testing.T) {
	for _, c := range []struct{ name, start, want string }{
		{"no line end", "email\nb\n\"a\nb\"",
			"users.csv, line 3: there is no line end in 64 MiB; expected LF or CRLF line ends; convert the line ends (old Macintosh programs write CR alone)"},
		{"open quote", "email,city\nx,y\n\"\n\",\"b",
			"users.csv, line 4: column 2 opens a quote that is not closed before 64 MiB later; expected a closing quote; close it, and double each quote that belongs to a value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t, c.start)
			if err := os.Truncate(f.path, maxRecord+int64(chunkSize)); err != nil { // zero bytes to the end, none on disk
				t.Fatal(err)
			}
			if _, err := f.inspect(InspectOptions{BatchSize: 2}); err == nil || err.Error() != c.want {
				t.Errorf("error\n%v; want\n%s", err, c.want)
			}
		})
	}
}

func TestInspectRefusesSpecialFiles(t *testing.T) {
	f := newFile(t, "email\n")
	_, err := Inspect(context.Background(), filepath.Dir(f.path), InspectOptions{BatchSize: 1})
	if refusal := new(Refusal); !errors.As(err, &refusal) || refusal.Reason != "this is not a regular file; expected a CSV file that can be read again; give the file itself" {
		t.Errorf("a folder gave error %v", err)
	}
	if _, err := Inspect(context.Background(), f.path+".missing", InspectOptions{BatchSize: 1}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file gave error %v", err)
	}
	for _, o := range []InspectOptions{{BatchSize: 1, IndexPath: f.path}, {BatchSize: 1, CopyTo: f.path}} {
		if _, err := Inspect(context.Background(), f.path, o); err == nil || !strings.HasSuffix(err.Error(), "would overwrite the input") {
			t.Errorf("%+v gave error %v", o, err)
		}
	}
	for _, o := range []InspectOptions{{}, {BatchSize: -1}, {BatchSize: 1, StartAt: -1}, {BatchSize: 1, MaxEncoded: 5}} {
		if _, err := Inspect(context.Background(), f.path, o); err == nil {
			t.Errorf("%+v gave no error", o)
		}
	}
	f.holdsOnly("users.csv")
}

// batchTests mark in the input where a batch must begin: ¶. Lines and offsets are derived from the marks.
var batchTests = []struct {
	name    string
	input   string
	options InspectOptions
	records []int // in each batch
	lines   []int // the line on which the last record of each batch ends
	skipped int64
}{
	{"header alone", "email\n", InspectOptions{BatchSize: 2}, nil, nil, 0},
	{"header without end", "email", InspectOptions{BatchSize: 2}, nil, nil, 0},
	{"by number", "email\n¶a\nb\n¶c\nd\n¶e\n", InspectOptions{BatchSize: 2}, []int{2, 2, 1}, []int{3, 5, 6}, 0},
	{"even number", "email\n¶a\nb\n¶c\nd\n", InspectOptions{BatchSize: 2}, []int{2, 2}, []int{3, 5}, 0},
	{"one", "email\r\n¶a\r\n¶b", InspectOptions{BatchSize: 1}, []int{1, 1}, []int{2, 3}, 0},
	{"all", "email\n¶a\nb\nc", InspectOptions{BatchSize: 1000}, []int{3}, []int{4}, 0},
	{"byte order mark", "\ufeffemail\n¶a\nb\n", InspectOptions{BatchSize: 3}, []int{2}, []int{3}, 0},
	{"empty lines stay behind their batch", "\n\r\nemail\n\n¶a\n\nb\n\n\n¶c\n\n\n", InspectOptions{BatchSize: 2}, []int{2, 1}, []int{7, 10}, 0},
	{"line breaks in quotes", "email\n¶\"a\n\n\"\n\"b\nb\"\n¶c\n", InspectOptions{BatchSize: 2}, []int{2, 1}, []int{6, 7}, 0},
	{"last record without end, with line breaks", "email\n¶\"a\n\"\n¶\"b\nb\"", InspectOptions{BatchSize: 1}, []int{1, 1}, []int{3, 5}, 0},
	{"failed records count", "email,city\n¶a\nb,c,d\n¶\"e\"e,f\ng\rg,h\n", InspectOptions{BatchSize: 2}, []int{2, 2}, []int{3, 5}, 0},
	{"start at 1", "email\n¶a\nb\n", InspectOptions{BatchSize: 2, StartAt: 1}, []int{2}, []int{3}, 0},
	{"start at 2", "email\na\n¶b\nc\n¶d\n", InspectOptions{BatchSize: 2, StartAt: 2}, []int{2, 1}, []int{4, 5}, 1},
	{"start at 4, with empty lines", "email\n\na\n\nb\n\nc\n\n¶d\n\ne\n", InspectOptions{BatchSize: 2, StartAt: 4}, []int{2}, []int{11}, 3},
	{"start at the last", "email\na\nb\n¶c", InspectOptions{BatchSize: 2, StartAt: 3}, []int{1}, []int{4}, 2},
	{"no record", "email\n", InspectOptions{BatchSize: 2, StartAt: 1}, nil, nil, 0},
	{"by size", "email\n¶aaa\nbbb\n¶ccccccc\n¶dddd\ne\nf\n", InspectOptions{BatchSize: 9, MaxEncoded: 10, EncodedSize: rawSize}, []int{2, 1, 3}, []int{3, 4, 7}, 0},
	{"exactly the size", "email\n¶aaaa\nbbbb\n¶c\n", InspectOptions{BatchSize: 9, MaxEncoded: 10, EncodedSize: rawSize}, []int{2, 1}, []int{3, 4}, 0},
	{"larger than the size", "email\n¶a\n¶bbbbbbbbbbbbb\n¶c\nd\n¶eeeeeeeeeee\n", InspectOptions{BatchSize: 9, MaxEncoded: 10, EncodedSize: rawSize}, []int{1, 1, 2, 1}, []int{2, 3, 5, 6}, 0},
	{"by size and by number", "email\n¶a\nb\n¶c\ndd\n¶eeeeeeeee\n¶f\ng\n", InspectOptions{BatchSize: 2, MaxEncoded: 10, EncodedSize: rawSize}, []int{2, 2, 1, 2}, []int{3, 5, 6, 8}, 0},
}

func rawSize(_ *Header, r Record) int64 { return int64(len(r.Raw)) }

func TestInspectCutsBatches(t *testing.T) {
	for _, c := range batchTests {
		t.Run(c.name, func(t *testing.T) {
			parts := strings.Split(c.input, "¶")
			input := strings.Join(parts, "")
			f := newFile(t, input)
			summary := f.inspected(c.options)
			x := f.index()
			total := int64(0)
			for _, n := range c.records {
				total += int64(n)
			}
			sum := sha256.Sum256([]byte(input))
			want := &Summary{
				Header: &Header{Names: summary.Header.Names, Raw: summary.Header.Raw}, SHA256: hex.EncodeToString(sum[:]),
				Size: int64(len(input)), Records: total, Skipped: c.skipped, Batches: len(c.records),
			}
			fromIndex := &Summary{Header: x.Header(), SHA256: x.SHA256(), Size: x.Size(), Records: x.Records(), Skipped: x.Skipped(), Batches: x.Batches()}
			if !reflect.DeepEqual(summary, want) || !reflect.DeepEqual(fromIndex, want) {
				t.Errorf("summary %+v, in the index %+v; want %+v", summary, fromIndex, want)
			}
			if x.StartAt() != max(1, c.options.StartAt) || x.BatchSize() != c.options.BatchSize {
				t.Errorf("start at %d, batch size %d; want those of %+v", x.StartAt(), x.BatchSize(), c.options)
			}

			before := parts[0]
			record := c.skipped + 1
			for i, part := range parts[1:] {
				want := Batch{
					Number: i + 1, FirstRecord: record, Records: c.records[i], Offset: int64(len(before)), Length: int64(len(part)),
					FirstLine: int64(1 + strings.Count(before, "\n")), LastLine: int64(c.lines[i]), Digest: sha256.Sum256([]byte(part)),
				}
				got, err := x.Batch(i + 1)
				if err != nil || got != want {
					t.Fatalf("batch %+v, error %v; want %+v", got, err, want)
				}
				data, err := f.read(got)
				if err != nil || string(data) != part {
					t.Errorf("batch %d has %q, error %v; want %q", i+1, data, err, part)
				}
				var raw []byte
				for r := range Records(got, data) {
					if r.Number != record {
						t.Errorf("record number %d; want %d", r.Number, record)
					}
					record++
					raw = append(raw, r.Raw...)
				}
				if last := got.FirstRecord + int64(got.Records) - 1; record-1 != last {
					t.Errorf("batch %d ends with record %d; want %d", i+1, record-1, last)
				}
				if !strings.Contains(part, "\n\n") && string(raw) != part { // unless there are empty lines between them
					t.Errorf("records of batch %d are %q; want %q", i+1, raw, part)
				}
				before += part
			}
			for _, n := range []int{-1, 0, x.Batches() + 1} {
				if _, err := x.Batch(n); err == nil {
					t.Errorf("there is a batch %d", n)
				}
			}
		})
	}
}

// Byte order mark, header, records and empty lines together are the file.
func TestNoByteIsLost(t *testing.T) {
	input := "\ufeff\n\r\nemail,\"na\"\"me\"\r\n\na,\"b\r\n\n\"\"c\"\n\r\nd,e,f\n\n\n\"g\"h,i\rj\r\n\n🦊,\"\"\r\n\r\nk,l"
	f := newFile(t, input)
	copied := f.path + ".copy"
	summary := f.inspected(InspectOptions{BatchSize: 2, CopyTo: copied})
	joined := "\ufeff\n\r\n" + string(summary.Header.Raw) + "\n"
	blank := []string{"\r\n", "\n\n", "\n", "\r\n", ""}
	x := f.index()
	for n := 1; n <= x.Batches(); n++ {
		b, err := x.Batch(n)
		must(t, err)
		data, err := f.read(b)
		must(t, err)
		for r := range Records(b, data) {
			if line := int64(1 + strings.Count(joined, "\n")); r.Line != line {
				t.Errorf("record %d is on line %d; want %d", r.Number, r.Line, line)
			}
			joined += string(r.Raw) + blank[r.Number-1]
		}
	}
	if joined != input {
		t.Errorf("the parts give\n%q; want\n%q", joined, input)
	}
	if names := []string{"email", `na"me`}; !slices.Equal(summary.Header.Names, names) {
		t.Errorf("names %q; want %q", summary.Header.Names, names)
	}
	if data, err := os.ReadFile(copied); err != nil || string(data) != input {
		t.Errorf("the copy is %q, error %v", data, err)
	}
	if sum, size, err := Digest(context.Background(), copied); sum != summary.SHA256 || size != int64(len(input)) || err != nil {
		t.Errorf("the copy has digest %s, size %d, error %v; want %s, %d", sum, size, err, summary.SHA256, len(input))
	}
	for _, path := range []string{copied, f.indexPath} {
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, error %v; want 0600", filepath.Base(path), info.Mode(), err)
		}
	}
	f.holdsOnly("users.csv", "users.csv.copy", "users.csv.index")
}

func TestInspectReplacesAnOldIndex(t *testing.T) {
	f := newFile(t, "email\na\nb\n")
	for _, size := range []int{1, 2} {
		f.inspected(InspectOptions{BatchSize: size})
	}
	if x := f.index(); x.Batches() != 1 {
		t.Errorf("%d batches; want those of the second time, 1", x.Batches())
	}
	f.holdsOnly("users.csv", "users.csv.index")
}

func TestInspectEndsWithItsContext(t *testing.T) {
	f := newFile(t, "email\n"+strings.Repeat("somebody@example.com\n", 200_000))
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(context.Background())
	calls := 0
	_, err := Inspect(ctx, f.path, InspectOptions{BatchSize: 10, IndexPath: f.indexPath, CopyTo: f.path + ".copy", Progress: func(bytes, records int64) {
		calls++
		cancel(stop)
	}})
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("error %v after %d chunks; want %v after 1", err, calls, stop)
	}
	f.holdsOnly("users.csv")
	if _, _, err := Digest(ctx, f.path); !errors.Is(err, stop) {
		t.Errorf("Digest: error %v; want %v", err, stop)
	}
}

func TestInspectReportsProgress(t *testing.T) {
	f := newFile(t, "email\n"+strings.Repeat("somebody@example.com\n", 200_000))
	var last, lastRecords int64
	calls := 0
	_, err := f.inspect(InspectOptions{BatchSize: 10, StartAt: 150_000, Progress: func(bytes, records int64) {
		if bytes <= last || records < lastRecords {
			t.Errorf("%d bytes and %d records after %d and %d", bytes, records, last, lastRecords)
		}
		last, lastRecords = bytes, records
		calls++
	}})
	if info, _ := os.Stat(f.path); err != nil || last != info.Size() || calls < 5 || lastRecords != 200_000 {
		t.Errorf("%d calls, the last with %d bytes and %d records, error %v; want at least 5, %d and all 200000", calls, last, lastRecords, err, info.Size())
	}
}

func TestInspectRefusesAFileThatGrows(t *testing.T) {
	f := newFile(t, "email\na@example.com\n")
	_, err := f.inspect(InspectOptions{BatchSize: 10, CopyTo: f.path + ".copy", Progress: func(bytes, _ int64) {
		if bytes == 20 {
			f.change(func(file []byte) []byte { return append(file, "b@example.com\n"...) })
		}
	}})
	if want := "users.csv: the file changed while it was read; expected a finished file; wait until it is complete"; err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
	f.holdsOnly("users.csv")
}

func TestReadBatchDetectsAnotherFile(t *testing.T) {
	input := "email,city\na@example.com,secret\nb@example.com,secret\nc@example.com,secret\n"
	for _, c := range []struct {
		name    string
		change  func([]byte) []byte
		changed bool // batch 2
	}{
		{"a byte", func(b []byte) []byte { b[len(b)-2] = 'x'; return b }, true},
		{"one more byte before it", func(b []byte) []byte { return slices.Insert(b, 12, 'x') }, true},
		{"cut short", func(b []byte) []byte { return b[:len(b)-1] }, true},
		{"cut before it", func(b []byte) []byte { return b[:12] }, true},
		{"emptied", func(b []byte) []byte { return nil }, true},
		{"a byte of another batch", func(b []byte) []byte { b[12] = 'x'; return b }, false},
		{"a record more", func(b []byte) []byte { return append(b, "d\n"...) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFile(t, input)
			f.inspected(InspectOptions{BatchSize: 2})
			f.change(c.change)
			b, err := f.index().Batch(2)
			must(t, err)
			data, err := f.read(b)
			if !c.changed {
				if err != nil || string(data) != "c@example.com,secret\n" {
					t.Errorf("%q, error %v", data, err)
				}
				return
			}
			want := "users.csv, lines 4-4 (batch 2): the input has changed since it was inspected; expected the same bytes; restore the file, or start a new migration with the changed one"
			if !errors.Is(err, ErrInputChanged) || err.Error() != want || data != nil {
				t.Errorf("%q, error\n%v; want\n%s", data, err, want)
			}
		})
	}
}

type inBucket struct{ io.ReaderAt }

func (inBucket) Name() string { return "s3://bucket/folder/users.csv?endpoint=http://localhost:9000" }

func TestReadBatchNamesAFileOfABucket(t *testing.T) {
	_, err := ReadBatch(inBucket{strings.NewReader("other")}, Batch{Number: 1, FirstLine: 2, LastLine: 3, Length: 5})
	if !errors.Is(err, ErrInputChanged) || !strings.HasPrefix(err.Error(), "users.csv, lines 2-3 ") {
		t.Errorf("%v; want the name of the file", err)
	}
}

func TestReadBatchPassesOnOtherErrors(t *testing.T) {
	broken := errors.New("broken disk")
	_, err := ReadBatch(brokenDisk{broken}, Batch{Number: 1, FirstLine: 2, LastLine: 3, Length: 5})
	if !errors.Is(err, broken) || errors.Is(err, ErrInputChanged) {
		t.Errorf("error %v; want %v", err, broken)
	}
}

type brokenDisk struct{ err error }

func (d brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, d.err }

// The exact size is expensive: it is computed only if the bound does not suffice, and once a record.
func TestInspectMeasuresOnlyWhatItMust(t *testing.T) {
	var b bytes.Buffer
	must(t, fakeusers.Write(&b, fakeusers.Options{Records: 1000, Seed: 1}))
	f := newFile(t, b.String())
	for _, c := range []struct {
		limit      int64
		batches    int
		measured   int // at most
		largest    int64
		noneOfThem bool
	}{
		{5_000_000, 10, 0, 50_000, true},
		{100_000, 10, 1000, 50_000, false},
		{10_000, 38, 1000, 10_000, false},
	} {
		seen := map[int64]bool{}
		summary, err := f.inspect(InspectOptions{BatchSize: 100, MaxEncoded: c.limit, EncodedSize: func(h *Header, r Record) int64 {
			if fields, err := h.Fields(r.Raw); err != nil || !strings.Contains(fields[0], fmt.Sprintf("%d@", r.Number)) || r.Line != r.Number+1 {
				t.Fatalf("record %d, line %d: %q, error %v", r.Number, r.Line, fields, err)
			}
			if seen[r.Number] {
				t.Fatalf("record %d is measured again", r.Number)
			}
			seen[r.Number] = true
			return int64(len(r.Raw))
		}})
		if err != nil || summary.Batches != c.batches || len(seen) > c.measured || (len(seen) == 0) != c.noneOfThem {
			t.Fatalf("limit %d: %d batches, %d measured, error %v; want %d batches, at most %d measured", c.limit, summary.Batches, len(seen), err, c.batches, c.measured)
		}
		x := f.index()
		for n := 1; n <= x.Batches(); n++ {
			if b, err := x.Batch(n); err != nil || b.Length > c.largest {
				t.Errorf("limit %d: batch %d has %d bytes, error %v; want at most %d", c.limit, n, b.Length, err, c.largest)
			}
		}
	}
}

// The ends of batches must not depend on which records were measured and which only bounded.
func TestBatchesBySizeAreAsFullAsCanBe(t *testing.T) {
	input := "email\n" + strings.Repeat("x\n", 5000)
	f := newFile(t, input)
	size := func(_ *Header, r Record) int64 { return 7 + r.Number%5 } // 45 for each 5 records
	for _, limit := range []int64{900, 9000, 22_500} {
		summary, err := f.inspect(InspectOptions{BatchSize: 5000, MaxEncoded: limit, EncodedSize: size})
		if err != nil || summary.Batches != int(45_000/limit) {
			t.Fatalf("limit %d: %d batches, error %v; want %d", limit, summary.Batches, err, 45_000/limit)
		}
		for n, x := 1, f.index(); n <= x.Batches(); n++ {
			if b, err := x.Batch(n); err != nil || b.Records != int(limit/9) {
				t.Errorf("limit %d: batch %d has %d records, error %v; want %d", limit, n, b.Records, err, limit/9)
			}
		}
	}
}

func TestMemoryDoesNotGrowWithTheFile(t *testing.T) {
	f := newFile(t, "")
	allocated := func(records int64) uint64 {
		f.write(fakeusers.Options{Records: records, Seed: 1, Awkward: true})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		summary, err := f.inspect(InspectOptions{BatchSize: 100, MaxEncoded: 5_000_000, EncodedSize: rawSize, CopyTo: f.path + ".copy"})
		runtime.ReadMemStats(&after)
		if err != nil || summary.Records != records {
			t.Fatalf("%+v, error %v", summary, err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	small, large := allocated(50_000), allocated(300_000)
	if most := uint64(5+2*runtime.GOMAXPROCS(0)) << 20; large > most { // of a file of 100 MiB
		t.Errorf("%d bytes allocated for 300,000 records, %d for 50,000; want about the same, and below %d", large, small, most)
	}
}

func BenchmarkInspect(b *testing.B) {
	f := newFile(b, "")
	f.write(fakeusers.Options{Records: 200_000, Seed: 1, Awkward: true})
	info, err := os.Stat(f.path)
	must(b, err)
	b.Run("inspect", func(b *testing.B) {
		b.SetBytes(info.Size())
		b.ReportAllocs()
		for b.Loop() {
			if _, err := f.inspect(InspectOptions{BatchSize: 100}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("frame", func(b *testing.B) { // what Inspect does without digests and UTF-8
		b.SetBytes(info.Size())
		for b.Loop() {
			s := newScanner(f.open(), comma, ignore)
			for {
				if _, err := s.next(); err == io.EOF {
					break
				} else if err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("frame and fields", func(b *testing.B) {
		h := &Header{Names: fakeusers.Columns}
		b.SetBytes(info.Size())
		for b.Loop() {
			s := newScanner(f.open(), comma, ignore)
			for {
				p, err := s.next()
				if err == io.EOF {
					break
				}
				if !p.blank {
					h.Fields(p.raw)
				}
			}
		}
	})
	for _, reuse := range []bool{false, true} {
		b.Run(fmt.Sprintf("encoding-csv, ReuseRecord %v", reuse), func(b *testing.B) {
			b.SetBytes(info.Size())
			for b.Loop() {
				r := csv.NewReader(f.open())
				r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, reuse
				for {
					if _, err := r.Read(); err == io.EOF {
						break
					} else if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

// file is an input in its own folder.
type file struct {
	t         testing.TB
	path      string
	indexPath string
}

func newFile(t testing.TB, content string) *file {
	t.Helper()
	f := &file{t: t, path: filepath.Join(t.TempDir(), "users.csv")}
	f.indexPath = f.path + ".index"
	must(t, os.WriteFile(f.path, []byte(content), 0o600))
	return f
}

func (f *file) write(o fakeusers.Options) {
	f.t.Helper()
	out, err := os.Create(f.path)
	must(f.t, err)
	must(f.t, errors.Join(fakeusers.Write(out, o), out.Close()))
}

func (f *file) change(how func([]byte) []byte) {
	f.t.Helper()
	content, err := os.ReadFile(f.path)
	if err == nil {
		err = os.WriteFile(f.path, how(content), 0o600)
	}
	must(f.t, err)
}

func (f *file) open() *os.File {
	f.t.Helper()
	in, err := os.Open(f.path)
	must(f.t, err)
	f.t.Cleanup(func() { in.Close() })
	return in
}

func (f *file) inspect(o InspectOptions) (*Summary, error) {
	o.IndexPath = f.indexPath
	return Inspect(context.Background(), f.path, o)
}

// inspected is inspect for a file that is usable.
func (f *file) inspected(o InspectOptions) *Summary {
	f.t.Helper()
	summary, err := f.inspect(o)
	must(f.t, err)
	return summary
}

func (f *file) index() *Index {
	f.t.Helper()
	x, err := OpenIndex(f.indexPath)
	must(f.t, err)
	f.t.Cleanup(func() { x.Close() })
	return x
}

func (f *file) read(b Batch) ([]byte, error) { return ReadBatch(f.open(), b) }

// holdsOnly checks that the folder contains nothing else, such as a temporary file.
func (f *file) holdsOnly(names ...string) {
	f.t.Helper()
	entries, err := os.ReadDir(filepath.Dir(f.path))
	must(f.t, err)
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	slices.Sort(names)
	if !slices.Equal(got, names) {
		f.t.Errorf("the folder holds %q; want %q", got, names)
	}
}

func TestHeadReadsTheFirstRecords(t *testing.T) {
	long := "email,name\n" + strings.Repeat("a@example.com,\"A\nA\"\n", 200_000)
	for name, c := range map[string]struct {
		text    string
		n       int
		records int
		refused bool
	}{
		"all of a few":           {"email\na\nb\n", 5, 2, false},
		"the header alone":       {"email\na\n", 0, 0, false},
		"no record":              {"email\n", 3, 0, false},
		"some of many":           {long, 3, 3, false},
		"what is wrong later":    {long + "\xff", 3, 3, false},
		"what is wrong at once":  {"email,email\na,b\n", 3, 0, true},
		"a quote without an end": {"email\na\n\"b\n", 3, 0, true},
	} {
		path := filepath.Join(t.TempDir(), "users.csv")
		must(t, os.WriteFile(path, []byte(c.text), 0o600))
		header, records, err := Head(t.Context(), path, c.n, InspectOptions{})
		if refusal := new(Refusal); c.refused != errors.As(err, &refusal) || !c.refused && err != nil {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		if c.refused {
			continue
		}
		if len(records) != c.records || header.Names[0] != "email" {
			t.Errorf("%s: %d records below %q, want %d", name, len(records), header.Names, c.records)
		}
		for i, r := range records {
			if fields, err := header.Fields(r.Raw); err != nil || r.Number != int64(i+1) || fields[0] == "" {
				t.Errorf("%s: record %d has %q, %v", name, r.Number, fields, err)
			}
		}
	}
}

func TestSelectionsBeyondTheFileAreRefused(t *testing.T) {
	for _, tc := range []struct {
		records, startAt int64
		canary           int
		want             string // "" = none
	}{
		{0, 0, 0, ""}, {0, 1, 0, ""}, {0, 1, 5, ""}, {10, 1, 0, ""}, {10, 10, 0, ""}, {10, 1, 9, ""}, {10, 9, 1, ""},
		{0, 2, 0, "has no records"},
		{10, 11, 0, "the last record of the file is 10; expected 1 to 10"},
		{10, 1 << 50, 3, "the last record of the file is 10"},
		{10, 1, 10, "expected 1 to 9"},
		{10, 1, 1 << 30, "expected 1 to 9"},
		{10, 9, 2, "there are 2 records to load"},
		{1, 1, 1, "leave --canary out"},
	} {
		err := CheckSelection("users.csv", tc.records, tc.startAt, tc.canary)
		var refusal *Refusal
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%+v: %v", tc, err)
		case tc.want != "" && (!errors.As(err, &refusal) || refusal.Kind != NotInFile || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%+v: %v; want %q", tc, err, tc.want)
		}
	}
}

func TestInspectRefusesToStartAfterTheLastRecord(t *testing.T) {
	for _, o := range []InspectOptions{{BatchSize: 2, StartAt: 3}, {BatchSize: 2, CutAfter: 2}} {
		f := newFile(t, "email\na@example.com\nb@example.com\n")
		o.IndexPath, o.CopyTo = f.path+".index", f.path+".copy"
		_, err := f.inspect(o)
		var refusal *Refusal
		if !errors.As(err, &refusal) || refusal.Kind != NotInFile {
			t.Errorf("%+v: %v; want it refused", o, err)
		}
		f.holdsOnly("users.csv")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
