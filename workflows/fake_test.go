package workflows

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/activities"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

const recordsABatch = 10

// journal keeps the calls of fake activities.
type journal struct {
	mu       sync.Mutex
	calls    []string // in order: "LoadBatch 0/3"
	inFlight int
	most     int // that were in flight at once
}

// working counts a batch in flight until done is called.
func (j *journal) working() (done func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.inFlight++
	j.most = max(j.most, j.inFlight)
	return func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.inFlight--
	}
}

// note keeps the call of an activity, and returns its attempt.
func (j *journal) note(call string) (attempt int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls = append(j.calls, call)
	for _, c := range j.calls {
		if c == call {
			attempt++
		}
	}
	return attempt
}

// story is all calls, in order.
func (j *journal) story() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.calls, ", ")
}

func (j *journal) count(prefix string) (n int) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, call := range j.calls {
		if strings.HasPrefix(call, prefix) {
			n++
		}
	}
	return n
}

// mostAtOnce is how many batches were in work at the same time.
func (j *journal) mostAtOnce() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.most
}

// fake has the activities of a migration: it knows batches by number and their
// outcomes, without any file. Each of its functions can be replaced by a test.
type fake struct {
	t       *testing.T
	batches int // of the input

	journal
	settled map[int]map[int]counts // by round and position
	planned map[string]int         // errors of what is settled when it is planned
	rounds  map[int]int            // batches of a retry round

	load    loading
	took    time.Duration // of a batch
	settle  func(in batchInput) (activities.BatchResult, error)
	resolve resolving
	inspect func() error
	keyless int
	checked activities.Checked
	check   func(attempt int) error
	plan    func() error
	write   func(in activities.RetryFileInput) error
	finish  func(in activities.ArtifactsInput) error

	entities func() (*int64, error)

	updated       map[int]ledger.Updates // by batch
	update        func(in activities.UpdateInput, attempt int) (ledger.Updates, error)
	delta         bool
	duplicateKeys int

	steered []activities.SteerInput
	steer   func() error
	holds   time.Duration // see activities.Steered
	verify  func()
	canary  int                                                // batches
	deliver func(in activities.NotifyInput, attempt int) error // a notice
	notices []notify.Notice                                    // delivered, in the order in which they were started
	started []string                                           // ids of notices: each is delivered by a workflow of its own, in any order

	holding func()
	hold    sync.Once
	held    chan struct{} // closed by the first HoldLoad

	failures []migration.Failure       // that were kept
	reasons  activities.Reasons        // of the records that are failed or unknown
	asking   func()                    // before each decision
	artifact activities.ArtifactsInput // of the last WriteArtifacts
	summary  migration.Counts          // that the artifacts come to; zero: all are created
}

type counts = ledger.Counts

var (
	allCreated   = activities.BatchResult{Counts: counts{Created: recordsABatch, Calls: 1}}
	allUnknown   = activities.BatchResult{Counts: counts{Unknown: recordsABatch, Calls: 1}, Reason: "http 502"}
	allUpdated   = ledger.Updates{Updated: recordsABatch}
	allDuplicate = activities.BatchResult{Counts: counts{Duplicate: recordsABatch, Calls: 1}}
)

// batchInput names one batch of a run.
type batchInput struct {
	Round, Position int
	Limit           *activities.FailLimit
}

func batchesOf(in activities.BatchesInput) (all []batchInput) {
	for position := in.First; position <= in.Last; position++ {
		all = append(all, batchInput{in.Round, position, in.Limit})
	}
	return all
}

type (
	loading   = func(in batchInput, attempt int) (activities.BatchResult, error)
	resolving = func(activities.ResolveInput) (activities.Resolved, error)
)

// byRound has this result for all batches of each round; the last one stays.
func byRound(results ...activities.BatchResult) loading {
	return func(in batchInput, _ int) (activities.BatchResult, error) {
		return results[min(in.Round, len(results)-1)], nil
	}
}

// firstBatches has one result for the first n batches of each round, and another
// for the others.
func firstBatches(n int, first, others activities.BatchResult) loading {
	return func(in batchInput, _ int) (activities.BatchResult, error) {
		if in.Position <= n {
			return first, nil
		}
		return others, nil
	}
}

func resolved(r activities.Resolved) resolving {
	return func(activities.ResolveInput) (activities.Resolved, error) { return r, nil }
}

// unsent is what settling comes to where nothing was claimed.
func unsent(batchInput) (activities.BatchResult, error) {
	return activities.BatchResult{Unsent: true}, nil
}

// errNoAnswer is retried; forbidden is not.
var errNoAnswer = temporal.NewApplicationError("no answer", activities.Unreachable)

func forbidden(message string) error {
	return temporal.NewNonRetryableApplicationError(message, activities.Unreachable, nil)
}

