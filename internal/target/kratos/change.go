package kratos

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// pointer makes a JSON pointer (RFC 6901) of a path.
var pointer = strings.NewReplacer("~", "~0", "/", "~1", ".", "/")

// Apply reads the identity, and sends a JSON patch for what is to be changed. A password is set by a call that sends all of
// the identity.
func (a *Adapter) Apply(ctx context.Context, ref target.Ref, step target.Step) error {
	before, err := jsonapi.Unchanged(ctx, a.Get, ref)
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
		path := "/" + pointer.Replace(c.Path)
		if !jsonapi.IsNull(value) {
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
	return a.change(ctx, http.MethodPatch, before.ID, body)
}

// change makes a call that changes an identity, which is the answer.
func (a *Adapter) change(ctx context.Context, method, id string, body []byte) error {
	var identity map[string]json.RawMessage
	if _, err := a.call(ctx, target.Changes, method, "/admin/identities/"+id, body, http.StatusOK, &identity); err != nil {
		return err
	}
	after, err := entityOf(identity)
	if err == nil && after.ID != id {
		err = &target.Error{Reason: "result of another record"}
	}
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
	// A member that is left out is emptied; external_id exists since v25.4.
	for _, name := range []string{"schema_id", "state", "traits", "metadata_public", "metadata_admin", "external_id"} {
		if value := before.Attributes[name]; !jsonapi.IsNull(value) {
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
	return a.change(ctx, http.MethodPut, before.ID, body)
}

// Delete deletes an identity.
func (a *Adapter) Delete(ctx context.Context, ref target.Ref) error {
	id, err := jsonapi.IDOf(ctx, a.Get, ref)
	if err != nil {
		return err
	}
	_, err = a.call(ctx, target.Changes, http.MethodDelete, "/admin/identities/"+url.PathEscape(id), nil, http.StatusNoContent, nil)
	return err
}

func has(attributes map[string]json.RawMessage, path string) bool {
	name, rest, deeper := strings.Cut(path, ".")
	value, ok := attributes[name]
	if !deeper || !ok {
		return ok
	}
	inner, _ := jsonapi.Members(value)
	return has(inner, rest)
}
