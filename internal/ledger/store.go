package ledger

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"durable-dataload/internal/private"
)

// ErrExists is what Store.Create gives when the name is taken.
var ErrExists = errors.New("the ledger has this entry already")

// ErrNotFound is what Store.Get gives when there is no such name.
var ErrNotFound = errors.New("the ledger has no such entry")

// Store keeps small named values that are created once and never change.
//
// Create is exclusive, atomic and durable: of any number of writers, in any
// number of processes, one succeeds, and when it returns nil the value survives
// a crash of process and machine. The others get ErrExists, and from then on
// Get gives the winner's value, complete. The ledger rests on nothing else.
type Store interface {
	Create(ctx context.Context, name string, value []byte) error
	Get(ctx context.Context, name string) ([]byte, error)
}

// Folder is a Store in a folder of a local disk, or of a shared disk with
// POSIX hard links: a file a value.
type Folder struct{ path string }

var _ Store = (*Folder)(nil)

// NewFolder uses the folder path, which is made when the first value is.
func NewFolder(path string) *Folder { return &Folder{path: path} }

// Create implements Store with a hard link, after the content was fsynced.
func (f *Folder) Create(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := filepath.Join(f.path, filepath.FromSlash(name))
	err := private.Create(path, value)
	if errors.Is(err, os.ErrNotExist) {
		if err := private.MkdirAll(filepath.Dir(path)); err != nil {
			return err
		}
		err = private.Create(path, value)
	}
	if errors.Is(err, private.ErrExists) {
		return ErrExists
	}
	return err
}

// Get implements Store.
func (f *Folder) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, err := os.ReadFile(filepath.Join(f.path, filepath.FromSlash(name)))
	if errors.Is(err, os.ErrNotExist) {
		return nil, ErrNotFound
	}
	return value, err
}
