package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/fleet"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/proof/s3server"
)

// What is broken besides the invariants, on a fleet.
const (
	ordersHold    = "an order of a person is carried out"
	scheduleFires = "a schedule migrates the files that are new"
	allWork       = "every worker works"
)

const (
	fleetWorkers = 3
	fleetRecords = 100_000 // of the bulk
	fleetRate    = 20
	slowerRate   = 10 // after an order
)

// drawFleet draws the episodes of a fleet: Temporal on PostgreSQL, three
// workers, and kills of everything. One is large, without a limit of the rate;
// in the other the workers keep a rate together, a schedule comes first, and
// orders are given. records > 0 fixes the size of the large one. What the
// migrations keep is in a bucket, or in a folder that all processes share.
func drawFleet(seed uint64, records int64, folder bool) []plan {
	r := rand.New(rand.NewPCG(seed, 0))
	if records == 0 {
		records = fleetRecords
	}
	bulk := plan{
		number: 1, fleet: true, bucket: !folder, breaker: 5, workers: fleetWorkers, before: 97, batch: 100, flight: 12, faults: "all=0.2,find:all=0.2",
		input: fakeusers.Options{Records: records, Seed: r.Uint64(), Awkward: true}, seed: r.Int64N(1 << 31),
		latency: 20 * time.Millisecond, findLag: 200 * time.Millisecond,
	}
	victims := []string{theEngine, theEngine, theEngine, theTarget, theTarget, theStarter, theStarter, theBase}
	for i := range fleetWorkers {
		victims = append(victims, fmt.Sprintf("%s %d", aWorker, i+1), fmt.Sprintf("%s %d", aWorker, i+1))
	}
	if bulk.bucket {
		victims = append(victims, theStore, theStore)
	}
	r.Shuffle(len(victims), func(i, j int) { victims[i], victims[j] = victims[j], victims[i] })
	// Spread over the whole migration: each part of it has one victim.
	part := float64(bulk.batches()) / float64(len(victims)+1)
	for i, victim := range victims {
		ev := event{
			when:   trigger{what: onOutcomes, n: 1 + int(part*(float64(i)+r.Float64())), after: time.Duration(r.IntN(40)) * time.Millisecond},
			action: kill, target: victim, lasts: time.Duration(r.IntN(800)) * time.Millisecond,
		}
		if victim == theStore {
			ev.lasts *= 10 // its clients repeat what they ask for some seconds
		}
		bulk.events = append(bulk.events, ev)
	}
	paced := plan{
		number: 2, fleet: true, bucket: !folder, breaker: 5, scheduled: true, workers: fleetWorkers, batch: 5, flight: 12, rate: fleetRate,
		input: fakeusers.Options{Records: 2500, Seed: r.Uint64(), Awkward: true}, seed: r.Int64N(1 << 31), latency: 50 * time.Millisecond,
		events: []event{
			{when: trigger{what: onOutcomes, n: 50}, action: kill, target: fmt.Sprintf("%s %d", aWorker, 1+r.IntN(fleetWorkers))},
			{when: trigger{what: onOutcomes, n: 120}, action: kill, target: theEngine},
			{when: trigger{what: onOutcomes, n: 250}, action: pauseIt},
			{when: trigger{what: onOutcomes, n: 350}, action: setRate},
		},
	}
	return []plan{bulk, paced}
}

func (e *episode) eventsEnd() time.Duration {
	if e.fleet {
		return fleetEventsEnd
	}
	return eventsEnd
}

const (
	workFolder = "work"     // of the bucket
	machines   = "machines" // a folder each that no other process uses
)

// startStore starts the S3 server. The content of the bucket is in files, for the
// checker.
func (e *episode) startStore(ctx context.Context) (err error) {
	if e.bucket, err = s3server.New(e.s3, e.path("s3"), ""); err != nil {
		return err
	}
	e.work = e.bucket.Path(workFolder)
	e.out = filepath.Join(e.work, "artifacts")
	e.store = e.slot(theStore, func(name string) (*process, error) { return e.launchCommand(name, e.bucket.Command()) })
	if err := e.store.begin(); err != nil {
		return err
	}
	return e.bucket.Answers(ctx)
}

