package sandbox

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
