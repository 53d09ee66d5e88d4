package source

// encodedSize keeps the encoded size of a batch: an upper bound as long as that is good enough, exact when it is not.
type encodedSize struct {
	size    int64 // exact for measured records, a bound for the others
	bounded []boundedRecord
	raw     []byte // of the records in bounded, since the scanner reuses its buffer; at most an eighth of the limit
}

// boundedRecord is a record that counts with its bound; its bytes are raw[from:to].
type boundedRecord struct {
	number, line int64
	from, to     int
	bound        int64
}

func (e *encodedSize) reset() {
	e.size, e.bounded, e.raw = 0, e.bounded[:0], e.raw[:0]
}

// fits adds a record to the batch and says that it has room for it; or starts a new batch with the record, and says
// that it has not.
func (e *encodedSize) fits(h *Header, r Record, o InspectOptions) bool {
	limit, measure := o.MaxEncoded, o.EncodedSize
	if o.Unbounded {
		return e.fitsExactly(measure(h, r), limit)
	}
	bound := EncodedBound(h, len(r.Raw))
	if e.size+bound <= limit {
		e.addBound(r, bound)
		return true
	}
	for _, b := range e.bounded {
		e.size += measure(h, Record{Number: b.number, Line: b.line, Raw: e.raw[b.from:b.to]}) - b.bound
	}
	e.bounded, e.raw = e.bounded[:0], e.raw[:0]
	if e.size+bound <= limit {
		e.addBound(r, bound)
		return true
	}
	return e.fitsExactly(measure(h, r), limit)
}

func (e *encodedSize) fitsExactly(exact, limit int64) bool {
	if e.size+exact <= limit {
		e.size += exact
		return true
	}
	e.reset()
	e.size = exact
	return false
}

func (e *encodedSize) addBound(r Record, bound int64) {
	from := len(e.raw)
	e.raw = append(e.raw, r.Raw...)
	e.bounded = append(e.bounded, boundedRecord{number: r.Number, line: r.Line, from: from, to: len(e.raw), bound: bound})
	e.size += bound
}
