package source

import (
	"context"
	"errors"
	"io"
	"iter"
	"runtime"
	"sync"
	"unicode/utf8"
)

// A pass reads the records of a file on all cores. One goroutine reads the file and cuts it into pieces: it makes no guess
// where a record begins, which depends on all quotes before it, and has a small part of the work. Workers process blocks of
// pieces in any order. Another goroutine digests and copies the bytes, and the caller's consumes the results, both in the order
// of the file. So what comes out does not depend on the number of cores.

// Block is a part of a file: consecutive records, which one goroutine processes.
type Block struct {
	all    []byte // the bytes of the pieces, without a gap
	pieces []numbered
	fresh  []byte // what was read for this block: each byte of the file is in that of one block
	buf    []byte // has all of these, unless alone is set
	alone  bool   // nothing is read until it is consumed: it is of a long buffer
}

// numbered is a piece with what is known of it as a record.
type numbered struct {
	piece
	number   int64 // of the record, or of the one before an empty line
	refusals []*Refusal
	refused  bool // it is not a record that can be used
}

// Len is the number of records and empty lines of the block.
func (b *Block) Len() int { return len(b.pieces) }

// Records yields the records that were not refused, in order, each with its position from 0 to Len-1. Their bytes are valid
// until the block has been consumed. refused is called for the refusals among them, also in order.
func (b *Block) Records(refused func(*Refusal)) iter.Seq2[int, Record] {
	return func(yield func(int, Record) bool) {
		for i := range b.pieces {
			p := &b.pieces[i]
			for _, r := range p.refusals {
				refused(r)
			}
			if !p.blank && !p.refused && !yield(i, p.record()) {
				return
			}
		}
	}
}

func (p *numbered) record() Record { return Record{Number: p.number, Line: p.line, Raw: p.raw} }

// processed is a block with the result of a worker.
type processed[T any] struct {
	Block
	result   T
	worked   chan struct{} // gets a value when result is set
	digested chan error    // gets a value when the fresh bytes are digested and copied
}

// mostWorkers are as many as one reader and one digest can keep busy, and bound the memory.
const mostWorkers = 16

// mostPieces are in a block, however short they are. Tests make it smaller.
var mostPieces = 4096

