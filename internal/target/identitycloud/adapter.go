package identitycloud

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"durable-dataload/internal/target"
)

// TargetName is the name of this target.
const TargetName = "identity-cloud"

// mostOfAPage is how many records a page has at most. Two maxima of entity.find are documented, 1,000 and 10,000; Akamai's
// export takes 1.5 seconds for 1,000.
const mostOfAPage = 2500

// findLag is how long new records can be invisible to entity.find: "a few minutes", says Akamai's page on entity.create.
const findLag = 5 * time.Minute

// Format encodes records for an entity type; the timeout is that of a call. Both are sent with every call, "" and 0 are the
// defaults of Config.
func Format(entityType string, timeout time.Duration) target.Format {
	room := Room(entityType, timeout)
	return format{target.Traits{
		Name: TargetName, MaxBytes: room, Overhead: MaxBody - room,
		ShowsCreated: true, ShowsUpdated: true, Lag: findLag, Conditional: true,
		FindKeys: findKeys, FindsAlone: hasQuote, ListsSince: true, MaxPage: mostOfAPage,
		System: SystemAttributes, Givable: []string{"created"}, Doubts: doubts, DefaultKey: DefaultKey, Fold: FoldKey,
	}}
}

type format struct{ traits target.Traits }

func (f format) Traits() target.Traits { return f.traits }

// Encode percent-encodes a record. Records have no mark.
func (f format) Encode(record []byte, _ string) (target.Record, error) {
	if !isOneObject(record) {
		return target.Record{}, &target.Error{Class: target.Refused, Reason: "not an object", Err: errors.New("the record is not one JSON object in UTF-8")}
	}
	size, err := f.Measure(record)
	if err != nil {
		return target.Record{}, err
	}
	return target.Record{Body: appendEncoded(make([]byte, 0, size), record), Size: size}, nil
}

// Measure counts the bytes of the encoded record.
func (f format) Measure(record []byte) (int64, error) {
	size := EncodedSize(record)
	if size > f.traits.MaxBytes {
		return size, target.Oversized(size, f.traits.MaxBytes)
	}
	return size, nil
}

// Steps sets values and the members of objects in one call of entity.update, and each plural in one of entity.replace:
// entity.update would append its elements.
func (format) Steps(changes []target.Change) (steps []target.Step, err error) {
	var values target.Step
	for _, c := range changes {
		if c.IsList() {
			steps = append(steps, target.Step{Changes: []target.Change{c}})
		} else {
			values.Changes = append(values.Changes, c)
		}
	}
	if len(values.Changes) > 0 {
		steps = slices.Insert(steps, 0, values)
	}
	return steps, nil
}

// Adapter is the Identity Cloud as a target.
type Adapter struct {
	target.Format
	client *Client
}

var _ target.Adapter = (*Adapter)(nil)

// NewAdapter is New for a target. The hooks replace those of the configuration.
func NewAdapter(cfg Config, hooks target.Hooks) (*Adapter, error) {
	cfg.BeforeCall, cfg.Answered, cfg.Judged = hooks.BeforeCall, hooks.Answered, nil
	if hooks.Judged != nil {
		cfg.Judged = func(ctx context.Context, endpoint string, a Answer) {
			if a.Verdict != NotSent {
				hooks.Judged(ctx, callOf(endpoint, a))
			}
		}
	}
	client, err := New(cfg)
	if err != nil {
		return nil, err
	}
	return &Adapter{Format(client.config.EntityType, client.config.Timeout), client}, nil
}

// kindOf is what a call to an endpoint does.
func kindOf(endpoint string) target.Kind {
	switch endpoint {
	case BulkCreate:
		return target.Creates
	case "/entity", "/entity.find":
		return target.Reads
	case "/entity.count", "/entityType":
		return target.Checks
	}
	return target.Changes
}

