package sandbox

import (
	"math"
	"slices"
	"strconv"
)

// region is where the entities that fit a filter can be: among the ids of a list, or among those from first to last.
// It may hold more than fit, never less.
type region struct {
	listed      bool
	ids         []int64 // in order, each once
	first, last int64
}

var everywhere = region{first: 1, last: math.MaxInt64}

func listOf(ids ...int64) region {
	slices.Sort(ids)
	return region{listed: true, ids: slices.Compact(ids)}
}

func (r region) has(id int64) bool {
	if r.listed {
		_, found := slices.BinarySearch(r.ids, id)
		return found
	}
	return id >= r.first && id <= r.last
}

func (f allOf) where(t *table) region {
	found := everywhere
	for _, part := range f {
		r := part.where(t)
		switch {
		case found.listed:
			found.ids = slices.DeleteFunc(found.ids, func(id int64) bool { return !r.has(id) })
		case r.listed:
			found, r = r, found
			found.ids = slices.DeleteFunc(found.ids, func(id int64) bool { return !r.has(id) })
		default:
			found.first, found.last = max(found.first, r.first), min(found.last, r.last)
		}
	}
	return found
}

func (f anyOf) where(t *table) region {
	var ids []int64
	span := region{first: math.MaxInt64}
	for _, part := range f {
		switch r := part.where(t); {
		case r.listed:
			ids = append(ids, r.ids...)
		case r.first <= r.last:
			span.first, span.last = min(span.first, r.first), max(span.last, r.last)
		}
	}
	if span.first > span.last { // no range among the parts
		return listOf(ids...)
	}
	for _, id := range ids {
		span.first, span.last = min(span.first, id), max(span.last, id)
	}
	return span
}

func (f negation) where(*table) region { return everywhere }

func (f isNull) where(*table) region { return everywhere }

func (f comparison) where(t *table) region {
	switch {
	case f.attribute == "email" && f.operator == "=":
		return listOf(t.withEmail(f.text)...)
	case f.attribute == "uuid" && f.operator == "=":
		if id, ok := idWithin(f.text); ok {
			return listOf(id)
		}
		return listOf()
	case f.attribute == "id":
		return f.whereID()
	}
	return everywhere
}

func (f comparison) whereID() region {
	id, _ := strconv.ParseInt(f.text, 10, 64) // the parser has seen to it that this is a number
	switch f.operator {
	case "=":
		return listOf(id)
	case ">":
		return region{first: max(1, id+1), last: math.MaxInt64}
	case ">=":
		return region{first: max(1, id), last: math.MaxInt64}
	case "<":
		return region{first: 1, last: id - 1}
	case "<=":
		return region{first: 1, last: id}
	}
	return everywhere
}
