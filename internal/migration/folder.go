package migration

import (
	"context"
	"errors"
	"slices"

	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
)

// Folder is the state of a migration.
type Folder struct{ RunFolder }

// In returns the folder of a migration in a work location: a state folder, or one in a
// bucket.
func In(work, key string) Folder { return RunFolder(store.Join(work, "migrations", key)).Migration() }

// All returns the folders of all migrations in a work location.
func All(work string) ([]Folder, error) {
	keys, err := keysIn(work, "migrations")
	var folders []Folder
	for _, key := range keys {
		folders = append(folders, In(work, key))
	}
	return folders, err
}

// keysIn returns the names of the folders of one kind in a work location, which may hold files of other programs too.
func keysIn(work, kind string) ([]string, error) {
	names, err := store.List(store.Join(work, kind))
	return slices.DeleteFunc(names, func(name string) bool { return !isKey.MatchString(name) }), err
}

// Staged is the path of the copy of the input that the artifacts are made of,
// whatever becomes of the input.
func (f Folder) Staged() string { return f.path("input.csv") }

// Undo is the path of the folder of what updated records were before.
func (f Folder) Undo() string { return f.path("undo") }

// DuplicateKeys is the path of the list of records of a delta migration whose key an earlier
// record of the input has.
func (f Folder) DuplicateKeys() string { return f.path("twins") }

// Recovered is the path of the folder that says which migration recovered a record of a
// target, for all migrations of this state folder.
func (f Folder) Recovered(t Target) string {
	return store.Join(f.Work(), "recovered", ShortDigest(t.URI+"\n"+t.EntityType))
}

// CutOff reports whether records of the migration were never attempted, as far as is known.
func (f Folder) CutOff() (bool, error) {
	if finished, err := f.Finished(); finished || err != nil {
		return false, err
	}
	summary, err := f.Summary()
	if errors.Is(err, ErrAbsent) {
		return true, nil
	}
	return summary.Records.Remaining > 0, err
}

// DropIndex removes the results of the inspection, of an input that is not the expected one
// or that is to be sent with other options.
func (f Folder) DropIndex() error {
	return errors.Join(store.Remove(f.Index()), store.Remove(f.Staged()), store.Remove(f.DuplicateKeys()))
}

// SaveSpec keeps the options of the present run.
func (f Folder) SaveSpec(s Spec) error { return f.save("spec.json", s) }

// Spec returns the options of the last run, or ErrAbsent.
func (f Folder) Spec() (Spec, error) { return load[Spec](f.path("spec.json")) }

// CreateCut writes after how many records the first batches end (see source.InspectOptions),
// unless that is decided, and gives what holds: a later run must cut the input at the same
// record.
func (f Folder) CreateCut(records int) (int, error) { return create(f.path("cut.json"), records) }

// Approve marks the canary as approved.
func (f Folder) Approve() error { return f.save("approved.json", struct{}{}) }

// Approved reports whether the canary was approved, by this run or one before.
func (f Folder) Approved() (bool, error) {
	return store.Exists(f.path("approved.json"))
}

// SaveSummary keeps the last summary; Finish says that it is final.
func (f Folder) SaveSummary(s Summary) error { return f.save("summary.json", s) }

// Summary returns the last summary, or ErrAbsent.
func (f Folder) Summary() (Summary, error) { return load[Summary](f.path("summary.json")) }

// SaveBreakdown keeps what the last summary leaves out.
func (f Folder) SaveBreakdown(b Breakdown) error { return f.save("breakdown.json", b) }

// Breakdown returns what the last summary leaves out, or ErrAbsent.
func (f Folder) Breakdown() (Breakdown, error) { return load[Breakdown](f.path("breakdown.json")) }

// Cancel ends the migration for good after its last run has ended with a result, and returns
// its summary from then on. order is the event that says who has asked for it, and why.
//
// A run that begins at this moment is refused: it finds the migration finished, or itself
// sealed. Cancel may be repeated.
func (f Folder) Cancel(order Event) (Summary, error) {
	s, err := f.Summary()
	if err != nil {
		return s, err
	}
	if err := errors.Join(f.Finish(true), f.SealOthers("")); err != nil {
		return s, err
	}
	if err := f.AppendEvent(order); err != nil {
		return s, err
	}
	s.Cancelled = true
	return s, f.SaveSummary(s)
}

// Hold keeps the batches of a load that were not sent from ever being sent.
func (f Folder) Hold(load string) error { return f.save(heldName(load), struct{}{}) }

// Held reports whether Hold was called for the load.
func (f Folder) Held(load string) (bool, error) { return store.Exists(f.path(heldName(load))) }

func heldName(load string) string { return "held-" + load }

// Inputs is the folder of staged inputs in a work location.
func Inputs(work string) string { return store.Join(work, "inputs") }

// ErrInputGrows says that an input has changed since it was digested.
var ErrInputGrows = errors.New("the file changed while it was read")

// BringInput copies a plain file of this machine into the inputs of a work location,
// unless it is there already. in had the digest sha256hex and size bytes when it was found;
// the error is ErrInputGrows where it has changed since.
func BringInput(ctx context.Context, work string, in stage.Input, sha256hex string, size int64, progress func(bytes int64)) error {
	if there, err := store.Stat(stage.Path(Inputs(work), sha256hex)); err == nil && there.Size == size {
		return nil
	}
	brought, err := stage.File(ctx, Inputs(work), in, progress)
	if err == nil && brought.SHA256 != sha256hex {
		err = errors.Join(ErrInputGrows, DropInput(work, brought.Path))
	}
	return err
}

// DropInput removes a staged input that no migration of the work location needs any more. Those
// that are done have a copy of their own. Where a migration cannot be read, the input stays.
func DropInput(work, path string) error {
	folders, err := All(work)
	if err != nil {
		return err
	}
	for _, folder := range folders {
		spec, err := folder.Spec()
		if errors.Is(err, ErrAbsent) || err == nil && spec.DataFile != path {
			continue
		}
		if err != nil && !store.IsOutage(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if finished, err := folder.Finished(); !finished {
			return err
		}
	}
	return store.Remove(path)
}
