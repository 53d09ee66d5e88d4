package identitycloud

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/httponce"
)

const (
	duplicate = `{"code":361,"error":"unique_violation","error_description":"Attempted to update a duplicate value","stat":"error"}`
	nginx413  = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>"
	tooLarge  = "client intended to send too large body: 6291456 bytes"
)

func apiError(code int, words string) string {
	return `{"stat":"error","code":` + strconv.Itoa(code) + `,"error":"some_name","error_description":` + strconv.Quote(words) + `,"request_id":"geup8cd3"}`
}

// Every row of the table at Answer, for a batch of two records.
func TestAnswerTable(t *testing.T) {
	ok := func(entries string) string {
		return `{"uuid_results":[` + entries + `],"results":[1,2],"stat":"ok"}`
	}
	two := ok(quoted(uuid1) + "," + quoted(uuid2))
	for _, tc := range []struct {
		name    string
		status  int
		body    string
		verdict Verdict
		reason  string
		proof   bool // that nothing was written
	}{
		{"two uuids", 200, two, Answered, "", false},
		{"a uuid and a duplicate", 200, `{"uuid_results":["` + uuid1 + `",` + duplicate + `],"results":[1,` + duplicate + `],"stat":"ok"}`, Answered, "", false},
		{"a number for a uuid", 200, ok(quoted(uuid1) + `,5`), Answered, "", false},

		{"API code on the list", 200, apiError(510, "busy"), Unknown, "api 510", false},
		{"API code 403", 200, apiError(403, "no"), Unknown, "api 403", false},
		{"API code 500", 200, apiError(500, "no"), Unknown, "api 500", false},
		{"API code 501", 200, apiError(501, "no"), Unknown, "api 501", false},
		{"API code 504", 200, apiError(504, "no"), Unknown, "api 504", false},
		{"API code 550", 200, apiError(550, "no"), Unknown, "api 550", false},
		{"API code 999", 200, apiError(999, "no"), Unknown, "api 999", false},
		{"API code above them all", 200, apiError(5000, "no"), Unknown, "api 5000", false},
		{"API code on the list as text", 200, `{"stat":"error","code":"510","error":"x"}`, Unknown, "api 510", false},
		{"API code on the list beats an HTTP code", 400, apiError(510, "busy"), Unknown, "api 510", false},
		{"API code on the list beats HTTP 413", 413, apiError(510, "busy"), Unknown, "api 510", false},
		{"API code on the list beats the words", 200, apiError(500, tooLarge), Unknown, "api 500", false},
		{"API error without a code", 200, `{"stat":"error","error_description":"x"}`, Unknown, "api error without a code", false},
		{"API error with a code that is none", 200, `{"stat":"error","code":"busy"}`, Unknown, "api error without a code", false},
		{"an HTTP code's number in the API's JSON", 200, apiError(502, "x"), Unknown, "api 502", false},

		{"an API error with uuids", 200, `{"stat":"error","code":300,"uuid_results":["` + uuid1 + `"]}`, Unknown, "api error with results", false},
		{"an API error with ids, too large", 413, `{"stat":"error","code":200,"results":[1,2]}`, Unknown, "api error with results", false},
		{"an API error after stat ok", 200, two[:len(two)-1] + `,"stat":"error","code":200}`, Unknown, "api error with results", false},
		{"an API error without results", 200, `{"stat":"error","code":300,"results":[],"uuid_results":null}`, Refused, "api 300", true},
		{"another API code", 200, apiError(200, "bad JSON"), Refused, "api 200", true},
		{"another API code beats an HTTP code", 502, apiError(200, "bad JSON"), Refused, "api 200", true},
		{"API 499", 200, apiError(499, "no"), Refused, "api 499", true},
		{"API 403 beats HTTP 404", 404, apiError(403, "no"), Unknown, "api 403", false},
		{"too large a value is not too large a body", 200, apiError(340, "the number is too large"), Refused, "api 340", true},
		{"the words in the API's JSON", 200, apiError(200, tooLarge), TooLarge, "too large", true},
		{"HTTP 413 with the API's JSON", 413, apiError(200, "x"), TooLarge, "too large", true},

		{"HTTP 413", 413, nginx413, TooLarge, "too large", false},
		{"HTTP 413 without a body", 413, "", TooLarge, "too large", false},
		{"the words with HTTP 200", 200, tooLarge, TooLarge, "too large", false},
		{"the words with HTTP 400", 400, tooLarge, TooLarge, "too large", false},
		{"the words with HTTP 502", 502, tooLarge, TooLarge, "too large", false},
		{"the title of 413 with HTTP 403", 403, nginx413, TooLarge, "too large", false},
		{"shorter words with a status that blames the request", 400, "Payload Too Large", TooLarge, "too large", false},
		{"too large a header, which halves do not make smaller", 431, "Request Header Fields Too Large", Unknown, "http 431", false},
		{"shorter words with a status that blames the server", 502, "upstream response too large", Unknown, "http 502", false},
		{"shorter words with HTTP 200", 200, "too large", Unknown, "not json", false},
		{"JSON that is not the API's, with the words", 400, `{"message":"` + tooLarge + `"}`, TooLarge, "too large", false},
		{"an answer that quotes the words", 200, ok(quoted(uuid1) + `,"` + tooLarge + `"`), Answered, "", false},

		{"HTTP 400 with stat ok", 400, two, Unknown, "http 400 with stat ok", false},
		{"HTTP 413 with stat ok", 413, two, Unknown, "http 413 with stat ok", false},
		{"HTTP 503 with stat ok", 503, two, Unknown, "http 503 with stat ok", false},
		{"HTTP 201 with stat ok", 201, two, Unknown, "http 201 with stat ok", false},
		{"HTTP 400 with JSON without stat", 400, `{"message":"no"}`, Unknown, "http 400", false},
		{"HTTP 504 with JSON without stat", 504, `{"message":"gateway"}`, Unknown, "http 504", false},

		{"nothing", 200, "", Unknown, "not json", false},
		{"a page", 200, "<html>Maintenance</html>", Unknown, "not json", false},
		{"JSON with something after it", 200, two + "x", Unknown, "not json", false},
		{"JSON cut off", 200, two[:30], Unknown, "not json", false},
		{"JSON without stat", 200, `{"uuid_results":["u1","u2"]}`, Unknown, "no stat", false},
		{"stat in capitals", 200, `{"STAT":"ok","uuid_results":["u1","u2"]}`, Unknown, "no stat", false},
		{"another stat", 200, `{"stat":"partial","uuid_results":["u1","u2"]}`, Unknown, "no stat", false},
		{"stat that is no text", 200, `{"stat":true,"uuid_results":["u1","u2"]}`, Unknown, "no stat", false},
		{"a JSON list", 200, `["u1","u2"]`, Unknown, "no stat", false},
		{"null", 200, `null`, Unknown, "no stat", false},
		{"fewer results", 200, ok(quoted(uuid1)), Unknown, "too few results", false},
		{"more results", 200, ok(`"u1","u2","u3"`), Unknown, "too many results", false},
		{"no results", 200, `{"stat":"ok","results":[1,2]}`, Unknown, "too few results", false},
		{"results that are no list", 200, `{"stat":"ok","uuid_results":"u1"}`, Unknown, "too few results", false},
		{"results that are null", 200, `{"stat":"ok","uuid_results":null}`, Unknown, "too few results", false},
		{"fewer ids than uuids", 200, `{"stat":"ok","uuid_results":["` + uuid1 + `","` + uuid2 + `"],"results":[1]}`, Unknown, "too few results", false},
		{"more ids than uuids", 200, `{"stat":"ok","uuid_results":["` + uuid1 + `","` + uuid2 + `"],"results":[1,2,3]}`, Unknown, "too many results", false},
		{"no list of ids", 200, `{"stat":"ok","uuid_results":["` + uuid1 + `","` + uuid2 + `"]}`, Answered, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, requests := serve(t, says(tc.status, tc.body))
			c := newClient(t, url)
			a := c.CreateBatch(context.Background(), batch(t, c, 2))
			if a.Verdict != tc.verdict || a.Reason != tc.reason || a.NothingWritten != tc.proof {
				t.Errorf("HTTP %d %s\ngot  %s, %q (%v), nothing written %t\nwant %s, %q, %t", tc.status, tc.body, a.Verdict, a.Reason, a.Err, a.NothingWritten, tc.verdict, tc.reason, tc.proof)
			}
			if answered := a.Verdict == Answered; answered != (a.Err == nil) || answered != (len(a.Records) == 2) {
				t.Errorf("verdict %s with error %v and %d records", a.Verdict, a.Err, len(a.Records))
			}
			if requests.Load() != 1 {
				t.Errorf("%d requests, want 1", requests.Load())
			}
			if a.Sent.IsZero() || a.Received.Before(a.Sent) || time.Since(a.ServerDate) > time.Minute {
				t.Errorf("sent %v, received %v, server's date %v", a.Sent, a.Received, a.ServerDate)
			}
		})
	}
}

