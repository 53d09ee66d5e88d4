package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// ArtifactsInput asks for the artifacts. All times are the workflow's, so that the
// activity writes the same bytes when it is run again.
type ArtifactsInput struct {
	Run           `json:"run"`
	FinishedAt    time.Time `json:"finished_at"`
	EntitiesAfter *int64    `json:"entities_after"`
	// Stopped says that this run ends early: what was not attempted is remaining, and
	// rerunning the command resumes it.
	Stopped bool `json:"stopped"`
	// Cancelled says that the migration is given up: rerunning the command does not
	// resume it.
	Cancelled bool `json:"cancelled,omitempty"`
	// Halted is why it ends early, if no operator asked for that.
	Halted string `json:"halted,omitempty"`
}

// WriteArtifacts writes the result files, and first proves that every record has exactly
// one disposition. From then on nothing of this run may be sent: a worker that was
// suspended finds the run sealed.
func (a *Activities) WriteArtifacts(ctx context.Context, in ArtifactsInput) (migration.Summary, error) {
	return onRun(ctx, a.migration, in.Run, func(m *migrationRun, ctx context.Context, in ArtifactsInput) (migration.Summary, error) {
		return writeOnce(m.folder, in.Run.ID, in.FinishedAt, m.of.Summary, func(isFirst func() error) (migration.Summary, error) {
			return m.writeArtifacts(ctx, in, isFirst)
		})
	}, in)
}

// errWritten says that another attempt has written the artifacts of a run.
var errWritten = errors.New("the artifacts are written")

// writeOnce writes the artifacts of a run that finished at a moment, unless another attempt
// of the activity has: an attempt that was suspended meanwhile would write what the ledger
// says by now, in the place of what the run has returned. isFirst is asked once more before
// the files get their names; what is suspended behind that still overwrites them. If the
// artifacts are written already, writeOnce returns what was kept of them.
func writeOnce[S any](folder migration.RunFolder, run string, finishedAt time.Time, kept func() (S, error), write func(isFirst func() error) (S, error)) (summary S, err error) {
	isFirst := func() error {
		written, err := folder.Written(run, finishedAt)
		if written {
			return errWritten
		}
		return err
	}
	if err = isFirst(); err == nil {
		summary, err = write(isFirst)
	}
	switch {
	case errors.Is(err, errWritten):
		return kept()
	case err == nil:
		err = folder.KeepWritten(run, finishedAt)
	}
	return summary, err
}

func (m *migrationRun) writeArtifacts(ctx context.Context, in ArtifactsInput, isFirst func() error) (summary migration.Summary, err error) {
	if err := m.seal(ctx); err != nil {
		return summary, err
	}
	timeline := artifacts.NewTimeline(m.start.StartedAt, in.FinishedAt)
	rounds, err := m.rounds(ctx, timeline)
	if err != nil {
		return summary, err
	}
	// The retry file of a round that was not loaded holds all that is unknown. After a
	// round that was loaded, if only in part, another file does.
	last := rounds[len(rounds)-1]
	unresolved := last.file.Name
	if last.Round.Round > 0 && last.Batches == 0 {
		rounds = rounds[:len(rounds)-1]
	} else if unresolved, err = m.unresolvedName(in); err != nil {
		return summary, err
	}
	set, err := m.writeSet(ctx, rounds, unresolved, last.Round.Round, timeline, isFirst)
	if err != nil {
		return summary, err
	}
	if summary, err = m.summarize(in, rounds, set); err != nil {
		return summary, err
	}
	events, err := m.eventsBefore(in.FinishedAt)
	if err != nil {
		return summary, err
	}
	err = artifacts.WriteSummary(m.spec.OutputDir, m.start.Stamp, summary, artifacts.Details{
		Spec: m.spec, Events: events, Timeline: timeline, Reasons: set.reasons, Program: artifacts.Program(),
	})
	if err != nil {
		return summary, err
	}
	return summary, m.end(in, summary.Records)
}

