package migration

import (
	"cmp"
	"errors"
	"fmt"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/store"
)

// Input is the plain file of a migration.
type Input struct {
	Path string // absolute
	// Name and Origin are those of the spec; "" for a file that is read in place.
	Name, Origin string
	SHA256       string // hex
	Shown        string // its name in messages
}

// Of returns the migration of an input with the options of s, in a work location.
// again is how often it was asked for, this time included.
func (s Spec) Of(in Input, work string, again int) Spec {
	key := Key(in.SHA256, s.Target, s.StartAt, again)
	s.DataFile, s.DataName, s.DataOrigin, s.SHA256 = in.Path, in.Name, in.Origin, in.SHA256
	s.ID, s.Folder = WorkflowID(s.InputName(), key), In(work, key)
	return s
}

// RefusedError says why a migration cannot start or resume with these options. Its text is
// for people.
type RefusedError struct{ text string }

func (r *RefusedError) Error() string { return r.text }

func refusal(format string, args ...any) error { return &RefusedError{fmt.Sprintf(format, args...)} }

// DoneError says that an input was migrated before, with this spec.
type DoneError struct {
	Spec    Spec
	Start   Start
	Summary Summary
}

func (e *DoneError) Error() string { return e.Spec.ShownName() + " was migrated already" }

// Identify finds the migration of an input with these options: a new one, or
// the interrupted one, with the options that it was started with and cannot change.
// kept names these, for people. again starts a new migration where one is done.
//
// The error is a *DoneError where it is done, and a *RefusedError where it cannot start or
// resume with these options.
func Identify(options Spec, in Input, work string, again bool) (spec Spec, kept []string, err error) {
	if spec, err = options.latest(in, work, again); err != nil {
		return spec, nil, err
	}
	folder := spec.Folder
	if start, err := folder.Start(); err == nil {
		spec.ID = start.ID
	} else if !errors.Is(err, ErrAbsent) {
		return spec, nil, err
	}
	mark, err := folder.RolledBack()
	if err == nil {
		return spec, nil, rolledBack(in, mark)
	}
	if !errors.Is(err, ErrAbsent) {
		return spec, nil, err
	}
	finished, err := folder.Finished()
	if err != nil {
		return spec, nil, err
	}
	if finished {
		return spec, nil, folder.done()
	}
	if !again {
		if err := spec.refuseChanged(in, work); err != nil {
			return spec, nil, err
		}
	}
	if err := folder.CheckLedger(); errors.Is(err, ledger.ErrGone) {
		return spec, nil, refusal("%v; to load %s as if it had never been loaded, move the folder %s away", err, in.Shown, folder)
	} else if err != nil {
		return spec, nil, err
	}
	if err := folder.CheckBegun(spec); err != nil {
		return spec, nil, err
	}
	kept, err = spec.keep(in, folder)
	return spec, kept, err
}

// latest is the last migration of this input, or the next one where that is done and again
// is set.
func (s Spec) latest(in Input, work string, again bool) (Spec, error) {
	n := 1
	for {
		next := s.Of(in, work, n+1).Folder
		if has, err := store.HasFolder(next.Path()); err != nil {
			return s, err
		} else if !has {
			break
		}
		n++
	}
	spec := s.Of(in, work, n)
	folder := spec.Folder
	if !again {
		return spec, nil
	}
	_, err := folder.RolledBack()
	if err == nil {
		return s.Of(in, work, n+1), nil
	}
	if !errors.Is(err, ErrAbsent) {
		return spec, err
	}
	finished, err := folder.Finished()
	if finished {
		return s.Of(in, work, n+1), nil
	}
	return spec, err
}

func rolledBack(in Input, mark RolledBack) error {
	if mark.Done {
		return refusal("%s was migrated and rolled back (%s); load it again with --again", in.Shown, mark.Rollback)
	}
	return refusal("%s was migrated, and its rollback %s has not finished; finish it, then load the file again with --again", in.Shown, mark.Rollback)
}

// done is the DoneError of a migration that has finished.
func (f Folder) done() error {
	var e DoneError
	var err error
	if e.Summary, err = f.Summary(); err != nil {
		return err
	}
	if e.Spec, err = f.Spec(); err != nil {
		return err
	}
	if e.Start, err = f.Start(); err != nil {
		return err
	}
	return &e
}

// refuseChanged finds a migration of the same file that was interrupted or stopped when the
// file had other content: the command is most likely meant to resume it, and that is not
// possible with this content.
func (s Spec) refuseChanged(in Input, work string) error {
	folders, err := All(work)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		before, err := folder.Spec()
		if errors.Is(err, ErrAbsent) || err != nil && !store.IsOutage(err) {
			continue // a migration that cannot be read cannot be resumed
		}
		if err != nil {
			return err
		}
		if before.origin() != s.origin() || before.SHA256 == s.SHA256 || !before.Target.IsSame(s.Target) {
			continue
		}
		if cutOff, err := folder.CutOff(); err != nil {
			return err // of the same file
		} else if !cutOff {
			continue
		}
		return refusal("%s has changed since its migration %s, which has not finished; expected SHA-256 %.12s…, found %.12s…; restore the file to resume it, or start a new migration of this content with --again",
			in.Shown, before.ID, before.SHA256, s.SHA256)
	}
	return nil
}

// origin is the user's own file, not the staged copy of it.
func (s Spec) origin() string { return cmp.Or(s.DataOrigin, s.DataFile) }

// keep takes over the options that an interrupted migration cannot change.
func (s *Spec) keep(in Input, folder Folder) (kept []string, err error) {
	before, err := folder.Spec()
	if errors.Is(err, ErrAbsent) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if before.Delimiter != s.Delimiter {
		return nil, refusal("the migration of %s was started with --delimiter '%s'; give the same delimiter", in.Shown, cmp.Or(before.Delimiter, ","))
	}
	if before.BatchSize != s.BatchSize {
		kept = append(kept, fmt.Sprintf("This migration was started with --batch-size %d and keeps it.", before.BatchSize))
		s.BatchSize = before.BatchSize
	}
	if before.OutputDir != s.OutputDir {
		kept = append(kept, fmt.Sprintf("This migration was started with --output-dir %s and keeps it.", before.OutputDir))
		s.OutputDir = before.OutputDir
	}
	return kept, nil
}
