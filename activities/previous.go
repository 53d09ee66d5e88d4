package activities

import (
	"errors"
	"fmt"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/undo"
)

// checkIdentities checks that this process can open previous values: it opens the first
// file of them.
func (a *Activities) checkIdentities(of migration.Folder) error {
	if of.IsZero() {
		return nil
	}
	batches, err := undo.Batches(of.Undo())
	if err != nil || len(batches) == 0 {
		return err
	}
	_, err = a.previousValues(of, batches[0])
	return err
}

// previousValues are the values of the records of a batch before the migration, by line.
// Of the files of several rounds the first that has a line is binding.
func (a *Activities) previousValues(of migration.Folder, batch int) (map[int64]undo.Entry, error) {
	files, err := undo.Read(of.Undo(), batch)
	if err != nil {
		return nil, err
	}
	byLine := map[int64]undo.Entry{}
	for _, f := range files {
		entries, err := f.Entries(a.identities...)
		if errors.Is(err, undo.ErrSealed) {
			return nil, refused(fmt.Errorf("the previous values of the updated records are encrypted; give the file with the private age key with --undo-identity, to each worker if workers run separately"))
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if _, earlier := byLine[e.Line]; !earlier {
				byLine[e.Line] = e
			}
		}
	}
	return byLine, nil
}
