package activities

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.temporal.io/sdk/activity"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/evidence"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/pace"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// InspectInput is the one activity input that has the whole spec: the others
// find it in the folder.
type InspectInput struct {
	Spec migration.Spec `json:"spec"`
	Run  `json:"run"`
	// Now is the time of the workflow: the start of the migration, if this run
	// is the first.
	Now time.Time `json:"now"`
}

// Inspected is what InspectSource found.
type Inspected struct {
	Records int             `json:"records"`
	Skipped int             `json:"skipped"` // before --start-at
	Batches int             `json:"batches"`
	Start   migration.Start `json:"start"`
	// Twins are the records of a delta migration that are not sent, because
	// their key stands in the input before them.
	Twins int `json:"twins,omitempty"`
	// Canary is how many batches hold the canary's records; 0 without one, or
	// when it was approved already.
	Canary int `json:"canary,omitempty"`
}

// InspectSource checks, digests, indexes and copies the input, and prepares the
// migration's folder. Run again, by a later run of the same migration too, it
// finds what is there and keeps it. It fails with Refused where the input, or
// the output folder, cannot be used, or not in the way that is asked for.
func (a *Activities) InspectSource(ctx context.Context, in InspectInput) (Inspected, error) {
	ctx, done := restartable(ctx)
	defer done()
	spec, folder := in.Spec, in.Run.Folder.Migration()
	if finished, err := folder.Finished(); err != nil {
		return Inspected{}, storageError(err)
	} else if finished {
		return Inspected{}, refused(fmt.Errorf("%s was migrated already, see its summary; load it a second time with --again", spec.ShownName()))
	}
	if _, err := folder.RolledBack(); err == nil {
		return Inspected{}, refused(fmt.Errorf("the migration of %s is being rolled back, or was; load it a second time with --again", spec.ShownName()))
	} else if !errors.Is(err, migration.ErrAbsent) {
		return Inspected{}, storageError(err)
	}
	if err := folder.CheckLedger(); err != nil {
		return Inspected{}, storageError(err)
	}
	if err := artifacts.CheckFolder(spec.OutputDir); err != nil {
		if store.IsOutage(err) && !errors.Is(err, fs.ErrPermission) {
			return Inspected{}, ended(ctx, err) // it may pass
		}
		return Inspected{}, refused(err)
	}
	// Before anything is changed: a later run that seals those before it has to see
	// this one.
	if err := folder.Enter(in.Run.ID); err != nil {
		return Inspected{}, storageError(err)
	}
	if err := keepsDelta(spec, folder); err != nil {
		return Inspected{}, err
	}
	m, err := useMapping(spec, in.Run)
	if err != nil {
		return Inspected{}, err
	}
	if err := a.indexInput(ctx, spec, folder, m); err != nil {
		return Inspected{}, err
	}
	// A run that slept may find a later one at work.
	if sealed, err := folder.Sealed(in.Run.ID); err != nil {
		return Inspected{}, storageError(err)
	} else if sealed {
		return Inspected{}, refused(errRunOver)
	}
	twins := 0
	if spec.Delta {
		if twins, err = findTwins(ctx, spec, folder); err != nil {
			return Inspected{}, ended(ctx, err)
		}
	}
	if err := folder.SaveSpec(spec); err != nil {
		return Inspected{}, storageError(err)
	}
	start, err := a.begin(spec, folder, in.Now)
	if err != nil {
		return Inspected{}, storageError(err)
	}
	index, err := source.OpenIndex(folder.Index())
	if err != nil {
		return Inspected{}, storageError(err)
	}
	defer func() { _ = index.Close() }()
	canary, err := canaryBatches(spec, folder, index)
	if err != nil {
		return Inspected{}, storageError(err)
	}
	if err := folder.DropFailure(); err != nil {
		return Inspected{}, storageError(err)
	}
	if err := folder.AppendEvent(migration.Event{At: in.Now, Kind: migration.EventBegun}); err != nil {
		return Inspected{}, storageError(err)
	}
	return Inspected{Records: int(index.Records()), Skipped: int(index.Skipped()), Batches: index.Batches(), Start: start, Twins: twins, Canary: canary}, nil
}

// canaryBatches is how many batches hold the records of a canary that is still
// to be approved.
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

// cut says after how many records the first batches end: as when the migration
// began.
func cut(spec migration.Spec, folder migration.Folder) (int, error) {
	claimed, err := folder.Claimed()
	if err != nil {
		return 0, err
	}
	if claimed {
		return folder.CreateCut(0) // begun by a program that did not cut
	}
	return folder.CreateCut(spec.Canary)
}