// summarize makes the summary, and keeps it in the migration's folder.
func (m *migrationRun) summarize(in ArtifactsInput, rounds []roundTotal, set writtenSet) (migration.Summary, error) {
	keyless, err := m.keylessSummary(set.aside)
	if err != nil {
		return migration.Summary{}, err
	}
	summary := migration.Summary{
		WorkflowID: m.start.ID, DataFile: m.spec.InputName(), DataSHA256: m.spec.SHA256,
		EntityType: m.spec.Target.EntityType, URI: m.spec.Target.URI, Target: m.spec.Target.Name,
		StartedAt: m.start.StartedAt, FinishedAt: in.FinishedAt.UTC().Truncate(time.Second),
		Records: set.counts, Files: set.files, EntitiesAfter: in.EntitiesAfter, Cancelled: in.Cancelled,
		Keyless: keyless,
	}
	for i, r := range rounds {
		if i < len(set.files.Retry) {
			r.Round.RetryFile = &set.files.Retry[i]
		}
		summary.Rounds = append(summary.Rounds, r.Round)
	}
	if err := m.of.SaveBreakdown(set.parts); err != nil {
		return summary, err
	}
	return summary, m.of.SaveSummary(summary)
}

// end ends the run: it removes what a resumed migration has replaced, and marks the
// migration as finished unless rerunning the command resumes it.
func (m *migrationRun) end(in ArtifactsInput, counts migration.Counts) error {
	if err := m.dropUnresolved(in.Run); err != nil {
		return err
	}
	if err := releaseNames(m.folder, m.spec.OutputDir); err != nil {
		return err
	}
	if err := m.folder.AppendEvent(migration.Event{At: in.FinishedAt, Kind: migration.EventEnded, Text: counts.String(), Reason: in.Halted}); err != nil {
		return err
	}
	if !in.Cancelled && (in.Stopped || counts.Unknown > 0 || counts.Remaining > 0) {
		return nil
	}
	return m.of.Finish(in.Cancelled)
}

// releaseNames releases the names of result files that a folder has reserved.
func releaseNames(folder migration.RunFolder, outputDir string) error {
	owner, err := folder.Owner()
	if err != nil {
		return err
	}
	return artifacts.Release(outputDir, owner)
}

// roundTotal is the result of one round, and the retry file that it loaded.
type roundTotal struct {
	migration.Round
	file migration.RetryFile
}

// eventsBefore are the events of the migration before its end, so that the report is the
// same when it is written again.
func (m *migrationRun) eventsBefore(end time.Time) ([]migration.Event, error) {
	events, err := m.folder.Events()
	return slices.DeleteFunc(events, func(e migration.Event) bool { return !e.At.Before(end) }), err
}

