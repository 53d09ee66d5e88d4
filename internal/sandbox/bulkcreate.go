package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// bulkCreate is entity.bulkCreate: it creates the records of all_attributes independently.
func (s *Server) bulkCreate(q *request) (map[string]any, *apiError) {
	records, err := q.records()
	if err != nil {
		return nil, err
	}
	candidates := make([]candidate, len(records))
	for i, record := range records {
		candidates[i] = newCandidate(record)
		if s.options.IgnoreCreated {
			candidates[i].created = time.Time{}
		}
		if s.options.RefuseCalls && candidates[i].err != nil {
			return nil, candidates[i].err
		}
	}
	skip := func(index int) bool { return q.done == half && index%2 == 1 }
	outcomes, logErr := s.entities.create(q.call, candidates, attributePaths(records), skip)
	if logErr != nil {
		return nil, unexpected(logErr)
	}
	ids, uuids := make([]any, len(outcomes)), make([]any, len(outcomes))
	for i, outcome := range outcomes {
		if outcome.err != nil {
			ids[i], uuids[i] = outcome.err.object(), outcome.err.object()
			continue
		}
		ids[i], uuids[i] = outcome.id, outcome.uuid
	}
	return map[string]any{"stat": "ok", "results": ids, "uuid_results": uuids}, nil
}

// records decodes all_attributes, and adds their keys and digest to the truth log.
func (q *request) records() ([]any, *apiError) {
	text := q.params.Get("all_attributes")
	if text == "" {
		return nil, missingArgument("all_attributes")
	}
	sum := sha256.Sum256([]byte(text))
	q.call.SHA256 = hex.EncodeToString(sum[:])
	value, err := decodeJSON(text)
	if err != nil {
		return nil, invalidArgument("all_attributes", "the JSON is not syntactically valid")
	}
	records, ok := value.([]any)
	if !ok {
		return nil, invalidArgument("all_attributes", "it is not a JSON array")
	}
	q.call.Records = len(records)
	q.call.Keys = make([]string, len(records))
	for i, record := range records {
		attributes, _ := record.(map[string]any)
		q.call.Keys[i] = foldEmail(emailOf(attributes))
	}
	return records, nil
}

// newCandidate checks a record as far as can be done without the other entities, and prepares it to be stored.
func newCandidate(record any) candidate {
	attributes, ok := record.(map[string]any)
	if !ok {
		return candidate{err: newError(341, "a record must be a JSON object")}
	}
	c := candidate{attributes: attributes}
	if c.err = c.takeSystemAttributes(); c.err != nil {
		return c
	}
	if hasElementID(attributes) {
		c.err = idInNewRecord("the element of a plural")
		return c
	}
	if c.err = checkSchema(attributes); c.err != nil {
		return c
	}
	if !hasElements(attributes) { // those get their ids, and are encoded, when it is certain that they are created
		encoded, err := encodeJSON(attributes)
		if err != nil {
			c.err = unexpected(err)
		}
		c.encoded = encoded
	}
	return c
}

// takeSystemAttributes removes the system attributes from the record. Only created may have a value.
func (c *candidate) takeSystemAttributes() *apiError {
	for _, name := range systemAttributes {
		value := c.attributes[name]
		delete(c.attributes, name)
		if value == nil {
			continue
		}
		switch name {
		case "id":
			return idInNewRecord("a record")
		case "created":
			text, _ := value.(string)
			created, ok := parseDate(text)
			if !ok {
				return newError(342, "created is not a date")
			}
			c.created = created
		default:
			return reservedAttribute(name)
		}
	}
	return nil
}

func idInNewRecord(of string) *apiError {
	return newError(320, "%s that is new cannot be given an id", of)
}
