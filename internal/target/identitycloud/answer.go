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

// Verdict is what is known after a call.
type Verdict int

const (
	// Unknown: it is not known what was written. All, some or none of the records may exist. It is the zero value, so
	// that an answer that was never judged does not count as known.
	Unknown Verdict = iota
	// Answered: the API answered for each record on its own.
	Answered
	// Refused: the whole call failed, and nothing was written: by the API's answer, or by a status that was removed from the HTTP list.
	Refused
	// TooLarge: the body was refused for its size. Halves may succeed, but see Answer.NothingWritten.
	TooLarge
	// NotSent: no byte was sent, because BeforeCall failed, the context had ended, or the body was empty.
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
// Known means that the API said so: in its own JSON with a stat, whatever the HTTP status. The answer of a front end, a
// gateway or a proxy does not tell what was written, and neither does an internal error of the API (500 and above). The
// verdict is decided in this order:
//
//	no answer, or an incomplete one                                     Unknown
//	stat "error" without a code, or with one on the API list            Unknown
//	stat "error" with results of records, a contradiction               Unknown
//	stat "error" with HTTP 413, or in the words below                   TooLarge
//	stat "error", any other code                                        Refused
//	no stat "ok" and HTTP 413, or in the words below                    TooLarge
//	HTTP 400 to 499 but 431 without stat "ok", and "too large" in it    TooLarge
//	any other status than 200 with stat "ok", a contradiction           Unknown
//	an HTTP status on the HTTP list (the default is every status)       Unknown
//	an HTTP status of an error (300 to 599) that was removed            Refused
//	any other status than 200                                           Unknown
//	not JSON, no stat, fewer or more results than records               Unknown
//	HTTP 200, stat "ok", one result for each record                     Answered
//
// With the verdict Answered each entry is judged on its own:
//
//	a uuid that no other entry has                                      created
//	an error object for a value that another record has                 a duplicate: RecordAnswer.Err.IsDuplicate
//	an error object without a code, or with one on the API list         unknown
//	any other error object                                              failed
//	a uuid twice, not a uuid, anything else                             unknown
//	uuid_results and results contradict each other                      unknown
//
// The words are "client intended to send too large body" and "request entity too large". TooLarge means that halves of the
// call may succeed, not that nothing was written: see NothingWritten.
//
// The Python client that dataload.py uses returns the JSON of HTTP 400 and 401 (which the OAuth endpoints use) as if it
// were 200: stat "ok" would count there. It does not count here.
type Answer struct {
	Verdict Verdict

	// Records has one entry for each record sent, in order, if the verdict is Answered; else it is nil.
	Records []RecordAnswer

	// NothingWritten is true if none of the records was written: the API refused the call in its own JSON, the status was
	// removed from the HTTP list, or nothing was sent. False means unknown.
	NothingWritten bool

	// Err is nil if the verdict is Answered. Else it is an *APIError, an *HTTPError or a *NoAnswerError, and for
	// NotSent the error of BeforeCall or of the context. Except for NotSent its text is safe for logs.
	Err error

	// Reason is a short class, safe for logs and as a metric's label; "" if the verdict is Answered. It is
	// "api <code>", "api error without a code", "api error with results", "http <status>", "http <status> with stat ok",
	// "too large", "not sent", or for a missing answer one of: refused, reset, closed (without an answer), timeout, canceled, dns, unreachable,
	// proxy, tls, network (any other failure of a connection), not http, cut short, bad gzip, answer too long,
	// not json, no stat, too few results, too many results.
	Reason string

	// Fault is not nil if the call was refused and not a record of it, so that no other call can succeed until an operator
	// has fixed the cause: errors.Is finds ErrCredentials, ErrEntityType or ErrNotIdentityCloud in it, or it is another
	// refusal for which APIError.IsAboutCall is true. HTTP 401, 404, 405, 407 and redirects are faults, although their
	// outcome is unknown. Its text is meant for operators and safe for logs.
	Fault error

	// ServerDate is the answer's Date header, in whole seconds; zero if there was none.
	ServerDate time.Time

	// Sent is the local time just before dialling, Received the time of the last byte or of the failure. Both are zero if
	// nothing was sent.
	Sent, Received time.Time

	// RetryAfter is how long the server asks to wait (RFC 9110, section 10.2.3), at most a day; 0 if it does not.
	RetryAfter time.Duration
}

// Words returns the text in the fail file for each record of a call that failed as a whole: "API Error 200: …" as in
// dataload.py, or the text of Err. It may contain user data and must not be logged.
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

// RecordAnswer is the API's answer for one record: exactly one of UUID (created), Err (not created) and Unknown is set.
type RecordAnswer struct {
	UUID string
	Err  *APIError
	// Unknown is why the entry does not tell what was written, a short class that is safe for logs and as a metric's
	// label: "api <code>", "api error without a code", "uuid twice", "not a uuid", "no result for a record" or
	// "results contradict".
	Unknown string
}

// CreateBatch sends one entity.bulkCreate call, once, and judges the answer. It returns no Go error: an error is an answer
// too. The caller must make sure that the batch is not sent twice.
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

// readRecords reads the list uuid_results, as dataload.py does, and compares the list results with it.
func (c *Client) readRecords(a *Answer, result object, records int) {
	var entries, ids []json.RawMessage
	// A value that is not a list yields no entries.
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
	uuids, numbers := map[string]int{}, map[uint64]int{} // occurrences of each
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

// idOf returns the id in an entry of the list results, 0 if there is none.
func idOf(raw json.RawMessage) uint64 {
	id, _ := strconv.ParseUint(string(raw), 10, 64)
	return id
}

// readRecord reads one entry: a uuid, or an object with stat "error". An object without stat counts as an error if it has
// the code or the name of one.
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

// isUnknown reports whether it is unknown what was written after this error of the API, of a call or of a record. A number
// that is not an API code tells nothing.
func (c *Client) isUnknown(e *APIError) bool {
	return e.Code < lowestCode || e.Code > highestCode || c.config.Unknown.API.Contains(e.Code)
}

// isID reports whether s can be the uuid of a record: one token with a digit in it that is not all zeros. The documentation
// calls them uuids and promises no format, so another format does not make a created record unknown.
func isID(s string) bool {
	return isToken(s) && strings.ContainsAny(s, "0123456789") && strings.Trim(s, "0-") != ""
}

// ask makes a call and judges the answer.
func (c *Client) ask(ctx context.Context, endpoint string, form []byte) (Answer, object) {
	answer, result := c.judge(c.call(ctx, endpoint, form))
	c.heard(ctx, endpoint, &answer)
	return answer, result
}

// heard completes an answer and calls the hook Judged.
func (c *Client) heard(ctx context.Context, endpoint string, a *Answer) {
	a.Fault = c.fault(endpoint, *a)
	c.renewSecret(*a)
	if c.config.Judged != nil {
		c.config.Judged(ctx, endpoint, *a)
	}
}

// BulkCreate is the endpoint of CreateBatch.
const BulkCreate = "/entity.bulkCreate"

// fault is Answer.Fault. The cause of an internal error, 500 and above, is not known. In calls other than BulkCreate a
// refused argument or a missing permission may concern the record.
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

// judge is the only place that decides what an answer means, in the order documented at Answer. With the verdict Answered
// it returns the API's JSON: stat is "ok" and the status is 200.
func (c *Client) judge(r httponce.Reply) (Answer, object) {
	a := Answer{ServerDate: r.ServerDate, Sent: r.Sent, Received: r.Received, RetryAfter: r.RetryAfter}
	switch {
	case r.NotSent != nil:
		a.Verdict, a.Reason, a.Err, a.NothingWritten = NotSent, "not sent", r.NotSent, true
		return a, nil
	case r.Failure != "":
		a.Verdict, a.Reason, a.Err = Unknown, r.Failure, &NoAnswerError{Reason: r.Failure, Status: r.Status, cause: r.Cause}
		return a, nil
	}

	result := parseObject(r.Body)
	stat := result.text("stat")
	isTooLarge := stat != "ok" && (r.Status == http.StatusRequestEntityTooLarge ||
		containsFold(r.Body, "client intended to send too large body", "request entity too large"))
	if stat == "error" {
		e := newAPIError(result)
		a.Reason, a.Err, a.NothingWritten = e.Reason(), e, !c.isUnknown(e)
		if a.NothingWritten && (result.lists("uuid_results") || result.lists("results")) {
			a.Reason, a.NothingWritten = "api error with results", false
		}
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

	a.Err = &HTTPError{Status: r.Status}
	a.Reason = "http " + strconv.Itoa(r.Status)
	a.NothingWritten = stat != "ok" && r.Status >= lowestHTTP && r.Status <= highestHTTP && !c.config.Unknown.HTTP.Contains(r.Status)
	// 431 is about the header, which a smaller body does not change.
	blamesRequest := r.Status >= 400 && r.Status <= 499 && r.Status != http.StatusRequestHeaderFieldsTooLarge
	switch {
	case isTooLarge, blamesRequest && stat != "ok" && containsFold(r.Body, "too large"):
		a.Verdict, a.Reason = TooLarge, "too large"
	case r.Status != http.StatusOK && stat == "ok":
		a.Verdict = Unknown
		a.Reason += " with stat ok"
	case a.NothingWritten:
		a.Verdict = Refused
	case r.Status != http.StatusOK:
		a.Verdict = Unknown
	case result == nil && !json.Valid(r.Body):
		a.unusable("not json")
	case stat != "ok":
		a.unusable("no stat")
	default:
		a.Verdict, a.Reason, a.Err = Answered, "", nil
		return a, result
	}
	return a, nil
}

// unusable marks an answer that arrived but does not tell what was done.
func (a *Answer) unusable(reason string) {
	a.Verdict, a.Reason, a.Records = Unknown, reason, nil
	a.Err = &NoAnswerError{Reason: reason, Status: http.StatusOK}
}

// containsFold reports whether the text contains one of the phrases, ignoring case. The phrases are in lower case.
func containsFold(text []byte, phrases ...string) bool {
	lower := bytes.ToLower(text)
	return slices.ContainsFunc(phrases, func(p string) bool { return bytes.Contains(lower, []byte(p)) })
}
