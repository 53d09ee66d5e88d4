package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"hash"
)

// Measure is what a Batcher needs to know of a record.
type Measure struct {
	// Size is EncodedSize if that is Unbounded, else EncodedBound.
	Size    int64
	Keyless bool
}

// Batcher cuts the records of a file into batches, and writes their index.
type Batcher struct {
	o      InspectOptions
	header *Header
	cutter *Cutter
	index  *indexWriter // nil: there is none
	draft  bool         // the index may fail

	batches          int
	records, skipped int64 // in batches, and before StartAt
	keyless          int64

	batch  Batch  // the one being filled, if Records > 0
	marks  []byte // of its keyless records
	digest hash.Hash
}

// NewDraft is NewBatcher with the index of a draft.
func NewDraft(h *Header, o InspectOptions, d *Draft) *Batcher {
	o.IndexPath, o.Plan = d.IndexPath, d.Plan
	x, err := NewBatcher(h, o)
	if err != nil {
		x.index = nil
	}
	x.draft, d.batches = true, x
	return x
}

// NewBatcher returns a Batcher for a file with this header. It uses the options of NewCutter, Keyless and IndexPath.
func NewBatcher(h *Header, o InspectOptions) (*Batcher, error) {
	o.StartAt = max(1, o.StartAt)
	x := &Batcher{o: o, header: h, cutter: NewCutter(h, o), digest: sha256.New()}
	if o.IndexPath == "" {
		return x, nil
	}
	var err error
	x.index, err = newIndexWriter(o.IndexPath, h)
	x.marks = make([]byte, (o.BatchSize+7)/8)
	return x, err
}

// measure measures the records of a block. It is safe for concurrent use.
func (x *Batcher) measure(b *Block, measured []Measure) []Measure {
	measured = measured[:0]
	for k := range b.pieces {
		p, m := &b.pieces[k], Measure{}
		if !p.blank && p.number >= x.o.StartAt {
			switch {
			case x.o.MaxEncoded == 0:
			case x.o.Unbounded:
				m.Size = x.o.EncodedSize(x.header, p.record())
			default:
				m.Size = x.cutter.bound(p.raw)
			}
			m.Keyless = x.o.Keyless != nil && x.o.Keyless(x.header, p.record())
		}
		measured = append(measured, m)
	}
	return measured
}

// Add adds the next block, with a Measure for each position. begins, if set, is called for each
// record that begins a batch.
func (x *Batcher) Add(b *Block, measured []Measure, begins func(position int, r Record)) error {
	from := 0 // in b.all, of what is not yet in the digest of the batch
	at := 0
	last := -1 // the last record of the batch
	flush := func() {
		if x.batch.Records == 0 {
			return
		}
		x.digest.Write(b.all[from:at])
		x.batch.Length += int64(at - from)
		if last >= 0 {
			p := &b.pieces[last]
			x.batch.LastLine = p.line + lines(p.raw) - 1
			if p.raw[len(p.raw)-1] != '\n' {
				x.batch.LastLine++
			}
		}
	}
	for k := range b.pieces {
		p := &b.pieces[k]
		switch {
		case p.blank || p.refused:
		case p.number < x.o.StartAt:
			x.skipped++
		default:
			if x.cutter.Begins(p.record(), measured[k].Size) {
				if begins != nil {
					begins(k, p.record())
				}
				flush()
				if err := x.closeBatch(); err != nil {
					return err
				}
				x.batches++
				x.batch = Batch{Number: x.batches, FirstRecord: p.number, FirstLine: p.line, Offset: p.offset}
				from = at
			}
			if measured[k].Keyless && x.index != nil {
				x.marks[x.batch.Records/8] |= 1 << (x.batch.Records % 8)
				x.keyless++
			}
			x.batch.Records++
			x.records++
			last = k
		}
		at += len(p.raw)
	}
	flush()
	return nil
}

// end closes the last batch.
func (x *Batcher) end() error { return x.closeBatch() }

func (x *Batcher) closeBatch() error {
	if x.batch.Records == 0 {
		return nil
	}
	x.digest.Sum(x.batch.Digest[:0])
	x.digest.Reset()
	b := x.batch
	x.batch = Batch{}
	if x.index == nil {
		return nil
	}
	b.keyless = string(x.marks)
	clear(x.marks)
	err := x.index.add(b)
	if err != nil && x.draft {
		x.Discard()
		x.index = nil
		return nil
	}
	return err
}

// Discard drops the index unless it was committed.
func (x *Batcher) Discard() {
	if x.index != nil {
		x.index.file.Discard()
	}
}

func (x *Batcher) commit(ctx context.Context, s *Summary) error {
	if x.index == nil {
		return nil
	}
	if err := x.seal(s); err != nil {
		return err
	}
	return x.index.file.Commit(ctx)
}

// seal completes the content of the index.
func (x *Batcher) seal(s *Summary) error {
	sum := indexSummary{
		Plan: x.o.Plan, Size: s.Size, Records: s.Records, Skipped: s.Skipped, StartAt: x.o.StartAt,
		Batches: int64(s.Batches), BatchSize: int64(x.o.BatchSize), Keyless: x.keyless,
	}
	if _, err := hex.Decode(sum.SHA256[:], []byte(s.SHA256)); err != nil {
		return err
	}
	return x.index.seal(sum)
}
