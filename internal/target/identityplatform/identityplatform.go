// Package identityplatform is Google's Identity Platform, and Firebase Authentication, as a target. It speaks to the REST
// API v1 of the Identity Toolkit.
//
// A record is a user as the API shows it: localId, email, emailVerified, displayName, photoUrl, phoneNumber, disabled,
// createdAt, lastLoginAt, providerUserInfo; customAttributes as an object; and the attribute password, a hash. Times are
// dates, not milliseconds. The localId marks it as ours: that of the record, or else the tag. The platform refuses a second
// user with one localId, so any call may be sent again.
//
// A call has one hash algorithm with its parameters: records with another one are left for another call. So are records of
// the same call with one email, localId or phone number in common, for which the platform would refuse the whole call.
package identityplatform

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// TargetName is the name of this target.
const TargetName = "identity-platform"

// BaseURL is the address of the API.
const BaseURL = "https://identitytoolkit.googleapis.com"

// DefaultKey is the attribute that identifies users.
const DefaultKey = "email"

const (
	maxRecords = 1000 // documented for accounts:batchCreate
	maxBytes   = 4_000_000
	maxPage    = 1000
	findKeys   = 100 // of accounts:lookup, in Google's own libraries
	// lag is an assumption: it is not documented how soon a new user is found.
	lag = time.Minute
	// maxID and maxClaims, in bytes and characters, are documented.
	maxID, maxClaims = 128, 1000

	overhead = 300 // of a request, more than its parameters can need
)

// Config says which project to talk to.
type Config struct {
	// The base URL is BaseURL if it is "". The token is an OAuth 2.0 access token: see
	// Credentials.
	jsonapi.Config
	Project string
	// Tenant is the id of a tenant of the project, "" for none.
	Tenant string
}

// Adapter is a project as a target.
type Adapter struct {
	target.Format
	*jsonapi.Client
	project, accounts string // paths
}

var _ target.Adapter = (*Adapter)(nil)

var isName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9-]*$`)

// New checks the configuration. It does not connect.
func New(cfg Config, hooks target.Hooks) (*Adapter, error) {
	if !isName.MatchString(cfg.Project) || cfg.Tenant != "" && !isName.MatchString(cfg.Tenant) {
		return nil, fmt.Errorf("%q is not the id of a project, or %q not that of a tenant: expected letters, digits and -", cfg.Project, cfg.Tenant)
	}
	cfg.BaseURL = cmp.Or(cfg.BaseURL, BaseURL)
	client, err := jsonapi.New(cfg.Config, hooks)
	if err != nil {
		return nil, err
	}
	a := &Adapter{Format: Format(), Client: client, project: "/projects/" + cfg.Project}
	a.accounts = "/v1" + a.project
	if cfg.Tenant != "" {
		a.accounts += "/tenants/" + cfg.Tenant
	}
	a.accounts += "/accounts"
	return a, nil
}

// token is the first word of a message that is a constant of the API.
var token = regexp.MustCompile(`^[A-Z][A-Z0-9_]{2,60}\b`)

// judge says what an answer other than the expected one means. isOwn is true if the platform itself has refused the call.
func (a *Adapter) judge(r jsonapi.Reply) (e *target.Error, isOwn bool) {
	var body struct {
		Error *struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	isOwn = json.Unmarshal(r.Body, &body) == nil && body.Error != nil && body.Error.Code == r.Status && r.Status >= 400 && r.Status <= 499
	words, reason := "", ""
	if isOwn {
		words = body.Error.Message
		if name := token.FindString(words); name != "" {
			reason = name
		}
	}
	if e := a.Judge(r, "Identity Platform", isOwn, reason, words); e != nil {
		return e, isOwn && e.Class != target.Throttled
	}
	switch {
	case slices.Contains([]string{"QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED", "TOO_MANY_ATTEMPTS_TRY_LATER"}, reason):
		return r.Failed(target.Throttled, reason, ""), false
	case r.Status == http.StatusNotFound, slices.Contains([]string{"PROJECT_NOT_FOUND", "CONFIGURATION_NOT_FOUND", "INVALID_PROJECT_ID", "TENANT_NOT_FOUND", "INVALID_TENANT_ID"}, reason):
		e := r.Failed(target.Unusable, reason, words)
		e.Fault, e.Err = true, fmt.Errorf("there is no such project or tenant, or it has no authentication (%s): check its id [%w]", a.project, e.Err)
		return e, true
	case reason == "USER_NOT_FOUND":
		return r.Failed(target.NotFound, reason, words), true
	case strings.HasPrefix(reason, "DUPLICATE_"), reason == "EMAIL_EXISTS", reason == "PHONE_NUMBER_EXISTS":
		return r.Failed(target.Duplicate, reason, words), true
	}
	return r.Failed(target.Refused, reason, words), true
}

// call makes a call that is answered with a JSON object that has one of the members.
func (a *Adapter) call(ctx context.Context, kind target.Kind, method, path string, request any, members ...string) (map[string]json.RawMessage, error) {
	var body []byte
	if request != nil {
		var err error
		if body, err = target.Marshal(request); err != nil {
			return nil, err
		}
	}
	r := a.Send(ctx, method, path, body)
	var answer map[string]json.RawMessage
	err := r.Error()
	switch {
	case err != nil:
	case r.Status != http.StatusOK:
		e, _ := a.judge(r)
		err = e
	case json.Unmarshal(r.Body, &answer) != nil:
		err = r.Failed(target.Unknown, "not json", "")
	case !slices.ContainsFunc(members, func(name string) bool { _, ok := answer[name]; return ok }):
		err = r.Failed(target.Unknown, "no "+members[0], "")
	}
	a.Judged(ctx, kind, r, err)
	return answer, err
}

// Check counts the users.
func (a *Adapter) Check(ctx context.Context) error {
	_, err := a.Count(ctx)
	return err
}