// An answer that does not come from the API does not tell what was written, whatever its status.
func TestAPageOfAnyStatusIsUnknown(t *testing.T) {
	for status := 200; status <= 999; status++ {
		for _, body := range []string{"", "<html>the edge says no</html>", `{"message":"no","code":200}`} {
			if status == 413 || status == 200 {
				continue
			}
			a, result := newClient(t, "http://127.0.0.1:1").judge(httponce.Reply{Status: status, Body: []byte(body)})
			if want := "http " + strconv.Itoa(status); a.Verdict != Unknown || a.Reason != want || a.NothingWritten || result != nil {
				t.Errorf("HTTP %d %s: got %s, %q, want unknown, %q", status, body, a.Verdict, a.Reason, want)
			}
		}
	}
}

// If no call can succeed the breaker must open, although the outcome of this one is unknown.
func TestWhichAnswersAreFaults(t *testing.T) {
	for _, tc := range []struct {
		status int
		body   string
		fault  error
	}{
		{301, "", ErrNotIdentityCloud}, {302, "", ErrNotIdentityCloud}, {308, "", ErrNotIdentityCloud},
		{401, "who?", ErrCredentials}, {404, "<html>Not Found</html>", ErrNotIdentityCloud}, {405, "", ErrNotIdentityCloud}, {407, "", ErrNotIdentityCloud},
		{200, apiError(402, ""), ErrCredentials}, {200, apiError(222, ""), ErrEntityType},
		{400, "no", nil}, {403, "no", nil}, {409, "", nil}, {413, "", nil}, {429, "", nil}, {500, "", nil}, {505, "", nil}, {520, "", nil}, {524, "", nil},
		{200, apiError(403, ""), nil}, {200, apiError(500, ""), nil}, {200, apiError(550, ""), nil}, {200, apiError(340, ""), nil},
	} {
		url, _ := serve(t, says(tc.status, tc.body))
		c := newClient(t, url)
		a := c.CreateBatch(context.Background(), batch(t, c, 1))
		if (a.Fault != nil) != (tc.fault != nil) || !errors.Is(a.Fault, tc.fault) {
			t.Errorf("HTTP %d %s: got the fault %v, want %v", tc.status, tc.body, a.Fault, tc.fault)
		}
	}
}

