package identitycloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
)

const entityJSON = `{"id":12345678901234567,"uuid":"u1","created":"2026-11-22 13:05:00.123456 +0000","lastUpdated":"2026-11-22 13:06:00 +0000",` +
	`"email":"ann@example.com","score":1.10,"big":1e400,"middleName":null,"primaryAddress":{"city":"Zürich"},"clients":[{"id":7,"name":"x"}]}`

// oneRecordCall is a call for one record, with its expected parameters besides type_name and timeout.
type oneRecordCall struct {
	name, endpoint string
	do             func(ctx context.Context, c *Client) error
	want           url.Values
	ok             string // a valid answer
}

var oneRecordCalls = []oneRecordCall{
	{"view", "/entity", func(ctx context.Context, c *Client) error {
		_, err := c.View(ctx, Ref{KeyAttribute: "email", KeyValue: `"O'Brien" <o\b@example.com>`})
		return err
	}, url.Values{"key_attribute": {"email"}, "key_value": {`"\"O'Brien\" \u003co\\b@example.com\u003e"`}}, `{"stat":"ok","result":` + entityJSON + `}`},
	{"view by uuid", "/entity", func(ctx context.Context, c *Client) error {
		_, err := c.View(ctx, Ref{UUID: "u1"})
		return err
	}, url.Values{"uuid": {"u1"}}, `{"stat":"ok","result":` + entityJSON + `}`},
	{"update", "/entity.update", func(ctx context.Context, c *Client) error {
		return c.Update(ctx, Ref{UUID: "u1"}, []byte(`{"score": 1.10, "n&me":"Zoë + 1"}`))
	}, url.Values{"uuid": {"u1"}, "value": {`{"score": 1.10, "n&me":"Zoë + 1"}`}}, `{"stat":"ok"}`},
	{"update of nothing", "/entity.update", func(ctx context.Context, c *Client) error {
		return c.Update(ctx, Ref{KeyAttribute: "legacy.id", KeyValue: "4711"}, []byte(`{}`))
	}, url.Values{"key_attribute": {"legacy.id"}, "key_value": {`"4711"`}, "value": {`{}`}}, `{"stat":"ok"}`},
	{"replace", "/entity.replace", func(ctx context.Context, c *Client) error {
		return c.Replace(ctx, Ref{UUID: "u1"}, "legacy.clients", []byte(`[{"name":"x"}]`))
	}, url.Values{"uuid": {"u1"}, "attribute_name": {"legacy.clients"}, "value": {`[{"name":"x"}]`}}, `{"stat":"ok"}`},
	{"delete", "/entity.delete", func(ctx context.Context, c *Client) error {
		return c.Delete(ctx, Ref{UUID: "u1"})
	}, url.Values{"uuid": {"u1"}}, `{"stat":"ok"}`},
	{"entity type", "/entityType", func(ctx context.Context, c *Client) error {
		_, err := c.EntityType(ctx)
		return err
	}, url.Values{}, `{"stat":"ok","schema":{"name":"user","attr_defs":[{"name":"email","type":"string"}]}}`},
	{"find", "/entity.find", func(ctx context.Context, c *Client) error {
		_, err := c.FindEntities(ctx, "email", []string{"a@example.com"})
		return err
	}, url.Values{"filter": {"email='a@example.com'"}, "max_results": {"1000"}}, `{"stat":"ok","results":[]}`},
}

