package activities

import (
	"context"
	"strings"

	"durable-dataload/internal/target"
)

// findBlocked finds the duplicates that no call of ours can have written, since another record
// has the value of another unique attribute of theirs, such as a phone number, and had it before
// the first call for them, or was written by this migration. No look-up by key ever shows them.
func (r *resolving) findBlocked(ctx context.Context, chunk []*batchOfDuplicates) error {
	schema, err := r.calls.schema(ctx)
	if err != nil {
		return err
	}
	for _, path := range schema.Unique() {
		a, _ := schema.At(path)
		if path == r.spec.PrimaryKey || a.Type != "string" {
			continue
		}
		if err := r.findHolders(ctx, chunk, path, a); err != nil {
			return err
		}
	}
	return nil
}

// findHolders does so for one attribute.
func (r *resolving) findHolders(ctx context.Context, chunk []*batchOfDuplicates, path string, a target.Attribute) error {
	type refused struct {
		*duplicate
		batch *batchOfDuplicates
	}
	var values []string
	by := map[string][]refused{} // the value that was sent
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			if len(dup.found) > 0 || dup.absent || dup.key == "" {
				continue
			}
			value := target.TextAt(dup.sent, path)
			values = append(values, value)
			by[value] = append(by[value], refused{dup, d})
		}
	}
	// A client that may not search by this attribute learns nothing from it.
	holders, err := r.byValues(ctx, &caller{core: r.core, log: r.calls.log}, path, values)
	if err != nil {
		return err
	}
	for value, all := range by {
		for _, e := range holders[r.fold(path, value)] {
			if !holds(e, path, value, a) {
				continue
			}
			for _, dup := range all {
				isBlocked, err := r.isBlocked(ctx, dup.batch, dup.duplicate, e)
				if err != nil {
					return err
				}
				dup.absent = dup.absent || isBlocked
			}
		}
	}
	return nil
}

// holds reports whether a record has the value of a unique attribute, so that no other can.
func holds(e target.Entity, path, value string, a target.Attribute) bool {
	text := e.Text(path)
	return value != "" && (text == value || a.CaseSensitive != nil && !*a.CaseSensitive && strings.EqualFold(text, value))
}

// isBlocked reports whether the holder of a value of a duplicate is another record, of this
// migration or older than its first call for the batch.
func (r *resolving) isBlocked(ctx context.Context, d *batchOfDuplicates, dup *duplicate, holder target.Entity) (bool, error) {
	if r.foldKey(holder.Text(r.spec.PrimaryKey)) == r.foldKey(dup.key) {
		return false, nil
	}
	ours, err := r.learned(ctx)
	if err != nil {
		return false, err
	}
	since, err := r.sinceOf(ctx, d)
	return ours.has(holder.ID) || ours.baseline.IsOlder(dup.sent, holder, since), err
}
