// Package kratos is Ory Kratos as a target: self-hosted, or Ory Network. It speaks to the admin API.
//
// A record is an identity as the API shows it: traits, metadata_admin, metadata_public, verifiable_addresses,
// recovery_addresses, state, schema_id, external_id and, for social links, credentials; and the attribute password, which
// becomes a credential. What marks it as ours is metadata_admin.durable_dataload.
//
// Known of version 1.3.1, by its source and by calls: the batch is one transaction. If one record of it is a duplicate, all
// are rolled back, and yet the answer calls the others created, with ids. (Later versions write them.) So an answer that is
// not the same for all records is confirmed by reading. A hash in a wrong form, or a member that it does not know, refuses
// the whole batch, the latter with HTTP 400 and a code 500 in its JSON: the HTTP status counts.
package kratos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

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

// Format encodes records for an identity schema; "" leaves the choice to Kratos.
func Format(schema string) target.Format {
	return format{schema: schema, traits: target.Traits{
		Name: TargetName, MaxRecords: maxRecords, MaxBytes: maxBytes, Overhead: int64(len(opening + closing)),
		RefusesTogether: true, Marks: true, ShowsCreated: true, ShowsUpdated: true, FindKeys: 1, MaxPage: maxPage,
		System:     []string{"id", "created_at", "updated_at", "state_changed_at", "schema_url", "organization_id", "credentials"},
		Hidden:     []string{"password", "credentials"},
		DefaultKey: DefaultKey,
		Fold:       func(key string) string { return strings.ToLower(strings.TrimSpace(key)) },
	}}
}

type format struct {
	schema string
	traits target.Traits
}

func (f format) Traits() target.Traits { return f.traits }

// members are those that a new identity may have.
var members = []string{"schema_id", "traits", "credentials", "verifiable_addresses", "recovery_addresses", "metadata_public", "metadata_admin", "state", "external_id"}

// Encode makes an entry of the batch. The tag is its patch_id as well, by which an answer is held against the records.
func (f format) Encode(record []byte, tag string) (target.Record, error) {
	identity, ok := jsonapi.Object(record)
	if !ok {
		return target.Record{}, target.Unsendable("not an object", "the record is not one JSON object in UTF-8")
	}
	password := identity["password"]
	delete(identity, "password")
	for name := range identity {
		if !slices.Contains(members, name) {
			return target.Record{}, target.Unsendable("unknown attribute", fmt.Sprintf("an identity has no attribute %s; expected traits.…, metadata_admin.…, metadata_public.…, password, or one of %s", name, strings.Join(members, ", ")))
		}
	}
	if _, ok := object(identity["traits"]); !ok {
		return target.Record{}, target.Unsendable("no traits", "the record has no traits; expected attributes as traits.email")
	}
	if _, given := identity["schema_id"]; !given && f.schema != "" {
		identity["schema_id"] = quoted(f.schema)
	}
	var err error
	if identity["metadata_admin"], err = marked(identity["metadata_admin"], tag); err != nil {
		return target.Record{}, err
	}
	isPlain := false
	if identity["credentials"], isPlain, err = credentials(identity["credentials"], password); err != nil {
		return target.Record{}, err
	}
	if identity["credentials"] == nil {
		delete(identity, "credentials")
	}
	body, err := target.Marshal(map[string]any{"patch_id": tag, "create": identity})
	if err != nil {
		return target.Record{}, err
	}
	r := target.Record{Body: body, Size: int64(len(body)) + 1, Mark: tag}
	if isPlain {
		r.Group = plainGroup
	}
	if r.Size > f.traits.MaxBytes {
		return r, target.Oversized(r.Size, f.traits.MaxBytes)
	}
	return r, nil
}

// plainGroup marks records with a password in plain text, of which a call takes fewer.
const plainGroup = "plain"

