package identitycloud

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/target"
)

const (
	// findKeys and findBytes bound one entity.find call, since the largest length of a filter is not documented.
	findKeys  = 50
	findBytes = 32 << 10
	// findResults is the max_results of a find. It exceeds the two records that a unique attribute can have for each key in
	// two spellings, and is the lower of the two documented maxima (1,000 and 10,000).
	findResults = 1000
)

// FoldKey returns the form in which keys are compared: case is ignored, as in the platform's default schema.
func FoldKey(key string) string { return target.FoldCase(key) }

// FindEntities returns the whole records whose attribute has one of the keys, with up to 50 keys a call (entity.find). It
// only reads, and may be repeated.
//
// Case is ignored: each key is searched as it is and in lower case, for servers that compare exactly, and a record belongs
// to every key with the same FoldKey. A record that only the server considers equal is left out. All records with a key are
// returned: two, if the schema allows the key twice or in two spellings.
//
// The escaping of a quote in a filter is not documented. Keys with a quote, a backslash or a control character are looked up
// one by one (/entity with key_attribute and key_value, which is JSON); this needs a unique attribute.
//
// Each record is returned once, in the order of its first key; a key without a record has no entry, and an empty key is
// skipped. A record that is not found may exist all the same: new records may stay invisible for minutes. With an error come
// the records that were found before it. Errors: see IsUnknown.
func (c *Client) FindEntities(ctx context.Context, attribute string, keys []string) ([]Entity, error) {
	found := map[string][]Entity{} // by folded key
	seen := map[string]bool{}      // uuids
	wanted := make(map[string]bool, len(keys))
	for _, key := range keys {
		wanted[FoldKey(key)] = true
	}
	err := c.lookUp(ctx, attribute, keys, func(value string, record object) {
		entity, _ := newEntity(record)
		folded := FoldKey(value)
		if wanted[folded] && !seen[entity.UUID] {
			seen[entity.UUID] = true
			found[folded] = append(found[folded], entity)
		}
	})
	var entities []Entity
	for _, key := range keys {
		entities = append(entities, found[FoldKey(key)]...)
		delete(found, FoldKey(key))
	}
	return entities, err
}

// Written selects the records whose Stamp, "created" or "lastUpdated", is Since or later; all, where Since is zero. Of these
// it has those that fit Filter, unless that is "".
type Written struct {
	Stamp  string
	Since  time.Time
	Filter string
	// Attributes are the top-level attributes that are asked for, nil for all; uuid, id, created and lastUpdated always are.
	Attributes []string
}

func (w Written) filter() string {
	filter := ""
	if w.Filter != "" {
		filter = "(" + w.Filter + ") and "
	}
	if w.Since.IsZero() {
		return filter
	}
	return filter + fmt.Sprintf("%s >= '%s' and ", w.Stamp, inFilter(w.Since))
}