func TestCallsForOneRecordSendWhatIsDocumented(t *testing.T) {
	for _, auth := range []Auth{Basic, Signature} {
		for _, tc := range oneRecordCalls {
			t.Run(fmt.Sprintf("%s, auth %d", tc.name, auth), func(t *testing.T) {
				address, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
					body, _ := io.ReadAll(r.Body)
					got, err := url.ParseQuery(string(body))
					want := url.Values{"type_name": {"visitor"}, "timeout": {"10"}}
					for name, values := range tc.want {
						want[name] = values
					}
					if err != nil || r.Method != "POST" || r.URL.String() != tc.endpoint || !reflect.DeepEqual(got, want) {
						t.Errorf("got %s %s with %v\nwant POST %s with %v", r.Method, r.URL, got, tc.endpoint, want)
					}
					scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " ")
					if auth == Signature {
						signed := "Signature " + testID + ":" + signature(testSecret, tc.endpoint, r.Header.Get("Date"), body)
						if r.Header.Get("Authorization") != signed {
							t.Errorf("got %q, want %q", r.Header.Get("Authorization"), signed)
						}
					} else if scheme != "Basic" {
						t.Errorf("got the scheme %q", scheme)
					}
					_, _ = io.WriteString(w, tc.ok)
				})
				before, after := 0, 0
				c := newClient(t, address, func(cfg *Config) {
					cfg.EntityType, cfg.Auth = "visitor", auth
					cfg.BeforeCall = func(context.Context) (func(), error) {
						before++
						return func() { after++ }, nil
					}
				})
				if err := tc.do(context.Background(), c); err != nil || IsUnknown(err) {
					t.Error(err)
				}
				if requests.Load() != 1 || before != 1 || after != 1 {
					t.Errorf("%d requests, %d times before, %d times after; want 1 of each", requests.Load(), before, after)
				}
			})
		}
	}
}

// Answers are classified in the same way for every call.
func TestErrorsOfCallsForOneRecord(t *testing.T) {
	api, status, none := new(APIError), new(HTTPError), new(NoAnswerError)
	for _, tc := range []struct {
		name                           string
		do                             http.HandlerFunc
		kind                           any
		text                           string
		unknown, notFound, credentials bool
	}{
		{"no record", says(200, apiError(310, "ann@example.com")), api, "api 310", false, true, false},
		{"no uuid", says(200, `{"stat":"error","code":200,"error":"invalid_argument","argument_name":"uuid"}`), api, "api 200", false, true, false},
		{"another bad argument", says(200, `{"stat":"error","code":200,"argument_name":"value"}`), api, "api 200", false, false, false},
		{"a value that is malformed", says(200, apiError(341, "malformed: ann@example.com is not a valid id")), api, "api 341", false, false, false},
		{"an attribute called date", says(200, `{"stat":"error","code":223,"attribute_name":"date"}`), api, "api 223", false, false, false},
		{"missing right", says(200, apiError(403, "no")), api, "api 403", true, false, false},
		{"wrong secret", says(200, apiError(402, testSecret)), api, "check the id and the secret", false, false, true},
		{"wrong secret, the library's code", says(200, apiError(431, "no")), api, "check the id and the secret", false, false, true},
		{"wrong id", says(200, `{"stat":"error","code":200,"argument_name":"client_id"}`), api, "client " + testID, false, false, true},
		{"stale date", says(200, `{"stat":"error","code":200,"argument_name":"Date"}`), api, "clock agrees", false, false, true},
		{"HTTP 401", says(401, "who?"), status, "HTTP 401", true, false, true},
		{"busy", says(200, apiError(510, "busy")), api, "api 510", true, false, false},
		{"no code", says(200, `{"stat":"error"}`), api, "without a code", true, false, false},
		{"HTTP 502", says(502, "<html>"), status, "HTTP 502", true, false, false},
		{"HTTP 404", says(404, "<html>"), status, "HTTP 404", true, false, false},
		{"HTTP 404 with stat ok", says(404, `{"stat":"ok"}`), status, "HTTP 404", true, false, false},
		{"too large, says something on the way", says(413, tooLarge), status, "HTTP 413", true, false, false},
		{"too large, says the API", says(413, apiError(200, tooLarge)), api, "api 200", false, false, false},
		{"a redirect", says(302, ""), status, "HTTP 302", true, false, false},
		{"a page", says(200, "<html>ann@example.com"), none, "not json", true, false, false},
		{"no stat", says(200, `{"result":{"uuid":"u1"}}`), none, "no stat", true, false, false},
		{"no answer", func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			panic(http.ErrAbortHandler)
		}, none, "closed", true, false, false},
	} {
		for _, call := range oneRecordCalls {
			t.Run(tc.name+", "+call.name, func(t *testing.T) {
				address, requests := serve(t, tc.do)
				err := call.do(context.Background(), newClient(t, address, func(cfg *Config) { cfg.Auth = Signature }))
				if err == nil || !strings.Contains(err.Error(), tc.text) || requests.Load() != 1 {
					t.Fatalf("got %v after %d requests, want %q after 1", err, requests.Load(), tc.text)
				}
				var api *APIError
				var status *HTTPError
				var none *NoAnswerError
				var kind any
				switch {
				case errors.As(err, &api):
					kind = api
				case errors.As(err, &status):
					kind = status
				case errors.As(err, &none):
					kind = none
				}
				if reflect.TypeOf(kind) != reflect.TypeOf(tc.kind) {
					t.Errorf("got %v, a %T, want a %T", err, kind, tc.kind)
				}
				if IsUnknown(err) != tc.unknown || errors.Is(err, ErrCredentials) != tc.credentials ||
					(api != nil && api.IsNotFound()) != tc.notFound {
					t.Errorf("%v: unknown %t, credentials %t, API error %+v", err, IsUnknown(err), errors.Is(err, ErrCredentials), api)
				}
				if strings.Contains(err.Error(), "ann@") || strings.Contains(err.Error(), testSecret) {
					t.Errorf("the error holds what it must not: %v", err)
				}
			})
		}
	}
}

