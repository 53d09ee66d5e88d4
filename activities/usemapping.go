package activities

import (
	"errors"
	"fmt"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// useMapping returns the mapping of this run, and keeps a copy of it in the folder. It
// refuses another mapping than the one with which records were sent.
func useMapping(spec migration.Spec, run Run) (*mapping.Mapping, error) {
	folder := run.Folder.Migration()
	if err := changeMapping(spec, run); err != nil {
		return nil, err
	}
	if spec.Mapping == "" {
		return folder.ReadMapping(spec)
	}
	if m, err := folder.ReadMapping(spec); !errors.Is(err, migration.ErrAbsent) {
		return m, err
	}
	text, err := readMapping(spec)
	if err != nil {
		return nil, refused(err)
	}
	m, err := mapping.Parse(store.Base(spec.MappingFile), text)
	if err != nil {
		return nil, refused(err)
	}
	return m, folder.SaveMapping(text)
}

// readMapping reads the mapping file that was ordered.
func readMapping(spec migration.Spec) ([]byte, error) {
	text, err := store.Read(spec.MappingFile)
	if err != nil {
		return nil, err
	}
	if found := migration.MappingDigest(text); found != spec.Mapping {
		return nil, fmt.Errorf("%s was changed since this migration was ordered; expected SHA-256 %.12s…, found %.12s…; rerun the command", spec.MappingFile, spec.Mapping, found)
	}
	return text, nil
}

// changeMapping lets a migration that has sent nothing resume with another mapping or
// primary key, and refuses it otherwise. Workers of earlier runs may be about to send with
// the old one: those runs are sealed before the claims are read, so that either such a
// worker sees the seal, or this sees its claim.
func changeMapping(spec migration.Spec, run Run) error {
	folder := run.Folder.Migration()
	before, err := folder.Spec()
	begun := err == nil
	switch {
	case begun && before.Mapping == spec.Mapping && before.PrimaryKey == spec.PrimaryKey:
		return nil
	case begun:
		if err := folder.SealOthers(run.ID); err != nil {
			return err
		}
	case !errors.Is(err, migration.ErrAbsent):
		return err
	}
	if err := folder.CheckBegun(spec); err != nil {
		return refused(err)
	}
	// An index was measured with the other mapping.
	if has, err := store.Exists(folder.Index()); !has {
		return err
	}
	if begun && before.BatchSize != spec.BatchSize {
		return refused(batchSizeError(before.BatchSize, spec.BatchSize))
	}
	if err := errors.Join(folder.DropIndex(), folder.DropKeys()); err != nil {
		return err
	}
	if !begun {
		return nil
	}
	return folder.SaveSpec(spec)
}
