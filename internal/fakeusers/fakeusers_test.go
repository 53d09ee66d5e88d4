package fakeusers

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/source"
)

// sample is how testdata/users.csv is made, and small testdata/awkward.csv.
var (
	sample = Options{Records: 500, Seed: 1, Awkward: true, Created: true}
	small  = Options{Records: 100, Seed: 2, Awkward: true, Created: true}
)

func TestSampleFilesAreTheGeneratorsOutput(t *testing.T) {
	for file, o := range map[string]Options{"testdata/users.csv": sample, "testdata/awkward.csv": small} {
		got, err := os.ReadFile("../../" + file)
		must(t, err)
		if !bytes.Equal(got, written(t, o)) {
			t.Errorf("%s is not what the generator makes; make it again with: go run ./starter sample -n %d --seed %d --awkward -o - > %s", file, o.Records, o.Seed, file)
		}
	}
}

// The same options give the same file, with any later version and on any machine.
func TestBytesStay(t *testing.T) {
	for _, c := range []struct {
		o      Options
		sha256 string
	}{
		{Options{Records: 300, Seed: 9}, "ce453a2c0bc0d6bb3aec1b1a765746fe859c4652eaa6e37730178cd6e3a5211e"},
		{Options{Records: 300, Seed: 9, Awkward: true}, "a668cb538c6007b013b89e8b452f037e2df22628a380ee303f8b3b28c112a43a"},
		{Options{Records: 300, Seed: 9, Awkward: true, Created: true, OnlyRequired: true}, "cd13a54d9f32c9dbc722fafe163437d17da0a915329b16abcd4c3dc635be71e8"},
		{Options{Records: 300, Seed: 9, Config: config(t)}, "6278500d123dbef18c33bfafd26468ba029d4a5d63038602e0ee4d6756034600"},
	} {
		if got := fmt.Sprintf("%x", sha256.Sum256(written(t, c.o))); got != c.sha256 {
			t.Errorf("the file of %+v has the digest %s; want %s", c.o, got, c.sha256)
		}
	}
}

