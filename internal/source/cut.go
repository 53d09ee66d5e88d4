package source

// Cutter cuts a file into batches; all callers use it, so that they agree on the boundaries. It takes the records of a
// file in order, from StartAt on.
type Cutter struct {
	o       InspectOptions
	header  *Header
	names   int64           // headerBound, once it is known
	records int             // of the batch
	size    int64           // of the batch: exact for measured records, a bound for the others
	bounded []boundedRecord // those that count with a bound
	raw     []byte          // of the records in bounded, since the scanner reuses its buffer; at most an eighth of the limit
}

// boundedRecord is a record that counts with the bound of its size; its bytes are raw[from:to].
type boundedRecord struct {
	number, line int64
	from, to     int
	bound        int64
}

// NewCutter returns a cutter for records with this header. It uses the options BatchSize, CutAfter, StartAt, MaxEncoded,
// EncodedSize and Unbounded.
func NewCutter(h *Header, o InspectOptions) *Cutter {
	o.StartAt = max(1, o.StartAt)
	return &Cutter{o: o, header: h}
}

// Begins reports whether the next record begins a batch.
func (c *Cutter) Begins(r Record) bool {
	if c.records == c.o.BatchSize || c.o.CutAfter > 0 && r.Number == c.o.StartAt+int64(c.o.CutAfter) {
		c.reset()
	}
	if c.o.MaxEncoded > 0 && !c.fits(r) {
		c.records = 0
	}
	c.records++
	return c.records == 1
}

func (c *Cutter) reset() {
	c.records, c.size, c.bounded, c.raw = 0, 0, c.bounded[:0], c.raw[:0]
}

// fits adds a record to the batch and returns true; or, if it does not fit, starts a new batch with the record and
// returns false.
func (c *Cutter) fits(r Record) bool {
	limit, measure := c.o.MaxEncoded, c.o.EncodedSize
	if c.o.Unbounded {
		return c.fitsExactly(measure(c.header, r))
	}
	if c.names == 0 {
		c.names = headerBound(c.header.Names)
	}
	bound := c.names + textBound(r.Raw)
	if c.size+bound <= limit {
		c.addBound(r, bound)
		return true
	}
	for _, b := range c.bounded {
		c.size += measure(c.header, Record{Number: b.number, Line: b.line, Raw: c.raw[b.from:b.to]}) - b.bound
	}
	c.bounded, c.raw = c.bounded[:0], c.raw[:0]
	if c.size+bound <= limit {
		c.addBound(r, bound)
		return true
	}
	return c.fitsExactly(measure(c.header, r))
}

func (c *Cutter) fitsExactly(exact int64) bool {
	if c.size+exact <= c.o.MaxEncoded {
		c.size += exact
		return true
	}
	c.reset()
	c.size = exact
	return false
}

func (c *Cutter) addBound(r Record, bound int64) {
	from := len(c.raw)
	c.raw = append(c.raw, r.Raw...)
	c.bounded = append(c.bounded, boundedRecord{number: r.Number, line: r.Line, from: from, to: len(c.raw), bound: bound})
	c.size += bound
}