// callOf says what an answer tells about the target.
func callOf(endpoint string, a Answer) target.Call {
	call := target.Call{Kind: kindOf(endpoint), Sent: a.Sent, Received: a.Received, Reason: a.Reason, RetryAfter: a.RetryAfter}
	answer := answerOf(a)
	// A permission error means that the target is healthy; except for a bulkCreate, which dataload.py sends again on this
	// code.
	mayNot := target.Is(answer.Err, target.Forbidden) && call.Kind != target.Creates
	call.Unknown = a.Verdict == Unknown && a.Reason != "canceled" && !mayNot
	if unknown, reason := answer.Unknown(); unknown > 0 && unknown == len(a.Records) {
		call.Unknown, call.Reason = true, reason
	}
	if a.Fault != nil && call.Kind != target.Checks {
		call.Fault = a.Fault.Error()
	}
	var api *APIError
	call.Crowded = errors.As(a.Err, &api) && isCrowded(api.Reason()) ||
		slices.ContainsFunc(a.Records, func(r RecordAnswer) bool { return isCrowded(r.Unknown) })
	call.Busy = call.Crowded || target.Is(answer.Err, target.Throttled)
	return call
}

// isCrowded reports whether a reason is the API's limit of simultaneous calls.
func isCrowded(reason string) bool { return reason == "api 510" }

// Create sends one entity.bulkCreate call.
func (a *Adapter) Create(ctx context.Context, records []target.Record) target.Answer {
	return answerOf(a.client.CreateBatch(ctx, a.client.join(records))).Of(len(records))
}

// join makes the body of a call from encoded records.
func (c *Client) join(records []target.Record) Body {
	size := overhead(c.common)
	for _, r := range records {
		size += r.Size
	}
	b := make([]byte, 0, size)
	b = append(b, c.common...)
	b = append(b, "&all_attributes="+openList...)
	for i, r := range records {
		if i > 0 {
			b = append(b, separator...)
		}
		b = append(b, r.Body...)
	}
	return Body{encoded: append(b, closeList...), records: len(records)}
}

// answerOf converts the answer to a bulkCreate call.
func answerOf(a Answer) target.Answer {
	answer := target.Answer{
		NothingWritten: a.NothingWritten, ServerDate: a.ServerDate, Sent: a.Sent, Received: a.Received, RetryAfter: a.RetryAfter,
	}
	switch a.Verdict {
	case Answered:
		answer.Results = make([]target.Result, len(a.Records))
		for i, r := range a.Records {
			answer.Results[i] = resultOf(r)
		}
		return answer
	case NotSent:
		answer.Err = a.Err
		return answer
	}
	e := &target.Error{Class: classOf(a.Err, a.Verdict == Unknown), Reason: a.Reason, Words: a.Words(), Fault: a.Fault != nil, Err: a.Err}
	if a.Fault != nil {
		e.Err = a.Fault
	}
	if a.Verdict == TooLarge {
		e.Class = target.TooLarge
	}
	answer.Err = e
	return answer
}

func resultOf(r RecordAnswer) target.Result {
	switch {
	case r.UUID != "":
		return target.Result{ID: r.UUID}
	case r.Err == nil && isCrowded(r.Unknown):
		return target.Result{Err: &target.Error{Class: target.Throttled, Reason: r.Unknown}}
	case r.Err == nil:
		return target.Result{Err: &target.Error{Reason: r.Unknown}}
	}
	e := &target.Error{Class: target.Refused, Reason: r.Err.Reason(), Words: r.Err.Words(), Err: r.Err}
	if r.Err.IsDuplicate() {
		e.Class = target.Duplicate
	}
	return target.Result{Err: e}
}

// classOf is the class of an *APIError, *HTTPError or *NoAnswerError; unknown says that the outcome of the call is. It is
// the only place that knows codes and statuses.
func classOf(err error, unknown bool) target.Class {
	var (
		api    *APIError
		status *HTTPError
	)
	switch {
	case errors.Is(err, ErrCredentials), errors.Is(err, ErrEntityType):
		return target.Unusable
	case errors.Is(err, ErrBusy):
		return target.Throttled
	case errors.As(err, &api) && api.IsPermission():
		return target.Forbidden
	case api != nil && isCrowded(api.Reason()):
		return target.Throttled
	case api != nil && unknown:
		return target.Unknown
	case api != nil && api.IsDuplicate():
		return target.Duplicate
	case api != nil && api.IsNotFound() && api.Argument != "uuid": // text that cannot be a uuid is another error
		return target.NotFound
	case api != nil && api.IsTimestampMismatch():
		return target.Conflict
	case api != nil:
		return target.Refused
	case errors.As(err, &status) && status.Status == 413:
		return target.TooLarge
	case status != nil && slices.Contains([]int{429, 503, 510}, status.Status):
		return target.Throttled
	case status != nil && !unknown:
		return target.Refused // by a status that was removed from the HTTP list
	}
	return target.Unknown
}

