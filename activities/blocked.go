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
	value := func(dup *duplicate) string {
		if len(dup.found) > 0 || dup.absent || dup.key == "" {
			return ""
		}
		return target.TextAt(dup.sent, path)
	}
	var values []string
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			values = append(values, value(dup))
		}
	}
	// A client that may not search by this attribute learns nothing from it.
	holders, err := r.byValues(ctx, &caller{core: r.core, log: r.calls.log}, path, values)
	if err != nil {
		return err
	}
	has := func(e target.Entity, value string) bool {
		return e.Text(path) == value || a.CaseSensitive != nil && !*a.CaseSensitive && strings.EqualFold(e.Text(path), value)
	}
	for _, d := range chunk {
		for _, dup := range d.duplicates {
			sent := value(dup)
			if sent == "" {
				continue
			}
			for _, e := range holders[r.fold(path, sent)] {
				if !has(e, sent) || r.foldKey(e.Text(r.spec.PrimaryKey)) == r.foldKey(dup.key) {
					continue
				}
				if dup.absent, err = r.wasThere(ctx, d, e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// wasThere reports whether a record is of this migration, or was in the target before its first
// call for the batch.
func (r *resolving) wasThere(ctx context.Context, d *batchOfDuplicates, e target.Entity) (bool, error) {
	since, err := r.sinceOf(ctx, d)
	return err == nil && (r.ours.has(e.ID) || since.Before(e.Created) || since.Before(e.Updated)), err
}
