package source

// EncodedBound is an upper bound, in bytes, of a record that is encoded as JSON by the built-in mapping and then
// percent-encoded for a form. It is made of the bytes alone, which is a fraction of the work of encoding them, and for
// usual records within a third of what the names leave open.
func EncodedBound(h *Header, raw []byte) int64 { return headerBound(h.Names) + textBound(raw) }

// headerBound is what the names take in each record: each in quotes with a colon, a comma, and the quotes of its value;
// a dot in one becomes "%22%3A%7B%22…%7D"; and a short value may stand for a longer one (a gender, a date) in each
// column.
func headerBound(names []string) int64 {
	const aName, aDot, aValue = 18, 16, 64
	bound := int64(16)
	for _, name := range names {
		bound += aName + aValue + textBound([]byte(name))
		for i := range len(name) {
			if name[i] == '.' {
				bound += aDot
			}
		}
	}
	return bound
}

func textBound(text []byte) (bound int64) {
	for _, b := range text {
		bound += int64(byteBound[b])
	}
	return bound
}

// byteBound is what a byte can become: itself, %XX, %5C%22 for a quote, %5Cu0001 for a control character.
var byteBound = func() (t [256]uint8) {
	for b := range t {
		switch {
		case b < ' ' || b == 0x7F:
			t[b] = 8
		case b == '"' || b == '\\':
			t[b] = 6
		case b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' || b == '-' || b == '_' || b == '.' || b == '~' || b == ' ':
			t[b] = 1
		default:
			t[b] = 3
		}
	}
	return t
}()

// encodedSize keeps the encoded size of a batch: an upper bound as long as that is good enough, exact when it is not.
type encodedSize struct {
	names   int64 // headerBound, once it is known
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
	if e.names == 0 {
		e.names = headerBound(h.Names)
	}
	bound := e.names + textBound(r.Raw)
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
