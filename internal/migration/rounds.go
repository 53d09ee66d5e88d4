package migration

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"durable-dataload/internal/store"
)

// RetryFile is what a retry round loads: the records that are unknown after the round before
// and may be sent again.
type RetryFile struct {
	Round   int    `json:"round"` // the round that will load it
	Name    string `json:"name"`
	Batches int    `json:"batches"`
	Records int    `json:"records"`
	// Aside are the records that are unknown after the round before and that no round loads.
	Aside int `json:"aside,omitempty"`
	// List is the name of the list of its batches, where that is not the default. In a
	// bucket each attempt to start the round writes a list of its own, so that a late
	// attempt cannot change what holds; on a disk the late attempt fails.
	List string `json:"list,omitempty"`
}

func (r RetryFile) names() []string { return []string{r.Name, r.List} }

// RoundList is the path of the list of batches of a retry round.
func (f Folder) RoundList(r RetryFile) string {
	return f.path(cmp.Or(r.List, fmt.Sprintf("round-%d.list", r.Round)))
}

// CreateRetryFile writes what a retry round loads, unless that is decided, and gives what
// holds.
func (f Folder) CreateRetryFile(r RetryFile) (RetryFile, error) {
	return create(f.path(retryFileName(r.Round)), r)
}

// RetryFile returns what a retry round loads, or ErrAbsent.
func (f Folder) RetryFile(round int) (RetryFile, error) {
	return load[RetryFile](f.path(retryFileName(round)))
}

// LastRound is the last round of which there is a retry file, 0 without one.
func (f Folder) LastRound() (int, error) {
	for round := 1; ; round++ {
		_, err := f.RetryFile(round)
		if errors.Is(err, ErrAbsent) {
			return round - 1, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func retryFileName(round int) string { return fmt.Sprintf("round-%d.json", round) }

// CreateUnresolved writes the name of the retry file that a run leaves when it ends, unless
// there is one, and gives the one that holds.
func (f Folder) CreateUnresolved(run, name string) (string, error) {
	return create(f.path(unresolvedPrefix+run), name)
}

// Unresolved returns the names that CreateUnresolved has kept, by run.
func (f Folder) Unresolved() (map[string]string, error) {
	files, err := store.List(f.Path())
	if err != nil {
		return nil, err
	}
	left := map[string]string{}
	for _, file := range files {
		run, ok := strings.CutPrefix(file, unresolvedPrefix)
		if !ok {
			continue
		}
		if left[run], err = load[string](f.path(file)); err != nil {
			return nil, err
		}
	}
	return left, nil
}

const unresolvedPrefix = "unresolved-"
