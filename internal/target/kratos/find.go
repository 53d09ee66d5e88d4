package kratos

import (
	"context"
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
	return jsonapi.One(found, err)
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

// entityOf converts an identity.
func entityOf(identity map[string]json.RawMessage) (target.Entity, error) {
	e := target.Entity{Attributes: identity}
	e.ID = e.Text("id")
	if !target.IsUUID(e.ID) {
		return e, &target.Error{Reason: "result without id"}
	}
	e.Created, _ = target.ParseMoment(e.Text("created_at"))
	e.Mark = e.Text("metadata_admin." + markName)
	if metadata, ok := jsonapi.Members(identity["metadata_admin"]); ok && e.Mark != "" {
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
	var err error
	e.Version, err = jsonapi.Version(whole)
	return e, err
}

// bare is a list of addresses without what Kratos adds: members of each, and the unverified ones that it makes of the traits.
func bare(list json.RawMessage) json.RawMessage {
	var addresses []map[string]json.RawMessage
	if jsonapi.IsNull(list) || json.Unmarshal(list, &addresses) != nil {
		return list
	}
	addresses = slices.DeleteFunc(addresses, func(address map[string]json.RawMessage) bool {
		return string(address["verified"]) == "false" && string(address["status"]) == `"pending"`
	})
	for _, address := range addresses {
		for _, name := range []string{"id", "created_at", "updated_at", "verified_at"} {
			delete(address, name)
		}
	}
	text, _ := target.Marshal(addresses) // of raw values
	return text
}