func TestTheConfiguredListsCount(t *testing.T) {
	none := UnknownCodes{API: Codes{}, HTTP: Codes{}}
	for _, tc := range []struct {
		unknown UnknownCodes
		status  int
		body    string
		want    Verdict
		proof   bool
	}{
		{none, 200, apiError(510, ""), Refused, true},
		{none, 502, "", Refused, true},
		{none, 413, "", TooLarge, true},
		{none, 204, "", Unknown, false},
		{none, 600, "", Unknown, false},
		{none, 200, "<html>", Unknown, false},
		{none, 502, `{"stat":"ok"}`, Unknown, false},
		{UnknownCodes{API: Codes{{361, 361}}, HTTP: Codes{{413, 413}}}, 200, apiError(361, ""), Unknown, false},
		{UnknownCodes{API: Codes{{361, 361}}, HTTP: Codes{{413, 413}}}, 413, "", TooLarge, false},
		{UnknownCodes{API: Codes{{361, 361}}, HTTP: Codes{{413, 413}}}, 502, "", Refused, true},
		{UnknownCodes{API: Codes{{361, 361}}}, 502, "", Unknown, false},
	} {
		url, _ := serve(t, says(tc.status, tc.body))
		c := newClient(t, url, func(cfg *Config) { cfg.Unknown = tc.unknown })
		if a := c.CreateBatch(context.Background(), batch(t, c, 1)); a.Verdict != tc.want || a.NothingWritten != tc.proof {
			t.Errorf("with %v, HTTP %d %s: got %s, nothing written %t, want %s, %t", tc.unknown, tc.status, tc.body, a.Verdict, a.NothingWritten, tc.want, tc.proof)
		}
	}
}

const (
	uuid1 = "efd7fe4e-65f3-4b5c-9d6f-000000000001"
	uuid2 = "3314d744-65f3-4b5c-9d6f-000000000002"
)

