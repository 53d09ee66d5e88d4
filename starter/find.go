package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"durable-dataload/internal/migration"
)

// known is a migration that a state folder has.
type known struct {
	folder migration.Folder
	start  migration.Start
}

// findMigration finds the one migration that is meant: by its workflow id, its
// key (the name of its folder), or a part of the id that no other has; or the
// one that was begun last.
func findMigration(stateDir, text string, latest bool) (known, error) {
	folders, err := migration.All(stateDir)
	if err != nil {
		return known{}, err
	}
	var all, found []known
	for _, folder := range folders {
		start, err := folder.Start()
		if errors.Is(err, migration.ErrAbsent) {
			continue // it was never begun
		}
		if err != nil {
			return known{}, err
		}
		k := known{folder, start}
		if text != "" && (start.ID == text || filepath.Base(string(folder)) == text) {
			return k, nil
		}
		all = append(all, k)
		if text != "" && strings.Contains(start.ID, text) {
			found = append(found, k)
		}
	}
	switch {
	case latest && len(all) > 0:
		last := all[0]
		for _, k := range all[1:] {
			if k.start.StartedAt.After(last.start.StartedAt) {
				last = k
			}
		}
		return last, nil
	case latest:
		return known{}, fmt.Errorf("the state folder %s has no migration; give its --state-dir", stateDir)
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		return known{}, fmt.Errorf("%d migrations have %q in their id, as %s and %s; expected a part that only one has, or the whole id", len(found), text, found[0].start.ID, found[1].start.ID)
	}
	return known{}, fmt.Errorf("the state folder %s has no migration %s; expected a workflow id, as the summary of the migration has it, or a part of it; give its --state-dir", stateDir, text)
}
