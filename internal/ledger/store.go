package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"durable-dataload/internal/store"
)

// ErrExists is the error of Store.Create if the name is taken.
var ErrExists = errors.New("the ledger has this entry already")

// ErrNotFound is the error of Store.Get if there is no such name.
var ErrNotFound = errors.New("the ledger has no such entry")

// Store keeps small named values that are created once and never change.
//
// Create is exclusive, atomic and durable: of any number of writers, in any
// number of processes, one succeeds, and when it returns nil the value survives
// a crash of process and machine. The others get ErrExists, and from then on
// Get returns the winner's complete value. The ledger depends on nothing else.
type Store interface {
	Create(ctx context.Context, name string, value []byte) error
	Get(ctx context.Context, name string) ([]byte, error)
}

// PairStore is a Store that creates two values in the time of one.
type PairStore interface {
	Store
	// CreatePair is Create of a value, and of a second one if the first one was created. If
	// the second one fails for any reason, it may be created by Create.
	CreatePair(ctx context.Context, name string, value []byte, second string, secondValue []byte) (err, secondErr error)
}

// Folder is a Store in a folder of a disk with hard links, or of a bucket with
// conditional writes: a file a value (see package store).
type Folder struct {
	path  string
	begun bool // it was created with BeginFolder, and is not created again
}

var _ PairStore = (*Folder)(nil)

// NewFolder uses the folder path, which is created with the first value.
func NewFolder(path string) *Folder { return &Folder{path: path} }

// ErrGone means that a folder that was begun no longer exists. Without it, it is not known what
// was sent.
var ErrGone = errors.New("the ledger of a migration that has begun is gone; nothing is sent without it, since it says which calls were made; restore it from a backup")

// BeginFolder creates a folder whose loss is detected: see OpenFolder. It is idempotent.
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

// Begun is the file that marks a folder as begun.
const Begun = "begun"

// OpenFolder uses a folder that was begun, or returns ErrGone. On a disk, Create also returns
// ErrGone if the folder is removed later.
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

// CreatePair implements PairStore.
func (f *Folder) CreatePair(ctx context.Context, name string, value []byte, second string, secondValue []byte) (err, secondErr error) {
	if err := ctx.Err(); err != nil {
		return err, err
	}
	err, secondErr = store.CreatePair(store.Join(f.path, name), value, store.Join(f.path, second), secondValue)
	if errors.Is(err, fs.ErrNotExist) { // the folder is made by Create
		return f.Create(ctx, name, value), secondErr
	}
	if errors.Is(err, store.ErrExists) {
		err = ErrExists
	}
	return err, secondErr
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

// AnswerBudget is how long the answer to a call waits for a full disk or an
// unavailable bucket. It is the only retry of such a write: the store's own
// request (half a minute at most in a bucket) ends inside it or is the last one.
const AnswerBudget = time.Minute

// The pauses between the attempts: the first, doubling, up to the longest.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 10 * time.Second
)

// retrying is a Store whose Create is for answers. A call is made once, so its answer
// cannot be obtained again: losing it makes known records unknown.
type retrying struct{ Store }

// Create implements Store. It retries after any error except ErrExists, until the
// value is written, ctx ends, or AnswerBudget is used up; then it returns the last
// error of the store.
func (p retrying) Create(ctx context.Context, name string, value []byte) error {
	deadline := time.Now().Add(AnswerBudget)
	err := p.Store.Create(ctx, name, value)
	for pause := firstPause; err != nil && !errors.Is(err, ErrExists); pause = min(2*pause, longestPause) {
		if ctx.Err() != nil || time.Now().Add(pause).After(deadline) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return err
		}
		if err = p.Store.Create(ctx, name, value); errors.Is(err, ErrExists) {
			// An attempt that returned an error may have written the value nevertheless.
			if held, getErr := p.Get(ctx, name); getErr == nil && bytes.Equal(held, value) {
				return nil
			}
		}
	}
	return err
}
