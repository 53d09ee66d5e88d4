package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// FromLedger derives the disposition of every record from the entries of the ledger,
// and returns those that differ from the artifacts. It is for
// migrations that are done: a worker that wakes after a stop may add entries
// that the artifacts do not have yet. Ledger and BatchSize must be given.
func FromLedger(m Migration) ([]Broken, error) {
	if m.Ledger == "" || m.BatchSize < 1 {
		return nil, errors.New("expected the folder of the ledger, and the size of a batch")
	}
	c := &checker{m: m, dir: filepath.Dir(m.Summary), told: map[string]int{}}
	if err := c.read(); err != nil {
		return nil, err
	}
	_ = c.places()
	c.broken = nil // Check reports those of the artifacts
	rounds, err := ledgerRounds(m.Ledger)
	if err != nil {
		return nil, err
	}
	for start := 0; start < len(c.records); start += m.BatchSize {
		batch := c.records[start:min(start+m.BatchSize, len(c.records))]
		known := make([]known, len(batch))
		for round := range rounds {
			if err := readRound(m.Ledger, round, start/m.BatchSize+1, known); err != nil {
				return nil, err
			}
		}
		for i, r := range batch {
			k := known[i]
			switch how := k.how(); {
			case r.how != how:
				c.tell(SameBytes, "line %d is %q in the artifacts, and %q by the ledger", r.line, r.how, how)
			case r.uuid != k.uuid || r.error != k.words:
				c.tell(SameBytes, "line %d has the uuid %q and the error %q, and by the ledger %q and %q", r.line, r.uuid, r.error, k.uuid, k.words)
			case k.uuid != "" && r.round != k.round:
				c.tell(SameBytes, "line %d is %s in round %d, and by the ledger in round %d", r.line, r.how, r.round, k.round)
			}
		}
	}
	return c.broken, nil
}

// known is what the ledger has of a record, after some rounds.
type known struct {
	letter byte // 0 if nothing
	round  int
	uuid   string
	words  string
}

func (k known) how() string {
	switch k.letter {
	case 'c':
		return "created"
	case 'r':
		return "recovered"
	case 'd', 'f':
		return "failed"
	case 'u', 'h':
		return "unknown"
	}
	return "remaining"
}

func ledgerRounds(dir string) (int, error) {
	for n := 0; ; n++ {
		_, err := os.Stat(filepath.Join(dir, strconv.Itoa(n)))
		if errors.Is(err, fs.ErrNotExist) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// readRound puts over what is known what a round says of a batch.
func readRound(dir string, round, batch int, known []known) error {
	name := filepath.Join(dir, strconv.Itoa(round), fmt.Sprintf("%05d", batch/1000), fmt.Sprintf("%08d", batch))
	if err := readPart(name, "", round, known); err != nil {
		return err
	}
	for i := range known {
		if known[i].round == round && known[i].letter == 'd' {
			known[i].letter, known[i].words = 'u', "" // whose it is, is not known yet
		}
	}
	_, err := overlayFile(name+".resolved", round, known)
	return err
}

// readPart reads a batch or, where the target refused it as too large, its
// halves.
func readPart(name, part string, round int, known []known) error {
	path := name + ".outcomes"
	if part != "" {
		path = name + "-" + part + ".outcomes"
	}
	split, err := overlayFile(path, round, known)
	if !split || err != nil {
		return err
	}
	return errors.Join(readPart(name, part+"0", round, known), readPart(name, part+"1", round, known))
}

func overlayFile(path string, round int, all []known) (split bool, err error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var entry struct {
		Split         bool
		Outcomes      string
		UUIDs, Errors []string
	}
	if err := json.Unmarshal(content, &entry); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	if !entry.Split && len(entry.Outcomes) != len(all) {
		return false, fmt.Errorf("%s speaks of %d records, expected %d", path, len(entry.Outcomes), len(all))
	}
	take := func(list *[]string) (first string) {
		if len(*list) > 0 {
			first, *list = (*list)[0], (*list)[1:]
		}
		return first
	}
	for i := range len(entry.Outcomes) {
		k := known{letter: entry.Outcomes[i], round: round}
		switch k.letter {
		case '-':
			continue
		case 'c', 'r':
			k.uuid = take(&entry.UUIDs)
		case 'd', 'f':
			k.words = take(&entry.Errors)
		}
		all[i] = k
	}
	return entry.Split, nil
}

// Tables reads the CSV files among the artifacts in a folder, by their names:
// those that are a function of input and ledger alone. (Summary and report hold
// the time of their run as well.)
func Tables(dir string) (map[string][]byte, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.csv"))
	if err != nil {
		return nil, err
	}
	tables := map[string][]byte{}
	for _, path := range paths {
		if tables[filepath.Base(path)], err = os.ReadFile(path); err != nil {
			return nil, err
		}
	}
	return tables, nil
}

// Same returns what differs between artifacts that were written twice.
func Same(first, second map[string][]byte) (broken []Broken) {
	tell := func(format string, args ...any) {
		broken = append(broken, Broken{SameBytes, fmt.Sprintf(format, args...)})
	}
	for _, name := range slices.Sorted(maps.Keys(first)) {
		again, ok := second[name]
		if !ok {
			tell("%s was written, and is not there the second time", name)
		} else if at := firstDifference(again, first[name]); at >= 0 {
			tell("%s has %d bytes, and %d the second time; they differ at byte %d", name, len(first[name]), len(again), at)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(second)) {
		if _, ok := first[name]; !ok {
			tell("%s is there only the second time, with %d lines", name, bytes.Count(second[name], []byte("\n")))
		}
	}
	return broken
}