// pass reads the rest of a file. Every worker is a goroutine with a function of its own, which gets a block, and the result
// of an earlier one to reuse its memory. consume gets the blocks with their results in the order of the file, in the caller's
// goroutine. The first error in that order ends the pass. What pass has started has ended when it returns.
func pass[T any](ctx context.Context, i *inspection, newWorker func() func(*Block, T) T, consume func(*Block, T) error) error {
	workers := min(runtime.GOMAXPROCS(0), mostWorkers)
	most := 2*workers + 2 // blocks in memory; no send below has to wait
	free, read, todo, fresh := make(chan *processed[T], most), make(chan *processed[T], most), make(chan *processed[T], most), make(chan *processed[T], most)
	for range most {
		free <- &processed[T]{worked: make(chan struct{}, 1), digested: make(chan error, 1)}
	}
	alone := make(chan struct{}, 1) // gets a value when a block that is alone is consumed

	var all sync.WaitGroup
	defer all.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var readErr error // valid when read is closed
	all.Go(func() {
		var taken []*processed[T]
		readErr = i.readBlocks(
			func() (*Block, error) {
				select {
				case p := <-free:
					taken = append(taken, p)
					return &p.Block, nil
				case <-ctx.Done():
					return nil, context.Cause(ctx)
				}
			},
			func(b *Block) error {
				p := taken[0] // b
				taken = taken[1:]
				waits := b.alone
				read <- p
				todo <- p
				fresh <- p
				if waits {
					select {
					case <-alone:
					case <-ctx.Done():
						return context.Cause(ctx)
					}
				}
				return nil
			})
		close(read)
		close(todo)
		close(fresh)
	})
	for range workers {
		all.Go(func() {
			work := newWorker()
			for p := range todo {
				i.checkBlock(&p.Block)
				p.result = work(&p.Block, p.result)
				p.worked <- struct{}{}
			}
		})
	}
	all.Go(func() {
		for p := range fresh {
			p.digested <- i.take(p.fresh)
		}
	})

	for p := range read {
		<-p.worked
		if err := <-p.digested; err != nil {
			return err
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		if n := len(p.pieces); n > 0 {
			i.records = p.pieces[n-1].number
		}
		if err := consume(&p.Block, p.result); err != nil {
			return err
		}
		i.size += int64(len(p.fresh))
		if len(p.fresh) > 0 {
			i.progress()
		}
		if p.alone {
			alone <- struct{}{}
		}
		free <- p
	}
	return readErr
}

// readBlocks cuts the rest of a file into blocks. take gives an empty one; give passes on the one that was taken first.
//
// A buffer that has grown for a long record is used by one block at a time, so that memory does not grow with the number of
// cores.
func (i *inspection) readBlocks(take func() (*Block, error), give func(*Block) error) (err error) {
	s, fresh, number := i.scanner, 0, int64(0)
	s.onRead = func(chunk []byte) error {
		fresh += len(chunk)
		return nil
	}
	b, err := take()
	if err != nil {
		return err
	}
	b.pieces = b.pieces[:0]
	from := s.start // of the block in the buffer
	complete := func() {
		b.all, b.fresh, b.alone = s.buf[from:s.start], s.buf[s.end-fresh:s.end], len(s.buf) > chunkSize
		b.buf = s.buf
		if b.alone {
			b.buf = nil
		}
	}
	defer func() { // with what precedes an error
		complete()
		if giveErr := give(b); err == nil {
			err = giveErr
		}
	}()
	handOver := func(needsMore bool) error {
		next, err := take()
		if err != nil {
			return err
		}
		complete()
		full := b
		if needsMore || !full.alone {
			if rest := s.end - s.start; len(next.buf) <= rest {
				next.buf = make([]byte, max(chunkSize, 2*rest))
			}
			s.moveTo(next.buf)
		}
		b, from, fresh = next, s.start, 0
		b.pieces = b.pieces[:0]
		return give(full)
	}
	var unclosed *unclosedError
	for {
		if len(b.pieces) == mostPieces {
			if err := handOver(false); err != nil {
				return err
			}
		}
		p, err := s.cut()
		n := numbered{piece: p}
		switch {
		case err == nil:
		case errors.Is(err, errNeedsMore) && len(b.pieces) > 0:
			if err := handOver(true); err != nil {
				return err
			}
			continue
		case errors.Is(err, errNeedsMore):
			if err := s.fill(); err != nil {
				return err
			}
			from = s.start // fill moves what is not cut
			continue
		case errors.As(err, &unclosed) && i.strict:
			n.refusals, n.blank, i.ended = i.refuseUnclosed(unclosed), true, true
		case errors.As(err, &unclosed):
			n.refusals = i.refuseUnclosed(unclosed)
			n.piece, n.refused = s.cutLine(unclosed.open), true
		case errors.Is(err, errRecordTooLong):
			n.refusals, n.blank, i.ended = []*Refusal{i.refuseTooLong()}, true, true
		case errors.Is(err, io.EOF):
			return nil
		default:
			return err
		}
		if !n.blank {
			number++
		}
		n.number = number
		b.pieces = append(b.pieces, n)
		if i.ended {
			return nil
		}
	}
}

// checkBlock refuses what is not UTF-8 in a block.
func (i *inspection) checkBlock(b *Block) {
	valid := utf8.Valid(b.all)
	for k := range b.pieces {
		if p := &b.pieces[k]; !valid || p.refused {
			if bad := i.notUTF8(p.raw, p.line); len(bad) > 0 {
				p.refusals, p.refused = append(p.refusals, bad...), true
			}
		}
	}
}
