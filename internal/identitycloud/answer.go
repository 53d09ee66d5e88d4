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

	"durable-dataload/internal/httponce"
)

// Verdict says what is known after a call.
type Verdict int

const (
	// Unknown: nobody said what was written. All, some or none of the records may exist. It is the zero value, so
	// that what was never judged is not taken for known.
	Unknown Verdict = iota
	// Answered: the API answered for each record on its own.
	Answered
	// Refused: the whole call failed, and nothing was written: the API said so, or a status that was taken off the HTTP list.
	Refused
	// TooLarge: the body was refused for its size. Halves may succeed, but see Answer.NothingWritten.
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
// Known means that the API said so: in JSON of its own with a stat, whatever the HTTP status. What a front end, a gateway or
// a proxy answers instead says nothing of what was written, and neither does an error that the API declares as its own (500
// and above). The verdict is decided in this order:
//
//	no answer, or not to its end, whatever was heard of it              Unknown
//	stat "error" without a code, or with one on the API list            Unknown
//	stat "error" with HTTP 413, or in the words below                   TooLarge
//	stat "error", any other code                                        Refused
//	no stat "ok" and HTTP 413, or in the words below                    TooLarge
//	HTTP 400 to 499 but 431 without stat "ok", and "too large" in it    TooLarge
//	any other status than 200 with stat "ok", a contradiction           Unknown
//	an HTTP status on the HTTP list (the default is every status)       Unknown
//	an HTTP status of an error (300 to 599) that was taken off it       Refused
//	any other status than 200                                           Unknown
//	not JSON, no stat, fewer or more results than records               Unknown
//	HTTP 200, stat "ok", one result for each record                     Answered
//
// With the verdict Answered each entry is judged alone:
//
//	a uuid that no other entry has                                      created
//	an error object for a value that another record has                 a duplicate: RecordAnswer.Err.IsDuplicate
//	an error object without a code, or with one on the API list         unknown
//	any other error object                                              failed
//	a uuid twice, not a uuid, anything else                             unknown
//	uuid_results and results say different things of it                 unknown
//
// The words are "client intended to send too large body" and "request entity too large". TooLarge says that halves of the
// call may succeed, and not that nothing was written: see NothingWritten.
//
// The Python client that dataload.py uses returns the JSON of HTTP 400 and 401 (which the OAuth endpoints use) as if it
// were 200: stat "ok" would count there. It does not count here.
type Answer struct {
	Verdict Verdict

	// Records has one entry for each record sent, in order, if the verdict is Answered; else it is nil.
	Records []RecordAnswer

	// NothingWritten says that none of the records was written: the API refused the call in JSON of its own, a status was
	// taken off the HTTP list, or nothing was sent. False says nothing.
	NothingWritten bool

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
	// another refusal for which APIError.IsAboutCall is true. HTTP 401, 404, 405, 407 and redirects are faults, though what
	// they have done is unknown. Its text is for people, and safe for logs.
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

// RecordAnswer is what the API said of one record: exactly one of UUID (created), Err (not created) and Unknown is set.
type RecordAnswer struct {
	UUID string
	Err  *APIError
	// Unknown is why the entry says nothing of what was written, a short class that is safe for logs and as a metric's
	// label: "api <code>", "api error without a code", "uuid twice", "not a uuid", "no result for a record" or
	// "results contradict".
	Unknown string
}

// CreateBatch sends one entity.bulkCreate call, once, and judges what came back. It returns no Go error: an error is an
// answer too. Whoever calls it must have made sure that this batch is not sent twice.
func (c *Client) CreateBatch(ctx context.Context, body Body) Answer {
	if body.records == 0 {
		return Answer{Verdict: NotSent, NothingWritten: true, Reason: "not sent", Err: errors.New("a body without records was not sent")}
	}
	answer, result := c.judge(c.call(ctx, BulkCreate, body.encoded))
	if answer.Verdict == Answered {
		c.readRecords(&answer, result, body.records)
	}
	c.heard(ctx, BulkCreate, &answer)
	return answer
}

// readRecords reads the list uuid_results, as dataload.py does, and holds the list results against it.
func (c *Client) readRecords(a *Answer, result object, records int) {
	var entries, ids []json.RawMessage
	// What is not a list has no entry, and an error here leaves none.
	_ = json.Unmarshal(result["uuid_results"], &entries)
	hasIDs := json.Unmarshal(result["results"], &ids) == nil && ids != nil
	switch {
	case len(entries) < records, hasIDs && len(ids) < records:
		a.unusable("too few results")
		return
	case len(entries) > records, hasIDs && len(ids) > records:
		a.unusable("too many results")
		return
	}
	a.Records = make([]RecordAnswer, records)
	uuids, numbers := map[string]int{}, map[uint64]int{} // how often each comes
	if !hasIDs {
		ids = make([]json.RawMessage, records)
	}
	for i, raw := range entries {
		a.Records[i] = c.readRecord(raw)
		uuids[strings.ToLower(a.Records[i].UUID)]++
		numbers[idOf(ids[i])]++
	}
	for i, r := range a.Records {
		id := idOf(ids[i])
		switch {
		case r.UUID != "" && uuids[strings.ToLower(r.UUID)] > 1:
			a.Records[i] = RecordAnswer{Unknown: "uuid twice"}
		case r.UUID != "" && (parseObject(ids[i]) != nil || id != 0 && numbers[id] > 1), r.Err != nil && id != 0:
			a.Records[i] = RecordAnswer{Unknown: "results contradict"}
		}
	}
}

// idOf is the id that an entry of the list results holds, 0 if it holds none.
func idOf(raw json.RawMessage) uint64 {
	id, _ := strconv.ParseUint(string(raw), 10, 64)
	return id
}

// readRecord reads one entry: a uuid, or an object with stat "error". An object without stat passes for an error if it
// has an error's code or name.
func (c *Client) readRecord(raw json.RawMessage) RecordAnswer {
	var uuid string
	if json.Unmarshal(raw, &uuid) == nil && uuid != "" { // null leaves it empty
		if !isID(uuid) {
			return RecordAnswer{Unknown: "not a uuid"}
		}
		return RecordAnswer{UUID: uuid}
	}
	o := parseObject(raw)
	stat, hasStat := o["stat"]
	if o.text("stat") == "error" || (!hasStat || string(stat) == "null") && (o.code() != 0 || o.text("error") != "") {
		e := newAPIError(o)
		if !e.IsDuplicate() && c.isUnknown(e) {
			return RecordAnswer{Unknown: e.Reason()}
		}
		return RecordAnswer{Err: e}
	}
	return RecordAnswer{Unknown: "no result for a record"}
}

// isUnknown says that an error of the API leaves open what was written, of a call and of a record alike. A number that
// is no API code says nothing.
func (c *Client) isUnknown(e *APIError) bool {
	return e.Code < lowestCode || e.Code > highestCode || c.unknown.API.Contains(e.Code)
}

// isID says that s can be the uuid of a record: one token with a digit in it, and not the uuid without a bit set. The
// documentation calls them uuids and promises no form, so another form is no reason to call a created record unknown.
func isID(s string) bool {
	return isToken(s) && strings.ContainsAny(s, "0123456789") && strings.Trim(s, "0-") != ""
}

// ask makes a call and judges what came back.
func (c *Client) ask(ctx context.Context, endpoint string, form []byte) (Answer, object) {
	answer, result := c.judge(c.call(ctx, endpoint, form))
	c.heard(ctx, endpoint, &answer)
	return answer, result
}

// heard completes an answer, and tells whoever listens of it.
func (c *Client) heard(ctx context.Context, endpoint string, a *Answer) {
	a.Fault = c.fault(endpoint, *a)
	c.renewSecret(*a)
	if c.judged != nil {
		c.judged(ctx, endpoint, *a)
	}
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
	case api != nil && a.Verdict == Refused && endpoint == BulkCreate && api.IsAboutCall() && api.Code < 500:
		return fmt.Errorf("the API at %s refuses every call: %w", c.host, a.Err)
	case errors.As(a.Err, &status) && status.isAboutCall():
		return c.checkHTTP(status, a)
	}
	return nil
}

// judge is the one place that decides what an answer says, in the order that Answer documents. With the verdict
// Answered it returns the API's JSON: stat is "ok" and the status is 200.
func (c *Client) judge(r reply) (Answer, object) {
	a := Answer{Sent: r.sent, Received: r.received}
	if r.notSent != nil {
		a.Verdict, a.Reason, a.Err, a.NothingWritten = NotSent, "not sent", r.notSent, true
		return a, nil
	}
	if r.header != nil {
		a.ServerDate, _ = http.ParseTime(r.header.Get("Date"))
		a.RetryAfter = httponce.RetryAfter(r.header.Get("Retry-After"), a.ServerDate, r.received)
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
	isTooLarge := stat != "ok" && (r.status == http.StatusRequestEntityTooLarge ||
		containsFold(r.body, "client intended to send too large body", "request entity too large"))
	if stat == "error" {
		e := newAPIError(result)
		a.Reason, a.Err, a.NothingWritten = e.Reason(), e, !c.isUnknown(e)
		switch {
		case !a.NothingWritten:
			a.Verdict = Unknown
		case isTooLarge:
			a.Verdict, a.Reason = TooLarge, "too large"
		default:
			a.Verdict = Refused
		}
		return a, nil
	}

	a.Err = &HTTPError{Status: r.status}
	a.Reason = "http " + strconv.Itoa(r.status)
	a.NothingWritten = stat != "ok" && r.status >= lowestHTTP && r.status <= highestHTTP && !c.unknown.HTTP.Contains(r.status)
	// 431 speaks of the header, which halves of the body do not make smaller.
	blamesRequest := r.status >= 400 && r.status <= 499 && r.status != http.StatusRequestHeaderFieldsTooLarge
	switch {
	case isTooLarge, blamesRequest && stat != "ok" && containsFold(r.body, "too large"):
		a.Verdict, a.Reason = TooLarge, "too large"
	case r.status != http.StatusOK && stat == "ok":
		a.Verdict = Unknown
		a.Reason += " with stat ok"
	case a.NothingWritten:
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
