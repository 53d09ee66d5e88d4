package source

import (
	"context"
	"errors"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/store"
)

// Draft is the index and the copy of a file, written in the one pass of a Reader: what Inspect writes, but without names until
// Publish. Until then they are temporary files, which Discard removes; those of a killed process are removed by the next
// draft with the same names. They are on a disk, not in a bucket.
//
// A draft that cannot be written does not stop the pass: Complete says whether there is one.
type Draft struct {
	IndexPath, CopyTo string // what the temporary files are named after
	Plan              Plan

	copy    *store.Writer
	batches *Batcher
	summary *Summary // nil until the draft is complete
}

// begin starts the copy.
func (d *Draft) begin() {
	d.copy, _ = store.NewWriter(d.CopyTo)
}

// write adds to the copy.
func (d *Draft) write(chunk []byte) {
	if d.copy == nil {
		return
	}
	if _, err := d.copy.Write(chunk); err != nil {
		d.copy.Discard()
		d.copy = nil
	}
}

// Complete gives the result of Inspect for the file, nil if Inspect would refuse it, or if the draft could not be written.
func (d *Draft) Complete() *Summary { return d.summary }

// Publish makes a complete draft durable and gives the copy and then the index their names, in folders of the same file
// system. It replaces a copy, and never an index: if there is one, the error is durablefs.ErrExists.
func (d *Draft) Publish(ctx context.Context, indexPath, copyPath string) error {
	defer d.Discard()
	if d.summary == nil {
		return errors.New("the draft of an index is not complete")
	}
	if has, err := store.Exists(indexPath); err != nil {
		return err
	} else if has {
		return durablefs.ErrExists
	}
	d.copy.Rename(copyPath)
	if err := d.copy.Commit(ctx); err != nil {
		return err
	}
	d.batches.index.file.Rename(indexPath)
	return d.batches.index.file.CommitNew(ctx)
}

// Discard removes what was not published.
func (d *Draft) Discard() {
	if d.copy != nil {
		d.copy.Discard()
	}
	if d.batches != nil {
		d.batches.Discard()
	}
	d.summary = nil
}