func newFake(t *testing.T, batches int) *fake {
	f := &fake{
		t: t, batches: batches, settled: map[int]map[int]counts{}, rounds: map[int]int{}, updated: map[int]ledger.Updates{},
		load: byRound(allCreated), took: aRun,
		settle: func(batchInput) (activities.BatchResult, error) {
			return activities.BatchResult{}, fmt.Errorf("nothing is to be settled")
		},
		update: func(activities.UpdateInput, int) (ledger.Updates, error) { return allUpdated, nil },
	}
	f.resolve = func(in activities.ResolveInput) (activities.Resolved, error) {
		if in.Round > 0 {
			return activities.Resolved{}, nil
		}
		return f.strangers(), nil
	}
	return f
}

// strangers has all duplicates of the input be records of others.
func (f *fake) strangers() (r activities.Resolved) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.settled[0] {
		if f.delta {
			r.Duplicate += c.Duplicate
		} else {
			r.Failed += c.Duplicate
		}
	}
	return r
}

func (f *fake) nowInFlight() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.inFlight
}

func (f *fake) length(round int) int {
	if round == 0 {
		return f.batches
	}
	return f.rounds[round]
}

func (f *fake) keep(in batchInput, c counts) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.settled[in.Round] == nil {
		f.settled[in.Round] = map[int]counts{}
	}
	f.settled[in.Round][in.Position] = c
}

func (f *fake) InspectSource(_ context.Context, in activities.InspectInput) (activities.Inspected, error) {
	f.note("InspectSource")
	if in.Run.ID == "" || in.Run.Folder != in.Spec.Folder.RunFolder || in.Now.IsZero() {
		f.t.Errorf("InspectSource got %+v", in)
	}
	if f.inspect != nil {
		if err := f.inspect(); err != nil {
			return activities.Inspected{}, err
		}
	}
	return activities.Inspected{Records: f.batches * recordsABatch, Batches: f.batches, DuplicateKeys: f.duplicateKeys, Canary: f.canary}, nil
}

func (f *fake) KeepFailure(_ context.Context, in activities.FailureInput) error {
	f.note("KeepFailure")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failures = append(f.failures, in.Failure)
	return nil
}

// CountReasons is called so often that it is not in the journal.
func (f *fake) CountReasons(context.Context, activities.Run) (activities.Reasons, error) {
	return f.reasons, nil
}

func (f *fake) WriteFailures(context.Context, activities.Run) (activities.Reasons, error) {
	f.note("WriteFailures")
	if f.asking != nil {
		f.asking()
	}
	return f.reasons, nil
}

func (f *fake) VerifyBatch(_ context.Context, in activities.VerifyInput) (migration.VerifyResult, error) {
	f.note(fmt.Sprintf("VerifyBatch %d", in.Batch))
	if f.verify != nil {
		f.verify()
	}
	return equal(recordsABatch), nil
}

func (f *fake) Forecast(_ context.Context, in activities.ForecastInput) (activities.Forecast, error) {
	f.note(fmt.Sprintf("Forecast after %d", in.Loaded))
	return activities.Forecast{Calls: in.Loaded, Median: 120 * time.Millisecond, Longest: time.Second, Left: f.batches - in.Loaded, Takes: time.Hour}, nil
}