func TestEntriesOfAnAnswer(t *testing.T) {
	length := `{"stat":"error","code":"363","error":"length_violation","message":"m","request_token":"t","attribute_name":"a"}`
	c := newClient(t, "http://127.0.0.1:1")
	for entry, want := range map[string]RecordAnswer{
		quoted(uuid1): {UUID: uuid1},
		duplicate:     {Err: &APIError{Code: 361, Name: "unique_violation", Description: "Attempted to update a duplicate value"}},
		length:        {Err: &APIError{Code: 363, Name: "length_violation", Description: "m", RequestID: "t", Argument: "a"}},
		`{"stat":"error","error":"unique_violation"}`: {Err: &APIError{Name: "unique_violation"}},
		`{"code":300}`:                           {Err: &APIError{Code: 300}},
		`{"code":300,"stat":null}`:               {Err: &APIError{Code: 300}},
		`{"stat":"error"}`:                       {Unknown: "api error without a code"},
		`{"error":"x"}`:                          {Unknown: "api error without a code"},
		apiError(403, "no"):                      {Unknown: "api 403"},
		apiError(500, "no"):                      {Unknown: "api 500"},
		apiError(501, "no"):                      {Unknown: "api 501"},
		apiError(504, "late"):                    {Unknown: "api 504"},
		apiError(510, "busy"):                    {Unknown: "api 510"},
		apiError(550, "no"):                      {Unknown: "api 550"},
		`"u1"`:                                   {UUID: "u1"},
		`"created"`:                              {Unknown: "not a uuid"},
		`"an internal error occurred"`:           {Unknown: "not a uuid"},
		`"` + uuid1 + ` "`:                       {Unknown: "not a uuid"},
		`"` + strings.Repeat("0", 36) + `"`:      {Unknown: "not a uuid"},
		`"00000000-0000-0000-0000-000000000000"`: {Unknown: "not a uuid"},
		`{"code":300,"stat":"ok"}`:               {Unknown: "no result for a record"},
		`{}`:                                     {Unknown: "no result for a record"},
		`""`:                                     {Unknown: "no result for a record"},
		`null`:                                   {Unknown: "no result for a record"},
		`5`:                                      {Unknown: "no result for a record"},
		`["u1"]`:                                 {Unknown: "no result for a record"},
		`{"uuid":"u1"}`:                          {Unknown: "no result for a record"},
		`{"Code":361,"Error":"x"}`:               {Unknown: "no result for a record"},
		`{"code":-3}`:                            {Unknown: "no result for a record"},
		`{"code":{"deep":[1]},"x":null}`:         {Unknown: "no result for a record"},
	} {
		if got := c.readRecord([]byte(entry)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, want %+v", entry, got, want)
		}
	}
}

// An entry that contradicts another one is unknown; the other entries count.
func TestEntriesThatContradictEachOther(t *testing.T) {
	const third = "0a000000-65f3-4b5c-9d6f-000000000003"
	for _, tc := range []struct {
		name       string
		uuids, ids []string
		want       string // of each record: c for created, d for an error, or why it is unknown
	}{
		{"all well", []string{quoted(uuid1), quoted(uuid2), duplicate}, []string{"1", "2", duplicate}, "c,c,d"},
		{"all alike", []string{quoted(uuid1), quoted(uuid1), quoted(uuid1)}, []string{"1", "1", "1"}, "uuid twice,uuid twice,uuid twice"},
		{"two alike", []string{quoted(uuid1), quoted(uuid2), quoted(uuid1)}, []string{"1", "2", "3"}, "uuid twice,c,uuid twice"},
		{"alike but for case", []string{quoted(uuid1), quoted(strings.ToUpper(uuid1)), quoted(third)}, nil, "uuid twice,uuid twice,c"},
		{"an id twice", []string{quoted(uuid1), quoted(uuid2), quoted(third)}, []string{"1", "2", "1"}, "results contradict,c,results contradict"},
		{"a uuid, and an error for an id", []string{quoted(uuid1), quoted(uuid2), quoted(third)}, []string{"1", duplicate, "3"}, "c,results contradict,c"},
		{"an id, and an error for a uuid", []string{quoted(uuid1), duplicate, quoted(third)}, []string{"1", "2", "3"}, "c,results contradict,c"},
		{"ids that are nothing", []string{quoted(uuid1), duplicate, quoted(third)}, []string{"0", "null", "0"}, "c,d,c"},
	} {
		ids := ""
		if tc.ids != nil {
			ids = `,"results":[` + strings.Join(tc.ids, ",") + "]"
		}
		c := newClient(t, "http://127.0.0.1:1")
		a, result := c.judge(httponce.Reply{Status: 200, Body: []byte(`{"stat":"ok","uuid_results":[` + strings.Join(tc.uuids, ",") + "]" + ids + "}")})
		c.readRecords(&a, result, 3)
		var got []string
		for _, r := range a.Records {
			switch {
			case r.UUID != "":
				got = append(got, "c")
			case r.Err != nil:
				got = append(got, "d")
			default:
				got = append(got, r.Unknown)
			}
		}
		if strings.Join(got, ",") != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, got, tc.want)
		}
	}
}