func TestTheConfiguredListsDecideWhatIsUnknown(t *testing.T) {
	address, _ := serve(t, says(200, apiError(361, "x")))
	none := Codes{}
	for _, listed := range []bool{false, true} {
		c := newClient(t, address, func(cfg *Config) {
			if cfg.Unknown.API = none; listed {
				cfg.Unknown.API = Codes{{361, 361}}
			}
		})
		err := c.Update(context.Background(), Ref{UUID: "u1"}, []byte(`{}`))
		var api *APIError
		if !errors.As(err, &api) || api.Code != 361 || IsUnknown(err) != listed {
			t.Errorf("on the list %t: got %v, unknown %t", listed, err, IsUnknown(err))
		}
	}
}

func TestInvalidCallsAreNotSent(t *testing.T) {
	address, requests := serve(t, func(http.ResponseWriter, *http.Request) {})
	stop := errors.New("the breaker is open")
	c := newClient(t, address)
	stopped := newClient(t, address, func(cfg *Config) {
		cfg.BeforeCall = func(context.Context) (func(), error) { return nil, stop }
	})
	ctx := context.Background()
	ref := Ref{UUID: "u1"}
	view := func(ref Ref) error { _, err := c.View(ctx, ref); return err }
	type test struct {
		name string
		err  error
		want string
	}
	tests := []test{
		{"no address", view(Ref{}), "addressed by its uuid, or by a key"},
		{"two addresses", view(Ref{UUID: "u1", KeyAttribute: "email", KeyValue: "ann@example.com"}), "not by both"},
		{"no key attribute", c.Delete(ctx, Ref{KeyValue: "ann@example.com"}), "addressed by its uuid, or by a key"},
		{"no key value", c.Delete(ctx, Ref{KeyAttribute: "email"}), "a value that is not empty"},
		{"a key attribute that is none", view(Ref{KeyAttribute: "e mail", KeyValue: "ann@example.com"}), "not the name of an attribute"},
		{"a key that is not UTF-8", view(Ref{KeyAttribute: "email", KeyValue: "ann@example.com\xff"}), "not UTF-8"},
		{"an update that is no object", c.Update(ctx, ref, []byte(`["ann@example.com"]`)), "not one JSON object"},
		{"two objects", c.Update(ctx, ref, []byte(`{}{}`)), "not one JSON object"},
		{"an update of nobody", c.Update(ctx, Ref{}, []byte(`{}`)), "addressed by"},
		{"replacing the whole record", c.Replace(ctx, ref, "", []byte(`{}`)), "not the name of an attribute"},
		{"replacing by what is not JSON", c.Replace(ctx, ref, "clients", []byte(`ann@example.com`)), "new value of clients is not JSON"},
		{"replacing by what is not UTF-8", c.Replace(ctx, ref, "clients", []byte("\"\xff\"")), "new value of clients is not JSON"},
		{"replacing of nobody", c.Replace(ctx, Ref{}, "clients", []byte(`[]`)), "addressed by"},
	}
	_, err := c.FindEntities(ctx, "email='a' or x", []string{"ann@example.com"})
	tests = append(tests, test{"finding by what would change the filter", err, "not the name of an attribute"})
	for _, call := range oneRecordCalls {
		err := call.do(ctx, stopped)
		tests = append(tests, test{call.name + ", stopped", err, stop.Error()})
	}
	for _, tc := range tests {
		if tc.err == nil || !strings.Contains(tc.err.Error(), tc.want) || IsUnknown(tc.err) {
			t.Errorf("%s: got %v (unknown %t), want %q", tc.name, tc.err, IsUnknown(tc.err), tc.want)
		}
		if tc.err != nil && strings.Contains(tc.err.Error(), "ann@") {
			t.Errorf("%s: the error holds user data: %v", tc.name, tc.err)
		}
	}
	if requests.Load() != 0 {
		t.Errorf("%d requests, want none", requests.Load())
	}
}

