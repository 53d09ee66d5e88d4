package activities

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/evidence"
	"durable-dataload/internal/gate"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// InspectInput is the one activity input with the whole spec: the others find it in the
// folder.
type InspectInput struct {
	Spec migration.Spec `json:"spec"`
	Run  `json:"run"`
	// Now is the time of the workflow: the start of the migration, if this run is the
	// first.
	Now time.Time `json:"now"`
}

// Inspected is what InspectSource found.
type Inspected struct {
	Records int             `json:"records"`
	Skipped int             `json:"skipped"` // before --start-at
	Batches int             `json:"batches"`
	Start   migration.Start `json:"start"`
	// DuplicateKeys are the records of a delta migration that are not sent, because an earlier
	// record of the input has their key.
	DuplicateKeys int `json:"twins,omitempty"`
	// Canary is how many batches hold the canary's records; 0 without a canary, or if it
	// is approved already.
	Canary int `json:"canary,omitempty"`
}

// InspectSource checks, digests, indexes and copies the input, and prepares the
// migration's folder. Run again, by a later run of the same migration too, it finds what
// is there and keeps it. It fails with Refused where the input or the output folder cannot
// be used, or not with these options.
func (a *Activities) InspectSource(ctx context.Context, in InspectInput) (Inspected, error) {
	ctx, done := restartable(ctx)
	defer done()
	inspected, err := a.inspect(ctx, in)
	return inspected, ended(ctx, err)
}

func (a *Activities) inspect(ctx context.Context, in InspectInput) (found Inspected, err error) {
	spec, folder := in.Spec, in.Run.Folder.Migration()
	// First of all: what seals the runs of this migration, a later run or a cancel, has to see
	// this one.
	if err := folder.Enter(in.Run.ID); err != nil {
		return found, err
	}
	if err := mayBegin(spec, folder); err != nil {
		return found, err
	}
	if err := keepsDelta(spec, folder); err != nil {
		return found, err
	}
	m, err := useMapping(spec, in.Run)
	if err != nil {
		return found, err
	}
	if err := a.indexInput(ctx, spec, folder, m); err != nil {
		return found, err
	}
	// A run that was suspended may find a later one at work.
	if sealed, err := folder.Sealed(in.Run.ID); err != nil {
		return found, err
	} else if sealed {
		return found, refused(errRunOver)
	}
	if spec.Delta {
		if found.DuplicateKeys, err = findDuplicateKeys(ctx, spec, folder); err != nil {
			return found, err
		}
	}
	if err := folder.SaveSpec(spec); err != nil {
		return found, err
	}
	if found.Start, err = a.begin(spec, folder, in.Now); err != nil {
		return found, err
	}
	index, err := source.OpenIndex(folder.Index())
	if err != nil {
		return found, err
	}
	defer func() { _ = index.Close() }()
	found.Records, found.Skipped, found.Batches = int(index.Records()), int(index.Skipped()), index.Batches()
	if found.Canary, err = canaryBatches(spec, folder, index); err != nil {
		return found, err
	}
	if err := folder.DropFailure(); err != nil {
		return found, err
	}
	return found, folder.AppendEvent(migration.Event{At: in.Now, Kind: migration.EventBegun})
}

// mayBegin refuses a migration that is over, and an output folder that cannot be written.
func mayBegin(spec migration.Spec, folder migration.Folder) error {
	if finished, err := folder.Finished(); err != nil {
		return err
	} else if finished {
		return refused(fmt.Errorf("%s was migrated already, see its summary; load it again with --again", spec.ShownName()))
	}
	if _, err := folder.RolledBack(); err == nil {
		return refused(fmt.Errorf("the migration of %s is being rolled back, or was; load it again with --again", spec.ShownName()))
	} else if !errors.Is(err, migration.ErrAbsent) {
		return err
	}
	if err := folder.CheckLedger(); err != nil {
		return err
	}
	err := artifacts.CheckFolder(spec.OutputDir)
	if err == nil || store.IsOutage(err) && !errors.Is(err, fs.ErrPermission) { // an outage may pass
		return err
	}
	return refused(err)
}

