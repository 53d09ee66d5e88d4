package identitycloud

import (
	"context"
	"errors"
	"strconv"
	"time"

	"durable-dataload/internal/target"
)

var _ target.Exporter = (*Adapter)(nil)

// IDAttribute is that of the uuid.
func (a *Adapter) IDAttribute() string { return "uuid" }

// Select is Client.FindWritten; the cursor is the id of the last record.
func (a *Adapter) Select(ctx context.Context, s target.Selection, page target.Page) ([]target.Entity, string, error) {
	after := int64(0)
	if page.After != "" {
		var err error
		if after, err = strconv.ParseInt(page.After, 10, 64); err != nil {
			return nil, "", errors.New("the cursor of a page is not an id")
		}
	}
	w := Written{Stamp: "created", Since: page.Since, Filter: s.Filter, Attributes: s.Attributes}
	if page.Stamp == target.Updated {
		w.Stamp = "lastUpdated"
	}
	found, err := a.client.FindWritten(ctx, w, after, page.Most)
	if err != nil {
		return nil, "", errorOf(err)
	}
	if len(found) == 0 {
		return nil, "", nil
	}
	// A page that is not full may not be the last one: the API may have an undocumented maximum of its own.
	return entitiesOf(found), strconv.FormatInt(found[len(found)-1].ID, 10), nil
}

// CountSelected is entity.count with a filter.
func (a *Adapter) CountSelected(ctx context.Context, s target.Selection, before time.Time) (int64, error) {
	filter := s.Filter
	if !before.IsZero() {
		filter = Written{Filter: s.Filter}.filter() + "created < '" + inFilter(before) + "'"
	}
	count, answer := a.client.countWhere(ctx, filter)
	return count, errorOf(a.client.failed(answer))
}

// Shows reads one record that has a value. What the API does with an attribute that the client may not see is not documented:
// a refusal counts as hidden.
func (a *Adapter) Shows(ctx context.Context, s target.Selection, attribute string) (bool, error) {
	if err := checkPath(attribute); err != nil {
		return false, err
	}
	w := Written{Filter: Written{Filter: s.Filter}.filter() + attribute + " is not null", Attributes: []string{attribute}}
	found, err := a.client.FindWritten(ctx, w, 0, 1)
	if err = errorOf(err); err != nil {
		if _, refused := target.Refusal(err); refused || target.Is(err, target.Forbidden) {
			return false, nil
		}
		return false, err
	}
	return len(found) > 0 && target.IsHash(found[0].Attributes[attribute]), nil
}