// rounds adds up the rounds from the ledger, and gives the calls to timeline.
// Claims of round 0 without an outcome, of a suspended worker, become unknown: their
// records were attempted, so they are not remaining.
func (m *migrationRun) rounds(ctx context.Context, timeline *artifacts.Timeline) ([]roundTotal, error) {
	var rounds []roundTotal
	for round := 0; ; round++ {
		total := roundTotal{Round: migration.Round{Round: round}}
		if round > 0 {
			file, err := m.of.RetryFile(round)
			if errors.Is(err, migration.ErrAbsent) {
				return rounds, nil
			}
			if err != nil {
				return nil, err
			}
			total.file = file
		}
		length, err := m.roundLength(round)
		if err != nil {
			return nil, err
		}
		var counts ledger.Counts
		err = store.ForEachOrdered(ctx, m.folder.Path(), length, func(ctx context.Context, n int) (settled settledBatch, err error) {
			var keys []ledger.Key
			settled.BatchResult, err = m.settleBatch(ctx, round, n+1, func(key ledger.Key, entry ledger.Outcomes) {
				keys, settled.entries = append(keys, key), append(settled.entries, entry)
			})
			if err != nil {
				return settled, err
			}
			return settled, m.timeEntries(ctx, keys, settled.entries)
		}, func(settled settledBatch) error {
			if settled.Records() > 0 || settled.Calls > 0 {
				total.Batches++
			}
			counts.Add(settled.Counts)
			for _, entry := range settled.entries {
				timeline.Call(round, entry)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		total.Calls, total.Created, total.Duplicate = counts.Calls, counts.Created, counts.Duplicate
		total.Failed, total.Unknown = counts.Failed, counts.Unknown
		rounds = append(rounds, total)
	}
}

// settledBatch is the result of a batch, and its entries in the ledger.
type settledBatch struct {
	BatchResult
	entries []ledger.Outcomes
}

// timeEntries sets the time of calls whose worker died, of which only the claim is known.
func (m *migrationRun) timeEntries(ctx context.Context, keys []ledger.Key, entries []ledger.Outcomes) error {
	for i := range entries {
		if !entries[i].Sent || !entries[i].At.IsZero() {
			continue
		}
		claim, err := m.ledger.ClaimOf(ctx, keys[i])
		if err != nil && !isNotFound(err) {
			return err
		}
		entries[i].At = claim.At
	}
	return nil
}

// writtenSet is the files of records, and what is in them.
type writtenSet struct {
	counts  migration.Counts
	files   migration.Files
	reasons *artifacts.Reasons
	parts   migration.Breakdown
	aside   int // unknown records that are not sent again
}

func (m *migrationRun) writeSet(ctx context.Context, rounds []roundTotal, unresolved string, lastRound int, timeline *artifacts.Timeline, isFirst func() error) (w writtenSet, err error) {
	var retry []string
	for _, r := range rounds[1:] {
		retry = append(retry, r.file.Name)
	}
	set, err := artifacts.NewSet(artifacts.Options{
		Dir: m.spec.OutputDir, Stamp: m.start.Stamp, Header: m.index.Header(), Retry: retry, Unresolved: unresolved, Updates: m.updatesBy(),
	})
	if err != nil {
		return w, err
	}
	defer set.Discard()
	err = store.ForEachOrdered(ctx, m.folder.Path(), m.index.Batches(), func(ctx context.Context, n int) ([]artifacts.Record, error) {
		return m.artifactRecords(ctx, n+1, lastRound)
	}, func(records []artifacts.Record) error {
		for _, r := range records {
			if r.ByUpdate {
				timeline.Updated(r.At)
			}
			if r.Aside {
				w.aside++
			}
			if err := set.Add(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return w, err
	}
	if err := isFirst(); err != nil {
		return w, err
	}
	w.reasons, w.parts = set.Reasons(), set.Breakdown()
	w.counts, w.files, err = set.Commit(ctx, int(m.index.Records()))
	return w, err
}

// artifactRecords are the records of a batch, with what is known of them.
func (m *migrationRun) artifactRecords(ctx context.Context, batch, lastRound int) ([]artifacts.Record, error) {
	b, records, err := m.batchRecords(batch)
	if err != nil {
		return nil, err
	}
	known, err := m.ledger.After(ctx, lastRound, batch, b.Records)
	if err != nil {
		return nil, err
	}
	keyless, err := m.keyless(b)
	if err != nil {
		return nil, err
	}
	all := make([]artifacts.Record, len(records))
	for i, r := range records {
		aside := known[i].Outcome == ledger.Unknown && !known[i].MayBeSent(keyless(i))
		if m.awaitsUpdate(known[i]) {
			// It is not known whether its update was begun.
			known[i] = ledger.Record{Outcome: ledger.Unknown, Round: known[i].Round}
		}
		all[i] = artifacts.Record{Batch: batch, Line: r.Line, Email: m.encoder.Label(r.Raw), Raw: r.Raw, Record: known[i], Aside: aside}
		if m.spec.Delta {
			all[i].Key = m.encoder.KeyOf(r.Raw)
		}
	}
	return all, nil
}

// updatesBy is the name of the key column if the files of updates are wanted, else "".
func (m *migrationRun) updatesBy() string {
	if m.spec.Delta {
		return m.spec.PrimaryKey
	}
	return ""
}

// awaitsUpdate reports whether a record is a duplicate that is to be updated.
func (m *migrationRun) awaitsUpdate(r ledger.Record) bool {
	return m.spec.Delta && r.Outcome == ledger.Duplicate
}

// unresolvedName is the name of the retry file that this run leaves, fixed by the first
// attempt.
func (m *migrationRun) unresolvedName(in ArtifactsInput) (string, error) {
	names, err := m.of.Unresolved()
	if err != nil {
		return "", err
	}
	if name, ok := names[in.Run.ID]; ok {
		return name, nil
	}
	owner, err := m.folder.Owner()
	if err != nil {
		return "", err
	}
	name, err := artifacts.ReserveRetryName(m.spec.OutputDir, owner, "unresolved by "+in.Run.ID, in.FinishedAt)
	if err != nil {
		return "", err
	}
	return m.of.CreateUnresolved(in.Run.ID, name)
}

// dropUnresolved removes the retry files that earlier runs of this migration left when
// they were stopped: this run has resumed with those records.
func (m *migrationRun) dropUnresolved(run Run) error {
	names, err := m.of.Unresolved()
	if err != nil {
		return err
	}
	for id, name := range names {
		if id != run.ID {
			if err := artifacts.Drop(m.spec.OutputDir, name); err != nil {
				return err
			}
		}
	}
	return nil
}
