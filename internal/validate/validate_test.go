package validate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
	"durable-dataload/internal/target/identitycloud"
)

// raw is a mapping for one column that contains the encoded record.
type raw struct{}

func (raw) AppendJSON(dst []byte, fields []string) ([]byte, error) {
	return append(dst, fields[0]...), nil
}

func (raw) Made(tell func(attribute string, column int))        { tell("email", -1) }
func (raw) Reads(int) bool                                      { return false }
func (raw) Replaced([]string, func(attribute, expected string)) {}
func (raw) Keyless(string, []string) bool                       { return false }

func write(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "users.csv")
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func options(t testing.TB) Options {
	t.Helper()
	return Options{
		Encoder: transformer, Schema: &invented, BatchSize: 100, PrimaryKey: "email", Format: limited{identitycloud.Format("", 0), identitycloud.MaxBody - 60},
		Pace: Pace{Limits: migration.Limits{RateLimit: 4, Workers: 10}, Timeout: 10 * time.Second}, TempDir: t.TempDir(), Lines: 3,
	}
}

func validated(t testing.TB, content string, o Options) *Report {
	t.Helper()
	report, err := File(t.Context(), write(t, content), o)
	must(t, err)
	left, err := os.ReadDir(o.TempDir)
	if err != nil || len(left) > 0 {
		t.Errorf("the folder for temporary files has %v, %v; want nothing", left, err)
	}
	return report
}

// short formats a finding in one line: severity kind attribute count [places]: message.
func short(f Finding) string {
	var places []string
	for _, p := range f.Places {
		place := fmt.Sprint(p.Line)
		if p.FirstLine > 0 {
			place = fmt.Sprintf("%d=%d", p.Line, p.FirstLine)
		}
		places = append(places, place)
	}
	return fmt.Sprintf("%s %s %s %d %v: %s", f.Severity, f.Kind, f.Attribute, f.Count, places, f.Message)
}

