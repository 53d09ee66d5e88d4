package source_test

import (
	"context"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/source"
)

// The bound must hold for the bytes that are sent: the JSON of the record, percent-encoded, and a comma.
func TestEncodedBoundHolds(t *testing.T) {
	every := []string{"email", "password", "birthday", "gender", "optIn.status", "clients"}
	header := func(names ...string) *source.Header {
		return &source.Header{Names: names, Raw: []byte(strings.Join(names, ",") + "\n")}
	}
	for _, c := range []struct {
		header *source.Header
		raw    string
	}{
		{header(every...), ",,,,,"},
		{header(every...), strings.Repeat("\x01", 99) + `,x,1/1/2000,x,t,[]`},
		{header("gender", "a.gender", "a.b.gender"), "x,x,x"},
		{header("birthday"), "1/1/2000"},
		{header("password"), `"{""type"":""\"", ""value"":""é🦊\u00e9""}"`},
		{header("a.b.c.d.e.f.g.h.i.j.k"), "\x1f"},
		{header("a.b.c.d.e.f.g", "h.i.j.k.l.m", "n.o.p.q.r.s"), ",,"},
		{header(strings.Repeat("🦊.", 50)+"x", strings.Repeat("y.", 50)+`"`), `🦊,""""""`},
		{header(`"\x` + "\u0001"), `\`},
		{header("x"), strings.Repeat(`\`, 1000)},
	} {
		fields, err := c.header.Fields([]byte(c.raw))
		if err != nil {
			t.Fatalf("%q: %v", c.raw, err)
		}
		checkBound(t, c.header, source.Record{Raw: []byte(c.raw)}, fields)
	}

	path := filepath.Join(t.TempDir(), "users.csv")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := fakeusers.Write(f, fakeusers.Options{Records: 2000, Seed: 5, Awkward: true}); err != nil {
		t.Fatal(err)
	}
	checked := 0
	_, err = source.Inspect(context.Background(), path, source.InspectOptions{BatchSize: 100, MaxEncoded: 1, EncodedSize: func(h *source.Header, r source.Record) int64 {
		if fields, err := h.Fields(r.Raw); err == nil {
			checkBound(t, h, r, fields)
			checked++
		}
		return 1
	}})
	if err != nil || checked != 1998 {
		t.Errorf("%d records, error %v; want 1998", checked, err)
	}
}

func checkBound(t *testing.T, h *source.Header, r source.Record, fields []string) {
	t.Helper()
	tr, err := mapping.BuiltIn().Compile(h.Names)
	if err != nil {
		t.Fatal(err)
	}
	object, err := tr.AppendJSON(nil, fields)
	if err != nil {
		return
	}
	size := int64(len(url.QueryEscape(string(object) + ",")))
	if bound := source.EncodedBound(h, r.Raw); size > bound {
		t.Errorf("%q is %d bytes as %s; the bound says %d", r.Raw, size, object, bound)
	}
}