// errorOf converts the error of any call but CreateBatch and Check.
func errorOf(err error) error { return convert(err, IsUnknown(err)) }

// convert makes an error one of the target's; unknown says that the outcome of the call is. An error of BeforeCall, of the
// context or of an argument stays as it is: nothing was sent.
func convert(err error, unknown bool) error {
	var (
		api    *APIError
		status *HTTPError
		none   *NoAnswerError
	)
	e := &target.Error{Class: classOf(err, unknown), Fault: IsFault(err) || errors.Is(err, ErrTLS), Err: err}
	switch {
	case errors.As(err, &api):
		e.Reason, e.Words = api.Reason(), api.Words()
	case errors.As(err, &status):
		e.Reason = "http " + strconv.Itoa(status.Status)
		if e.Class == target.TooLarge {
			e.Words = "the target refuses the record as too large"
		}
	case errors.As(err, &none):
		e.Reason = none.Reason
	default:
		return err
	}
	return e
}

// Check is Client.Check.
func (a *Adapter) Check(ctx context.Context) error { return convert(a.client.Check(ctx), true) }

// Close is Client.Close.
func (a *Adapter) Close() { a.client.Close() }

// Count is Client.Count.
func (a *Adapter) Count(ctx context.Context) (int64, error) {
	count, answer := a.client.count(ctx)
	return count, errorOf(a.client.failed(answer))
}

// Schema is Client.EntityType. A front end or a gateway that does not let the call through is a missing permission: a
// repeated call would not tell the schema either.
func (a *Adapter) Schema(ctx context.Context) (target.Schema, error) {
	schema, err := a.client.EntityType(ctx)
	var (
		e      *target.Error
		status *HTTPError
	)
	if err = errorOf(err); errors.As(err, &e) && errors.As(err, &status) && !errors.Is(err, ErrCredentials) &&
		status.Status >= 400 && status.Status <= 499 && status.Status != 408 && status.Status != 429 {
		e.Class, e.Fault = target.Forbidden, false
	}
	return schema, err
}

// Find is Client.FindEntities.
func (a *Adapter) Find(ctx context.Context, attribute string, keys []string) ([]target.Entity, error) {
	found, err := a.client.FindEntities(ctx, cmp.Or(attribute, "uuid"), keys)
	if err != nil {
		return nil, errorOf(err)
	}
	return entitiesOf(found), nil
}

// Get is Client.View.
func (a *Adapter) Get(ctx context.Context, ref target.Ref) (target.Entity, error) {
	ref.Version = ""
	found, err := a.client.View(ctx, refOf(ref))
	if err != nil {
		return target.Entity{}, errorOf(err)
	}
	return entityOf(found), nil
}

// List is Client.FindWritten; the cursor is the id of the last record.
func (a *Adapter) List(ctx context.Context, page target.Page) ([]target.Entity, string, error) {
	return a.Select(ctx, target.Selection{}, page)
}

// Apply is Client.Replace for a plural, else Client.Update.
func (a *Adapter) Apply(ctx context.Context, ref target.Ref, step target.Step) error {
	if len(step.Changes) == 1 && step.Changes[0].IsList() {
		return errorOf(a.client.Replace(ctx, refOf(ref), step.Changes[0].Path, step.Changes[0].Value))
	}
	attributes, err := step.Nested()
	if err != nil {
		return err
	}
	return errorOf(a.client.Update(ctx, refOf(ref), attributes))
}

// Delete is Client.Delete.
func (a *Adapter) Delete(ctx context.Context, ref target.Ref) error {
	return errorOf(a.client.Delete(ctx, refOf(ref)))
}

func refOf(ref target.Ref) Ref {
	return Ref{UUID: ref.ID, KeyAttribute: ref.Attribute, KeyValue: ref.Key, LastUpdated: ref.Version}
}

func entityOf(e Entity) target.Entity {
	return target.Entity{ID: e.UUID, Created: e.Created, Updated: e.LastUpdated, Version: e.LastUpdatedText(), Attributes: e.Attributes}
}

func entitiesOf(found []Entity) []target.Entity {
	entities := make([]target.Entity, len(found))
	for i, e := range found {
		entities[i] = entityOf(e)
	}
	return entities
}