// useMapping gives the mapping of this run, of which the folder has a copy from
// then on. It refuses another mapping than the one with which records were
// sent.
func useMapping(spec migration.Spec, run Run) (*mapping.Mapping, error) {
	folder := run.Folder.Migration()
	if err := changeMapping(spec, run); err != nil {
		return nil, err
	}
	if spec.Mapping == "" {
		return folder.ReadMapping(spec)
	}
	if m, err := folder.ReadMapping(spec); !errors.Is(err, migration.ErrAbsent) {
		return m, storageError(err)
	}
	text, err := readMapping(spec)
	if err != nil {
		return nil, refused(err)
	}
	m, err := mapping.Parse(store.Base(spec.MappingFile), text)
	if err != nil {
		return nil, refused(err)
	}
	return m, storageError(folder.SaveMapping(text))
}

// readMapping reads the mapping file that was asked for.
func readMapping(spec migration.Spec) ([]byte, error) {
	text, err := store.Read(spec.MappingFile)
	if err != nil {
		return nil, err
	}
	if found := migration.MappingDigest(text); found != spec.Mapping {
		return nil, fmt.Errorf("%s was changed since this migration was asked for; expected SHA-256 %.12s…, found %.12s…; give the command again", spec.MappingFile, spec.Mapping, found)
	}
	return text, nil
}

// changeMapping lets a migration of which nothing was sent go on with another
// mapping or primary key, and refuses it for any other. Earlier runs may have workers that
// still mean to send with the old one: they are sealed before the claims are
// looked for, so that such a worker sees the seal, or this sees its claim.
func changeMapping(spec migration.Spec, run Run) error {
	folder := run.Folder.Migration()
	before, err := folder.Spec()
	begun := err == nil
	switch {
	case begun && before.Mapping == spec.Mapping && before.PrimaryKey == spec.PrimaryKey:
		return nil
	case begun:
		if err := folder.SealOthers(run.ID); err != nil {
			return storageError(err)
		}
	case !errors.Is(err, migration.ErrAbsent):
		return storageError(err)
	}
	if err := folder.CheckBegun(spec); err != nil {
		return refused(err)
	}
	// Its batches were measured with the other mapping, if there is one.
	if has, err := store.Exists(folder.Index()); !has {
		return storageError(err)
	}
	if begun && before.BatchSize != spec.BatchSize {
		return refused(batchSizeError(before.BatchSize, spec.BatchSize))
	}
	if err := errors.Join(folder.DropIndex(), folder.DropKeys()); err != nil {
		return storageError(err)
	}
	if !begun {
		return nil
	}
	return storageError(folder.SaveSpec(spec))
}

func (a *Activities) indexInput(ctx context.Context, spec migration.Spec, folder migration.Folder, m *mapping.Mapping) error {
	delimiter, err := source.ParseDelimiter(spec.Delimiter)
	if err != nil {
		return refused(err)
	}
	if ok, err := hasIndex(spec, delimiter, folder); ok || err != nil {
		return err
	}
	if _, err := a.connect(spec, nil); err != nil { // credentials that do not fit are told before the input is copied
		return refused(err)
	}
	if err := folder.Make(); err != nil {
		return storageError(err)
	}
	cutAfter, err := cut(spec, folder)
	if err != nil {
		return storageError(err)
	}
	var records *mapping.Encoder
	var misfit error // of mapping and header
	summary, err := source.Inspect(ctx, spec.DataFile, source.InspectOptions{
		Header: func(h *source.Header) error {
			records, misfit = spec.Encoder(h, m)
			return misfit
		},
		BatchSize:   spec.BatchSize,
		CutAfter:    cutAfter,
		Delimiter:   delimiter,
		Name:        spec.ShownName(),
		StartAt:     spec.StartAt,
		MaxEncoded:  spec.Room(),
		EncodedSize: func(_ *source.Header, r source.Record) int64 { return records.Size(r.Raw) },
		Unbounded:   spec.Mapping != "",
		Keyless:     func(_ *source.Header, r source.Record) bool { return records.IsKeyless(r.Raw) },
		IndexPath:   folder.Index(),
		CopyTo:      folder.Staged(),
		Progress:    func(bytes, records int64) { activity.RecordHeartbeat(ctx, records) },
	})
	var refusal *source.Refusal
	switch {
	case misfit != nil, errors.As(err, &refusal), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return refused(err)
	case err != nil:
		return ended(ctx, err)
	case summary.SHA256 != spec.SHA256:
		if err := folder.DropIndex(); err != nil {
			return storageError(err)
		}
		return refused(fmt.Errorf("%s was changed while it was read; expected SHA-256 %.12s…, found %.12s…; let its writer finish and start again", spec.ShownName(), spec.SHA256, summary.SHA256))
	}
	if !mapping.GivesKey(records, spec.PrimaryKey) {
		if err = mapping.CheckHeader(records, spec.PrimaryKey, a.schema(ctx, spec, folder)); err != nil {
			err = fmt.Errorf("%s: %w", spec.InputName(), err)
		}
	}
	if err != nil {
		if err := folder.DropIndex(); err != nil {
			return storageError(err)
		}
		return refused(err)
	}
	return nil
}

