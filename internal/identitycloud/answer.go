package identitycloud

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Verdict says what is known after a call.
type Verdict int

const (
	// Unknown: nobody said what was written. All, some or none of the records may exist. It is the zero value, so
	// that what was never judged is not taken for known.
	Unknown Verdict = iota
	// Answered: the API answered for each record on its own.
	Answered
	// Refused: the whole call failed, and the API or HTTP said so.
	Refused
	// TooLarge: the body was refused for its size before anyone read it. Nothing was written; halves may be sent.
	TooLarge
	// NotSent: not one byte was sent, since BeforeCall refused, the context had ended, or the body was empty.
	NotSent
)

func (v Verdict) String() string {
	names := [...]string{"unknown", "answered", "refused", "too large", "not sent"}
	if v < 0 || int(v) >= len(names) {
		return "verdict " + strconv.Itoa(int(v))
	}
	return names[v]
}

// Answer is the result of one bulkCreate call.
//
// The verdict is decided in this order, which is that of the Python client that dataload.py uses: the API's JSON
// first, whatever the HTTP status; then the HTTP status; then the body.
//
//	no answer, or not to its end, whatever was heard of it           Unknown
//	stat "error" without a code                                      Unknown
//	stat "error", the code is on the API list                        Unknown
//	stat "error" with HTTP 413, or in the words below                TooLarge
//	stat "error", any other code                                     Refused
//	"client intended to send too large body", "request entity too large", unless stat is "ok"  TooLarge
//	the HTTP status is on the HTTP list                              Unknown
//	HTTP 400 to 599 with stat "ok", a contradiction                  Unknown
//	HTTP 413, or "too large" with any other HTTP 400 to 599          TooLarge
//	any other HTTP 400 to 599                                        Refused
//	any other status than 200, redirects among them                  Unknown
//	not JSON, no stat, fewer or more results than records            Unknown
//	HTTP 200, stat "ok", one result for each record                  Answered
//
// The Python client returns the JSON of HTTP 400 and 401 (which the OAuth endpoints use) as if it were 200: stat "ok"
// would count there. It does not count here.
//
// On "too large": the two longer phrases speak of the request, and a front end says them before it passes the request on, so
// they prove that nothing was written, even with a status on the HTTP list. The words "too large" alone may speak of
// the upstream's answer, and then something was written: they do not count with a status on the list.
// A code on the API list comes from behind the front end, and wins over both.
type Answer struct {
	Verdict Verdict

	// Records has one entry for each record sent, in order, if the verdict is Answered; else it is nil.
	Records []RecordAnswer

	// Err is nil if the verdict is Answered. Else it is an *APIError, an *HTTPError or a *NoAnswerError, and for
	// NotSent the error of BeforeCall or of the context. Except for NotSent its text is made here and safe for logs.
	Err error

	// Reason is a short class, safe for logs and as a metric's label; "" if the verdict is Answered. It is
	// "api <code>", "api error without a code", "http <status>", "http <status> with stat ok", "too large", "not sent", or for a
	// missing answer one of: refused, reset, closed (hung up without a word), timeout, canceled, dns, unreachable,
	// proxy, tls, network (any other failure of a connection), not http, cut short, bad gzip, answer too long,
	// not json, no stat, too few results, too many results.
	Reason string

	// Fault is not nil if what was refused is the call and none of its records, so that no other call can succeed until
	// somebody has done something: errors.Is finds ErrCredentials, ErrEntityType or ErrNotIdentityCloud in it, or it is
	// another refusal for which APIError.IsAboutCall is true. Its text is for people, and safe for logs.
	Fault error

	// ServerDate is the answer's Date header, in whole seconds; zero if there was none.
	ServerDate time.Time

	// Sent is the local time just before dialling, Received that of the last byte, or of the failure. Both are zero
	// if nothing was sent.
	Sent, Received time.Time

	// RetryAfter is how long the server asks to wait (RFC 9110, section 10.2.3), at most a day; 0 if it did not ask.
	RetryAfter time.Duration
}