func gzipped(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = io.WriteString(w, s)
	_ = w.Close()
	return b.String()
}

// Any failure of a connection leaves the batch unknown, with a reason that names it.
func TestNoAnswerIsUnknown(t *testing.T) {
	const answer = `{"stat":"ok","uuid_results":["` + uuid1 + `"]}`
	head := func(headers ...string) string {
		return "HTTP/1.1 200 OK\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
	}
	full := "Content-Length: " + strconv.Itoa(len(answer))
	zipped := gzipped(answer + strings.Repeat(" ", 1000))
	wrongSum := []byte(zipped)
	wrongSum[len(wrongSum)-8] ^= 1
	// untilGone keeps the connection open until the client closes it.
	untilGone := func(c rawConn) { _, _ = c.r.ReadByte() }

	for _, tc := range []struct {
		name    string
		handle  func(rawConn)
		change  func(*Config)
		reasons string
	}{
		{"reset after the request", func(c rawConn) { c.request(); c.reset() }, nil, "reset"},
		{"reset in the request", func(c rawConn) { _, _ = c.r.ReadByte(); c.reset() }, nil, "reset closed"},
		{"silence in the answer", func(c rawConn) {
			c.request()
			c.say(head(full) + answer[:9])
			untilGone(c)
		}, hasty, "timeout"},
		{"closed without a word", func(c rawConn) { c.request() }, nil, "closed"},
		{"closed in the head", func(c rawConn) { c.request(); c.say("HTTP/1.1 200 OK\r\nContent-Length: 3") }, nil, "cut short"},
		{"closed in the body", func(c rawConn) { c.request(); c.say(head(full) + answer[:len(answer)-1]) }, nil, "cut short"},
		{"closed in a chunk", func(c rawConn) {
			c.request()
			c.say(head("Transfer-Encoding: chunked") + "40\r\n" + answer)
		}, nil, "cut short"},
		{"closed before the last chunk", func(c rawConn) {
			c.request()
			c.say(head("Transfer-Encoding: chunked") + strconv.FormatInt(int64(len(answer)), 16) + "\r\n" + answer + "\r\n")
		}, nil, "cut short"},
		{"chunks that are none", func(c rawConn) {
			c.request()
			c.say(head("Transfer-Encoding: chunked") + "zz\r\n" + answer)
		}, nil, "cut short"},
		{"gzip cut off, the length right", func(c rawConn) {
			c.request()
			c.say(head("Content-Encoding: gzip", "Content-Length: 30") + zipped[:30])
		}, nil, "cut short"},
		{"gzip cut off before its checksum, until the end of the connection", func(c rawConn) {
			c.request()
			c.say(head("Content-Encoding: gzip", "Connection: close") + zipped[:len(zipped)-8])
		}, nil, "cut short"},
		{"gzip with a wrong checksum", func(c rawConn) {
			c.request()
			c.say(head("Content-Encoding: gzip", "Connection: close") + string(wrongSum))
		}, nil, "bad gzip"},
		{"gzip that is none", func(c rawConn) {
			c.request()
			c.say(head("Content-Encoding: gzip", full) + answer)
		}, nil, "bad gzip"},
		{"gzip with garbage inside", func(c rawConn) {
			c.request()
			c.say(head("Content-Encoding: gzip", "Connection: close") + zipped[:10] + strings.Repeat("\xff", 50))
		}, nil, "bad gzip"},
		{"not HTTP", func(c rawConn) { c.request(); c.say("220 smtp.example.com ESMTP ann@example.com\r\n") }, nil, "not http"},
		{"silence", func(c rawConn) { c.request(); untilGone(c) }, hasty, "timeout"},
		{"silence without reading", func(rawConn) { <-t.Context().Done() }, hasty, "timeout"},
		{"one byte after the other, for ever", func(c rawConn) {
			c.request()
			c.say(head("Content-Length: 1000000000"))
			for range time.Tick(time.Millisecond) {
				if _, err := io.WriteString(c, " "); err != nil {
					return
				}
			}
		}, hasty, "timeout"},
		{"longer than the limit", func(c rawConn) {
			c.request()
			c.say(head("Content-Length: 1001") + answer + strings.Repeat(" ", 1001-len(answer)))
		}, func(cfg *Config) { cfg.MaxAnswer = 1000 }, "answer too long"},
		{"unpacked longer than the limit", func(c rawConn) {
			c.request()
			c.say(head("Content-Encoding: gzip", "Connection: close") + gzipped(answer+strings.Repeat(" ", 1<<20)))
		}, func(cfg *Config) { cfg.MaxAnswer = 1 << 20 }, "answer too long"},
		{"413 cut short", func(c rawConn) { c.request(); c.say("HTTP/1.1 413 X\r\nContent-Length: 10\r\n\r\n") }, nil, "cut short"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url := serveRaw(t, tc.handle)
			var changes []func(*Config)
			if tc.change != nil {
				changes = append(changes, tc.change)
			}
			c := newClient(t, url, changes...)
			a := c.CreateBatch(context.Background(), batch(t, c, 1))
			var e *NoAnswerError
			if a.Verdict != Unknown || a.Reason == "" || !strings.Contains(tc.reasons, a.Reason) {
				t.Errorf("got %s, %q (%v), want unknown, %q", a.Verdict, a.Reason, a.Err, tc.reasons)
			}
			if !errors.As(a.Err, &e) || e.Reason != a.Reason || a.Records != nil {
				t.Errorf("got error %#v and records %v for the reason %q", a.Err, a.Records, a.Reason)
			}
			if strings.Contains(a.Err.Error(), "ann@example.com") {
				t.Errorf("the error repeats what the server said: %v", a.Err)
			}
			if a.Sent.IsZero() || a.Received.Before(a.Sent) {
				t.Errorf("sent %v, received %v", a.Sent, a.Received)
			}
		})
	}
}