// canaryBatches is how many batches hold the records of a canary that is not approved
// yet.
func canaryBatches(spec migration.Spec, folder migration.Folder, index *source.Index) (batches int, err error) {
	if spec.Canary == 0 {
		return 0, nil
	}
	if approved, err := folder.Approved(); approved || err != nil {
		return 0, err
	}
	for records := 0; records < spec.Canary && batches < index.Batches(); {
		batches++
		batch, err := index.Batch(batches)
		if err != nil {
			return 0, err
		}
		records += batch.Records
	}
	return batches, nil
}

// keepsDelta refuses to resume a migration in the other mode: which records are sent, and
// what became of duplicates, is partly decided.
func keepsDelta(spec migration.Spec, folder migration.Folder) error {
	before, err := folder.Spec()
	switch {
	case errors.Is(err, migration.ErrAbsent):
		return nil
	case err != nil:
		return err
	case before.Delta && !spec.Delta:
		return refused(errors.New("this migration was started with --delta-migration and cannot resume without it; give it again"))
	case !before.Delta && spec.Delta:
		return refused(errors.New("this migration was started without --delta-migration and cannot resume with it; let it finish without, or end it with starter cancel, and then load the file with --again --delta-migration"))
	}
	return nil
}

// begin fixes when the migration began, and the names of its result files, once.
func (a *Activities) begin(spec migration.Spec, folder migration.Folder, now time.Time) (migration.Start, error) {
	start, err := folder.Start()
	if !errors.Is(err, migration.ErrAbsent) {
		return start, err
	}
	owner, err := folder.Owner()
	if err != nil {
		return start, err
	}
	stamp, err := artifacts.ReserveStamp(spec.OutputDir, owner, "results", now)
	if err != nil {
		return start, err
	}
	tags := ""
	if spec.Format().Traits().Marks {
		tags = rand.Text()
	}
	return folder.CreateStart(migration.Start{
		ID: spec.ID, StartedAt: now.UTC().Truncate(time.Second), Stamp: stamp,
		Began: ledger.Claim{At: time.Now().UTC(), Clock: evidence.ThisClock()}, Tags: tags,
	})
}

// Checked is what CheckTarget found out for a migration.
type Checked struct {
	// KeylessNote is migration.Keys.Note.
	KeylessNote string `json:"keyless_note,omitempty"`
}

// CheckTarget finds out with harmless calls, before anything is sent, whether address,
// credentials and entity type are right, and for a migration what the target refuses as a
// duplicate. It fails with Refused where the migration cannot work with these options, and
// with Unreachable where the target is busy or does not answer.
func (a *Activities) CheckTarget(ctx context.Context, run Run) (Checked, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(run)
	if err != nil {
		return Checked{}, err
	}
	var checked Checked
	var application *temporal.ApplicationError
	c := o.common()
	err = c.target.Check(gate.AtOnce(ctx))
	if m, ok := o.(*migrationRun); ok && err == nil {
		checked, err = m.checkKeys(ctx)
	}
	switch {
	case err == nil:
		return checked, nil
	case target.Is(err, target.Unusable):
		return checked, refused(err)
	case errors.As(err, &application):
		return checked, err
	case ctx.Err() != nil:
		return checked, ended(ctx, ctx.Err())
	}
	// Any other error may be temporary.
	return checked, temporal.NewApplicationError(err.Error()+"; nothing was sent", Unreachable)
}

// CountEntities counts all entities of the target's type, for the summary; null if the
// client may not count. It does not wait while the gate is closed: the end of a paused
// migration does not depend on a number.
func (a *Activities) CountEntities(ctx context.Context, run Run) (*int64, error) {
	ctx, done := restartable(ctx)
	defer done()
	o, err := a.open(run)
	if err != nil {
		return nil, err
	}
	c := o.common()
	n, err := c.target.Count(gate.AtOnce(ctx))
	if target.Is(err, target.Forbidden) {
		return nil, nil
	}
	if err != nil {
		return nil, temporal.NewApplicationError(err.Error(), Unreachable)
	}
	return &n, nil
}

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
	// An index was measured with the other mapping, unless it was made for this run: before it was started, or by an earlier
	// attempt.
	if has, err := store.Exists(folder.Index()); !has {
		return err
	}
	if !begun {
		if keep, err := isPlanned(spec, folder); keep || err != nil {
			return err
		}
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
