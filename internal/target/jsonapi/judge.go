package jsonapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"

	"durable-dataload/internal/target"
)

// Judge returns what a status other than the expected one means on every platform, nil where the platform's own answer
// decides. isOwn says that the body is an error of the platform itself and not of something on the way; with it go its
// reason, "" for that of the status, and its words.
func (c *Client) Judge(r Reply, platform string, isOwn bool, reason, words string) *target.Error {
	fault := func(class target.Class, what, advice string) *target.Error {
		e := r.Failed(class, reason, words)
		e.Fault, e.Err = true, fmt.Errorf("%s (%s): %s [%w]", what, c.host, advice, e.Err)
		return e
	}
	switch {
	case r.Status == http.StatusTooManyRequests, r.Status == http.StatusServiceUnavailable:
		return r.Failed(target.Throttled, reason, "")
	case r.Status == http.StatusUnauthorized:
		return fault(target.Unusable, platform+" does not accept the token", "check that it has not expired, and is for this target")
	case r.Status == http.StatusRequestEntityTooLarge:
		return r.Failed(target.TooLarge, "too large", words)
	case !isOwn && (r.Status >= 300 && r.Status <= 399 || slices.Contains([]int{404, 405, 407}, r.Status)):
		return fault(target.Unknown, "the server is not "+platform, "check the address; redirects are not followed")
	case !isOwn:
		return r.Failed(target.Unknown, "", "")
	case r.Status == http.StatusForbidden:
		return fault(target.Forbidden, "the token may not make this call", "use one that has the permission")
	}
	return nil
}

// Object returns the members of a record; ok is false unless it is exactly one JSON object in UTF-8.
func Object(record []byte) (members map[string]json.RawMessage, ok bool) {
	members, ok = Members(record)
	return members, ok && utf8.Valid(record)
}

// Members returns those of a value, if it is an object.
func Members(value json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	return members, json.Unmarshal(value, &members) == nil && members != nil
}

// WithoutNulls is a value whose objects, and those in its lists, have no members that are null: to schemas of JSON a null is
// another type, and to the input it is no value.
func WithoutNulls(value json.RawMessage) json.RawMessage {
	if all, ok := Members(value); ok {
		for name, member := range all {
			if IsNull(member) {
				delete(all, name)
			} else {
				all[name] = WithoutNulls(member)
			}
		}
		value, _ = target.Marshal(all) // of raw values
		return value
	}
	var list []json.RawMessage
	if bytes.HasPrefix(bytes.TrimSpace(value), []byte("[")) && json.Unmarshal(value, &list) == nil {
		for i, element := range list {
			list[i] = WithoutNulls(element)
		}
		value, _ = target.Marshal(list)
	}
	return value
}

// IsNull reports whether a value is null or missing.
func IsNull(value json.RawMessage) bool {
	return len(value) == 0 || bytes.Equal(bytes.TrimSpace(value), []byte("null"))
}

// Version is a digest of a record, for platforms that do not number or date their changes.
func Version(attributes map[string]json.RawMessage) (string, error) {
	text, err := target.Marshal(attributes)
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), err
}

// One is the record of Get that a search has found.
func One(found []target.Entity, err error) (target.Entity, error) {
	switch {
	case err != nil:
		return target.Entity{}, err
	case len(found) == 0:
		return target.Entity{}, &target.Error{Class: target.NotFound, Reason: "not found"}
	case len(found) > 1:
		return target.Entity{}, &target.Error{Class: target.Refused, Reason: "not unique", Err: errors.New("more than one record has this key")}
	}
	return found[0], nil
}

// get is a method Get of an adapter.
type get func(context.Context, target.Ref) (target.Entity, error)

// Unchanged reads the record of a change, which must have the version of the reference if that has one.
func Unchanged(ctx context.Context, get get, ref target.Ref) (target.Entity, error) {
	found, err := get(ctx, ref)
	if err == nil && ref.Version != "" && ref.Version != found.Version {
		err = &target.Error{Class: target.Conflict, Reason: "changed since"}
	}
	return found, err
}

// IDOf is the id of a record that is to be deleted. It is read first where the reference has no id, or a version that it
// must have.
func IDOf(ctx context.Context, get get, ref target.Ref) (id string, err error) {
	if ref.ID != "" && ref.Version == "" {
		return ref.ID, nil
	}
	found, err := Unchanged(ctx, get, ref)
	return found.ID, err
}
