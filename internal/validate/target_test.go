package validate

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/target"
	"durable-dataload/internal/target/identitycloud"
)

// probe probes a target with this configuration.
func probe(t *testing.T, cfg identitycloud.Config) (Probed, *Meter) {
	t.Helper()
	meter := &Meter{}
	cfg.Timeout = 5 * time.Second
	client, err := identitycloud.NewAdapter(cfg, target.Hooks{Answered: meter.Saw})
	must(t, err)
	defer client.Close()
	p, err := Probe(t.Context(), client, meter)
	must(t, err)
	return p, meter
}

func TestProbeOfTheSandbox(t *testing.T) {
	s, err := sandbox.Start(sandbox.Options{Address: "127.0.0.1:0", StateDir: t.TempDir(), ClientID: "me", ClientSecret: "secret"})
	must(t, err)
	defer s.Close()
	for _, c := range []struct {
		name, secret, entityType, finding string
	}{
		{"all is well", "secret", "user", ""},
		{"a wrong secret", "wrong", "user", "error target  0 []: the API does not accept the client id and secret"},
		{"an unknown entity type", "secret", "martian", "error target  0 []: the entity type does not exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, meter := probe(t, identitycloud.Config{BaseURL: s.URL(), ClientID: "me", ClientSecret: c.secret, EntityType: c.entityType})
			if c.finding != "" {
				if len(p.Findings) != 1 || !strings.HasPrefix(short(p.Findings[0]), c.finding) || p.Schema != nil {
					t.Errorf("found %v, schema %v; want %s", p.Findings, p.Schema, c.finding)
				}
				return
			}
			if len(p.Findings) > 0 || p.Schema == nil || meter.CallTime() <= 0 {
				t.Fatalf("found %v, schema %v, a call took %v", p.Findings, p.Schema, meter.CallTime())
			}
			o := options(t)
			o.Schema = p.Schema
			holds(t, validated(t, "email,givenname,primaryAddress.phone\na@example.com,A,"+strings.Repeat("5", 101)+"\n", o), []string{
				"error unknown_attribute givenname 1 [2]: the schema does not have this attribute; did you mean givenName?",
				"error length primaryAddress.phone 1 [2]: the value is too long; the schema allows 100 characters"})
		})
	}
}

func TestProbeOfOtherTargets(t *testing.T) {
	const count, schema = `{"stat":"ok","total_count":1}`, `{"stat":"ok","schema":{"name":"user","attr_defs":[{"name":"email","type":"string"}]}}`
	apiError := func(code int) string {
		return fmt.Sprintf(`{"stat":"error","code":%d,"error":"x","error_description":"y"}`, code)
	}
	for _, c := range []struct {
		name, count, schema string
		ahead               time.Duration // the target's clock
		want                string
	}{
		{"all is well", count, schema, 0, ""},
		{"a client that may not count", apiError(403), schema, 0, ""},
		{"a client that may not read the schema", count, apiError(403), 0, "warning target  0 []: the API client may not read the schema"},
		{"a schema that does not come", count, "no JSON", 0, "warning target  0 []: the schema cannot be read"},
		{"a target that is busy", apiError(510), schema, 0, "warning target  0 []: the API is overloaded or temporarily unavailable"},
		{"a clock that is behind", count, schema, time.Minute, "warning clock  0 []: this machine's clock is about 59s behind the target's"},
		{"a clock that is ahead", count, schema, -time.Minute, "warning clock  0 []: this machine's clock is about 59s ahead of the target's"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// The header has whole seconds.
				w.Header().Set("Date", time.Now().Add(c.ahead).UTC().Format(http.TimeFormat))
				answer := c.count
				if r.URL.Path == "/entityType" {
					answer = c.schema
				}
				fmt.Fprint(w, answer)
			}))
			defer server.Close()
			p, _ := probe(t, identitycloud.Config{BaseURL: server.URL, ClientID: "me", ClientSecret: "secret"})
			var found []string
			for _, f := range p.Findings {
				found = append(found, strings.NewReplacer("1m0s", "59s", "58s", "59s").Replace(short(f)))
			}
			if len(found) > 1 || !strings.HasPrefix(strings.Join(found, ""), c.want) || (c.want == "") != (len(found) == 0) {
				t.Errorf("found %q, want %q", found, c.want)
			}
		})
	}
}

func TestProbeEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	client, err := identitycloud.NewAdapter(identitycloud.Config{BaseURL: "https://nobody.invalid", ClientID: "me", ClientSecret: "secret"}, target.Hooks{})
	must(t, err)
	if _, err := Probe(ctx, client, &Meter{}); err != context.Canceled {
		t.Errorf("%v, want context.Canceled", err)
	}
}

func TestTheTextOfAReport(t *testing.T) {
	o := options(t)
	o.CallTime = 120 * time.Millisecond
	r := validated(t, "email,foo\n"+strings.Repeat("a@example.com,1\n", 5), o)
	r.Add(Warning, KindClock, "the clock")
	r.Add(Error, KindTarget, "the target")
	var b strings.Builder
	r.Text(&b)
	want := `users.csv: 5 records, 90 bytes; 5 would be sent, in 1 call.

3 kinds of errors:
  5 × foo: the schema does not have this attribute; rename the column, or remove it
      lines 2, 3, 4, …
  4 × email: an earlier record has the same key, ignoring case; only the first is created
      lines 3 (first in 2), 4 (first in 2), 5 (first in 2), …
  the target

1 kind of warnings:
  the clock

Largest record: 66 bytes (line 2). Largest call: 390 bytes of at most 5000000 (from line 2).
Time: from 1s, if the target is fast, to 1s, if every call takes the whole timeout; a harmless call took 120ms. A delta migration: at most 5s more, one call a record.
`
	if b.String() != want {
		t.Errorf("the text is\n%s\nwant\n%s", b.String(), want)
	}
}
