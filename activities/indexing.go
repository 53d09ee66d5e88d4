package activities

import (
	"context"
	"errors"
	"fmt"
	"os"

	"go.temporal.io/sdk/activity"

	"durable-dataload/internal/gate"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

func (a *Activities) indexInput(ctx context.Context, spec migration.Spec, folder migration.Folder, m *mapping.Mapping) error {
	delimiter, err := source.ParseDelimiter(spec.Delimiter)
	if err != nil {
		return refused(err)
	}
	_, err = folder.Spec()
	begun := err == nil
	if !begun && !errors.Is(err, migration.ErrAbsent) {
		return err
	}
	if !begun {
		if _, err := a.connect(spec, target.Hooks{}); err != nil { // wrong credentials are refused before the input is copied
			return refused(err)
		}
	}
	has, err := hasIndex(spec, delimiter, folder)
	if err != nil || has && begun {
		return err
	}
	if !has {
		if err := a.makeIndex(ctx, spec, delimiter, folder, m); err != nil {
			return err
		}
	}
	return a.checkHeader(ctx, spec, folder, m)
}

// makeIndex indexes and copies the input.
func (a *Activities) makeIndex(ctx context.Context, spec migration.Spec, delimiter source.Delimiter, folder migration.Folder, m *mapping.Mapping) error {
	if err := folder.Make(); err != nil {
		return err
	}
	cutAfter, err := folder.CreateCut(spec.Canary)
	if err != nil {
		return err
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
		Unbounded:   !spec.IsBounded(),
		Keyless:     func(_ *source.Header, r source.Record) bool { return records.IsKeyless(r.Raw) },
		Plan:        spec.IndexPlan(cutAfter),
		IndexPath:   folder.Index(),
		CopyTo:      folder.Staged(),
		Progress:    func(bytes, records int64) { activity.RecordHeartbeat(ctx, records) },
	})
	var refusal *source.Refusal
	switch {
	case misfit != nil, errors.As(err, &refusal), errors.Is(err, os.ErrNotExist), errors.Is(err, os.ErrPermission):
		return refused(err)
	case err != nil:
		return err
	case summary.SHA256 != spec.SHA256:
		if err := folder.DropIndex(); err != nil {
			return err
		}
		return refused(fmt.Errorf("%s was changed while it was read; expected SHA-256 %.12s…, found %.12s…; let its writer finish and start again", spec.ShownName(), spec.SHA256, summary.SHA256))
	}
	return nil
}

// isPlanned reports whether the index was made with the options of this run.
func isPlanned(spec migration.Spec, folder migration.Folder) (bool, error) {
	cutAfter, err := folder.CreateCut(spec.Canary)
	if err != nil {
		return false, err
	}
	index, err := source.OpenIndex(folder.Index())
	if store.IsOutage(err) {
		return false, err
	}
	if err != nil { // whatever it is, it is made again
		return false, nil //nolint:nilerr // see above
	}
	defer func() { _ = index.Close() }()
	delimiter, err := source.ParseDelimiter(spec.Delimiter)
	return err == nil && index.Plan() == spec.IndexPlan(cutAfter) && index.SHA256() == spec.SHA256 && index.StartAt() == spec.StartAt &&
		index.BatchSize() == spec.BatchSize && index.Header().Delimiter == delimiter, nil
}

// checkHeader refuses a header that does not fit the target.
func (a *Activities) checkHeader(ctx context.Context, spec migration.Spec, folder migration.Folder, m *mapping.Mapping) error {
	index, err := source.OpenIndex(folder.Index())
	if err != nil {
		return err
	}
	defer func() { _ = index.Close() }()
	records, err := spec.Encoder(index.Header(), m)
	if err != nil {
		return refused(err)
	}
	if mapping.GivesKey(records, spec.PrimaryKey) {
		return nil
	}
	if err := mapping.CheckHeader(records, spec.PrimaryKey, a.schema(ctx, spec, folder), spec.Format().Traits()); err != nil {
		if err := folder.DropIndex(); err != nil {
			return err
		}
		return refused(fmt.Errorf("%s: %w", spec.InputName(), err))
	}
	return nil
}

// schema reads the target's schema, at the pace of its calls; nil if that fails. Only a
// header without the key needs it.
func (a *Activities) schema(ctx context.Context, spec migration.Spec, folder migration.Folder) *target.Schema {
	g := a.limiterOf(spec.Target).Gate(spec.ID, LimitsOf(spec.Limits), nil, nil)
	to, err := a.connect(spec, target.Hooks{BeforeCall: g.BeforeCall, Judged: judged(g)})
	if err != nil {
		a.log.Warn("the schema cannot be read, so the header is checked without it", "error", err.Error())
		return nil
	}
	schema, err := to.Schema(gate.AtOnce(ctx))
	if err != nil {
		a.log.Warn("the schema cannot be read, so the header is checked without it", "error", err.Error())
		return nil
	}
	return &schema
}

// hasIndex says that an earlier run has indexed this input with the same options.
func hasIndex(spec migration.Spec, delimiter source.Delimiter, folder migration.Folder) (bool, error) {
	index, err := source.OpenIndex(folder.Index())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, source.ErrIndexCorrupt) {
		// A damaged index is made again: the same bytes and options give the same.
		if earlier, specErr := folder.Spec(); specErr == nil && earlier.BatchSize != spec.BatchSize {
			return false, refused(batchSizeError(earlier.BatchSize, spec.BatchSize))
		}
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = index.Close() }()
	if index.SHA256() != spec.SHA256 || index.StartAt() != spec.StartAt {
		return false, refused(fmt.Errorf("the folder %s holds another migration; give another --state-dir", folder))
	}
	if index.BatchSize() != spec.BatchSize {
		return false, refused(batchSizeError(index.BatchSize(), spec.BatchSize))
	}
	if begun := index.Header().Delimiter; begun != delimiter {
		return false, refused(fmt.Errorf("this migration was started with --delimiter '%s' and cannot resume with '%s'; give the same", begun, delimiter))
	}
	staged, err := store.Stat(folder.Staged())
	if errors.Is(err, os.ErrNotExist) || err == nil && staged.Size != index.Size() {
		return false, nil
	}
	return err == nil, err
}

func batchSizeError(begun, asked int) error {
	return fmt.Errorf("this migration was started with --batch-size %d and cannot resume with %d; give the same", begun, asked)
}