// alone makes a program run as on a separate machine: it shares only the network.
func (e *episode) alone(name string, cmd *exec.Cmd) error {
	home := e.path(filepath.Join(machines, name))
	temporary := filepath.Join(home, "tmp")
	cmd.Dir = home
	cmd.Env = append(cmd.Env, "HOME="+home, "TMPDIR="+temporary)
	cmd.Env = append(cmd.Env, e.bucket.Environment()...)
	return os.MkdirAll(temporary, 0o700)
}

// heeded is how long after the answer to an order calls may still be made that
// do not keep to it: they had begun.
func (e *episode) heeded() time.Duration {
	if e.bucket != nil {
		return time.Second
	}
	return 0
}

// startFleet starts the service that docker-compose.yml describes.
func (e *episode) startFleet(ctx context.Context) (err error) {
	addresses, err := program.FreeAddresses(fleet.Ports)
	if err != nil {
		return err
	}
	if e.real, err = fleet.New(ctx, e.programs, e.path("postgres"), addresses); err != nil {
		return err
	}
	e.database = e.slot(theBase, func(name string) (*process, error) { return e.launchCommand(name, e.real.Database()) }) //nolint:contextcheck // it outlives the start
	if err := e.database.begin(); err != nil {
		return err
	}
	if err := e.real.MakeSchemas(ctx); err != nil {
		return err
	}
	e.engine = e.slot(theEngine, func(name string) (*process, error) { return e.launchCommand(name, e.real.Server()) })
	if err := e.engine.begin(); err != nil {
		return err
	}
	if err := e.real.Answers(ctx); err != nil {
		return err
	}
	e.service.to(e.real.Address)
	return e.real.MakeNamespace(ctx)
}

// steer runs a command as an operator does in another terminal. It verifies that the
// command succeeds, and returns its output.
func (e *episode) steer(invariant string, args ...string) (string, bool) {
	e.mu.Lock()
	e.orders++
	name := fmt.Sprintf("order-%d", e.orders)
	e.mu.Unlock()
	p, err := e.launch(name, "starter", nil, append(args, e.serviceFlags()...)...)
	if err != nil {
		e.tell(invariant, "%v", err)
		return "", false
	}
	if !p.endsIn(time.Minute) {
		p.dump()
		e.tell(invariant, "starter %s did not end within a minute: %s", args[0], lastLines(p.errors(), 5))
		return "", false
	}
	if p.code() != 0 {
		e.tell(invariant, "starter %s ended with exit code %d: %s", strings.Join(args, " "), p.code(), lastLines(p.errors(), 5))
		return "", false
	}
	return read(p.stdout), true
}

// shownStatus is what this harness reads of starter status --json.
type shownStatus struct {
	State, Paused string
	Pace          struct{ Limit float64 }
}

func (e *episode) shownStatus() (s shownStatus, ok bool) {
	output, ok := e.steer(ordersHold, e.there("status", "--latest", "--json")...)
	if !ok {
		return s, false
	}
	if err := json.Unmarshal([]byte(output), &s); err != nil {
		e.tell(ordersHold, "starter status --json prints %q: %v", output, err)
		return s, false
	}
	return s, true
}

// pauseAndResume verifies that no worker makes a call during a pause, and that calls
// resume after it. The status takes two seconds.
func (e *episode) pauseAndResume() {
	e.pausing(1)
	defer e.pausing(-1)
	if _, ok := e.steer(ordersHold, e.there("pause", "--latest", "--reason", "lunch")...); !ok {
		return
	}
	paused := time.Now().Add(e.heeded())
	if s, ok := e.shownStatus(); ok && (s.State != "running" || !strings.Contains(s.Paused, "lunch")) {
		e.tell(ordersHold, "it was paused, and its status is %+v", s)
	}
	resumed := time.Now()
	if _, ok := e.steer(ordersHold, e.there("resume", "--latest")...); !ok {
		return
	}
	if n := len(between(e.target.moments(), paused, resumed)); n > 0 {
		e.tell(ordersHold, "%d calls were made in the %s of a pause", n, resumed.Sub(paused))
	}
	e.count.add(func(f *figures) { f.Orders[orderPause]++; f.Orders["resume"]++ })
}

// setRate halves the rate. That it holds is seen at the end.
func (e *episode) setRate() {
	if _, ok := e.steer(ordersHold, e.there("set", "--latest", fmt.Sprintf("rate=%d", slowerRate))...); !ok {
		return
	}
	e.mu.Lock()
	e.slower = time.Now().Add(e.heeded())
	e.mu.Unlock()
	if s, ok := e.shownStatus(); ok && s.Pace.Limit != slowerRate {
		e.tell(ordersHold, "the rate was set to %d, and its status is %+v", slowerRate, s)
	}
	e.count.add(func(f *figures) { f.Orders[orderSet]++ })
}

