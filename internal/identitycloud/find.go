package identitycloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const (
	// findKeys and findBytes bound one entity.find call: the limit of a filter's length is not documented, so calls
	// stay small.
	findKeys  = 50
	findBytes = 32 << 10
	// findResults is what a find asks for at most. It is more than the two records that a unique attribute can have
	// for each key in two spellings, and the lower of the two maxima that are named for max_results (1,000 and 10,000).
	findResults = 1000
)

// Found is a record that has a key that was asked for.
type Found struct {
	// Key is the key as it was asked for, Value what the record has, which may differ in case.
	Key, Value string
	UUID       string
	// Created and LastUpdated are zero if the API did not tell.
	Created, LastUpdated Moment
}

// FindByKey looks up the records whose attribute has one of the keys, up to 50 keys a call (entity.find).
//
// Case is ignored, as the default schema does: each key is asked for as it is and in lower case, in case the server
// compares exactly, and a record belongs to every key that strings.EqualFold holds equal (simple Unicode folding: K and
// the Kelvin sign are equal, ß and ss are not). A record that the server holds equal and EqualFold does not is left out.
// Where a schema tells cases apart, compare Key with Value.
//
// How a quote is escaped in a filter is not documented. Keys with a quote, a backslash or a control character are
// looked up one by one (/entity with key_attribute and key_value, which is JSON); this needs a unique attribute.
//
// The result is in the order of the keys, repeated keys once; a key without a record has no entry, and an empty key
// is not asked for. That a record is not found does not prove that it does not exist: new records may stay invisible
// for minutes. With an error come the records that were found before it. Errors: see IsUnknown.
func (c *Client) FindByKey(ctx context.Context, attribute string, keys []string) ([]Found, error) {
	found := make(map[string][]Found, len(keys))
	err := c.lookUp(ctx, attribute, keys, wanted(attribute), func(keys []string, value string, record object) {
		f := Found{Value: value, UUID: record.text("uuid")}
		f.Created, _ = ParseMoment(record.text("created"))
		f.LastUpdated, _ = ParseMoment(record.text("lastUpdated"))
		for _, key := range keys {
			f.Key = key
			if strings.EqualFold(key, value) && !slices.Contains(found[key], f) {
				found[key] = append(found[key], f)
			}
		}
	})
	var result []Found
	for _, key := range keys {
		result = append(result, found[key]...)
		delete(found, key)
	}
	return result, err
}

// lookUp asks for the records that have one of the keys, and tells each, with its value of the attribute and the keys
// of the call that gave it; each record has a uuid. wanted is the parameter attributes, "" for whole records.
func (c *Client) lookUp(ctx context.Context, attribute string, keys []string, wanted string, tell func(keys []string, value string, record object)) error {
	if err := checkPath(attribute); err != nil {
		return err
	}
	batches, alone := split(keys)
	for _, keys := range batches {
		records, err := c.find(ctx, attribute, keys, wanted)
		if err != nil {
			return err
		}
		if err := tellAll(records, attribute, keys, tell); err != nil {
			return err
		}
	}
	for _, key := range alone {
		for _, spelling := range forms(key) {
			form, err := Ref{KeyAttribute: attribute, KeyValue: spelling}.appendTo(slices.Clone(c.common))
			if err != nil {
				return err
			}
			if wanted != "" {
				form = appendParameter(form, "attributes", wanted)
			}
			record, err := c.view(ctx, form)
			var api *APIError
			if errors.As(err, &api) && api.IsNotFound() {
				continue
			}
			if err != nil {
				return err
			}
			if err := tellAll([]object{record}, attribute, []string{key}, tell); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellAll tells records of an answer, up to the first that lacks what makes it one.
func tellAll(records []object, attribute string, keys []string, tell func(keys []string, value string, record object)) error {
	for _, record := range records {
		value, ok := record.at(attribute)
		if !ok || record.text("uuid") == "" {
			return unknownError{&NoAnswerError{Reason: "result without uuid or " + attribute, Status: 200}}
		}
		tell(keys, value, record)
	}
	return nil
}

// split divides keys into those that one filter can hold, and those that are to be asked for alone. Each key comes
// once.
func split(keys []string) (batches [][]string, alone []string) {
	size := 0 // of the last batch, in bytes
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		if key == "" || asked[key] {
			continue
		}
		asked[key] = true
		if strings.ContainsFunc(key, func(r rune) bool { return r == '\'' || r == '\\' || r < ' ' || r == 0x7f }) {
			alone = append(alone, key)
			continue
		}
		last := len(batches) - 1
		if last < 0 || len(batches[last]) == findKeys || size+len(key) > findBytes {
			batches = append(batches, nil)
			last++
			size = 0
		}
		batches[last] = append(batches[last], key)
		size += len(key)
	}
	return batches, alone
}

// forms are the spellings in which a key is asked for.
func forms(key string) []string {
	if lower := strings.ToLower(key); lower != key {
		return []string{key, lower}
	}
	return []string{key}
}

// find asks for all keys in one entity.find call.
func (c *Client) find(ctx context.Context, attribute string, keys []string, wanted string) ([]object, error) {
	var terms []string
	for _, key := range keys {
		for _, form := range forms(key) {
			terms = append(terms, attribute+"='"+form+"'")
		}
	}
	slices.Sort(terms)
	terms = slices.Compact(terms)

	form := slices.Clone(c.common)
	form = appendParameter(form, "filter", strings.Join(terms, " or "))
	if wanted != "" {
		form = appendParameter(form, "attributes", wanted)
	}
	form = appendParameter(form, "max_results", strconv.Itoa(findResults))
	answer, result := c.ask(ctx, "/entity.find", form)
	if answer.Verdict != Answered {
		return nil, c.failed(answer)
	}
	var records []object
	if raw := result["results"]; json.Unmarshal(raw, &records) != nil || records == nil {
		answer.unusable("no results")
		return nil, c.failed(answer)
	}
	if len(records) >= findResults {
		return nil, fmt.Errorf("the attribute %s is not unique: %d records or more have one of %d keys; use a unique attribute",
			attribute, len(records), len(keys))
	}
	return records, nil
}

// at is the value at a path of names with dots between them, as text.
func (o object) at(path string) (string, bool) {
	name, rest, deeper := strings.Cut(path, ".")
	raw, ok := o[name]
	if !ok {
		return "", false
	}
	if deeper {
		return parseObject(raw).at(rest)
	}
	var text string
	if json.Unmarshal(raw, &text) == nil && string(raw) != "null" {
		return text, true
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil && number != "" {
		return number.String(), true
	}
	return "", false
}

// wanted is the parameter attributes: what a Found is made of.
func wanted(attribute string) string {
	list := `["uuid","created","lastUpdated"`
	if !slices.Contains([]string{"uuid", "created", "lastUpdated"}, attribute) {
		list += "," + quoted(attribute)
	}
	return list + "]"
}

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string can always be encoded
	return string(b)
}

// isPath says that s can be an attribute's name and nothing else, so that it is safe in a filter.
func isPath(s string) bool {
	for part := range strings.SplitSeq(s, ".") {
		if part == "" {
			return false
		}
		for i := range len(part) {
			if !plain[part[i]] || part[i] == '~' || part[i] == '-' {
				return false
			}
		}
	}
	return true
}