// marked adds the mark to metadata_admin.
func marked(metadata json.RawMessage, mark string) (json.RawMessage, error) {
	all, ok := object(metadata)
	if !ok && !isNull(metadata) {
		return nil, target.Unsendable("metadata_admin", "metadata_admin is not an object, so it cannot hold the tag of the migration; expected attributes as metadata_admin.name")
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	all[markName] = quoted(mark)
	return target.Marshal(all)
}

// credentials adds a password to the credentials of a record, nil if there are none.
func credentials(given, password json.RawMessage) (_ json.RawMessage, isPlain bool, err error) {
	all, ok := object(given)
	if !ok && !isNull(given) {
		return nil, false, target.Unsendable("credentials", "the credentials are not an object")
	}
	p, has, err := target.ParsePassword(password)
	if err != nil {
		return nil, false, target.Unsendable("password", err.Error())
	}
	if !has {
		if all == nil {
			return nil, false, nil
		}
		return given, false, nil
	}
	config := map[string]string{"password": p.Plain}
	if p.Plain == "" {
		hash, ok := hashOf(p)
		if !ok {
			return nil, false, target.Unsendable("password type", "Kratos takes no hashes of the type "+strconv.Quote(p.Type)+" in this form; leave the password out, and have the user set a new one")
		}
		config = map[string]string{"hashed_password": hash}
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	if all["password"], err = target.Marshal(map[string]any{"config": config}); err != nil {
		return nil, false, err
	}
	merged, err := target.Marshal(all)
	return merged, p.Plain != "", err
}

// known are the forms of hashes that Kratos takes as they are (hash/hash_comparator.go), crypt those of crypt(3) with the
// names that it has for them.
var (
	known = regexp.MustCompile(`^(\$2[abzy]?\$|\$(md5|sha256|sha512)-crypt\$|\$argon2id?\$|\$pbkdf2-sha[0-9]{1,3}\$i=|\$scrypt\$ln=|\{SSHA(256|512)?\}|\$sha(1|256|512)\$|\$firescrypt\$|\$md5\$|\$hmac-)`)
	crypt = map[string]string{"$1$": "$md5-crypt$", "$5$": "$sha256-crypt$", "$6$": "$sha512-crypt$"}
)

// hashOf is a hash in a form that Kratos takes.
func hashOf(p target.Password) (hash string, ok bool) {
	for prefix, name := range crypt {
		if rest, ok := strings.CutPrefix(p.Value, prefix); ok {
			return name + rest, true
		}
	}
	return p.Value, known.MatchString(p.Value) && p.Salt == ""
}

// Steps sets all values in one call, and a password, which another call sets, in a step of its own.
func (format) Steps(changes []target.Change) (steps []target.Step, err error) {
	var values target.Step
	for _, c := range changes {
		name, _, _ := strings.Cut(c.Path, ".")
		switch {
		case c.Path == "password":
			steps = append(steps, target.Step{Changes: []target.Change{c}})
		case slices.Contains([]string{"traits", "metadata_admin", "metadata_public", "state"}, name):
			values.Changes = append(values.Changes, c)
		default:
			return nil, target.Unsendable("fixed attribute", fmt.Sprintf("Kratos does not change %s of an identity that exists", name))
		}
	}
	if len(values.Changes) > 0 {
		steps = slices.Insert(steps, 0, values)
	}
	return steps, nil
}

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
	fault := func(class target.Class, what, advice string) *target.Error {
		e := r.Failed(class, "", words)
		e.Fault, e.Err = true, fmt.Errorf("%s (%s): %s [%w]", what, a.Host(), advice, e.Err)
		return e
	}
	switch {
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable:
		return r.Failed(target.Throttled, "", ""), false
	case r.Status == http.StatusUnauthorized:
		return fault(target.Unusable, "Kratos does not accept the token", "check it, and that it is of this project"), isOwn
	case r.Status == http.StatusRequestEntityTooLarge:
		return r.Failed(target.TooLarge, "too large", words), isOwn
	case !isOwn && (r.Status >= 300 && r.Status <= 399 || slices.Contains([]int{404, 405, 407}, r.Status)):
		return fault(target.Unknown, "the server is not the admin API of Kratos", "check the address; redirects are not followed"), false
	case !isOwn:
		return r.Failed(target.Unknown, "", ""), false
	case r.Status == http.StatusForbidden:
		return fault(target.Forbidden, "the token may not use the admin API", "give one that may"), true
	case r.Status == http.StatusNotFound:
		return r.Failed(target.NotFound, "", words), true
	case r.Status == http.StatusConflict:
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

// Create sends one batch.
func (a *Adapter) Create(ctx context.Context, records []target.Record) target.Answer {
	together, sent := batch(records)
	r := a.Send(ctx, http.MethodPatch, "/admin/identities", together)
	answer := r.Answer()
	if answer.Err == nil {
		a.read(&answer, r, records, sent)
	}
	judged := answer.Err
	if n, reason := answer.Unknown(); judged == nil && n > 0 && n == len(sent) {
		judged = &target.Error{Reason: reason}
	}
	a.Judged(ctx, target.Creates, r, judged)
	if answer.Err == nil {
		a.confirm(ctx, answer.Results)
	}
	return answer
}

// batch is a request, and which of the records it has: Kratos takes fewer with passwords in plain text.
func batch(records []target.Record) (body []byte, sent []int) {
	body, plain := []byte(opening), 0
	for i, r := range records {
		if r.Group == plainGroup {
			if plain++; plain > maxPlain {
				continue
			}
		}
		if len(sent) > 0 {
			body = append(body, ',')
		}
		body, sent = append(body, r.Body...), append(sent, i)
	}
	return append(body, closing...), sent
}

// read reads the answer to a batch.
func (a *Adapter) read(answer *target.Answer, r jsonapi.Reply, records []target.Record, sent []int) {
	if r.Status != http.StatusOK {
		e, isOwn := a.judge(r)
		if e.Class == target.NotFound { // there is nothing that a batch could not find
			e = r.Failed(target.Unknown, "", e.Words)
			e.Fault = true
			isOwn = false
		}
		answer.Err, answer.NothingWritten = e, isOwn
		return
	}
	var body struct {
		Identities []struct {
			Action   string   `json:"action"`
			Identity string   `json:"identity"`
			PatchID  string   `json:"patch_id"`
			Error    *failure `json:"error"`
		} `json:"identities"`
	}
	reason := ""
	switch err := json.Unmarshal(r.Body, &body); {
	case err != nil:
		reason = "not json"
	case len(body.Identities) < len(sent):
		reason = "too few results"
	case len(body.Identities) > len(sent):
		reason = "too many results"
	}
	if reason != "" {
		answer.Err = r.Failed(target.Unknown, reason, "")
		return
	}
	answer.Results = make([]target.Result, len(records))
	for i := range answer.Results {
		answer.Results[i].Err = &target.Error{Class: target.Unwritten, Reason: "too many passwords in plain text"}
	}
	ids := map[string]int{}
	for n, entry := range body.Identities {
		result := &answer.Results[sent[n]]
		isMine := strings.EqualFold(entry.PatchID, records[sent[n]].Mark)
		switch {
		case !isMine:
			*result = target.Result{Err: &target.Error{Reason: "results contradict"}}
		case entry.Action == "create" && isID.MatchString(entry.Identity):
			*result = target.Result{ID: entry.Identity}
			ids[entry.Identity]++
		case entry.Action == "error" && entry.Error != nil && entry.Error.Code != nil:
			*result = target.Result{Err: entry.Error.result()}
		default:
			*result = target.Result{Err: &target.Error{Reason: "no result for a record"}}
		}
	}
	for i, result := range answer.Results {
		if ids[result.ID] > 1 {
			answer.Results[i] = target.Result{Err: &target.Error{Reason: "id twice"}}
		}
	}
}

var isID = regexp.MustCompile(`(?i)^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// result is the error of one record of a batch.
func (f failure) result() *target.Error {
	e := &target.Error{Class: target.Unknown, Reason: "code " + strconv.Itoa(*f.Code), Words: f.words()}
	switch {
	case *f.Code == http.StatusConflict:
		e.Class = target.Duplicate
	case *f.Code >= 400 && *f.Code <= 499:
		e.Class = target.Refused
	}
	return e
}

// confirm reads the records that an answer calls created, unless all are. What is not there was rolled back with a
// duplicate.
func (a *Adapter) confirm(ctx context.Context, results []target.Result) {
	var ids []string
	failed := false
	for _, r := range results {
		if r.ID != "" {
			ids = append(ids, r.ID)
		} else {
			failed = failed || r.Err.Class != target.Unwritten
		}
	}
	if !failed || len(ids) == 0 {
		return
	}
	found, err := a.Find(ctx, target.ByID, ids)
	there := map[string]bool{}
	for _, e := range found {
		there[e.ID] = true
	}
	for i, r := range results {
		switch {
		case r.ID == "":
		case err != nil:
			results[i] = target.Result{Err: &target.Error{Reason: "not confirmed", Err: err}}
		case !there[r.ID]:
			results[i] = target.Result{Err: &target.Error{Class: target.Unwritten, Reason: "rolled back"}}
		}
	}
}

// Find looks keys up one by one, and ids in bulk.
func (a *Adapter) Find(ctx context.Context, attribute string, keys []string) ([]target.Entity, error) {
	var all []target.Entity
	asked := map[string]bool{}
	var wanted []string
	for _, key := range keys {
		if folded := a.fold(attribute, key); key != "" && !asked[folded] {
			asked[folded] = true
			wanted = append(wanted, key)
		}
	}
	if attribute == target.ByID {
		for part := range slices.Chunk(wanted, idsACall) {
			found, _, err := a.list(ctx, target.Reads, url.Values{"ids": part, "page_size": {strconv.Itoa(maxPage)}})
			if err != nil {
				return nil, err
			}
			all = append(all, found...)
		}
		return all, nil
	}
	if !strings.HasPrefix(attribute, "traits.") {
		return nil, fmt.Errorf("%s is not an identifier; expected one of the traits, as %s", attribute, DefaultKey)
	}
	seen := map[string]bool{}
	for _, key := range wanted {
		found, _, err := a.list(ctx, target.Reads, url.Values{"credentials_identifier": {key}, "page_size": {strconv.Itoa(maxPage)}})
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			// The identifier may be another trait.
			if a.fold(attribute, e.Text(attribute)) == a.fold(attribute, key) && !seen[e.ID] {
				seen[e.ID] = true
				all = append(all, e)
			}
		}
	}
	return all, nil
}

func (a *Adapter) fold(attribute, key string) string {
	if attribute == target.ByID {
		return strings.ToLower(key)
	}
	return a.Traits().Fold(key)
}

// list makes a call that lists identities, and returns its headers.
func (a *Adapter) list(ctx context.Context, kind target.Kind, query url.Values) ([]target.Entity, http.Header, error) {
	if query.Has("ids") || query.Has("credentials_identifier") {
		query.Set("consistency", "strong") // of Ory Network, whose replicas may be behind
	}
	var identities []map[string]json.RawMessage
	r, err := a.call(ctx, kind, http.MethodGet, "/admin/identities?"+query.Encode(), nil, http.StatusOK, &identities)
	if err != nil {
		return nil, nil, err
	}
	all := make([]target.Entity, len(identities))
	for i, identity := range identities {
		if all[i], err = entityOf(identity); err != nil {
			return nil, nil, err
		}
	}
	return all, r.Header, nil
}

// Get returns an identity.
func (a *Adapter) Get(ctx context.Context, ref target.Ref) (target.Entity, error) {
	if ref.ID != "" {
		var identity map[string]json.RawMessage
		_, err := a.call(ctx, target.Reads, http.MethodGet, "/admin/identities/"+url.PathEscape(ref.ID), nil, http.StatusOK, &identity)
		if err != nil {
			return target.Entity{}, err
		}
		return entityOf(identity)
	}
	found, err := a.Find(ctx, ref.Attribute, []string{ref.Key})
	switch {
	case err != nil:
		return target.Entity{}, err
	case len(found) == 0:
		return target.Entity{}, &target.Error{Class: target.NotFound, Reason: "not found"}
	case len(found) > 1:
		return target.Entity{}, &target.Error{Class: target.Refused, Reason: "not unique", Err: errors.New("more than one identity has the identifier")}
	}
	return found[0], nil
}

// List pages through all identities, in the order of their ids.
func (a *Adapter) List(ctx context.Context, page target.Page) ([]target.Entity, string, error) {
	query := url.Values{"page_size": {strconv.Itoa(min(page.Most, maxPage))}}
	if page.After != "" {
		query.Set("page_token", page.After)
	}
	found, header, err := a.list(ctx, target.Reads, query)
	if err != nil {
		return nil, "", err
	}
	return found, nextPage(header), nil
}

var nextLink = regexp.MustCompile(`<([^>]*)>;\s*rel="?next"?`)

// nextPage is the token in the Link header, "" if there is none.
func nextPage(header http.Header) string {
	link := nextLink.FindStringSubmatch(strings.Join(header.Values("Link"), ","))
	if link == nil {
		return ""
	}
	next, err := url.Parse(link[1])
	if err != nil {
		return ""
	}
	return next.Query().Get("page_token")
}

// Count returns what the paging by numbers tells, which only self-hosted versions do.
func (a *Adapter) Count(ctx context.Context) (int64, error) {
	_, header, err := a.list(ctx, target.Checks, url.Values{"page": {"1"}, "per_page": {"1"}})
	if err != nil {
		return 0, err
	}
	count, err := strconv.ParseInt(header.Get("X-Total-Count"), 10, 64)
	if err != nil {
		return 0, &target.Error{Class: target.Forbidden, Reason: "not counted", Err: errors.New("this Kratos does not count its identities")}
	}
	return count, nil
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

// Apply reads the identity, and sends a JSON patch for what is to be changed. A password is set by a call that sends all of
// the identity.
func (a *Adapter) Apply(ctx context.Context, ref target.Ref, step target.Step) error {
	before, err := a.read1(ctx, ref)
	if err != nil {
		return err
	}
	if len(step.Changes) == 1 && step.Changes[0].Path == "password" {
		return a.setPassword(ctx, before, step.Changes[0].Value)
	}
	type operation struct {
		Op    string          `json:"op"`
		Path  string          `json:"path"`
		Value json.RawMessage `json:"value,omitempty"`
	}
	patch := []operation{}
	for _, c := range step.Changes {
		value := c.Value
		if c.Path == "metadata_admin" && before.Mark != "" {
			if value, err = marked(c.Value, before.Mark); err != nil {
				return err
			}
		}
		path := "/" + strings.ReplaceAll(c.Path, ".", "/")
		if !isNull(value) {
			patch = append(patch, operation{"add", path, value})
		} else if has(before.Attributes, c.Path) {
			patch = append(patch, operation{"remove", path, nil})
		}
	}
	if len(patch) == 0 {
		return nil
	}
	body, err := target.Marshal(patch)
	if err != nil {
		return err
	}
	_, err = a.call(ctx, target.Changes, http.MethodPatch, "/admin/identities/"+before.ID, body, http.StatusOK, nil)
	return err
}

func (a *Adapter) setPassword(ctx context.Context, before target.Entity, password json.RawMessage) error {
	with, _, err := credentials(nil, password)
	if err != nil {
		return err
	}
	if with == nil {
		return target.Unsendable("password", "a password cannot be removed")
	}
	identity := map[string]json.RawMessage{"credentials": with}
	for _, name := range []string{"schema_id", "state", "traits", "metadata_public", "metadata_admin"} {
		if value := before.Attributes[name]; !isNull(value) {
			identity[name] = value
		}
	}
	if before.Mark != "" {
		if identity["metadata_admin"], err = marked(identity["metadata_admin"], before.Mark); err != nil {
			return err
		}
	}
	body, err := target.Marshal(identity)
	if err != nil {
		return err
	}
	_, err = a.call(ctx, target.Changes, http.MethodPut, "/admin/identities/"+before.ID, body, http.StatusOK, nil)
	return err
}

// read1 reads the identity of a change, which must have the version of the reference if that has one.
func (a *Adapter) read1(ctx context.Context, ref target.Ref) (target.Entity, error) {
	before, err := a.Get(ctx, ref)
	if err == nil && ref.Version != "" && ref.Version != before.Version {
		err = &target.Error{Class: target.Conflict, Reason: "changed since"}
	}
	return before, err
}

// Delete deletes an identity.
func (a *Adapter) Delete(ctx context.Context, ref target.Ref) error {
	id := ref.ID
	if id == "" || ref.Version != "" {
		before, err := a.read1(ctx, ref)
		if err != nil {
			return err
		}
		id = before.ID
	}
	_, err := a.call(ctx, target.Changes, http.MethodDelete, "/admin/identities/"+url.PathEscape(id), nil, http.StatusNoContent, nil)
	return err
}

// entityOf converts an identity.
func entityOf(identity map[string]json.RawMessage) (target.Entity, error) {
	e := target.Entity{Attributes: identity}
	e.ID = e.Text("id")
	if !isID.MatchString(e.ID) {
		return e, &target.Error{Reason: "result without id"}
	}
	e.Created, _ = target.ParseMoment(e.Text("created_at"))
	e.Updated, _ = target.ParseMoment(e.Text("updated_at"))
	e.Mark = e.Text("metadata_admin." + markName)
	if metadata, ok := object(identity["metadata_admin"]); ok && e.Mark != "" {
		delete(metadata, markName)
		identity["metadata_admin"] = json.RawMessage("null")
		if len(metadata) > 0 {
			identity["metadata_admin"], _ = target.Marshal(metadata) // of raw values
		}
	}
	for _, name := range []string{"verifiable_addresses", "recovery_addresses"} {
		identity[name] = bare(identity[name])
	}
	// Not all calls show the credentials, and times are cut to seconds.
	whole := maps.Clone(identity)
	delete(whole, "credentials")
	text, err := target.Marshal(whole)
	sum := sha256.Sum256(text)
	e.Version = hex.EncodeToString(sum[:])
	return e, err
}

// bare is a list of addresses without what Kratos adds to each.
func bare(list json.RawMessage) json.RawMessage {
	var addresses []map[string]json.RawMessage
	if isNull(list) || json.Unmarshal(list, &addresses) != nil {
		return list
	}
	for _, address := range addresses {
		for _, name := range []string{"id", "created_at", "updated_at", "verified_at"} {
			delete(address, name)
		}
	}
	text, _ := target.Marshal(addresses) // of raw values
	return text
}

func has(attributes map[string]json.RawMessage, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	value, ok := attributes[name]
	if !deeper || !ok {
		return ok
	}
	inner, _ := object(value)
	return has(inner, rest)
}

func object(raw json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	return members, json.Unmarshal(raw, &members) == nil && members != nil
}

func isNull(raw json.RawMessage) bool {
	return len(raw) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null"))
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string can always be encoded
	return b
}
