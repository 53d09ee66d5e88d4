package identityplatform

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// Find looks users up by localId, email or phoneNumber.
func (a *Adapter) Find(ctx context.Context, attribute string, keys []string) ([]target.Entity, error) {
	by := cmp.Or(attribute, "localId")
	if !slices.Contains([]string{"localId", "email", "phoneNumber"}, by) {
		return nil, fmt.Errorf("users cannot be looked up by %s; expected localId, email or phoneNumber", by)
	}
	fold := func(key string) string { return key }
	if by == "email" {
		fold = strings.ToLower
	}
	wanted := map[string]bool{}
	var asked []string
	for _, key := range keys {
		if folded := fold(key); key != "" && !wanted[folded] {
			wanted[folded] = true
			asked = append(asked, key)
		}
	}
	var all []target.Entity
	seen := map[string]bool{}
	for part := range slices.Chunk(asked, findKeys) {
		answer, err := a.call(ctx, target.Reads, http.MethodPost, a.accounts+":lookup", map[string]any{by: part}, "users", "kind")
		if err != nil {
			return nil, err
		}
		found, err := entitiesOf(answer["users"])
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			if wanted[fold(e.Text(by))] && !seen[e.ID] {
				seen[e.ID] = true
				all = append(all, e)
			}
		}
	}
	return all, nil
}

// Get returns a user.
func (a *Adapter) Get(ctx context.Context, ref target.Ref) (target.Entity, error) {
	attribute, key := ref.Attribute, ref.Key
	if ref.ID != "" {
		attribute, key = target.ByID, ref.ID
	}
	found, err := a.Find(ctx, attribute, []string{key})
	return jsonapi.One(found, err)
}

// List pages through all users.
func (a *Adapter) List(ctx context.Context, page target.Page) ([]target.Entity, string, error) {
	query := url.Values{"maxResults": {strconv.Itoa(min(page.Most, maxPage))}}
	if page.After != "" {
		query.Set("nextPageToken", page.After)
	}
	answer, err := a.call(ctx, target.Reads, http.MethodGet, a.accounts+":batchGet?"+query.Encode(), nil, "users", "kind")
	if err != nil {
		return nil, "", err
	}
	var next string
	_ = json.Unmarshal(answer["nextPageToken"], &next) // none is the last page
	found, err := entitiesOf(answer["users"])
	return found, next, err
}

// Count counts all users.
func (a *Adapter) Count(ctx context.Context) (int64, error) {
	answer, err := a.call(ctx, target.Checks, http.MethodPost, a.accounts+":query", map[string]any{"returnUserInfo": false}, "recordsCount")
	if err != nil {
		return 0, err
	}
	count, err := strconv.ParseInt(strings.Trim(string(answer["recordsCount"]), `"`), 10, 64)
	if err != nil {
		return 0, &target.Error{Reason: "no recordsCount"}
	}
	return count, nil
}

// entitiesOf converts a list of users; none is missing.
func entitiesOf(raw json.RawMessage) (all []target.Entity, err error) {
	var users []map[string]json.RawMessage
	if jsonapi.IsNull(raw) {
		return nil, nil
	}
	if json.Unmarshal(raw, &users) != nil {
		return nil, &target.Error{Reason: "not a list of users"}
	}
	for _, user := range users {
		e, err := entityOf(user)
		if err != nil {
			return nil, err
		}
		all = append(all, e)
	}
	return all, nil
}

func entityOf(user map[string]json.RawMessage) (target.Entity, error) {
	// A sign-in and a refreshed token change lastLoginAt and lastRefreshAt; the latter is not a change of the user.
	delete(user, "lastRefreshAt")
	version, err := jsonapi.Version(user)
	if err != nil {
		return target.Entity{}, err
	}
	e := target.Entity{Version: version, Attributes: map[string]json.RawMessage{}}
	for name, value := range user {
		switch attributes[name] {
		case "", "password":
			continue
		case "dateTime":
			value = timeOf(value)
		case "object":
			var text string
			if json.Unmarshal(value, &text) == nil {
				value = json.RawMessage(text)
			}
			if claims, ok := jsonapi.Members(value); ok && len(claims) == 0 {
				continue
			}
		case "plural":
			if value = providersOf(value); value == nil {
				continue
			}
		}
		e.Attributes[name] = value
	}
	e.ID = e.Text("localId")
	if e.ID == "" {
		return e, &target.Error{Reason: "result without localId"}
	}
	e.Mark = e.ID
	return e, nil
}

// timeOf converts milliseconds, a number in a text, to a time.
func timeOf(value json.RawMessage) json.RawMessage {
	ms, err := strconv.ParseInt(strings.Trim(string(value), `"`), 10, 64)
	if err != nil {
		return value
	}
	return json.RawMessage(strconv.Quote(time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z")))
}

// providersOf is a list of providers without those that stand for the password and the phone number, and without what the
// API derives; nil if there are no others.
func providersOf(value json.RawMessage) json.RawMessage {
	var all []map[string]json.RawMessage
	if json.Unmarshal(value, &all) != nil {
		return value
	}
	all = slices.DeleteFunc(all, func(p map[string]json.RawMessage) bool {
		return slices.Contains([]string{`"password"`, `"phone"`}, string(p["providerId"]))
	})
	if len(all) == 0 {
		return nil
	}
	for _, p := range all {
		delete(p, "federatedId")
	}
	text, _ := target.Marshal(all) // of raw values
	return text
}