// Words returns what the fail file says of each record of a call that failed as a whole: "API Error 200: …" as dataload.py
// writes it, or the text of Err. It may hold user data: not for logs.
func (a Answer) Words() string {
	var api *APIError
	switch {
	case a.Err == nil:
		return ""
	case errors.As(a.Err, &api) && api.Description != "":
		return fmt.Sprintf("API Error %d: %s", api.Code, api.Description)
	}
	return a.Err.Error()
}

// RecordAnswer is what the API said of one record: exactly one of UUID (created) and Err (not created) is set. If
// neither is, the entry was neither, and the record's outcome is unknown.
type RecordAnswer struct {
	UUID string
	Err  *APIError
}

// IsUnknown says that the answer tells nothing of the record.
func (r RecordAnswer) IsUnknown() bool { return r.UUID == "" && r.Err == nil }

// CreateBatch sends one entity.bulkCreate call, once, and judges what came back. It returns no Go error: an error is an
// answer too. Whoever calls it must have made sure that this batch is not sent twice.
func (c *Client) CreateBatch(ctx context.Context, body Body) Answer {
	if body.records == 0 {
		return Answer{Verdict: NotSent, Reason: "not sent", Err: errors.New("a body without records was not sent")}
	}
	answer, result := c.ask(ctx, BulkCreate, body.encoded)
	if answer.Verdict == Answered {
		answer.readRecords(result, body.records)
	}
	return answer
}

// readRecords reads the list uuid_results, as dataload.py does.
func (a *Answer) readRecords(result object, records int) {
	var entries []json.RawMessage
	// What is not a list has no entry, and an error here leaves none.
	_ = json.Unmarshal(result["uuid_results"], &entries)
	switch {
	case len(entries) < records:
		a.unusable("too few results")
		return
	case len(entries) > records:
		a.unusable("too many results")
		return
	}
	a.Records = make([]RecordAnswer, records)
	for i, raw := range entries {
		a.Records[i] = readRecord(raw)
	}
}

// readRecord reads one entry: a uuid, or an object with stat "error". An object without stat passes for an error if it
// has an error's code or name.
func readRecord(raw json.RawMessage) (r RecordAnswer) {
	if json.Unmarshal(raw, &r.UUID) == nil {
		return r // null leaves it empty
	}
	o := parseObject(raw)
	stat, hasStat := o["stat"]
	if o.text("stat") == "error" || (!hasStat || string(stat) == "null") && (o.code() != 0 || o.text("error") != "") {
		r.Err = newAPIError(o)
	}
	return r
}

// ask makes a call and judges what came back.
func (c *Client) ask(ctx context.Context, endpoint string, form []byte) (Answer, object) {
	answer, result := c.judge(c.call(ctx, endpoint, form))
	answer.Fault = c.fault(endpoint, answer)
	c.renewSecret(answer)
	if c.judged != nil {
		c.judged(ctx, endpoint, answer)
	}
	return answer, result
}

// BulkCreate is the endpoint of CreateBatch.
const BulkCreate = "/entity.bulkCreate"

// fault is Answer.Fault. What an internal error is about, 500 and above, nobody knows. An argument that is refused, or a
// right that is missing, may be a record's own in another call than BulkCreate.
func (c *Client) fault(endpoint string, a Answer) error {
	var (
		api    *APIError
		status *HTTPError
	)
	switch {
	case a.Verdict != Refused && a.Verdict != Unknown:
	case errors.As(a.Err, &api) && c.isCredentials(api):
		return c.wrongCredentials(a.Err, a)
	case api != nil && api.Code == 222:
		return c.noEntityType(api)
	case a.Verdict == Unknown:
	case api != nil && endpoint == BulkCreate && api.IsAboutCall() && api.Code < 500:
		return fmt.Errorf("the API at %s refuses every call: %w", c.host, a.Err)
	case errors.As(a.Err, &status) && slices.Contains([]int{401, 404, 405, 407}, status.Status):
		return c.checkHTTP(status, a)
	}
	return nil
}