// between are the moments after one and before another; a zero end is none.
func between(all check.Moments, from, to time.Time) check.Moments {
	return slices.DeleteFunc(slices.Clone(all), func(t time.Time) bool { return t.Before(from) || !to.IsZero() && !t.Before(to) })
}

// migrateBySchedule has a schedule migrate a file, and the service killed
// between the two: the schedule is kept.
func (e *episode) migrateBySchedule(ctx context.Context) error {
	incoming, out, state := e.path("incoming"), e.path("scheduled"), e.state // of which the workers know
	if err := os.Mkdir(incoming, 0o700); err != nil {
		return err
	}
	var content bytes.Buffer
	content.WriteString("email,displayName\n")
	for i := range 40 {
		fmt.Fprintf(&content, "scheduled-%d@example.com,Somebody Scheduled %d\n", i, i)
	}
	original := e.path("scheduled.csv")
	for _, path := range []string{original, filepath.Join(incoming, "scheduled.csv")} {
		if err := os.WriteFile(path, content.Bytes(), 0o600); err != nil {
			return err
		}
	}
	create := append([]string{"schedule", "create", "nightly", "--cron", "0 2 * * *", "--settle", "100ms", "--task-queue", e.queue}, e.options(filepath.Join(incoming, "*.csv"), "--state-dir", state, "--output-dir", out)...)
	if _, ok := e.steer(scheduleFires, create...); !ok {
		return nil
	}
	e.killTarget(theEngine, 0)
	if err := e.real.Answers(ctx); err != nil {
		return err
	}
	if _, ok := e.steer(scheduleFires, "schedule", "trigger", "nightly", "--state-dir", state); !ok {
		return nil
	}
	var told []string
	for end := time.Now().Add(time.Minute); len(told) == 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		told, _ = filepath.Glob(filepath.Join(out, "scheduled_*.json"))
	}
	summaries, _ := filepath.Glob(filepath.Join(out, "summary_*.json"))
	if _, err := os.Stat(filepath.Join(incoming, "done", "scheduled.csv")); err != nil || len(told) != 1 || len(summaries) != 1 {
		e.tell(scheduleFires, "a minute after it was triggered there are %d notes of a run and %d summaries in %s (%v)", len(told), len(summaries), out, err)
		return nil
	}
	broken, err := check.Check(check.Migration{Input: original, Summary: summaries[0], Truth: e.path(truthLog), Before: e.before, BatchSize: e.batch})
	if err != nil {
		return err
	}
	for _, b := range broken {
		e.tell(b.Invariant, "by schedule: %s", b.What)
	}
	e.steer(scheduleFires, "schedule", "delete", "nightly", "--state-dir", state)
	e.count.add(func(f *figures) { f.Scheduled++ })
	_, e.before, err = check.Calls(e.path(truthLog), "entity.bulkCreate")
	return err
}

// fleetHolds holds what only several workers can break: each of them has
// worked, they used the rate that they have together, and a lower one held
// from the order on.
func (e *episode) fleetHolds(arrivals check.Moments) {
	worked := map[string]bool{}
	e.mu.Lock()
	all := slices.Clone(e.all)
	slower := e.slower
	e.mu.Unlock()
	claimed := e.claimed()
	for _, p := range all {
		if len(claimed[p.cmd.Process.Pid]) > 0 && strings.HasPrefix(p.name, aWorker) {
			worked[p.name[:len(aWorker)+2]] = true // worker-1 of worker-1-3
		}
	}
	if len(worked) != e.plan.workers {
		e.tell(allWork, "%d of %d workers have claimed batches", len(worked), e.plan.workers)
	}
	if e.rate == 0 {
		return
	}
	const window = 5 * time.Second
	if most, _ := arrivals.Most(window); float64(most) < 0.8*e.rate*window.Seconds() {
		e.tell(allWork, "at most %d calls were made within %s; expected nearly all that %g a second allow", most, window, e.rate)
	}
	if slower.IsZero() {
		e.tell(ordersHold, "the rate was never set")
		return
	}
	for _, b := range between(arrivals, slower, time.Time{}).Over(slowerRate) {
		e.tell(b.Invariant, "after the order: %s", b.What)
	}
}
