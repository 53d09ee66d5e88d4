package identityplatform

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// deletable are the attributes that have a name of their own for their removal.
var deletable = map[string]string{"displayName": "DISPLAY_NAME", "photoUrl": "PHOTO_URL", "email": "EMAIL"}

// Apply reads the user, and sends accounts:update.
func (a *Adapter) Apply(ctx context.Context, ref target.Ref, step target.Step) error {
	before, err := jsonapi.Unchanged(ctx, a.Get, ref)
	if err != nil {
		return err
	}
	update := map[string]any{"localId": before.ID}
	var remove []string
	claims, _ := jsonapi.Members(before.Attributes["customAttributes"])
	for _, c := range step.Changes {
		name, claim, nested := strings.Cut(c.Path, ".")
		null := jsonapi.IsNull(c.Value)
		switch {
		case name == "customAttributes" && nested:
			if claims, err = with(claims, strings.Split(claim, "."), c.Value); err != nil {
				return err
			}
			fallthrough
		case name == "customAttributes":
			if !nested {
				claims, _ = jsonapi.Members(c.Value)
			}
			if claims == nil {
				claims = map[string]json.RawMessage{}
			}
			text, err := target.Marshal(claims)
			if err != nil {
				return err
			}
			if update[name], err = encode(name, text); err != nil {
				return err
			}
		case null && deletable[name] != "":
			remove = append(remove, deletable[name])
		case null && name == "phoneNumber":
			update["deleteProvider"] = []string{"phone"}
		case null:
			update[name] = false
		default:
			if update[name], err = encode(name, c.Value); err != nil {
				return err
			}
		}
	}
	if _, ok := update["email"]; ok && update["emailVerified"] == nil {
		update["emailVerified"] = string(before.Attributes["emailVerified"]) == "true" // else it becomes false
	}
	if disabled, ok := update["disabled"]; ok {
		delete(update, "disabled")
		update["disableUser"] = disabled
	}
	if len(remove) > 0 {
		update["deleteAttribute"] = remove
	}
	_, err = a.call(ctx, target.Changes, http.MethodPost, a.accounts+":update", update, "localId", "kind")
	return err
}

// with is an object with another value at a path; null removes it.
func with(members map[string]json.RawMessage, path []string, value json.RawMessage) (map[string]json.RawMessage, error) {
	members = maps.Clone(members)
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	if len(path) > 1 {
		inner, _ := jsonapi.Members(members[path[0]])
		inner, err := with(inner, path[1:], value)
		if err != nil {
			return nil, err
		}
		if value, err = target.Marshal(inner); err != nil {
			return nil, err
		}
	}
	if jsonapi.IsNull(value) {
		delete(members, path[0])
	} else {
		members[path[0]] = value
	}
	return members, nil
}

// Delete deletes a user.
func (a *Adapter) Delete(ctx context.Context, ref target.Ref) error {
	id, err := jsonapi.IDOf(ctx, a.Get, ref)
	if err != nil {
		return err
	}
	_, err = a.call(ctx, target.Changes, http.MethodPost, a.accounts+":delete", map[string]any{"localId": id}, "kind")
	return err
}