// judge is the one place that decides what an answer says, in the order that Answer documents. With the verdict
// Answered it returns the API's JSON: stat is "ok" and the status is 200.
func (c *Client) judge(r reply) (Answer, object) {
	a := Answer{Sent: r.sent, Received: r.received}
	if r.notSent != nil {
		a.Verdict, a.Reason, a.Err = NotSent, "not sent", r.notSent
		return a, nil
	}
	if r.header != nil {
		a.ServerDate, _ = http.ParseTime(r.header.Get("Date"))
		a.RetryAfter = RetryAfter(r.header.Get("Retry-After"), a.ServerDate, r.received)
		if c.answered != nil && !a.ServerDate.IsZero() {
			c.answered(a.ServerDate, a.Sent, a.Received)
		}
	}
	if r.err != nil {
		a.Verdict, a.Reason, a.Err = Unknown, r.err.Reason, r.err
		return a, nil
	}

	result := parseObject(r.body)
	stat := result.text("stat")
	refusedSize := stat != "ok" && containsFold(r.body, "client intended to send too large body", "request entity too large")
	if stat == "error" {
		e := newAPIError(result)
		a.Reason, a.Err = e.Reason(), e
		switch {
		case e.Code == 0, slices.Contains(c.unknown.API, e.Code):
			a.Verdict = Unknown
		case refusedSize, r.status == http.StatusRequestEntityTooLarge:
			a.Verdict, a.Reason = TooLarge, "too large"
		default:
			a.Verdict = Refused
		}
		return a, nil
	}

	a.Err = &HTTPError{Status: r.status}
	a.Reason = "http " + strconv.Itoa(r.status)
	isError := r.status >= 400 && r.status <= 599
	switch {
	case refusedSize:
		a.Verdict, a.Reason = TooLarge, "too large"
	case slices.Contains(c.unknown.HTTP, r.status):
		a.Verdict = Unknown
	case r.status != http.StatusOK && stat == "ok":
		a.Verdict = Unknown
		a.Reason += " with stat ok"
	case isError && (r.status == http.StatusRequestEntityTooLarge || containsFold(r.body, "too large")):
		a.Verdict, a.Reason = TooLarge, "too large"
	case isError:
		a.Verdict = Refused
	case r.status != http.StatusOK:
		a.Verdict = Unknown
	case result == nil && !json.Valid(r.body):
		a.unusable("not json")
	case stat != "ok":
		a.unusable("no stat")
	default:
		a.Verdict, a.Reason, a.Err = Answered, "", nil
		return a, result
	}
	return a, nil
}

// unusable makes the answer one that came, but does not say what was done.
func (a *Answer) unusable(reason string) {
	a.Verdict, a.Reason, a.Records = Unknown, reason, nil
	a.Err = &NoAnswerError{Reason: reason, Status: http.StatusOK}
}

// containsFold says that one of the phrases, in lower case, is in the text in any case.
func containsFold(text []byte, phrases ...string) bool {
	lower := bytes.ToLower(text)
	return slices.ContainsFunc(phrases, func(p string) bool { return bytes.Contains(lower, []byte(p)) })
}

// RetryAfter reads a Retry-After header: seconds, or a date, which is compared with the server's own clock if that is known.
// It is a day at most, and 0 where the header says nothing.
func RetryAfter(value string, serverDate, received time.Time) time.Duration {
	const longest = 24 * time.Hour
	value = strings.TrimSpace(value)
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(longest/time.Second))) * time.Second
	}
	date, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	if serverDate.IsZero() {
		serverDate = received
	}
	return min(max(0, date.Sub(serverDate)), longest)
}