// schema asks the target for its schema, at the pace of its calls; nil where that is not to be had. Only a header that
// gives no key needs it.
func (a *Activities) schema(ctx context.Context, spec migration.Spec, folder migration.Folder) *identitycloud.Schema {
	gate, err := pace.New(pace.Config{Starts: folder.StartTimes(spec.Target), Places: folder.Places(), Settings: pace.Fixed(spec.RateLimit, 1)})
	if err != nil {
		a.log.Warn("the schema cannot be asked for", "error", err.Error())
		return nil
	}
	defer gate.Close(context.WithoutCancel(ctx))
	target, err := a.connect(spec, func(cfg *identitycloud.Config) {
		cfg.BeforeCall = func(ctx context.Context) (func(), error) { return gate.BeforeCall(gate.AtOnce(ctx)) }
	})
	if err != nil {
		a.log.Warn("the schema cannot be asked for", "error", err.Error())
		return nil
	}
	schema, err := target.EntityType(ctx)
	if err != nil {
		a.log.Warn("the schema cannot be read, so the header is checked without it", "error", err.Error())
		return nil
	}
	return &schema
}

// hasIndex says whether an earlier run has indexed this input in the same way.
func hasIndex(spec migration.Spec, delimiter source.Delimiter, folder migration.Folder) (bool, error) {
	index, err := source.OpenIndex(folder.Index())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, source.ErrIndexCorrupt) {
		// A damaged index is made again: from the same bytes in the same way it
		// is the same.
		if earlier, specErr := folder.Spec(); specErr == nil && earlier.BatchSize != spec.BatchSize {
			return false, refused(batchSizeError(earlier.BatchSize, spec.BatchSize))
		}
		return false, nil
	}
	if err != nil {
		return false, storageError(err)
	}
	defer func() { _ = index.Close() }()
	if index.SHA256() != spec.SHA256 || index.StartAt() != spec.StartAt {
		return false, refused(fmt.Errorf("the folder %s holds another migration; give another --state-dir", folder))
	}
	if index.BatchSize() != spec.BatchSize {
		return false, refused(batchSizeError(index.BatchSize(), spec.BatchSize))
	}
	if begun := index.Header().Delimiter; begun != delimiter {
		return false, refused(fmt.Errorf("this migration was begun with --delimiter '%s' and cannot go on with '%s'; give the same again", begun, delimiter))
	}
	staged, err := store.Stat(folder.Staged())
	if errors.Is(err, os.ErrNotExist) || err == nil && staged.Size != index.Size() {
		return false, nil
	}
	return err == nil, storageError(err)
}

func batchSizeError(begun, asked int) error {
	return fmt.Errorf("this migration was begun with --batch-size %d and cannot go on with %d; give the same again", begun, asked)
}

// keepsDelta refuses to go on with a migration in another way than it was begun:
// which records are sent, and what became of duplicates, is decided in part.
func keepsDelta(spec migration.Spec, folder migration.Folder) error {
	before, err := folder.Spec()
	switch {
	case errors.Is(err, migration.ErrAbsent):
		return nil
	case err != nil:
		return storageError(err)
	case before.Delta && !spec.Delta:
		return refused(errors.New("this migration was begun with --delta-migration and cannot go on without it; give it again"))
	case !before.Delta && spec.Delta:
		return refused(errors.New("this migration was begun without --delta-migration and cannot go on with it; let it come to its end without, and begin a second one with --again --delta-migration"))
	}
	return nil
}

// begin gives the migration its names, once.
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
	return folder.CreateStart(migration.Start{
		ID: spec.ID, StartedAt: now.UTC().Truncate(time.Second), Stamp: stamp,
		Began: ledger.Claim{At: time.Now().UTC(), Clock: evidence.ThisClock()},
	})
}