func (f *fake) Steer(_ context.Context, in activities.SteerInput) (activities.Steered, error) {
	f.note("Steer")
	if f.steer != nil {
		if err := f.steer(); err != nil {
			return activities.Steered{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steered = append(f.steered, in)
	return activities.Steered{Holds: f.holds}, nil
}

func (f *fake) CheckTarget(context.Context, activities.Run) (activities.Checked, error) {
	attempt := f.note("CheckTarget")
	if f.check != nil {
		return activities.Checked{}, f.check(attempt)
	}
	return f.checked, nil
}

func (f *fake) PlanBatches(_ context.Context, in activities.PlanInput) (activities.Plan, error) {
	f.note(fmt.Sprintf("PlanBatches %d", in.Round))
	if f.plan != nil {
		if err := f.plan(); err != nil {
			return activities.Plan{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	p := activities.Plan{After: in.After, Total: f.length(in.Round)}
	to := p.Total
	if in.To > 0 {
		to = in.To
	}
	for p.After < to && len(p.Batches) < in.Limit {
		p.After++
		if c, ok := f.settled[in.Round][p.After]; ok {
			p.Settled.Add(c)
			p.Errors = f.planned
			continue
		}
		first := 2 + (p.After-1)*recordsABatch
		p.Batches = append(p.Batches, activities.PlannedBatch{p.After, first, first + recordsABatch - 1})
	}
	return p, nil
}

// errClaimed has a run end at the claim of another attempt.
var errClaimed = errors.New("claimed")

// LoadBatches gives back what was done where a batch fails. After a timeout nobody hears of it.
func (f *fake) LoadBatches(_ context.Context, in activities.BatchesInput) (r activities.BatchesResult, err error) {
	done := f.working()
	defer done()
	for _, b := range batchesOf(in) {
		attempt := f.note(fmt.Sprintf("LoadBatch %d/%d", b.Round, b.Position))
		one, err := f.load(b, attempt)
		switch {
		case errors.Is(err, errClaimed):
			r.Claimed = true
		case err != nil && (r.Done == 0 || temporal.IsTimeoutError(err)):
			return activities.BatchesResult{}, err
		case one.Unsent:
			r.Held = true
		}
		if err != nil || r.Held {
			break
		}
		f.keep(b, one.Counts)
		f.add(&r, one)
	}
	r.Took = time.Duration(r.Done) * f.took
	return r, nil
}

func (f *fake) add(r *activities.BatchesResult, one activities.BatchResult) {
	r.Add(one.Counts)
	ledger.AddClasses(&r.Errors, one.Errors)
	r.Done++
}

func (f *fake) HoldLoad(_ context.Context, in activities.HoldInput) error {
	f.note("HoldLoad " + in.Load)
	if f.holding != nil {
		f.holding()
	}
	f.hold.Do(func() { close(f.held) })
	return nil
}

func (f *fake) SettleBatches(_ context.Context, in activities.BatchesInput) (r activities.BatchesResult, err error) {
	for _, b := range batchesOf(in) {
		f.mu.Lock()
		kept, ok := f.settled[b.Round][b.Position]
		f.mu.Unlock()
		one := activities.BatchResult{Counts: kept}
		if !ok {
			f.note(fmt.Sprintf("SettleBatch %d/%d", b.Round, b.Position))
			if one, err = f.settle(b); err != nil {
				return r, err
			}
		}
		if one.Unsent {
			break
		}
		f.keep(b, one.Counts)
		f.add(&r, one)
	}
	return r, nil
}

// WriteRetryFile lists the batches that are unknown after the round before, or
// duplicates that are not resolved. Of those that round 0 left unknown in a batch,
// up to keyless are set aside.
func (f *fake) WriteRetryFile(_ context.Context, in activities.RetryFileInput) (migration.RetryFile, error) {
	f.note(fmt.Sprintf("WriteRetryFile %d", in.Round))
	if f.write != nil {
		if err := f.write(in); err != nil {
			return migration.RetryFile{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	file := migration.RetryFile{Round: in.Round}
	for _, c := range f.settled[in.Round-1] {
		again := c.Unknown
		if in.Round == 1 {
			again -= min(f.keyless, again)
			file.Aside += c.Unknown - again
		}
		if again > 0 {
			file.Batches++
			file.Records += again
		}
	}
	if file.Records > 0 {
		file.Name = fmt.Sprintf("retry_%d.csv", in.Round)
		f.rounds[in.Round] = file.Batches
	}
	return file, nil
}

func (f *fake) ResolveDuplicates(_ context.Context, in activities.ResolveInput) (activities.Resolved, error) {
	call := fmt.Sprintf("ResolveDuplicates %d", in.Round)
	if in.Last {
		call += " last"
	}
	f.note(call)
	return f.resolve(in)
}

// PlanUpdates plans the batches that have duplicates of round 0.
func (f *fake) PlanUpdates(_ context.Context, in activities.UpdatePlanInput) (activities.UpdatePlan, error) {
	f.note("PlanUpdates")
	f.mu.Lock()
	defer f.mu.Unlock()
	p := activities.UpdatePlan{After: in.After, Total: f.batches, Round: len(f.rounds)}
	for p.After < p.Total && len(p.Batches) < in.Limit {
		p.After++
		if u, ok := f.updated[p.After]; ok {
			p.Settled.Add(u)
		} else if f.settled[0][p.After].Duplicate > 0 {
			p.Batches = append(p.Batches, activities.PlannedBatch{p.After, 2, 3})
		}
	}
	return p, nil
}

func (f *fake) UpdateBatch(_ context.Context, in activities.UpdateInput) (ledger.Updates, error) {
	attempt := f.note(fmt.Sprintf("UpdateBatch %d/%d", in.Round, in.Batch))
	done := f.working()
	u, err := f.update(in, attempt)
	done()
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		f.updated[in.Batch] = u
	}
	return u, err
}

func (f *fake) CountEntities(context.Context, activities.Run) (*int64, error) {
	f.note("CountEntities")
	if f.entities != nil {
		return f.entities()
	}
	n := int64(77)
	return &n, nil
}

func (f *fake) WriteArtifacts(_ context.Context, in activities.ArtifactsInput) (migration.Summary, error) {
	f.note("WriteArtifacts")
	f.mu.Lock()
	f.artifact = in
	f.mu.Unlock()
	if f.finish != nil {
		if err := f.finish(in); err != nil {
			return migration.Summary{}, err
		}
	}
	records := f.summary
	if records.Total == 0 {
		records = migration.Counts{Total: f.batches * recordsABatch, Created: f.batches * recordsABatch}
	}
	return migration.Summary{Records: records, EntitiesAfter: in.EntitiesAfter}, nil
}

func (f *fake) Notify(_ context.Context, in activities.NotifyInput) (activities.Notified, error) {
	attempt := f.note("Notify " + in.Notice.ID)
	if f.deliver != nil {
		if err := f.deliver(in, attempt); err != nil {
			return activities.Notified{}, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notices = append(f.notices, in.Notice)
	slices.SortStableFunc(f.notices, func(a, b notify.Notice) int {
		return slices.Index(f.started, a.ID) - slices.Index(f.started, b.ID)
	})
	return activities.Notified{Delivered: true}, nil
}