func TestSampleFileHoldsEverythingAwkward(t *testing.T) {
	file := written(t, sample)
	flaws := sample.Flaws()
	records, values := read(t, file)
	if len(records) != 500 {
		t.Fatalf("%d records; want 500", len(records))
	}
	column := func(c int) (of []string) {
		for _, v := range values {
			if v != nil {
				of = append(of, v[sample.position(c)])
			}
		}
		return of
	}
	count := func(c int, holds func(v string) bool) (n int) {
		for _, v := range column(c) {
			if holds(v) {
				n++
			}
		}
		return n
	}
	holds := func(parts ...string) func(string) bool {
		return func(v string) bool {
			for _, part := range parts {
				if !strings.Contains(v, part) {
					return false
				}
			}
			return true
		}
	}
	starts := func(part string) func(string) bool { return func(v string) bool { return strings.HasPrefix(v, part) } }
	lowerLF := func(v string) bool { return strings.Contains(v, "\n") && !strings.Contains(v, "\r") }
	raw := func(holds func(raw string) bool) (n int) {
		for _, r := range records {
			if holds(string(r.Raw)) {
				n++
			}
		}
		return n
	}
	for _, c := range []struct {
		what string
		got  int
		want int
	}{
		{"quoted commas in names", count(displayName, holds(", ")), 20},
		{"quoted quotes in names", count(displayName, func(v string) bool { return strings.Count(v, `"`) == 2 && v[0] != '=' && v[0] != '<' }), 20},
		{"LF in an address", count(address1, lowerLF), 20},
		{"CRLF in an address", count(address1, holds("\r\n")), 20},
		{"combining marks", count(givenName, holds("\u0308")), 10},
		{"the same in one piece", count(givenName, holds("Zo\u00eblla")), 10},
		{"Hebrew", count(givenName, holds("א")), 20},
		{"Arabic", count(givenName, holds("س")), 20},
		{"emoji", count(displayName, holds("🦊")), 20},
		{"dotless and dotted i", count(displayName, holds("ı", "İ")), 20},
		{"apostrophes in addresses", count(email, holds("o'")), 20 + 1}, // and a repeated one
		{"plus-addresses", count(email, holds("+")), 20},
		{"mixed case in addresses", count(email, func(v string) bool { return strings.ToLower(v) != v && strings.ToUpper(v) != v }), 20},
		{"line breaks in clients", count(clients, holds(",\n", "Client, Inc.")), 20},
		{"records with an address and nothing else", raw(func(r string) bool { return strings.Contains(r, ",,,,,,,,,,,,,,,,,") }), 20},
		{"records with quotes around everything", raw(func(r string) bool { return r[0] == '"' }), 20},
		{"spaces around values", count(city, starts("  ")), 20},
		{"bare quotes", raw(func(r string) bool { return strings.Contains(r, `,Door 7" wide,`) }), 20},
		{"formulas", count(displayName, starts("=")), 20},
		{"records that end in CRLF", raw(func(r string) bool { return strings.HasSuffix(r, "\r\n") }), 20},
		{"local parts of 64 letters", count(email, func(v string) bool { return strings.Index(v, "@") == 64 }), 20 + 1},
		{"markup", count(displayName, holds("<script>")), 20},
		{"letters outside of the basic plane", count(familyName, holds("𝒜")), 20},
		{"long values", count(address2, func(v string) bool { return len(v) > 800 }), 20},
		{"leap days", count(birthday, func(v string) bool { return strings.HasPrefix(v, "2/29/") || strings.HasPrefix(v, "02/29/") }), 10},
		{"passwords of digits", count(password, func(v string) bool { return v != "" && strings.Trim(v, "0123456789") == "" }), 20 - 2}, // two are in records that are wrong
		{"bcrypt passwords", count(password, holds("password-bcrypt")), 191},
		{"salted passwords", count(password, holds("password-sha-256", `"salt"`)), 125},
		{"crypt passwords", count(password, holds("password-crypt-sha512")), 119},
		{"plain passwords", count(password, starts("invented-")), 25},
		{"empty birthdays", count(birthday, func(v string) bool { return v == "" }), 59},
		{"birthdays that are none", count(birthday, func(v string) bool { return v == "02/31/1999" }), 1},
		{"spellings of gender", len(distinct(column(gender))), len(genders) + 1 + len(nicknames)},
		{"spellings of true and false", len(distinct(column(status))), len(booleans) + 1},
		{"addresses", len(distinct(column(email))), 498 - 2},
		{"addresses, case aside", len(distinct(strings.Split(strings.ToLower(strings.Join(column(email), " ")), " "))), 498 - 3},
		{"addresses outside of the domains for examples", 498 - count(email, func(v string) bool {
			v = strings.ToLower(v)
			return strings.HasSuffix(v, "@example.com") || strings.HasSuffix(v, "@example.org") || strings.HasSuffix(v, "@example.net") || strings.HasSuffix(v, ".test")
		}), 0},
		{"empty lines", bytes.Count(file, []byte("\n\n")), 1},
		{"records without fields", len(values) - len(column(email)), 2},
		{"line ends at the end", strings.Count(string(file[len(file)-1:]), "\n"), 0},
	} {
		if c.got != c.want {
			t.Errorf("%s: %d; want %d", c.what, c.got, c.want)
		}
	}
	for i, repeated := range flaws.Repeated {
		original, again := values[flaws.Original[i]-1][email], values[repeated-1][email]
		if !strings.EqualFold(original, again) || (original == again) != (i < 2) {
			t.Errorf("record %d has %s; want that of record %d, %s, the third in capitals", repeated, again, flaws.Original[i], original)
		}
	}
	header := &source.Header{Names: namesOf(sample.fields())}
	for n, want := range map[int64]string{
		flaws.TooFew:  "the record has 15 fields; expected 18 as in the header; values with commas or line breaks need quotes",
		flaws.TooMany: "the record has 19 fields; expected 18 as in the header; values with commas or line breaks need quotes",
	} {
		if _, err := header.Fields(records[n-1].Raw); err == nil || err.Error() != want {
			t.Errorf("record %d: error %v; want %s", n, err, want)
		}
	}
}

func TestASmallFileHasEverythingInGoodRecords(t *testing.T) {
	configured := small
	configured.Config = config(t)
	for _, o := range []Options{small, configured} {
		records, _ := read(t, written(t, o))
		var good []string
		for i, r := range records {
			if !slices.Contains(o.Flaws().Failing(), int64(i+1)) {
				good = append(good, string(r.Raw))
			}
		}
		if len(good) != 94 {
			t.Errorf("%d good records; want 94", len(good))
		}
		for _, part := range []string{
			`, `, `""`, "\nc/o", "\r\nc/o", "Zoe\u0308lla", "Zo\u00eblla", "א", "س", "🦊", "ı", "o'", "+", "@Example.", "Client, Inc.",
			",,,,,,,,,,,,,,,,,", `","`, "  ", `,Door 7" wide,`, "=HYPERLINK", "\r\n", "xxxxxxxx", "<script>", "𝒜", "Behind the long row", `{""clientId"": `,
		} {
			if !slices.ContainsFunc(good, func(r string) bool { return strings.Contains(r, part) }) {
				t.Errorf("no good record of %+v has %q", o, part)
			}
		}
	}
}

func TestOnlyRequired(t *testing.T) {
	for _, o := range []Options{{Records: 40, Seed: 4, Created: true}, {Records: 40, Seed: 4, Config: config(t)}} {
		o.OnlyRequired = true
		_, values := read(t, written(t, o))
		for i, v := range values {
			for j, f := range o.fields() {
				if (v[j] == "") == f.required {
					t.Errorf("record %d has %q for %s, which has required %v", i+1, v[j], f.name, f.required)
				}
			}
		}
	}
}

