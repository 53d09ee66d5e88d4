package check

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Witness reads a ledger repeatedly while migrations run, and verifies that entries
// (a claim, an outcome, a resolution) never change.
//
// An entry that is changed and changed back between two reads is detected only if its
// modification time differs.
type Witness struct {
	migrations string

	mu     sync.Mutex
	seen   map[string]sighting // by the path below migrations
	broken []Broken
}

type sighting struct {
	info    fs.FileInfo
	content []byte
}

// NewWitness watches the ledgers of all migrations in a state folder.
func NewWitness(stateDir string) *Witness {
	return &Witness{migrations: filepath.Join(stateDir, "migrations"), seen: map[string]sighting{}}
}

// In returns a witness with the same knowledge for a copy of the state folder.
func (w *Witness) In(stateDir string) *Witness {
	other := NewWitness(stateDir)
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, s := range w.seen {
		other.seen[name] = sighting{content: s.content}
	}
	return other
}

// Look takes in what is new, and finds what has changed.
func (w *Witness) Look() error {
	paths, err := filepath.Glob(filepath.Join(w.migrations, "*", "ledger", "*", "*", "*"))
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, path := range paths {
		if strings.HasPrefix(filepath.Base(path), ".") {
			continue // being written
		}
		if err := w.look(path); err != nil {
			return err
		}
	}
	return nil
}

func (w *Witness) look(path string) error {
	name, err := filepath.Rel(w.migrations, path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // Broken finds it
	}
	if err != nil {
		return err
	}
	before, known := w.seen[name]
	if known && before.info != nil && os.SameFile(info, before.info) && info.Size() == before.info.Size() && info.ModTime().Equal(before.info.ModTime()) {
		return nil
	}
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if known && !bytes.Equal(content, before.content) {
		w.tell("%s was %s, and is %s", name, shortened(before.content), shortened(content))
	}
	if !known {
		before.content = content
	}
	w.seen[name] = sighting{info, before.content}
	return nil
}

// Claims and Outcomes are how many of them it has seen.
func (w *Witness) Claims() int   { return w.count(".claim") }
func (w *Witness) Outcomes() int { return w.count(".outcomes") }

func (w *Witness) count(suffix string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.seen {
		if strings.HasSuffix(name, suffix) {
			n++
		}
	}
	return n
}

// Broken reads a last time and returns the entries that have changed or disappeared.
func (w *Witness) Broken() ([]Broken, error) {
	if err := w.Look(); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for name := range w.seen {
		if _, err := os.Stat(filepath.Join(w.migrations, name)); errors.Is(err, fs.ErrNotExist) {
			w.tell("%s was there, and is gone", name)
		}
	}
	return w.broken, nil
}

func (w *Witness) tell(format string, args ...any) {
	if len(w.broken) < enough {
		w.broken = append(w.broken, Broken{DecidedOnce, fmt.Sprintf(format, args...)})
	}
}

func shortened(content []byte) string {
	const most = 80
	if len(content) > most {
		return fmt.Sprintf("%q…", content[:most])
	}
	return fmt.Sprintf("%q", content)
}
