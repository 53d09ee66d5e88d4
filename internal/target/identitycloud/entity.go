package identitycloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"unicode/utf8"

	"durable-dataload/internal/target"
)

// Ref addresses one record: by its UUID, or by KeyAttribute, a unique attribute (a path with dots), and KeyValue.
// KeyValue is sent as a JSON string.
//
// LastUpdated, if given, is the expected lastUpdated of the record, as the API printed it (see Entity.LastUpdatedText). If it
// differs, the call does nothing and fails with an *APIError for which IsTimestampMismatch is true. This is documented on
// Akamai's page on entity.update ("created, lastUpdated"); whether the service compares more digits than it prints is not.
type Ref struct{ UUID, KeyAttribute, KeyValue, LastUpdated string }

// appendTo adds the parameters of the address and its condition to a form. Its errors contain no values, which may be user
// data.
func (r Ref) appendTo(form []byte) ([]byte, error) {
	form, err := r.appendAddress(form)
	if err != nil || r.LastUpdated == "" {
		return form, err
	}
	return appendParameter(form, "lastUpdated", r.LastUpdated), nil
}

func (r Ref) appendAddress(form []byte) ([]byte, error) {
	byKey := r.KeyAttribute != "" || r.KeyValue != ""
	switch {
	case r.UUID != "" && byKey:
		return nil, errors.New("a record is addressed by its uuid or by a key, not by both")
	case !utf8.ValidString(r.UUID) || !utf8.ValidString(r.KeyValue):
		// JSON would replace the invalid bytes, and address another record.
		return nil, errors.New("a record cannot be addressed by a text that is not UTF-8")
	case r.UUID != "":
		return appendParameter(form, "uuid", r.UUID), nil
	case r.KeyAttribute == "" || r.KeyValue == "":
		return nil, errors.New("a record is addressed by its uuid, or by a key attribute and a value that is not empty")
	}
	if err := checkPath(r.KeyAttribute); err != nil {
		return nil, err
	}
	form = appendParameter(form, "key_attribute", r.KeyAttribute)
	return appendParameter(form, "key_value", quoted(r.KeyValue)), nil
}

// Entity is a record of the target, as the target returned it.
type Entity struct {
	UUID string
	ID   int64 // 0 if the API did not return it
	// Created and LastUpdated are zero if the API did not return them.
	Created, LastUpdated Moment
	// Attributes are all top-level attributes, including the system attributes, with the bytes of their values: numbers keep
	// their digits. Attributes without a value are null or missing.
	Attributes map[string]json.RawMessage
}

// LastUpdatedText is LastUpdated as the API printed it, "" if it did not return it.
func (e Entity) LastUpdatedText() string { return object(e.Attributes).text("lastUpdated") }

// newEntity reads a record of an answer; ok is false if it has no uuid.
func newEntity(record object) (e Entity, ok bool) {
	e = Entity{UUID: record.text("uuid"), Attributes: record}
	e.ID, _ = strconv.ParseInt(string(record["id"]), 10, 64)
	e.Created, _ = ParseMoment(record.text("created"))
	e.LastUpdated, _ = ParseMoment(record.text("lastUpdated"))
	return e, e.UUID != ""
}

// View returns one whole record (/entity). It only reads, and may be repeated. Whether it sees a new record at once is not
// documented.
//
// A record that does not exist is an *APIError for which IsNotFound is true. Other errors: see IsUnknown.
func (c *Client) View(ctx context.Context, ref Ref) (Entity, error) {
	form, err := ref.appendTo(slices.Clone(c.common))
	if err != nil {
		return Entity{}, err
	}
	record, err := c.view(ctx, form)
	if err != nil {
		return Entity{}, err
	}
	entity, ok := newEntity(record)
	if !ok {
		return Entity{}, unknownError{&NoAnswerError{Reason: "result without uuid", Status: 200}}
	}
	return entity, nil
}

// view sends a call to /entity and returns the record of its answer.
func (c *Client) view(ctx context.Context, form []byte) (object, error) {
	answer, result := c.ask(ctx, "/entity", form)
	if answer.Verdict != Answered {
		return nil, c.failed(answer)
	}
	record := parseObject(result["result"])
	if record == nil {
		answer.unusable("no result")
		return nil, c.failed(answer)
	}
	return record, nil
}

// EntityType returns the schema of the entity type (/entityType). It only reads, and may be repeated.
//
// An *APIError with the code 222 means that there is no such type. Other errors: see IsUnknown.
func (c *Client) EntityType(ctx context.Context) (Schema, error) {
	answer, result := c.ask(ctx, "/entityType", c.common)
	if answer.Verdict != Answered {
		return Schema{}, c.failed(answer)
	}
	var schema Schema
	if json.Unmarshal(result["schema"], &schema) != nil || schema.Name == "" || len(schema.Attributes) == 0 {
		answer.unusable("no schema")
		return Schema{}, c.failed(answer)
	}
	return schema, nil
}

// checkPath refuses a text that is not the path of an attribute.
func checkPath(attribute string) error {
	if !isPath(attribute) {
		return fmt.Errorf("%q is not the name of an attribute: expected letters, digits and _, with dots between the parts of a path", attribute)
	}
	return nil
}

// Moment is a time with the precision of its text.
type Moment = target.Moment

// ParseMoment parses a date or dateTime in the documented formats of Identity Cloud: see target.ParseMoment.
func ParseMoment(s string) (Moment, bool) { return target.ParseMoment(s) }
