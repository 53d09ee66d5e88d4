package source

import (
	"context"
	"errors"
	"math"
	"slices"
)

var errHeadRead = errors.New("the head was read")

// Head reads the header and the first n records from StartAt on, and little more of the file. The only other options it
// uses are those for reading the file. It refuses what Inspect refuses there; it may not see errors further down.
func Head(ctx context.Context, path string, n int, o InspectOptions) (*Header, []Record, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var header *Header
	var records []Record
	o.BatchSize, o.CutAfter, o.MaxEncoded, o.Unbounded = math.MaxInt32, 0, math.MaxInt64, true
	o.IndexPath, o.CopyTo, o.Progress = "", "", nil
	o.EncodedSize = func(h *Header, r Record) int64 {
		header = h
		if len(records) < n {
			r.Raw = slices.Clone(r.Raw)
			records = append(records, r)
		}
		if len(records) >= n {
			cancel(errHeadRead)
		}
		return 0
	}
	summary, err := Inspect(ctx, path, o)
	switch {
	case header != nil && len(records) >= n: // whatever follows them
		return header, records, nil
	case err != nil:
		return nil, nil, err
	}
	return summary.Header, records, nil
}
