package migration

import (
	"context"
	"errors"

	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
)

// Inputs is the folder of staged inputs in a work location.
func Inputs(work string) string { return store.Join(work, "inputs") }

// ErrInputGrows says that an input has changed since it was digested.
var ErrInputGrows = errors.New("the file changed while it was read")

// BringInput copies a plain file of this machine into the inputs of a work location,
// unless it is there already. in had the digest sha256hex and size bytes when it was found;
// the error is ErrInputGrows where it has changed since.
func BringInput(ctx context.Context, work string, in stage.Input, sha256hex string, size int64, progress func(bytes int64)) error {
	if there, err := store.Stat(stage.Path(Inputs(work), sha256hex)); err == nil && there.Size == size {
		return nil
	}
	brought, err := stage.File(ctx, Inputs(work), in, progress)
	if err == nil && brought.SHA256 != sha256hex {
		err = errors.Join(ErrInputGrows, DropInput(work, brought.Path))
	}
	return err
}

// DropInput removes a staged input that no migration of the work location needs any more. Those
// that are done have a copy of their own. Where a migration cannot be read, the input stays.
func DropInput(work, path string) error {
	folders, err := All(work)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		spec, err := folder.Spec()
		if errors.Is(err, ErrAbsent) || err == nil && spec.DataFile != path {
			continue
		}
		if err != nil && !store.IsOutage(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if finished, err := folder.Finished(); !finished {
			return err
		}
	}
	return store.Remove(path)
}