func TestOnlyCompleteAnswersCount(t *testing.T) {
	const answer = `{"stat":"ok","uuid_results":["` + uuid1 + `"]}`
	for name, raw := range map[string]string{
		"gzip":                            "Content-Encoding: gzip\r\nContent-Length: " + strconv.Itoa(len(gzipped(answer))) + "\r\n\r\n" + gzipped(answer),
		"chunks":                          "Transfer-Encoding: chunked\r\n\r\n5\r\n" + answer[:5] + "\r\n" + strconv.FormatInt(int64(len(answer)-5), 16) + "\r\n" + answer[5:] + "\r\n0\r\n\r\n",
		"as long as the limit":            "Content-Length: 100\r\n\r\n" + answer + strings.Repeat(" ", 100-len(answer)),
		"until the end of the connection": "Connection: close\r\n\r\n" + answer,
	} {
		url := serveRaw(t, func(c rawConn) { c.request(); c.say("HTTP/1.1 200 OK\r\n" + raw) })
		c := newClient(t, url, func(cfg *Config) { cfg.MaxAnswer = 100 })
		if a := c.CreateBatch(context.Background(), batch(t, c, 1)); a.Verdict != Answered {
			t.Errorf("%s: got %s, %v", name, a.Verdict, a.Err)
		}
	}
}

// A front end that refuses a body for its size answers before it has read all of it.
func TestTooLargeIsReadWhileTheBodyIsSent(t *testing.T) {
	url := serveRaw(t, func(c rawConn) {
		_, _ = c.r.ReadByte()
		c.say("HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: " + strconv.Itoa(len(nginx413)) + "\r\nConnection: close\r\n\r\n" + nginx413)
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c.r) // as nginx does (lingering_close)
	})
	c := newClient(t, url)
	body := bodyOf(t, c, []byte(`{"a":"`+strings.Repeat("x", 8<<20)+`"}`))
	if a := c.CreateBatch(context.Background(), body); a.Verdict != TooLarge {
		t.Errorf("got %s, %v, want too large", a.Verdict, a.Err)
	}
}

