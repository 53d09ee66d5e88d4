package identitycloud

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	duplicate = `{"code":361,"error":"unique_violation","error_description":"Attempted to update a duplicate value","stat":"error"}`
	nginx413  = "<html>\r\n<head><title>413 Request Entity Too Large</title></head>\r\n</html>"
	tooLarge  = "client intended to send too large body: 6291456 bytes"
)

func apiError(code int, words string) string {
	return `{"stat":"error","code":` + strconv.Itoa(code) + `,"error":"some_name","error_description":` + strconv.Quote(words) + `,"request_id":"geup8cd3"}`
}

// Every row of the table that Answer documents, for a batch of two records.
func TestAnswerTable(t *testing.T) {
	ok := func(entries string) string {
		return `{"uuid_results":[` + entries + `],"results":[1,2],"stat":"ok"}`
	}
	for _, tc := range []struct {
		name    string
		status  int
		body    string
		verdict Verdict
		reason  string
	}{
		{"two uuids", 200, ok(`"u1","u2"`), Answered, ""},
		{"a uuid and a duplicate", 200, ok(`"u1",` + duplicate), Answered, ""},
		{"a number for a uuid", 200, ok(`"u1",5`), Answered, ""},

		{"API code on the list", 200, apiError(510, "busy"), Unknown, "api 510"},
		{"API code 403", 200, apiError(403, "no"), Unknown, "api 403"},
		{"API code 500", 200, apiError(500, "no"), Unknown, "api 500"},
		{"API code 504", 200, apiError(504, "no"), Unknown, "api 504"},
		{"API code on the list as text", 200, `{"stat":"error","code":"510","error":"x"}`, Unknown, "api 510"},
		{"API code on the list beats an HTTP code that is not", 400, apiError(510, "busy"), Unknown, "api 510"},
		{"API code on the list beats HTTP 413", 413, apiError(510, "busy"), Unknown, "api 510"},
		{"API code on the list beats the words", 200, apiError(500, tooLarge), Unknown, "api 500"},
		{"API error without a code", 200, `{"stat":"error","error_description":"x"}`, Unknown, "api error without a code"},
		{"API error with a code that is none", 200, `{"stat":"error","code":"busy"}`, Unknown, "api error without a code"},

		{"another API code", 200, apiError(200, "bad JSON"), Refused, "api 200"},
		{"another API code beats an HTTP code on the list", 502, apiError(200, "bad JSON"), Refused, "api 200"},
		{"API 403 beats HTTP 404", 404, apiError(403, "no"), Unknown, "api 403"},
		{"an HTTP code's number in the API's JSON", 200, apiError(502, "x"), Refused, "api 502"},
		{"too large a value is not too large a body", 200, apiError(340, "the number is too large"), Refused, "api 340"},
		{"the words in the API's JSON", 200, apiError(200, tooLarge), TooLarge, "too large"},
		{"HTTP 413 with the API's JSON", 413, apiError(200, "x"), TooLarge, "too large"},

		{"HTTP 413", 413, nginx413, TooLarge, "too large"},
		{"HTTP 413 without a body", 413, "", TooLarge, "too large"},
		{"the words with HTTP 200", 200, tooLarge, TooLarge, "too large"},
		{"the words with HTTP 400", 400, tooLarge, TooLarge, "too large"},
		{"the words with an HTTP code on the list", 502, tooLarge, TooLarge, "too large"},
		{"the title of 413 with an HTTP code on the list", 403, nginx413, TooLarge, "too large"},
		{"shorter words, HTTP code not on the list", 400, "Payload Too Large", TooLarge, "too large"},
		{"shorter words, HTTP code on the list", 502, "upstream response too large", Unknown, "http 502"},
		{"shorter words with HTTP 200", 200, "too large", Unknown, "not json"},
		{"JSON that is not the API's, with the words", 400, `{"message":"` + tooLarge + `"}`, TooLarge, "too large"},
		{"an answer that quotes the words", 200, `{"stat":"ok","uuid_results":["u1","` + tooLarge + `"]}`, Answered, ""},

		{"HTTP 403", 403, "no", Unknown, "http 403"},
		{"HTTP 408", 408, "no", Unknown, "http 408"},
		{"HTTP 429", 429, "no", Unknown, "http 429"},
		{"HTTP 500", 500, "", Unknown, "http 500"},
		{"HTTP 501", 501, "no", Unknown, "http 501"},
		{"HTTP 502", 502, "<html>Bad Gateway</html>", Unknown, "http 502"},
		{"HTTP 503", 503, "no", Unknown, "http 503"},
		{"HTTP 504", 504, `{"message":"gateway"}`, Unknown, "http 504"},
		{"HTTP code on the list with stat ok", 503, ok(`"u1","u2"`), Unknown, "http 503"},

		{"HTTP 404", 404, "<html>Not Found</html>", Refused, "http 404"},
		{"HTTP 401 without JSON", 401, "who?", Refused, "http 401"},
		{"HTTP 400 with JSON without stat", 400, `{"message":"no"}`, Refused, "http 400"},
		{"HTTP 510, which is no API 510", 510, "x", Refused, "http 510"},
		{"HTTP 400 with stat ok", 400, ok(`"u1","u2"`), Unknown, "http 400 with stat ok"},
		{"HTTP 413 with stat ok", 413, ok(`"u1","u2"`), Unknown, "http 413 with stat ok"},
		{"HTTP 201 with stat ok", 201, ok(`"u1","u2"`), Unknown, "http 201 with stat ok"},
		{"HTTP 204", 204, "", Unknown, "http 204"},
		{"HTTP 304", 304, "", Unknown, "http 304"},

		{"nothing", 200, "", Unknown, "not json"},
		{"a page", 200, "<html>Maintenance</html>", Unknown, "not json"},
		{"JSON with something after it", 200, ok(`"u1","u2"`) + "x", Unknown, "not json"},
		{"JSON cut off", 200, ok(`"u1","u2"`)[:30], Unknown, "not json"},
		{"JSON without stat", 200, `{"uuid_results":["u1","u2"]}`, Unknown, "no stat"},
		{"stat in capitals", 200, `{"STAT":"ok","uuid_results":["u1","u2"]}`, Unknown, "no stat"},
		{"another stat", 200, `{"stat":"partial","uuid_results":["u1","u2"]}`, Unknown, "no stat"},
		{"stat that is no text", 200, `{"stat":true,"uuid_results":["u1","u2"]}`, Unknown, "no stat"},
		{"a JSON list", 200, `["u1","u2"]`, Unknown, "no stat"},
		{"null", 200, `null`, Unknown, "no stat"},
		{"fewer results", 200, ok(`"u1"`), Unknown, "too few results"},
		{"more results", 200, ok(`"u1","u2","u3"`), Unknown, "too many results"},
		{"no results", 200, `{"stat":"ok","results":[1,2]}`, Unknown, "too few results"},
		{"results that are no list", 200, `{"stat":"ok","uuid_results":"u1"}`, Unknown, "too few results"},
		{"results that are null", 200, `{"stat":"ok","uuid_results":null}`, Unknown, "too few results"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			c := newClient(t, url)
			a := c.CreateBatch(context.Background(), batch(t, c, 2))
			if a.Verdict != tc.verdict || a.Reason != tc.reason {
				t.Errorf("HTTP %d %s\ngot  %s, %q (%v)\nwant %s, %q", tc.status, tc.body, a.Verdict, a.Reason, a.Err, tc.verdict, tc.reason)
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

func TestTheListsAreTheConfigured(t *testing.T) {
	for _, tc := range []struct {
		unknown UnknownCodes
		status  int
		body    string
		want    Verdict
	}{
		{UnknownCodes{API: []int{}, HTTP: []int{}}, 200, apiError(510, ""), Refused},
		{UnknownCodes{API: []int{}, HTTP: []int{}}, 502, "", Refused},
		{UnknownCodes{API: []int{361}, HTTP: []int{413}}, 200, apiError(361, ""), Unknown},
		{UnknownCodes{API: []int{361}, HTTP: []int{413}}, 413, "", Unknown},
		{UnknownCodes{API: []int{361}}, 502, "", Unknown},
	} {
		url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
		c := newClient(t, url, func(cfg *Config) { cfg.Unknown = tc.unknown })
		if a := c.CreateBatch(context.Background(), batch(t, c, 1)); a.Verdict != tc.want {
			t.Errorf("with %v, HTTP %d %s: got %s, want %s", tc.unknown, tc.status, tc.body, a.Verdict, tc.want)
		}
	}
}

func TestEntriesOfAnAnswer(t *testing.T) {
	for entry, want := range map[string]RecordAnswer{
		`"efd7fe4e-65f3-4b5c-9d6f-000000000001"`: {UUID: "efd7fe4e-65f3-4b5c-9d6f-000000000001"},
		duplicate:                                {Err: &APIError{Code: 361, Name: "unique_violation", Description: "Attempted to update a duplicate value"}},
		`{"stat":"error","code":"363","error":"length_violation","message":"m","request_token":"t","attribute_name":"a"}`: {
			Err: &APIError{Code: 363, Name: "length_violation", Description: "m", RequestID: "t", Argument: "a"}},
		`{"stat":"error"}`:               {Err: &APIError{}},
		`{"code":300}`:                   {Err: &APIError{Code: 300}},
		`{"error":"unique_violation"}`:   {Err: &APIError{Name: "unique_violation"}},
		`{"stat":null,"code":300}`:       {Err: &APIError{Code: 300}},
		`{"stat":"ok","code":300}`:       {},
		`{"stat":5,"code":300}`:          {},
		`{}`:                             {},
		`null`:                           {},
		`""`:                             {},
		`5`:                              {},
		`["u1"]`:                         {},
		`{"uuid":"u1"}`:                  {},
		`{"Code":361,"Error":"x"}`:       {},
		`{"code":-3}`:                    {},
		`{"code":{"deep":[1]},"x":null}`: {},
	} {
		got := readRecord([]byte(entry))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v %+v, want %+v %+v", entry, got.UUID, got.Err, want.UUID, want.Err)
		}
		if unknown := want.UUID == "" && want.Err == nil; got.IsUnknown() != unknown {
			t.Errorf("%s: IsUnknown is %t", entry, got.IsUnknown())
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

// What a server can do to a connection leaves the batch unknown, under a name that tells what happened.
func TestNoAnswerIsUnknown(t *testing.T) {
	const answer = `{"stat":"ok","uuid_results":["u1"]}`
	head := func(headers ...string) string {
		return "HTTP/1.1 200 OK\r\n" + strings.Join(append(headers, "\r\n"), "\r\n")
	}
	full := "Content-Length: " + strconv.Itoa(len(answer))
	zipped := gzipped(answer + strings.Repeat(" ", 1000))
	wrongSum := []byte(zipped)
	wrongSum[len(wrongSum)-8] ^= 1
	// untilGone keeps the connection open until the client leaves.
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

func TestAnswersToTheirEndCount(t *testing.T) {
	const answer = `{"stat":"ok","uuid_results":["u1"]}`
	for name, raw := range map[string]string{
		"gzip":                            "Content-Encoding: gzip\r\nContent-Length: " + strconv.Itoa(len(gzipped(answer))) + "\r\n\r\n" + gzipped(answer),
		"chunks":                          "Transfer-Encoding: chunked\r\n\r\n5\r\n" + answer[:5] + "\r\n1e\r\n" + answer[5:] + "\r\n0\r\n\r\n",
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

// A front end that refuses a body for its size answers before it has read it all.
func TestTooLargeIsHeardWhileTheBodyIsBeingSent(t *testing.T) {
	url := serveRaw(t, func(c rawConn) {
		_, _ = c.r.ReadByte()
		c.say("HTTP/1.1 413 Request Entity Too Large\r\nContent-Length: " + strconv.Itoa(len(nginx413)) + "\r\nConnection: close\r\n\r\n" + nginx413)
		_ = c.CloseWrite()
		_, _ = io.Copy(io.Discard, c.r) // as nginx does (lingering_close)
	})
	c := newClient(t, url)
	body, err := c.NewBody([][]byte{[]byte(`{"a":"` + strings.Repeat("x", 8<<20) + `"}`)})
	if err != nil {
		t.Fatal(err)
	}
	if a := c.CreateBatch(context.Background(), body); a.Verdict != TooLarge {
		t.Errorf("got %s, %v, want too large", a.Verdict, a.Err)
	}
}

func TestRefusedConnectionIsUnknown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	c := newClient(t, "http://"+l.Addr().String())
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
	now := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	if d := RetryAfter("Sun, 22 Nov 2026 13:05:00 GMT", time.Time{}, now); d != 5*time.Minute {
		t.Errorf("without the server's date: got %v, want 5m", d)
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
		url, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(tc.status)
			_, _ = io.WriteString(w, tc.body)
		})
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
