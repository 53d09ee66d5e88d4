package sandbox

import (
	"context"
	"errors"
	"testing"
	"time"

	"durable-dataload/internal/target/identitycloud"
)

// The calls for one record, as the client makes them and the server takes them.
func TestTheClientFindsItsWayAround(t *testing.T) {
	_, c := start(t, Options{Faults: faultsOf(t, "update:reset-after=50"), Seed: 1})
	uuid := c.create(`[{"email":"o'brien\"<b>@x.org","n":12345678901234567890.10,"clients":[{"name":"one"}]},{"email":"Ann@x.org"}]`)[0]
	unknown := 0
	for i, auth := range []identitycloud.Auth{identitycloud.Basic, identitycloud.Signature} {
		target, err := identitycloud.New(identitycloud.Config{BaseURL: c.url, ClientID: testID, ClientSecret: testSecret, Auth: auth, Timeout: time.Minute})
		must(t, err)
		defer target.Close()
		ctx := context.Background()
		ref := identitycloud.Ref{KeyAttribute: "email", KeyValue: `O'Brien"<B>@x.org`}

		before, err := target.View(ctx, ref)
		if err != nil || before.UUID != uuid || string(before.Attributes["n"]) != "12345678901234567890.10" || before.LastUpdated.IsZero() {
			t.Fatalf("view: %+v, %v", before, err)
		}
		for { // what is unknown may be repeated
			err := target.Update(ctx, ref, []byte(`{"givenName":"Brian & Co","primaryAddress":{"city":"Köln + x"}}`))
			if err == nil {
				break
			}
			if !identitycloud.IsUnknown(err) {
				t.Fatalf("update: %v", err)
			}
			unknown++
		}
		if err := target.Replace(ctx, identitycloud.Ref{UUID: uuid}, "clients", []byte(`[{"name":"two"},{"name":"three"}]`)); err != nil {
			t.Fatalf("replace: %v", err)
		}
		found, err := target.FindEntities(ctx, "email", []string{"ann@X.org", "nobody@x.org", ref.KeyValue})
		if err != nil || len(found) != 2 || string(found[0].Attributes["email"]) != `"Ann@x.org"` || found[1].UUID != uuid {
			t.Fatalf("find: %+v, %v", found, err)
		}
		after := found[1].Attributes
		if string(after["givenName"]) != `"Brian & Co"` || asJSON(t, sparse(decoded(t, string(after["primaryAddress"])))) != `{"city":"Köln + x"}` || string(after["n"]) != "12345678901234567890.10" ||
			!found[1].LastUpdated.Earliest.After(before.LastUpdated.Earliest) {
			t.Errorf("after the changes: %s", asJSON(t, after))
		}
		want := []string{`[{"id":4,"name":"two"},{"id":5,"name":"three"}]`, `[{"id":6,"name":"two"},{"id":7,"name":"three"}]`}[i]
		if clients := asJSON(t, sparse(decoded(t, string(after["clients"])))); clients != want {
			t.Errorf("the plural is %s, want %s", clients, want)
		}
	}
	if unknown == 0 {
		t.Error("no update was unknown: the test needs another seed")
	}
	target, err := identitycloud.New(identitycloud.Config{BaseURL: c.url, ClientID: testID, ClientSecret: testSecret})
	must(t, err)
	defer target.Close()
	ctx := context.Background()
	var api *identitycloud.APIError
	seen, err := target.View(ctx, identitycloud.Ref{UUID: uuid})
	if err != nil || seen.LastUpdatedText() == "" {
		t.Fatalf("view: %+v, %v", seen, err)
	}
	if err := target.Replace(ctx, identitycloud.Ref{UUID: uuid}, "clients", []byte(`[]`)); err != nil {
		t.Fatalf("replace: %v", err)
	}
	condition := identitycloud.Ref{UUID: uuid, LastUpdated: seen.LastUpdatedText()}
	for name, err := range map[string]error{
		"delete":  target.Delete(ctx, condition),
		"replace": target.Replace(ctx, condition, "clients", []byte(`[{"name":"x"}]`)),
	} {
		if !errors.As(err, &api) || !api.IsTimestampMismatch() || identitycloud.IsUnknown(err) {
			t.Errorf("%s of what was changed since: %v, want a timestamp mismatch", name, err)
		}
	}
	if seen, err = target.View(ctx, identitycloud.Ref{UUID: uuid}); err != nil || string(seen.Attributes["givenName"]) == `"x"` || string(seen.Attributes["clients"]) != "[]" {
		t.Errorf("view: %s, %v; want it unchanged", asJSON(t, seen.Attributes), err)
	}
	if err := target.Delete(ctx, identitycloud.Ref{UUID: uuid, LastUpdated: seen.LastUpdatedText()}); err != nil {
		t.Errorf("delete: %v", err)
	}
	for name, err := range map[string]error{
		"deleted twice": target.Delete(ctx, identitycloud.Ref{UUID: uuid}),
		"no uuid":       target.Delete(ctx, identitycloud.Ref{UUID: "x"}),
		"no such key":   target.Update(ctx, identitycloud.Ref{KeyAttribute: "email", KeyValue: "nobody@x.org"}, []byte(`{}`)),
	} {
		if !errors.As(err, &api) || !api.IsNotFound() {
			t.Errorf("%s: %v, want not found", name, err)
		}
	}
	wrong, err := identitycloud.New(identitycloud.Config{BaseURL: c.url, ClientID: testID, ClientSecret: "wrong"})
	must(t, err)
	defer wrong.Close()
	if _, err := wrong.EntityType(ctx); !errors.Is(err, identitycloud.ErrCredentials) {
		t.Errorf("a wrong secret: %v, want %v", err, identitycloud.ErrCredentials)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
