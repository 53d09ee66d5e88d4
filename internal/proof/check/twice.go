package check

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

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
