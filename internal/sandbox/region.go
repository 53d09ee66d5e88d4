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

// scan calls each for the entities of a region, in the order of their ids, up to and with the id last, until each
// says stop. An entity that is changed meanwhile is given as it was or as it is. The body is read only if withBody
// says so, and is each's for the time of the call.
func (e *entities) scan(t *table, r region, last int64, withBody bool, each func(id int64, at entry, body []byte) (stop bool, err error)) error {
	reader := bodyReader{log: e.log}
	if !r.listed {
		reader.ahead = 64 << 10
	}
	next, listed := r.first, r.ids
	for {
		ids, entries := e.chunk(t, r, &next, &listed, last)
		for i, at := range entries {
			var body []byte
			if withBody {
				var err error
				if body, err = reader.read(at); err != nil {
					return err
				}
			}
			if stop, err := each(ids[i], at, body); stop || err != nil {
				return err
			}
		}
		if len(listed) == 0 && (r.listed || next > min(r.last, last)) {
			return nil
		}
	}
}

// chunk takes some entries of a region out of the index, so that the lock is not held while they are worked on.
func (e *entities) chunk(t *table, r region, next *int64, listed *[]int64, last int64) (ids []int64, entries []entry) {
	const size = 1024
	e.mu.RLock()
	defer e.mu.RUnlock()
	for range size {
		id := *next
		if r.listed {
			if len(*listed) == 0 {
				break
			}
			id, *listed = (*listed)[0], (*listed)[1:]
		} else {
			if id > min(r.last, last) {
				break
			}
			*next++
		}
		if at := t.entry(id); at != nil && id <= last {
			ids, entries = append(ids, id), append(entries, *at)
		}
	}
	return ids, entries
}

// bodyReader reads entities. Neighbours in the index are mostly neighbours in the log, so it can read ahead.
type bodyReader struct {
	log   *commitLog
	ahead int // bytes to read at once, if there are as many
	start int64
	chunk []byte
}

// read returns an entity's body, which the caller must copy to keep.
func (b *bodyReader) read(at entry) ([]byte, error) {
	from := at.offset - b.start
	if from < 0 || from+int64(at.size) > int64(len(b.chunk)) {
		chunk, err := b.log.read(at.offset, at.size, max(at.size, b.ahead))
		if err != nil {
			return nil, err
		}
		b.start, b.chunk, from = at.offset, chunk, 0
	}
	return b.chunk[from : from+int64(at.size)], nil
}