func TestFlawsAreThoseThatTheColumnsAllow(t *testing.T) {
	one := parse(t, `{"sample": {"min_length": 1, "max_length": 9, "fields": [{"name": "nick", "type": "string", "required": 0}]}}`)
	for _, c := range []struct {
		o    Options
		want []int64
	}{
		{Options{Records: 100}, nil},
		{Options{Records: 49, Awkward: true}, nil},
		{Options{Records: 100, Awkward: true}, []int64{20, 40, 60, 70, 80, 90}},
		{Options{Records: 100, Awkward: true, Config: config(t)}, []int64{20, 40, 60, 70, 80, 90}},
		{Options{Records: 100, Awkward: true, OnlyRequired: true}, []int64{20, 40, 70, 80, 90}}, // no birthday
		{Options{Records: 100, Awkward: true, Config: one}, []int64{40}},                        // no field to leave out, no address
		{Options{Records: 100, Awkward: true, Config: one, OnlyRequired: true}, []int64{40}},
	} {
		if got := c.o.Flaws().Failing(); !slices.Equal(got, c.want) {
			t.Errorf("%+v: records %v fail; want %v", c.o, got, c.want)
		}
		records, _ := read(t, written(t, c.o))
		if int64(len(records)) != c.o.Records {
			t.Errorf("%+v: the file has %d records", c.o, len(records))
		}
	}
}

func TestOrdinaryFileIsFaultless(t *testing.T) {
	records, values := read(t, written(t, Options{Records: 2000, Seed: 7}))
	addresses := map[string]bool{}
	for i, v := range values {
		if v == nil {
			t.Fatalf("record %d has no fields: %q", i+1, records[i].Raw)
		}
		addresses[strings.ToLower(v[email])] = true
	}
	if len(addresses) != 2000 {
		t.Errorf("%d addresses; want 2000", len(addresses))
	}
}

func TestAnyRecordCanBeMadeAgain(t *testing.T) {
	for _, o := range []Options{sample, {Records: 60, Seed: 3}, {Records: 60, Seed: 3, Awkward: true, Config: config(t)}} {
		records, _ := read(t, written(t, o))
		for _, n := range []int64{o.Records, 1, 17, 50, 45} {
			got := bytes.TrimSuffix(AppendRecord(nil, o, n), []byte("\n\n"))
			if want := records[n-1].Raw; !bytes.Equal(bytes.TrimRight(got, "\n"), bytes.TrimRight(want, "\n")) {
				t.Errorf("record %d of %+v is %q; want %q", n, o, got, want)
			}
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	a, b := Options{Records: 3, Seed: 1}, Options{Records: 3, Seed: 2}
	if reflect.DeepEqual(written(t, a), written(t, b)) {
		t.Error("seeds 1 and 2 give the same file")
	}
}

func BenchmarkWrite(b *testing.B) {
	o := Options{Records: int64(b.N), Seed: 1, Awkward: true, Created: true}
	b.ReportAllocs()
	var n counter
	must(b, Write(&n, o))
	b.SetBytes(int64(n) / int64(b.N))
}

type counter int64

func (c *counter) Write(p []byte) (int, error) { *c += counter(len(p)); return len(p), nil }

func written(t *testing.T, o Options) []byte {
	t.Helper()
	var b bytes.Buffer
	must(t, Write(&b, o))
	return b.Bytes()
}

// read gives the records of a file and their values, nil for those that have none.
func read(t *testing.T, file []byte) (records []source.Record, values [][]string) {
	t.Helper()
	_, records, values = ReadWithHeader(t, file)
	return records, values
}

// ReadWithHeader gives the header's names as well. It is also for the tests of
// what imports this package.
func ReadWithHeader(t *testing.T, file []byte) (names []string, records []source.Record, values [][]string) {
	t.Helper()
	dir := t.TempDir()
	path, index := filepath.Join(dir, "users.csv"), filepath.Join(dir, "index")
	must(t, os.WriteFile(path, file, 0o600))
	if _, err := source.Inspect(context.Background(), path, source.InspectOptions{BatchSize: 1 << 20, IndexPath: index}); err != nil {
		t.Fatal(err)
	}
	x, err := source.OpenIndex(index)
	must(t, err)
	defer x.Close()
	b, err := x.Batch(1)
	must(t, err)
	data, err := source.ReadBatch(bytes.NewReader(file), b)
	must(t, err)
	for r := range source.Records(b, data) {
		v, _ := x.Header().Fields(r.Raw)
		records, values = append(records, r), append(values, v)
	}
	return x.Header().Names, records, values
}

func distinct(values []string) map[string]bool {
	set := map[string]bool{}
	for _, v := range values {
		set[v] = true
	}
	return set
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
