package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"durable-dataload/internal/store"
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

// Folder is a Store in a folder of a disk with hard links, or of a bucket with
// conditional writes: a file a value (see package store).
type Folder struct {
	path  string
	begun bool // it was made with BeginFolder, and is not made a second time
}

var _ Store = (*Folder)(nil)

// NewFolder uses the folder path, which is made when the first value is.
func NewFolder(path string) *Folder { return &Folder{path: path} }

// ErrGone says that a folder which was begun is not there any more. What was sent is not known
// without it.
var ErrGone = errors.New("the ledger of a migration that has begun is gone; nothing is sent without it, since it says which calls were made; restore it from a backup")

// BeginFolder makes a folder that is not to be lost: see OpenFolder. Again it changes nothing.
func BeginFolder(path string) error {
	err := store.MkdirAll(path)
	if err == nil {
		err = store.Create(store.Join(path, Begun), nil)
	}
	if errors.Is(err, store.ErrExists) {
		return nil
	}
	return err
}

// Begun is the file by which a folder is known to be the one that was begun.
const Begun = "begun"

// OpenFolder uses a folder that was begun, or gives ErrGone. On a disk, Create gives ErrGone as
// well where the folder is removed later.
func OpenFolder(path string) (*Folder, error) {
	f := &Folder{path: path, begun: true}
	return f, f.isThere()
}

func (f *Folder) isThere() error {
	has, err := store.Exists(store.Join(f.path, Begun))
	if err == nil && !has {
		err = fmt.Errorf("%s: %w", f.path, ErrGone)
	}
	return err
}

// Create implements Store.
func (f *Folder) Create(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	path := store.Join(f.path, name)
	err := store.Create(path, value)
	if errors.Is(err, fs.ErrNotExist) {
		if f.begun {
			if err := f.isThere(); err != nil {
				return err
			}
		}
		if err := store.MkdirAll(store.Dir(path)); err != nil {
			return err
		}
		err = store.Create(path, value)
	}
	if errors.Is(err, store.ErrExists) {
		return ErrExists
	}
	return err
}

// Get implements Store.
func (f *Folder) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	value, err := store.Read(store.Join(f.path, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotFound
	}
	return value, err
}