func TestViewKeepsTheBytesOfTheRecord(t *testing.T) {
	address, _ := serve(t, says(200, `{"stat":"ok","result":`+entityJSON+`}`))
	e, err := newClient(t, address).View(context.Background(), Ref{UUID: "u1"})
	must(t, err)
	created, _ := ParseMoment("2026-11-22 13:05:00.123456 +0000")
	updated, _ := ParseMoment("2026-11-22 13:06:00 +0000")
	if e.UUID != "u1" || e.Created != created || e.LastUpdated != updated {
		t.Errorf("got %+v", e)
	}
	for name, want := range map[string]string{"id": "12345678901234567", "score": "1.10", "big": "1e400", "middleName": "null",
		"primaryAddress": `{"city":"Zürich"}`, "clients": `[{"id":7,"name":"x"}]`, "uuid": `"u1"`} {
		if got := string(e.Attributes[name]); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
	if len(e.Attributes) != 10 {
		t.Errorf("%d attributes, want 10", len(e.Attributes))
	}
}

func TestAnswersWithoutTheExpectedContent(t *testing.T) {
	for _, tc := range []struct{ call, body, want string }{
		{"view", `{"stat":"ok"}`, "no result"},
		{"view", `{"stat":"ok","result":["u1"]}`, "no result"},
		{"view", `{"stat":"ok","result":null}`, "no result"},
		{"view", `{"stat":"ok","result":{"email":"ann@example.com"}}`, "result without uuid"},
		{"find", `{"stat":"ok"}`, "no results"},
		{"find", `{"stat":"ok","results":[{"email":"a@example.com"}]}`, "result without uuid or email"},
		{"find", `{"stat":"ok","results":[{"uuid":"u1"}]}`, "result without uuid or email"},
		{"entity type", `{"stat":"ok"}`, "no schema"},
		{"entity type", `{"stat":"ok","schema":{"name":"user","attr_defs":[]}}`, "no schema"},
		{"entity type", `{"stat":"ok","schema":{"attr_defs":[{"name":"email"}]}}`, "no schema"},
		{"entity type", `{"stat":"ok","schema":"user"}`, "no schema"},
	} {
		address, _ := serve(t, says(200, tc.body))
		at := slices.IndexFunc(oneRecordCalls, func(c oneRecordCall) bool { return c.name == tc.call })
		err := oneRecordCalls[at].do(context.Background(), newClient(t, address))
		var none *NoAnswerError
		if !errors.As(err, &none) || none.Reason != tc.want || !IsUnknown(err) {
			t.Errorf("%s, %s: got %v, want %q", tc.call, tc.body, err, tc.want)
		}
	}
}

func TestEntityTypeReadsTheSchema(t *testing.T) {
	address, _ := serve(t, says(200, `{"stat":"ok","schema":{"name":"user","attr_defs":[
		{"name":"email","type":"string","length":256,"constraints":["unique","email-address"],"case-sensitive":false,"features":["query"]},
		{"name":"birthday","type":"date","length":null},
		{"name":"clients","type":"plural","attr_defs":[{"name":"id","type":"id"},{"name":"name","type":"string","length":1000}]}]}}`))
	got, err := newClient(t, address).EntityType(context.Background())
	want := Schema{Name: "user", Attributes: []Attribute{
		{Name: "email", Type: "string", Length: 256, CaseSensitive: new(bool), Constraints: []string{"unique", "email-address"}},
		{Name: "birthday", Type: "date"},
		{Name: "clients", Type: "plural", Attributes: []Attribute{{Name: "id", Type: "id"}, {Name: "name", Type: "string", Length: 1000}}},
	}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v\nwant %+v", got, err, want)
	}
}
