package identitycloud

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"hash"
	"math/rand/v2"
	"net/url"
	"strings"
	"testing"

	"durable-dataload/internal/target"
)

// kept is a hash that records what is written.
type kept struct {
	hash.Hash
	bytes.Buffer
}

func (k *kept) Write(p []byte) (int, error) { return k.Buffer.Write(p) }
func (k *kept) Reset()                      { k.Buffer.Reset() }

func FuzzEncodingIsThatOfAForm(f *testing.F) {
	for _, s := range []string{"", "abc", "a b", "+%2B", "o'Brien & Zoë <\"~*-_.>", "\x00\xff\n", strings.Repeat("é", 300)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := string(appendEncoded([]byte("x"), s))[1:]
		if want := url.QueryEscape(s); got != want {
			t.Errorf("%q: got %q, want %q", s, got, want)
		}
		if back, err := url.QueryUnescape(got); back != s || err != nil {
			t.Errorf("%q: decoded as %q, %v", s, back, err)
		}
		if n := EncodedSize(s); n != int64(len(got)+len("%2C")) {
			t.Errorf("%q: size %d, want %d", s, n, len(got)+3)
		}
		k := &kept{Hash: sha1.New()}
		writeDecoded(k, []byte(got))
		if k.String() != s {
			t.Errorf("%q: signed as %q", s, k.String())
		}
	})
}

func TestBodySizeIsOverheadAndRecords(t *testing.T) {
	c := newClient(t, "https://example.com", func(cfg *Config) { cfg.EntityType = "the user & co" })
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		records := make([][]byte, 1+random.IntN(20))
		sum := MaxBody - Room(c.config.EntityType, c.config.Timeout)
		for i := range records {
			records[i] = fmt.Appendf(nil, ` {"n":%d,"s":%q}`, random.Int(), strings.Repeat("é &+%", random.IntN(9)))
			sum += EncodedSize(records[i])
		}
		b := bodyOf(t, c, records...)
		if b.Size() != sum || b.Size() != int64(len(b.encoded)) || b.Records() != len(records) {
			t.Fatalf("%s\nsize %d, the sum is %d", b.encoded, b.Size(), sum)
		}
		if cap(b.encoded) != len(b.encoded) {
			t.Errorf("%d bytes taken for %d", cap(b.encoded), len(b.encoded))
		}
		form, err := url.ParseQuery(string(b.encoded))
		want := url.Values{
			"type_name":      {"the user & co"},
			"timeout":        {"10"},
			"all_attributes": {"[" + string(bytes.Join(records, []byte(","))) + "]"},
		}
		if err != nil || form.Encode() != want.Encode() {
			t.Fatalf("got %v, %v\nwant %v", form, err, want)
		}
	}
}

func TestBodyIsAListOfObjects(t *testing.T) {
	for record, want := range map[string]bool{
		`{}`:                       true,
		" \t\r\n{\"a\":[1,{}]} \n": true,
		`{"a":1},{"b":2}`:          false,
		`{"a":1} {"b":2}`:          false,
		`{"a":1}]&x=[{"b":2}`:      false,
		`{"a":1`:                   false,
		`[]`:                       false,
		`"a"`:                      false,
		`null`:                     false,
		``:                         false,
		` `:                        false,
		"{\"a\":\"\xff\"}":         false,
	} {
		if _, err := Format("", 0).Encode([]byte(record), ""); (err == nil) != want {
			t.Errorf("%q: got error %v, want one: %t", record, err, !want)
		}
	}
}

func TestTimeoutParameterIsWholeSeconds(t *testing.T) {
	for timeout, want := range map[string]string{"1ms": "1", "999ms": "1", "10s": "10", "19.9s": "19"} {
		c := newClient(t, "https://example.com", func(cfg *Config) { cfg.Timeout = duration(t, timeout) })
		if got := string(c.common); got != "type_name=user&timeout="+want {
			t.Errorf("timeout %s: got %s, want timeout=%s", timeout, got, want)
		}
	}
}

func benchmarkRecords() [][]byte {
	records := make([][]byte, 100)
	for i := range records {
		records[i] = fmt.Appendf(nil, `{"email":"user%d@example.com","givenName":"Zoë","familyName":"O'Brien","password":{"type":"password-bcrypt","value":"$2a$10$%s"},"primaryAddress":{"city":"Somewhere","zip":"12345","address1":"%s"}}`,
			i, strings.Repeat("aB3/", 13), strings.Repeat("1 Long Street ", 10))
	}
	return records
}

func BenchmarkBody(b *testing.B) {
	c := newClient(b, "https://example.com")
	records, format := benchmarkRecords(), Format("", 0)
	b.SetBytes(bodyOf(b, c, records...).Size())
	b.ReportAllocs()
	for b.Loop() {
		encoded := make([]target.Record, len(records))
		for i, r := range records {
			encoded[i], _ = format.Encode(r, "")
		}
		c.join(encoded)
	}
}

func BenchmarkEncodedSize(b *testing.B) {
	records := benchmarkRecords()
	b.SetBytes(int64(len(bytes.Join(records, nil))))
	for b.Loop() {
		for _, r := range records {
			EncodedSize(r)
		}
	}
}

func BenchmarkSignature(b *testing.B) {
	c := newClient(b, "https://example.com")
	body := bodyOf(b, c, benchmarkRecords()...)
	b.SetBytes(body.Size())
	b.ReportAllocs()
	for b.Loop() {
		signature(testSecret, "/entity.bulkCreate", "2026-11-22 13:05:00", body.encoded)
	}
}