// inFilter is a time in a filter.
func inFilter(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000000 -0700") }

// appendAttributes adds the attributes that are asked for.
func (w Written) appendAttributes(form []byte) []byte {
	if w.Attributes == nil {
		return form
	}
	names := slices.Concat(w.Attributes, SystemAttributes)
	slices.Sort(names)
	list, _ := json.Marshal(slices.Compact(names)) // strings can always be encoded
	return appendParameter(form, "attributes", string(list))
}

// FindWritten returns up to most of these records whole, in the order of their ids, starting above the id after
// (entity.find). Akamai's page on large data sets recommends this way of paging. None are left after an empty page; one
// with fewer than most may not be the last. It only reads, and may be repeated. Errors: see IsUnknown; a record without an
// id is one.
func (c *Client) FindWritten(ctx context.Context, w Written, after int64, most int) ([]Entity, error) {
	form := slices.Clone(c.common)
	form = appendParameter(form, "filter", fmt.Sprintf("%sid > %d", w.filter(), after))
	form = appendParameter(form, "sort_on", `["id"]`)
	form = appendParameter(form, "max_results", strconv.Itoa(most))
	records, err := c.search(ctx, w.appendAttributes(form))
	if err != nil {
		return nil, err
	}
	entities := make([]Entity, 0, len(records))
	for _, record := range records {
		entity, ok := newEntity(record)
		if !ok || entity.ID <= after {
			return nil, unknownError{&NoAnswerError{Reason: "result without uuid or id", Status: 200}}
		}
		entities, after = append(entities, entity), entity.ID
	}
	return entities, nil
}

// lookUp finds the records with one of the keys, and passes each to tell with its value of the attribute; each record has a
// uuid.
func (c *Client) lookUp(ctx context.Context, attribute string, keys []string, tell func(value string, record object)) error {
	if err := checkPath(attribute); err != nil {
		return err
	}
	batches, alone := split(keys)
	for _, keys := range batches {
		records, err := c.find(ctx, attribute, keys)
		if err != nil {
			return err
		}
		if err := tellAll(records, attribute, tell); err != nil {
			return err
		}
	}
	for _, key := range alone {
		for _, spelling := range forms(key) {
			form, err := Ref{KeyAttribute: attribute, KeyValue: spelling}.appendTo(slices.Clone(c.common))
			if err != nil {
				return err
			}
			record, err := c.view(ctx, form)
			var api *APIError
			if errors.As(err, &api) && api.IsNotFound() {
				continue
			}
			if err != nil {
				return err
			}
			if err := tellAll([]object{record}, attribute, tell); err != nil {
				return err
			}
		}
	}
	return nil
}

// tellAll passes on the records of an answer, up to the first without a uuid or the attribute.
func tellAll(records []object, attribute string, tell func(value string, record object)) error {
	for _, record := range records {
		value, ok := record.at(attribute)
		if !ok || record.text("uuid") == "" {
			return unknownError{&NoAnswerError{Reason: "result without uuid or " + attribute, Status: 200}}
		}
		tell(value, record)
	}
	return nil
}

// split divides distinct keys into batches that fit into one filter, and keys that have to be looked up alone.
func split(keys []string) (batches [][]string, alone []string) {
	size := 0 // of the last batch, in bytes
	asked := make(map[string]bool, len(keys))
	for _, key := range keys {
		if key == "" || asked[key] {
			continue
		}
		asked[key] = true
		if hasQuote(key) {
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

// hasQuote reports whether a key has a character whose escaping in a filter is not documented.
func hasQuote(key string) bool {
	return strings.ContainsFunc(key, func(r rune) bool { return r == '\'' || r == '\\' || r < ' ' || r == 0x7f })
}

// forms returns the spellings in which a key is searched.
func forms(key string) []string {
	if lower := strings.ToLower(key); lower != key {
		return []string{key, lower}
	}
	return []string{key}
}

// find searches all keys in one entity.find call.
func (c *Client) find(ctx context.Context, attribute string, keys []string) ([]object, error) {
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
	form = appendParameter(form, "max_results", strconv.Itoa(findResults))
	records, err := c.search(ctx, form)
	if err == nil && len(records) >= findResults {
		return nil, fmt.Errorf("the attribute %s is not unique: %d records or more have one of %d keys; use a unique attribute",
			attribute, len(records), len(keys))
	}
	return records, err
}

// search sends a call to /entity.find and returns the records of its answer.
func (c *Client) search(ctx context.Context, form []byte) ([]object, error) {
	answer, result := c.ask(ctx, "/entity.find", form)
	if answer.Verdict != Answered {
		return nil, c.failed(answer)
	}
	var records []object
	if raw := result["results"]; json.Unmarshal(raw, &records) != nil || records == nil {
		answer.unusable("no results")
		return nil, c.failed(answer)
	}
	return records, nil
}

// at is the value at a path of names with dots between them, as text.
func (o object) at(path string) (string, bool) { return target.TextIn(o, path) }

func quoted(s string) string {
	b, _ := json.Marshal(s) // a string can always be encoded
	return string(b)
}

// isPath reports whether s can only be the path of an attribute, so that it is safe in a filter.
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
