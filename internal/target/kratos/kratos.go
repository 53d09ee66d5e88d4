// Package kratos is Ory Kratos as a target: self-hosted, or Ory Network. It speaks to the admin API.
//
// A record is an identity as the API shows it: traits, metadata_admin, metadata_public, verifiable_addresses,
// recovery_addresses, state, schema_id, external_id and, for social links, credentials; and the attribute password, which
// becomes a credential. What marks it as ours is metadata_admin.durable_dataload.
//
// Known of version 1.3.1, by its source and by calls: the batch is one transaction. If one record of it is a duplicate, all
// are rolled back, and yet the answer calls the others created, with ids. (Later versions write them.) So an answer that is
// not the same for all records is confirmed by reading. Of an identity that was changed updated_at stays what it was, so it
// is not shown. A hash in a wrong form, or a member that it does not know, refuses
// the whole batch, the latter with HTTP 400 and a code 500 in its JSON: the HTTP status counts. A lookup by identifier is
// one key a call; over SQLite it takes a time that grows with the square of the number of identities (0.1 s at 1,000, 2 s
// at 4,000), since its query has no index there, and a page of 500 takes 50 ms whatever their number is.
package kratos

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// TargetName is the name of this target.
const TargetName = "kratos"

const (
	// maxRecords is that of Kratos; maxPlain is its limit of passwords in plain text, which it hashes itself.
	maxRecords, maxPlain = 1000, 200
	// maxBytes is ours: no limit is documented, and gateways often have one of some megabytes.
	maxBytes = 4_000_000
	// idsACall keeps an address below the 8 KB that common front ends accept. Kratos takes 500.
	idsACall = 100
	maxPage  = 500

	markName = "durable_dataload"
	opening  = `{"identities":[`
	closing  = `]}`
)

// DefaultKey is the identifier in Ory's own examples of identity schemas.
const DefaultKey = "traits.email"

// Config says which Kratos to talk to.
type Config struct {
	// The base URL is that of the admin API, https://<slug>.projects.oryapis.com for Ory Network. A self-hosted one asks for
	// no token.
	jsonapi.Config
	// Schema is the id of the identity schema; "" means "default" for reading it.
	Schema string
}

// Adapter is a Kratos as a target.
type Adapter struct {
	target.Format
	*jsonapi.Client
	hooks  target.Hooks
	schema string
}

var _ target.Adapter = (*Adapter)(nil)

// New checks the configuration. It does not connect.
func New(cfg Config, hooks target.Hooks) (*Adapter, error) {
	client, err := jsonapi.New(cfg.Config, hooks)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Format: Format(cfg.Schema), Client: client, hooks: hooks, schema: cfg.Schema}
	if a.schema == "" {
		a.schema = "default"
	}
	return a, nil
}

// failure is an error in Kratos' own JSON.
type failure struct {
	Code    *int   `json:"code"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// words are Kratos' own.
func (f failure) words() string {
	if f.Reason != "" {
		return f.Reason
	}
	return f.Message
}

// judge says what an answer other than the expected one means. isOwn is true if Kratos itself has refused the call.
func (a *Adapter) judge(r jsonapi.Reply) (e *target.Error, isOwn bool) {
	var body struct {
		Error *failure `json:"error"`
	}
	isOwn = json.Unmarshal(r.Body, &body) == nil && body.Error != nil && body.Error.Code != nil && r.Status >= 400 && r.Status <= 499
	words := ""
	if isOwn {
		words = body.Error.words()
	}
	if e := a.Judge(r, "the admin API of Kratos", isOwn, "", words); e != nil {
		return e, isOwn && e.Class != target.Throttled
	}
	switch r.Status {
	case http.StatusNotFound:
		return r.Failed(target.NotFound, "", words), true
	case http.StatusConflict:
		return r.Failed(target.Duplicate, "", words), true
	}
	return r.Failed(target.Refused, "", words), true
}

// call makes a call that is answered with a status, and returns its reply.
func (a *Adapter) call(ctx context.Context, kind target.Kind, method, path string, body []byte, want int, into any) (jsonapi.Reply, error) {
	r := a.Send(ctx, method, path, body)
	err := a.expect(r, want, into)
	a.Judged(ctx, kind, r, err)
	return r, err
}

// expect reads a reply with a status, unless into is nil.
func (a *Adapter) expect(r jsonapi.Reply, want int, into any) error {
	if err := r.Error(); err != nil {
		return err
	}
	if r.Status != want {
		e, _ := a.judge(r)
		return e
	}
	if into != nil && json.Unmarshal(r.Body, into) != nil {
		return r.Failed(target.Unknown, "not json", "")
	}
	return nil
}

// Check reads one identity, and the identity schema. The schema may be out of reach: then that it exists is not checked.
func (a *Adapter) Check(ctx context.Context) error {
	if _, _, err := a.list(ctx, target.Checks, url.Values{"page_size": {"1"}}); err != nil {
		return err
	}
	if _, err := a.Schema(ctx); target.Is(err, target.Unusable) {
		return err
	}
	return nil
}