// holds checks that the findings of a report begin with these texts, in order, and that there are no others.
func holds(t *testing.T, r *Report, want []string) {
	t.Helper()
	var got []string
	for _, f := range r.Findings {
		got = append(got, short(f))
	}
	ok := len(got) == len(want)
	for i := range want {
		ok = ok && strings.HasPrefix(got[i], want[i])
	}
	if !ok {
		t.Errorf("found:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const header = "email,givenName\n"

func TestFindings(t *testing.T) {
	long := strings.Repeat("x", 1000)
	for _, c := range []struct {
		name, content string
		want          []string
	}{
		{"nothing", header + "a@example.com,A\nb@example.com,B\n", nil},
		{"bytes that are not UTF-8, on every line", header + "\xff,\"\n\xfe\"\nb@example.com,B\n\xff,\n\xff,\n",
			[]string{"error encoding  4 [2 3 5]: bytes that are not UTF-8"}},
		{"a quote that is never closed", header + "a@example.com,\"A\nb@example.com,B\n",
			[]string{"error quote  1 [2]: a quote that is not closed"}},
		{"a header that is none", "email,email\na@example.com,A\n", []string{`error file  1 [1]: columns 1 and 2 have the same name`}},
		{"an empty file", "", []string{"error file  1 [0]: the file is empty"}},
		{"the number of fields", header + "a@example.com\nb@example.com\nc@example.com,C,\n", []string{
			"error fields  2 [2 3]: the record has 1 field; expected 2", "error fields  1 [4]: the record has 3 fields; expected 2"}},
		{"text behind a quote", header + "\"a\"b,A\n", []string{"error fields  1 [2]: column 1 (email): text after the closing quote"}},
		{"records without anything", header + ",\n\"\",\n", []string{"error empty_record  2 [2 3]: no column has a value"}},
		{"a key twice, in another case", header + "a@example.com,A\nb@example.com,B\nA@Example.COM,C\na@example.com,D\n",
			[]string{"error key_twice email 2 [4=2 5=2]: an earlier record has the same key"}},
		{"a key whose first record is not sent", "email,birthday\na@example.com,notadate\na@example.com,1/2/1990\na@example.com,1/2/1991\n",
			[]string{"error transform  1 [2]: birthday (type date): the value is not a date", "error key_twice email 1 [4=3]: an earlier record has the same key"}},
		{"another unique attribute twice", "email,nick\na@example.com,x\nb@example.com,X\nc@example.com,\nd@example.com,\n",
			[]string{"warning unique_twice nick 1 [3=2]: an earlier record has the same value"}},
		{"no key", header + ",A\n", []string{"error required email 1 [2]: no value", "warning no_key email 1 [2]: no value"}},
		{"keys that show nothing", header + "\u00a0\u200b,A\n\" \t\",B\na\u200bb@example.com,C\n",
			[]string{"error email email 2 [2 3]", "warning no_key email 2 [2 3]: no value, and it is the primary key: the target cannot refuse such a record as a duplicate. If the answer",
				"warning invisible email 1 [2]", "warning invisible email 1 [4]"}},
		{"no column for the key", "givenName\nA\n", []string{"error required email 1 [2]: no value", "warning no_key email 1 [2]: no value"}},
		{"a value that cannot be transformed", "email,birthday\na@example.com,31/12/1999\nb@example.com,\"12/31/1999\"\nc@example.com,x\n",
			[]string{"error transform  2 [2 4]: birthday (type date): the value is not a date"}},
		{"unknown attributes", "email,givenname,city,primaryAddress.zipp,foo\na@example.com,A,B,C,\n", []string{
			"error unknown_attribute givenname 1 [2]: the schema does not have this attribute; did you mean givenName?",
			"error unknown_attribute city 1 [2]: the schema does not have this attribute; did you mean primaryAddress.city?",
			"error unknown_attribute primaryAddress.zipp 1 [2]: the schema does not have this attribute; did you mean primaryAddress.zip?",
			"error unknown_attribute foo 1 [2]: the schema does not have this attribute; rename the column"}},
		{"names out of values are not told", "email,clients\na@example.com,\"[{\"\"clientId\"\": \"\"1\"\", \"\"secret\"\": 1}]\"\n",
			[]string{"error unknown_attribute clients 1 [2]: it contains an attribute that the schema does not have; the schema has clients.id, clients.clientId, clients.name"}},
		{"reserved attributes, but not created", "email,id,uuid,lastUpdated,created\na@example.com,1,2,,2012-06-13 18:02:56\n", []string{
			"error reserved_attribute id 1", "error reserved_attribute uuid 1", "error reserved_attribute lastUpdated 1"}},
		{"lengths, in characters", "email,nick\na@example.com,ÄÖÜäö\nb@example.com,abcdef\nc@example.com,\"a\"\"b\\c\"\n",
			[]string{"error length nick 1 [3]: the value is too long; the schema allows 5 characters"}},
		{"e-mail addresses", header + "a@b@example.com,\na,\n a@example.com,\n", []string{"error email email 3 [2 3 4]: the value is not an e-mail address"}},
		{"strings where others are wanted", "email,vip,age,weight,primaryAddress\na@example.com,true,1,1.5,x\n", []string{
			"error type vip 1 [2]: a string is sent; the schema requires true or false, without quotes (boolean); the column needs a transformation",
			"error type age 1 [2]: a string is sent; the schema requires a whole number",
			"error type weight 1 [2]: a string is sent; the schema requires a number",
			"error type primaryAddress 1 [2]: a string is sent; the schema requires an object (object); name the columns of an object with a dot"}},
		{"an address of the Internet", "email,lastIP\na@example.com,192.0.2.1\nb@example.com,2001:db8::1\nc@example.com,192.0.2.256\n",
			[]string{"error type lastIP 1 [4]: the value is not an IP address"}},
		{"dates", "email,emailVerified,created\n" +
			"a@example.com,2012-02-29 23:59:59,2015-12-15T07:36:25Z\nb@example.com,2013-02-29,20120613\n" +
			"c@example.com,1/2/2003,\nd@example.com,0012-06-13 18:02:56,\ne@example.com,2012-06-13 24:00:00,2099-01-01\n", []string{
			"error date emailVerified 3 [3 4 6]: the value is not a date",
			"warning range emailVerified 1 [5]: the year is not within", "warning range created 1 [6]: the creation date is in a future year"}},
		{"plurals", "email,clients\na@example.com,\"{\"\"clientId\"\":\"\"1\"\"}\"\nb@example.com,\"[1, null]\"\nc@example.com,\"[{}, {\"\"clientId\"\":\"\"1\"\",\"\"id\"\":3}]\"\nd@example.com,[]\n", []string{
			"error type clients 1 [2]: an object is sent; the schema requires a list of objects (plural)",
			"error type clients 1 [3]: an element of the list is a number", "error type clients 1 [3]: an element of the list is null",
			"error required clients.clientId 1 [4]", "error reserved_attribute clients.id 1 [4]"}},
		{"passwords", "email,password\n" + strings.Join([]string{"a@example.com,plain", `b@example.com,"{""type"":""password-bcrypt"",""value"":""x""}"`,
			`c@example.com,"{""type"":""password-bcrypt""}"`, `d@example.com,"{""value"":""x"",""type"":""password-md5""}"`,
			`e@example.com,"{""value"":""x"",""type"":""bcrypt""}"`, "f@example.com,[1]", "g@example.com,", `h@example.com,"{""type"":{""type"":""password-bcrypt""},""value"":""""}"`}, "\n"), []string{
			"error password password 2 [4 9]: the password object lacks a type or a value",
			"error password password 1 [6]: the platform does not document this kind",
			"error password password 1 [7]: the value is neither plain text nor an object",
			"warning password password 1 [2]: the password is plain text",
			"warning password password 1 [5]: the documentation no longer lists this kind of password hash"}},
		{"more kinds than can be told apart", header + manyFields(), append(manyKinds(), "error more  2 [502 503]: more problems")},
		{"a record that is too large", header + "a@example.com," + strings.Repeat(long, 5000) + "\nb@example.com," + long,
			[]string{"error too_large  1 [2]: the record is too large for a request; at most 4999940 encoded bytes"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			holds(t, validated(t, c.content, options(t)), c.want)
		})
	}
}

// manyFields returns 502 records with 3, 4, 5 and so on fields.
func manyFields() string {
	var b strings.Builder
	for n := range 502 {
		b.WriteString(strings.Repeat(",", n+2) + "\n")
	}
	return b.String()
}

func manyKinds() (want []string) {
	for n := range maxFindings {
		want = append(want, fmt.Sprintf("error fields  1 [%d]: the record has %d fields", n+2, n+3))
	}
	return want
}

func TestFindingsWithoutASchema(t *testing.T) {
	o := options(t)
	o.Schema = nil
	r := validated(t, "email,any.thing,uuid,password\na@example.com,1,2,plain\nA@example.com,,3,\n,,,x\n", o)
	holds(t, r, []string{
		"error reserved_attribute uuid 3", "error key_twice email 1 [3=2]",
		"warning password password 2 [2 4]", "warning no_key email 1 [4]"})
	if len(r.NotChecked) != 2 || !strings.Contains(r.NotChecked[1], "the schema is not known") {
		t.Errorf("not checked: %q", r.NotChecked)
	}
}

func TestTheKeyMayBeWithinAnObject(t *testing.T) {
	o := options(t)
	o.Schema, o.PrimaryKey = nil, "account.number"
	r := validated(t, "email,account.number\na@example.com,1\nb@example.com,\nc@example.com,1\n", o)
	holds(t, r, []string{"error key_twice account.number 1 [4=2]", "warning no_key account.number 1 [3]"})
}

func TestAKeyThatTheSchemaDoesNotHave(t *testing.T) {
	o := options(t)
	o.PrimaryKey = "accountNumber"
	holds(t, validated(t, header+"a@example.com,A\n", o), []string{`error no_key  1 [1]: the schema has no attribute "accountNumber"`})
}

// If the primary key is not unique in the schema, no record can be refused as a duplicate.
func TestAKeyThatIsNotUnique(t *testing.T) {
	schema := target.Schema{Name: "user", Attributes: []target.Attribute{
		{Name: "email", Type: "string", Constraints: []string{"locally-unique"}},
		{Name: "account", Type: "object", Attributes: []target.Attribute{{Name: "number", Type: "string", Constraints: []string{"unique"}}}},
		{Name: "cards", Type: "plural", Attributes: []target.Attribute{{Name: "number", Type: "string", Constraints: []string{"unique"}}}},
	}}
	o := options(t)
	o.Schema = &schema
	holds(t, validated(t, "email,account.number\na@example.com,1\nb@example.com,2\n", o), []string{
		"warning not_unique  1 [1]: All 2 records are keyless: the schema does not call the primary key email unique"})
	o.PrimaryKey = "account.number"
	holds(t, validated(t, "email,account.number\na@example.com,1\nb@example.com,2\n", o), nil)
}

// Without the schema the report says what a migration assumes.
func TestAssumptionsAboutTheKeyWithoutASchema(t *testing.T) {
	for key, want := range map[string]string{"email": "assumes so", "nick": "assumes that it is not"} {
		o := options(t)
		o.Schema, o.PrimaryKey = nil, key
		r := validated(t, "email,nick\na@example.com,a\n", o)
		if !slices.ContainsFunc(r.NotChecked, func(n string) bool {
			return strings.HasPrefix(n, "whether "+key+" is unique: ") && strings.Contains(n, want)
		}) {
			t.Errorf("%s: not checked: %q; want %q", key, r.NotChecked, want)
		}
	}
}

func TestARequiredAttributeWithinAnObject(t *testing.T) {
	o := options(t)
	o.Schema = &target.Schema{Name: "user", Attributes: []target.Attribute{
		{Name: "email", Type: "string", Constraints: []string{"unique"}},
		{Name: "a", Type: "object", Attributes: []target.Attribute{
			{Name: "b", Type: "object", Attributes: []target.Attribute{{Name: "c", Type: "string", Constraints: []string{"required"}}}},
		}},
	}}
	for _, content := range []string{"email\nx\n", "email,a.b.c\nx,\n", "email,a.x\nx,\n"} {
		r := validated(t, content, o)
		if last := short(r.Findings[len(r.Findings)-1]); !strings.HasPrefix(last, "error required a.b.c 1 [2]") {
			t.Errorf("%q: found %s", content, last)
		}
	}
	holds(t, validated(t, "email,a.b.c\nx,y\n", o), nil)
}

func TestHeadersThatCannotBeTransformed(t *testing.T) {
	o := options(t)
	o.Encoder = func([]string) (Records, error) { return nil, errors.New("the mapping does not fit") }
	holds(t, validated(t, header+"a@example.com,A\n", o), []string{"error file  1 [1]: the mapping does not fit"})
}

// The forecast has the batches that a migration sends.
func TestSizesAndCallsAreThoseOfInspect(t *testing.T) {
	content := header
	for n := range 300 {
		content += fmt.Sprintf("a%d@example.com,%s\n", n, strings.Repeat("ä", (n*n*97)%100_000))
	}
	content += "bad\na@example.com," + strings.Repeat("x", identitycloud.MaxBody) + "\nbad\nb@example.com,B\n"
	o := options(t)
	o.Schema, o.BatchSize, o.StartAt = nil, 30, 5
	measure := func(h *source.Header, r source.Record) int64 {
		fields, err := h.Fields(r.Raw)
		if err != nil {
			return 0
		}
		encoder, _ := transformer(h.Names)
		json, _ := encoder.AppendJSON(nil, fields)
		size, _ := o.Format.Measure(json)
		return size
	}
	sum, err := source.Inspect(context.Background(), write(t, content), source.InspectOptions{
		BatchSize: o.BatchSize, StartAt: o.StartAt, MaxEncoded: o.Format.Traits().MaxBytes, EncodedSize: measure})
	must(t, err)
	r := validated(t, content, o)
	// The record that is too large is alone in its batch, which makes no call.
	if r.Forecast.Calls != int64(sum.Batches)-1 || sum.Batches < 12 || r.Sent != 297 || r.Records != 304 {
		t.Errorf("%d calls, %d of %d records; want %d calls, 297 of 304", r.Forecast.Calls, r.Sent, r.Records, sum.Batches-1)
	}
	if r.LargestBatch.Bytes > r.Limit || r.LargestBatch.Bytes < r.Limit/2 || r.LargestRecord.Bytes >= r.LargestBatch.Bytes {
		t.Errorf("largest record %+v, batch %+v, limit %d", r.LargestRecord, r.LargestBatch, r.Limit)
	}
}

func TestForecast(t *testing.T) {
	for _, c := range []struct {
		name     string
		pace     Pace
		callTime time.Duration
		want     string
	}{
		{"the rate limits", Pace{migration.Limits{RateLimit: 4, Workers: 10}, 10 * time.Second}, 100 * time.Millisecond, "at least 25, at most 100, delta 10000"},
		{"the calls in flight limit", Pace{migration.Limits{RateLimit: 4, Workers: 1}, 10 * time.Second}, time.Second, "at least 100, at most 1000, delta 100000"},
		{"no limit, nothing measured", Pace{migration.Limits{RateLimit: 0, Workers: 10}, 10 * time.Second}, 0, "at least 0, at most 100, delta 10000"},
	} {
		f := c.pace.forecast(100, 10_000, c.callTime)
		if got := fmt.Sprintf("at least %v, at most %v, delta %v", f.AtLeast, f.AtMost, f.Delta); got != c.want {
			t.Errorf("%s: %s; want %s", c.name, got, c.want)
		}
	}
}

func TestTheAwkwardFileHasItsFlaws(t *testing.T) {
	o := fakeusers.Options{Records: 500, Seed: 1, Awkward: true}
	var content bytes.Buffer
	must(t, fakeusers.Write(&content, o))
	r := validated(t, content.String(), options(t))
	count := map[Kind]int64{}
	for _, f := range r.Findings {
		count[f.Kind] += f.Count
	}
	if count[KindKeyTwice] != 3 || count[KindFields] != 2 || count[KindTransform] != 1 || r.Sent != 497 {
		t.Errorf("found %v, %d records would be sent", count, r.Sent)
	}
}

// FuzzChecker checks that no input, JSON or not, crashes the checker or makes it loop, and that what it finds in a record does
// not depend on the record before.
func FuzzChecker(f *testing.F) {
	seeds := []string{
		`{"email":"a@example.com","primaryAddress":{"zip":null},"clients":[{"clientId":"1"},2],"birthday":"2001-02-03"}`,
		`{"birthday":"x","email":"a","clients":[{"name":"1","clientId":"2"},{"clientId":null}],"primaryAddress":{"city":5,"zip":"1","of":1}}`,
		`{"password":{"type":"password-bcrypt","value":"x\"y"},"age":1e3,"display":[[{}]]}`, `{"a":}`, `[}`, `{"clients":[},{"`, `{"email":"\`,
	}
	for i, seed := range seeds {
		f.Add([]byte(seed), []byte(seeds[(i+1)%len(seeds)]))
	}
	f.Fuzz(func(t *testing.T, record, before []byte) {
		checked := func(records ...[]byte) (found []Finding) {
			root := newShape(&invented, identitycloud.Format("", 0).Traits())
			c := &checker{root: root, named: func(string) bool { return false }, key: root.at("email")}
			for _, r := range records {
				c.findings = newFindings(1)
				c.check(r, 1, 2)
			}
			return c.findings.sorted()
		}
		if first, later := checked(record), checked(before, record); !reflect.DeepEqual(first, later) {
			t.Errorf("%q: %v; after %q: %v", record, first, before, later)
		}
	})
}

// The transformations of dataload.py never produce this JSON.
func TestJSONThatOnlyAMappingProduces(t *testing.T) {
	o := options(t)
	o.Encoder = func([]string) (Records, error) { return raw{}, nil }
	quoted := func(json string) string { return `"` + strings.ReplaceAll(json, `"`, `""`) + `"` + "\n" }
	r := validated(t, "json\n"+
		quoted(`{"email":"a@example.com","age":12,"weight":-1.5e3,"vip":true,"display":{"any":["thing"]},"clients":null}`)+
		quoted(`{ "email" : "b@example.com" , "age" : 1.0 , "vip" : "true", "givenName": 5, "optIn": {"status": null, "extra": 1} }`)+
		quoted(`{"em\u0061il":"c@example.com","given\u004eame":"C","nick":"\u00e4\u00e4\u00e4\u00e4\u00e4"}`), o)
	holds(t, r, []string{
		"error type age 1 [3]: a number is sent; the schema requires a whole number",
		"error type vip 1 [3]: a string is sent", "error type givenName 1 [3]: a number is sent; the schema requires a string",
		"error unknown_attribute optIn 1 [3]: it contains an attribute"})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// limited is a format with less room in a request.
type limited struct {
	target.Format
	room int64
}

func (l limited) Traits() target.Traits {
	t := l.Format.Traits()
	t.Overhead += t.MaxBytes - l.room
	t.MaxBytes = l.room
	return t
}

func (l limited) Measure(record []byte) (int64, error) {
	size, err := l.Format.Measure(record)
	if err == nil && size > l.room {
		err = target.Oversized(size, l.room)
	}
	return size, err
}

func transformer(header []string) (Records, error) { return mapping.BuiltIn().Compile(header) }

// BenchmarkFile reads generated records with a schema that has all of their attributes: "scan" only splits them into their
// fields on all cores, "validate" is what starter validate does, and "begin" what a migration does before its first call, with
// index and copy.
func BenchmarkFile(b *testing.B) {
	const records = 100_000
	path := filepath.Join(b.TempDir(), "users.csv")
	f, err := os.Create(path)
	must(b, err)
	defer f.Close()
	must(b, fakeusers.Write(f, fakeusers.Options{Records: records, Seed: 1}))
	validate := func(draft *source.Draft) error {
		report, err := File(context.Background(), path, Options{
			Encoder: transformer, Schema: &invented, BatchSize: 100, PrimaryKey: "email", Format: limited{identitycloud.Format("", 0), identitycloud.MaxBody - 60},
			Pace: Pace{Limits: migration.Limits{RateLimit: 4, Workers: 10}}, TempDir: b.TempDir(), Lines: 10, Draft: draft,
		})
		if err == nil && (report.Sent != records || report.Errors() > 0) {
			err = fmt.Errorf("%+v", report)
		}
		return err
	}
	for _, c := range []struct {
		name string
		run  func() error
	}{
		{"scan", func() error { return scan(path) }},
		{"validate", func() error { return validate(nil) }},
		{"begin", func() error {
			dir := b.TempDir()
			d := &source.Draft{IndexPath: filepath.Join(dir, "a"), CopyTo: filepath.Join(dir, "b")}
			return errors.Join(validate(d), d.Publish(context.Background(), d.IndexPath, d.CopyTo))
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				must(b, c.run())
			}
			b.ReportMetric(records*float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// scan splits the records of a file into fields, on all cores.
func scan(path string) error {
	r, err := source.OpenReader(context.Background(), path, source.ReaderOptions{})
	if err != nil {
		return err
	}
	defer r.Close()
	return source.ForEachBlock(context.Background(), r, func() func(*source.Block, int) int {
		var fields []string
		return func(b *source.Block, _ int) (n int) {
			for _, record := range b.Records(nil) {
				fields, _ = r.Header().AppendFields(fields[:0], record.Raw)
				n += len(fields)
			}
			return n
		}
	}, func(*source.Block, int) error { return nil })
}

// invented is a schema with the attributes of the generated records, as in the platform's default schema if that has them.
var invented = target.Schema{Name: "user", Attributes: []target.Attribute{
	{Name: "id", Type: "id"}, {Name: "uuid", Type: "uuid", Constraints: []string{"required"}},
	{Name: "created", Type: "dateTime", Constraints: []string{"required"}},
	{Name: "lastUpdated", Type: "dateTime", Constraints: []string{"required"}},
	{Name: "email", Type: "string", Length: 256, Constraints: []string{"required", "unique", "email-address"}},
	{Name: "emailVerified", Type: "dateTime"},
	{Name: "givenName", Type: "string", Length: 1000},
	{Name: "familyName", Type: "string", Length: 1000},
	{Name: "displayName", Type: "string", Length: 1000},
	{Name: "password", Type: "password-bcrypt"},
	{Name: "mobileNumber", Type: "string", Length: 20, Constraints: []string{"alphanumeric"}},
	{Name: "gender", Type: "string", Length: 100},
	{Name: "birthday", Type: "date"},
	{Name: "age", Type: "integer"}, {Name: "weight", Type: "decimal"}, {Name: "vip", Type: "boolean"},
	{Name: "lastIP", Type: "ipAddress"}, {Name: "display", Type: "json"},
	{Name: "nick", Type: "string", Length: 5, Constraints: []string{"unique"}},
	{Name: "primaryAddress", Type: "object", Attributes: []target.Attribute{
		{Name: "phone", Type: "string", Length: 100}, {Name: "address1", Type: "string", Length: 1000},
		{Name: "address2", Type: "string", Length: 1000}, {Name: "city", Type: "string", Length: 1000},
		{Name: "zip", Type: "string", Length: 100}, {Name: "stateAbbreviation", Type: "string", Length: 100},
		{Name: "country", Type: "string", Length: 1000},
	}},
	{Name: "clients", Type: "plural", Attributes: []target.Attribute{
		{Name: "id", Type: "id"}, {Name: "clientId", Type: "string", Length: 100, Constraints: []string{"required"}}, {Name: "name", Type: "string"},
	}},
	{Name: "optIn", Type: "object", Attributes: []target.Attribute{{Name: "status", Type: "boolean"}}},
}}