func TestRefusedConnectionIsUnknown(t *testing.T) {
	c := newClient(t, "http://"+refusing(t))
	a := c.CreateBatch(context.Background(), batch(t, c, 1))
	if a.Verdict != Unknown || a.Reason != "connection refused" {
		t.Errorf("got %s, %q (%v), want unknown, connection refused", a.Verdict, a.Reason, a.Err)
	}
}

func TestEndedContextIsUnknownOnceSent(t *testing.T) {
	for _, tc := range []struct {
		reason string
		ctx    func() (context.Context, context.CancelFunc)
	}{
		{"canceled", func() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }},
		{"timeout", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), impatience)
		}},
	} {
		ctx, cancel := tc.ctx()
		url := serveRaw(t, func(c rawConn) {
			c.request()
			if tc.reason == "canceled" {
				cancel()
			}
			_, _ = c.r.ReadByte()
		})
		c := newClient(t, url)
		if a := c.CreateBatch(ctx, batch(t, c, 1)); a.Verdict != Unknown || a.Reason != tc.reason {
			t.Errorf("got %s, %q, want unknown, %q", a.Verdict, a.Reason, tc.reason)
		}
		cancel()
	}
}

func TestServerHeaders(t *testing.T) {
	for _, tc := range []struct {
		date, retry string
		want        time.Duration
	}{
		{"Sun, 22 Nov 2026 13:05:00 GMT", "120", 2 * time.Minute},
		{"Sun, 22 Nov 2026 13:05:00 GMT", " 7 ", 7 * time.Second},
		{"Sun, 22 Nov 2026 13:05:00 GMT", "Sun, 22 Nov 2026 13:06:30 GMT", 90 * time.Second},
		{"Sun, 22 Nov 2026 13:05:00 GMT", "Sun, 22 Nov 2026 13:04:30 GMT", 0},
		{"Sun, 22 Nov 2026 13:05:00 GMT", "99999999999999999", 24 * time.Hour},
		{"Sun, 22 Nov 2026 13:05:00 GMT", "Sun, 22 Nov 2096 13:04:30 GMT", 24 * time.Hour},
		{"Sun, 22 Nov 2026 13:05:00 GMT", "-5", 0},
		{"Sun, 22 Nov 2026 13:05:00 GMT", "soon", 0},
		{"Sun, 22 Nov 2026 13:05:00 GMT", "", 0},
		{"garbage", "3", 3 * time.Second},
	} {
		url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header()["Date"] = []string{tc.date}
			w.Header()["Retry-After"] = []string{tc.retry}
			w.WriteHeader(503)
		})
		c := newClient(t, url)
		a := c.CreateBatch(context.Background(), batch(t, c, 1))
		date, _ := http.ParseTime(tc.date)
		if a.RetryAfter != tc.want || !a.ServerDate.Equal(date) {
			t.Errorf("Date %q, Retry-After %q: got %v, %v, want %v", tc.date, tc.retry, a.ServerDate, a.RetryAfter, tc.want)
		}
	}
}

func TestWordsOfAnAnswer(t *testing.T) {
	for _, tc := range []struct {
		status    int
		body      string
		words     string
		errorText string
	}{
		{200, apiError(340, "ann@example.com is not a date"), "API Error 340: ann@example.com is not a date", "api 340 some_name (request geup8cd3)"},
		{200, `{"stat":"error","code":340}`, "api 340", "api 340"},
		{404, "ann@example.com", "HTTP 404 Not Found", "HTTP 404 Not Found"},
		{599, "x", "HTTP 599", "HTTP 599"},
		{200, "ann@example.com", "no usable answer: not json (HTTP 200)", "no usable answer: not json (HTTP 200)"},
	} {
		url, _ := serve(t, says(tc.status, tc.body))
		c := newClient(t, url)
		a := c.CreateBatch(context.Background(), batch(t, c, 1))
		if a.Words() != tc.words || a.Err.Error() != tc.errorText {
			t.Errorf("HTTP %d %s\ngot  %q and %q\nwant %q and %q", tc.status, tc.body, a.Words(), a.Err, tc.words, tc.errorText)
		}
	}
	if w := (Answer{Verdict: Answered}).Words(); w != "" {
		t.Errorf("words of success: %q", w)
	}
}

func TestVerdictZeroIsUnknown(t *testing.T) {
	var names []string
	for v := Verdict(0); v <= NotSent+1; v++ {
		names = append(names, v.String())
	}
	if want := []string{"unknown", "answered", "refused", "too large", "not sent", "verdict 5"}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}
