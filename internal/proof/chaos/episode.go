package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/fleet"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/proof/s3server"
)

const (
	clientID     = "chaos-client"
	clientSecret = "chaos-secret-4hVq81ZtLwPz0c"

	// Users that exist before must be there so long before the migration that
	// they can be told from those that a lost call wrote: clocks differ, and
	// HTTP's has whole seconds.
	clockTolerance = 4 * time.Second

	// eventsEnd is when everything that was to happen has happened, or does not
	// happen any more. A fleet's migration is larger.
	eventsEnd      = 75 * time.Second
	fleetEventsEnd = 4 * time.Minute

	// longestSleep is how long a stopped worker sleeps at most. One that was
	// stopped in the microseconds in which it holds the lock of the start times
	// holds the others up, as docs/state.md says.
	longestSleep = 45 * time.Second
)

// comesToItsEnd is what is broken where a migration does not go on, or ends in
// a way that nothing explains.
const comesToItsEnd = "the same command comes to its end"

// episode is a plan being carried out, in a folder of its own.
type episode struct {
	plan
	programs string // the folder of the binaries
	s3       string // the binary of the S3 server, on a bucket
	dir      string
	say      func(format string, args ...any)
	count    *figures

	input, original, queue string
	state                  string // the state folder of the starter
	work, out              string // where the files are of what migrations keep, and of the artifacts

	target, service *proxy // before the sandbox, and before the engine
	sandbox, engine *slot
	database        *slot  // of a fleet's engine
	clientFile      string // the certificate for the engine; "" in a fleet, whose service asks for none
	real            *fleet.Service
	bucket          *s3server.Server // nil: what migrations keep is in the state folder
	store           *slot
	workers         []*slot
	hasDisk         bool
	filling         sync.Mutex // one at a time fills the disk
	before          int64
	wantFailed      int
	begun           time.Time
	limit           time.Duration
	truth           truthCounter
	witness         *check.Witness

	over     chan struct{} // closed when nothing more is to happen
	happened sync.WaitGroup

	mu        sync.Mutex
	starter   *process
	starts    int
	pause     time.Duration // before the next start of the starter
	active    int           // events that go on just now
	disturbed time.Time     // when the last one ended
	slower    time.Time     // when the rate was set lower
	changed   bool          // the input is not what it was
	callsThen int           // when it was changed
	sleepers  []*process
	pausers   int // operators who will resume
	orders    int // of operators
	spans     []span
	broken    []check.Broken
	all       []*process
}

// run carries the plan out. The evidence is what there is to check afterwards;
// the error says that the harness itself could not work.
func (e *episode) run(ctx context.Context) (*evidence, []check.Broken, error) {
	defer e.close()
	if err := e.prepare(ctx); err != nil {
		return nil, nil, err
	}
	for _, ev := range e.events {
		e.happened.Go(func() { e.follow(ev) })
	}
	e.happened.Go(e.attend)
	watched := make(chan struct{})
	go e.watch(watched)
	defer func() { <-watched }()

	code, done := e.migrate(ctx)
	close(e.over)
	e.happened.Wait()
	if ctx.Err() != nil {
		return nil, nil, ctx.Err()
	}
	if !done {
		return nil, e.broken, nil
	}
	e.wake()
	evidence, err := e.collect(code)
	return evidence, e.broken, err
}

func (e *episode) path(name string) string { return filepath.Join(e.dir, name) }

func (e *episode) tell(invariant, format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.broken = append(e.broken, check.Broken{Invariant: invariant, What: fmt.Sprintf(format, args...)})
}

// prepare makes the input and starts everything but the starter.
func (e *episode) prepare(ctx context.Context) (err error) {
	e.over = make(chan struct{})
	e.input, e.original, e.state, e.out = e.path("users.csv"), e.path("original.csv"), e.path("state"), e.path("out")
	e.work, e.queue = e.state, filepath.Base(e.dir)
	if e.plan.bucket {
		if err := e.startStore(ctx); err != nil {
			return err
		}
	}
	e.witness = check.NewWitness(e.work)
	e.truth.path = e.path("sandbox/truth.jsonl")
	var content bytes.Buffer
	if err := fakeusers.Write(&content, e.plan.input); err != nil {
		return err
	}
	made := e.withoutKeys(content.Bytes())
	for _, path := range []string{e.input, e.original} {
		if err := os.WriteFile(path, made, 0o600); err != nil {
			return err
		}
	}
	if e.has(fill) {
		if e.hasDisk, err = mount(e.state); err != nil {
			return err
		}
	}
	addresses, err := program.FreeAddresses(3)
	if err != nil {
		return err
	}
	if e.target, err = newProxy(addresses[0], serveCalls); err != nil {
		return err
	}
	e.target.to(addresses[1])
	e.sandbox = e.slot(theSandbox, func(name string) (*process, error) {
		args := []string{
			"--address", addresses[1], "--state-dir", e.path("sandbox"), "--latency", e.latency.String(), "--find-lag", e.findLag.String(),
			"--faults", e.faults, "--seed", strconv.FormatInt(e.seed, 10), "--heal-after", strconv.Itoa(e.batches() + e.batches()/3),
		}
		return e.launch(name, "sandbox", credentials(), append(args, e.world.flags()...)...)
	})
	if err := e.sandbox.begin(); err != nil {
		return err
	}
	if err := e.seedUsers("http://"+addresses[1], made); err != nil {
		return err
	}
	if e.plan.workers > 0 {
		if err := e.startService(ctx, addresses[2]); err != nil {
			return err
		}
	}
	if e.scheduled {
		if err := e.migrateBySchedule(ctx); err != nil {
			return err
		}
	}
	calls := float64(e.batches())
	perCall := e.latency.Seconds() + 0.1
	if e.rate > 0 {
		perCall = max(perCall, 1/e.rate)
	}
	if e.limit == 0 {
		// Faults that hit the one call of an open breaker make it pause for up to a minute.
		e.limit = e.eventsEnd() + 2*time.Minute + time.Duration(3*calls*perCall*float64(time.Second))
		if e.leavesUnknown() {
			e.limit *= 3 // each round looks at them again, and for some minutes where that may help
		}
	}
	return nil
}

func credentials() []string {
	return []string{"CAPTURE_CLIENT_ID=" + clientID, "CAPTURE_CLIENT_SECRET=" + clientSecret}
}

// startService starts an engine of its own behind a proxy, and the workers.
func (e *episode) startService(ctx context.Context, address string) (err error) {
	if e.service, err = newProxy(address, serveBytes); err != nil {
		return err
	}
	if e.fleet {
		err = e.startFleet(ctx)
	} else {
		err = e.startEngine()
	}
	if err != nil {
		return err
	}
	for i := range e.plan.workers {
		w := e.slot(fmt.Sprintf("%s %d", aWorker, i+1), func(name string) (*process, error) {
			return e.launch(name, "worker", credentials(), append(e.serviceFlags(), e.workerFlags()...)...)
		})
		e.workers = append(e.workers, w)
		if err := w.begin(); err != nil {
			return err
		}
	}
	return nil
}

func (e *episode) startEngine() error {
	e.engine = e.slot(theEngine, func(name string) (*process, error) {
		p, err := e.launch(name, "engine", nil, e.path("engine"))
		if err != nil {
			return nil, err
		}
		for end := time.Now().Add(time.Minute); !p.hasEnded() && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if lines := strings.Split(read(p.stdout), "\n"); len(lines) > 2 {
				e.clientFile = lines[1]
				e.service.to(lines[0])
				break
			}
		}
		return p, nil
	})
	return e.engine.begin()
}

// workerFlags have a worker take what the starter asks for.
func (e *episode) workerFlags() []string {
	flags := []string{"--task-queue", e.queue, "--state-dir", e.state}
	if e.bucket != nil {
		flags = append(flags, "--work-url", e.bucket.URL(workFolder))
	}
	return flags
}

// serviceFlags lead a starter or a worker to the service.
func (e *episode) serviceFlags() []string {
	return program.ServiceFlags(e.service.address, e.clientFile)
}

// seedUsers makes the users that exist before, and finds out how many records
// must fail.
func (e *episode) seedUsers(address string, content []byte) error {
	reader := csv.NewReader(bytes.NewReader(content))
	reader.FieldsPerRecord, reader.LazyQuotes = -1, true
	rows, err := reader.ReadAll()
	if err != nil {
		return err
	}
	rows = rows[1:]
	flaws := e.plan.input.Flaws()
	bad := func(i int) bool {
		number := int64(i + 1)
		return number == flaws.TooFew || number == flaws.TooMany || number == flaws.BadBirthday
	}
	existing := map[string]bool{}
	var users []map[string]string
	if e.plan.before {
		for i := 7; i < len(rows); i += 97 {
			if bad(i) || rows[i][0] == "" {
				continue // it fails for another reason, or nothing says who it is
			}
			existing[e.key(strings.ToUpper(rows[i][0]))] = true
			users = append(users, map[string]string{"email": strings.ToUpper(rows[i][0]), "displayName": "was here before"})
		}
	}
	taken := map[string]bool{}
	for i, row := range rows {
		key := e.key(row[0])
		isTaken := key != "" && e.emails != "shared" && (existing[key] || taken[key])
		if bad(i) || isTaken {
			e.wantFailed++
			continue
		}
		taken[key] = true
	}
	if len(users) == 0 {
		return nil
	}
	form, err := json.Marshal(users)
	if err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = seed(address, string(form)); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("the users that are to exist before were not made: %w", err)
	}
	if _, e.before, err = check.Calls(e.truth.path, "entity.bulkCreate"); err != nil {
		return err
	}
	time.Sleep(clockTolerance)
	return nil
}

// seed makes users without a fault in the way: a call that meets one is made
// again, since nothing else runs yet.
func seed(address, users string) error {
	form := url.Values{"type_name": {"user"}, "all_attributes": {users}}
	request, err := http.NewRequest(http.MethodPost, address+"/entity.bulkCreate", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(clientID, clientSecret)
	response, err := (&http.Client{Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Contains(body, []byte(`"stat":"ok"`)) {
		err = fmt.Errorf("the sandbox answers %.200s", body)
	}
	return err
}

// launch starts one of the programs under a name that is its own, with nothing
// in its environment that is not given here.
func (e *episode) launch(name, program string, env []string, args ...string) (*process, error) {
	cmd := exec.Command(filepath.Join(e.programs, program), args...)
	cmd.Dir, cmd.Env = e.dir, append([]string{"HOME=" + e.path("home"), "TMPDIR=" + os.TempDir()}, env...)
	if e.bucket != nil {
		if err := e.alone(name, cmd); err != nil {
			return nil, err
		}
	}
	return e.launchCommand(name, cmd)
}

func (e *episode) launchCommand(name string, cmd *exec.Cmd) (*process, error) {
	p, err := launch(e.dir, name, cmd)
	if err == nil {
		e.mu.Lock()
		e.all = append(e.all, p)
		e.mu.Unlock()
	}
	return p, err
}

// slot is the place of a process that is started again whenever it has ended.
type slot struct {
	episode *episode
	name    string
	start   func(name string) (*process, error)

	mu     sync.Mutex
	p      *process
	starts int
	pause  time.Duration
	asleep bool
	closed bool
}

func (e *episode) slot(name string, start func(string) (*process, error)) *slot {
	return &slot{episode: e, name: name, start: start}
}

// begin starts the process, and sees that there is always one from now on.
func (s *slot) begin() error {
	p, err := s.next()
	if err != nil {
		return err
	}
	go func() {
		for {
			<-p.done
			s.mu.Lock()
			closed, pause := s.closed, s.pause
			s.mu.Unlock()
			if closed {
				return
			}
			if !p.killed.Load() && s.episode.unexplained(time.Now().Add(-15*time.Second)) {
				s.episode.tell(comesToItsEnd, "%s ended by itself, with exit code %d: %s", p.name, p.code(), lastLines(p.errors(), 3))
			}
			time.Sleep(max(pause, 10*time.Millisecond))
			next, err := s.next()
			if err != nil {
				s.episode.tell(comesToItsEnd, "%v", err)
				return
			}
			p = next
		}
	}()
	return nil
}

func (s *slot) next() (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starts++
	p, err := s.start(fmt.Sprintf("%s-%d", strings.ReplaceAll(s.name, " ", "-"), s.starts))
	if err != nil {
		return nil, err
	}
	s.p, s.asleep = p, false
	if s.closed {
		p.kill()
	}
	return p, nil
}

func (s *slot) kill(pause time.Duration) bool {
	s.mu.Lock()
	s.pause = pause
	p := s.p
	s.mu.Unlock()
	return p.kill()
}

// close lets the process end and not be started again.
func (s *slot) close() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return s.p
}

// watch looks at the ledger until all is over, so that what changes is seen.
func (e *episode) watch(done chan<- struct{}) {
	defer close(done)
	for {
		select {
		case <-e.over:
			return
		case <-time.After(50 * time.Millisecond):
			if err := e.witness.Look(); err != nil {
				e.tell(check.DecidedOnce, "the ledger cannot be read: %v", err)
				return
			}
		}
	}
}

// unexplained says whether nothing has happened since then that explains an
// end before the time.
func (e *episode) unexplained(since time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.active == 0 && e.disturbed.Before(since)
}

func (e *episode) arguments() []string {
	if e.bucket != nil {
		return e.options(e.input, "--state-dir", e.state, "--work-url", e.bucket.URL(workFolder))
	}
	return e.options(e.input, "--state-dir", e.state, "--output-dir", e.out)
}

// there is a command about the migration that another has begun.
func (e *episode) there(command ...string) []string {
	if e.bucket != nil {
		return append(command, "--work-url", e.bucket.URL(workFolder))
	}
	return append(command, "--state-dir", e.state)
}

// options are the command line of a migration of a file; places are those of
// what it keeps.
func (e *episode) options(input string, places ...string) []string {
	seconds := func(d time.Duration) string { return fmt.Sprint(d.Seconds()) }
	args := append(places,
		"--data", input, "--apid_uri", "http://"+e.target.address,
		"--batch-size", strconv.Itoa(e.batch), "--workers", strconv.Itoa(e.flight), "--rate-limit", fmt.Sprint(e.rate),
		"--timeout", seconds(callTimeout), "--retry-rounds", strconv.Itoa(e.rounds()), "--retry-backoff", seconds(retryBackoff),
		"--breaker", strconv.Itoa(e.breaker),
	)
	if e.canary > 0 {
		args = append(args, "--canary", strconv.Itoa(e.canary))
	}
	if e.maxFailed != "" {
		args = append(args, "--max-failed", e.maxFailed)
	}
	return args
}

func (e *episode) command() (*process, error) {
	e.mu.Lock()
	e.starts++
	name := fmt.Sprintf("%s-%d", theStarter, e.starts)
	e.mu.Unlock()
	if e.service == nil {
		return e.launch(name, "starter", credentials(), e.arguments()...)
	}
	// The workers have the credentials.
	return e.launch(name, "starter", nil, append(append(e.arguments(), e.serviceFlags()...), "--task-queue", e.queue)...)
}

var (
	wasMigrated = regexp.MustCompile("was migrated already")
	putBack     = regexp.MustCompile("put (it|the file) back as it was")
)

// migrate gives the same command until the migration is done. It gives the
// last exit code, and false if it does not come to that.
func (e *episode) migrate(ctx context.Context) (code int, done bool) {
	e.begun = time.Now()
	deadline := time.After(e.limit)
	for calm := 0; ; {
		began := time.Now()
		p, err := e.command()
		if err != nil {
			e.tell(comesToItsEnd, "%v", err)
			return 0, false
		}
		e.mu.Lock()
		e.starter = p
		e.mu.Unlock()
		select {
		case <-p.done:
		case <-ctx.Done():
			return 0, false
		case <-deadline:
			e.hang(p)
			return 0, false
		}
		code = p.code()
		e.say("%s ended with exit code %d after %s (%d calls so far)", p.name, code, time.Since(began).Round(10*time.Millisecond), e.truth.count())
		if code > 0 && code != migration.ExitFailed {
			e.say("%s", lastLines(p.errors(), 2))
		}
		switch {
		case p.killed.Load():
			e.mu.Lock()
			pause := e.pause
			e.mu.Unlock()
			time.Sleep(pause)
			continue
		case code == migration.ExitDone || code == migration.ExitFailed:
			return code, true
		case code == migration.ExitCannotRun && wasMigrated.MatchString(p.errors()):
			// It was killed after its last step.
			return e.summaryCode()
		case e.isChanged():
			if !e.putBack(ctx, p) {
				return code, false
			}
			continue
		case e.unexplained(began.Add(-10 * time.Second)):
			// Only records that stay unknown through all rounds need no cause.
			calm++
			if code == migration.ExitUnknown && calm >= e.calmUnknown() && e.leavesUnknown() {
				return code, true
			}
			if code != migration.ExitUnknown || calm > 3 {
				e.tell(comesToItsEnd, "%s ended with exit code %d, and nothing had happened to it: %s", p.name, code, lastLines(p.errors(), 5))
				return code, false
			}
		}
		if code == migration.ExitStopped || code == migration.ExitUnknown {
			e.checkBetween(p)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// summaryCode is the exit code that the last summary stands for.
func (e *episode) summaryCode() (int, bool) {
	path, err := e.summary()
	var s migration.Summary
	if err == nil {
		err = json.Unmarshal([]byte(read(path)), &s)
	}
	if err != nil {
		e.tell(comesToItsEnd, "the migration is done, and its summary cannot be read: %v", err)
		return 0, false
	}
	return s.Records.ExitCode(), true
}

func (e *episode) summary() (string, error) {
	found, err := filepath.Glob(filepath.Join(e.out, "summary_*.json"))
	if err == nil && len(found) != 1 {
		err = fmt.Errorf("expected one summary in %s, found %d", e.out, len(found))
	}
	if err != nil {
		return "", err
	}
	return found[0], nil
}

// checkBetween holds that also a migration that was stopped has every record
// in its place. Who sleeps may still have something to say.
func (e *episode) checkBetween(p *process) {
	e.mu.Lock()
	asleep := len(e.sleepers) > 0 || e.active > 0
	e.mu.Unlock()
	summary, err := e.summary()
	if asleep || err != nil {
		return
	}
	broken, err := check.Check(e.migration(summary))
	if err != nil {
		e.tell(check.OneDisposition, "after %s: %v", p.name, err)
	}
	for _, b := range broken {
		e.tell(b.Invariant, "after %s, which was stopped: %s", p.name, b.What)
	}
	e.count.add(func(f *figures) { f.Between++ })
}

func (e *episode) migration(summary string) check.Migration {
	ledgers, _ := filepath.Glob(filepath.Join(e.work, "migrations", "*", "ledger"))
	m := check.Migration{
		Input: e.original, Summary: summary, Truth: e.truth.path, Before: e.before, BatchSize: e.batch,
		Late: e.has(stop, delayCalls), Emails: e.emails,
	}
	if len(ledgers) == 1 {
		m.Ledger = ledgers[0]
	}
	return m
}

// hang tells where everything is when the migration does not end.
func (e *episode) hang(starter *process) {
	e.tell(comesToItsEnd, "it did not end within %s; see %s", e.limit.Round(time.Second), e.dir)
	e.mu.Lock()
	all := append([]*process(nil), e.all...)
	e.mu.Unlock()
	for _, p := range all {
		if p.hasEnded() {
			continue
		}
		p.dump()
		text := p.errors()
		before, goroutines, _ := strings.Cut(text, "SIGQUIT: quit")
		e.say("--- %s\n%s\n%s", p.name, lastLines(before, 10), firstLines(goroutines, 40))
	}
	e.say("--- %d calls, %d claims, %d outcomes; the starter was %s", e.truth.count(), e.witness.Claims(), e.witness.Outcomes(), starter.name)
	for _, dir := range slices.Compact([]string{e.state, e.work, e.out}) {
		_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if err != nil || strings.Contains(path, "/ledger/") {
				return nil
			}
			if info, err := entry.Info(); err == nil && !entry.IsDir() {
				e.say("%s %d bytes, %s", path, info.Size(), info.ModTime().Format(time.TimeOnly))
			}
			return nil
		})
	}
}

func firstLines(text string, n int) string {
	lines := strings.SplitN(text, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

// truthCounter counts the calls in the truth log without reading twice.
type truthCounter struct {
	path   string
	mu     sync.Mutex
	offset int64
	n      int
}

func (c *truthCounter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.Open(c.path)
	if err != nil {
		return c.n
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Seek(c.offset, io.SeekStart); err != nil {
		return c.n
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return c.n
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	c.offset += int64(end)
	c.n += bytes.Count(data[:end], []byte(`"endpoint":"entity.bulkCreate"`))
	return c.n
}

// wake has the workers go on that were to sleep through the end, and waits
// until they have noticed it.
func (e *episode) wake() {
	for _, p := range e.sleepers {
		if p.hasEnded() {
			continue
		}
		text := p.errors()
		p.signal(syscall.SIGCONT)
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end) && p.errors() == text; {
			time.Sleep(20 * time.Millisecond)
		}
	}
}

// collect has the artifacts written a second time, ends everything, and gives
// what there is to check.
func (e *episode) collect(code int) (*evidence, error) {
	summary, err := e.summary()
	if err != nil {
		e.tell(check.OneDisposition, "the migration is done: %v", err)
		return nil, nil
	}
	first, err := check.Tables(e.out)
	if err != nil {
		return nil, err
	}
	// It may have changed so late, or where so little was left to load, that
	// nothing came of it.
	if err := e.restoreInput(); err != nil {
		return nil, err
	}
	// What stays unknown is tried again by every further run.
	if code != migration.ExitUnknown && !e.writeAgain(code) {
		return nil, nil
	}
	second, err := check.Tables(e.out)
	if err != nil {
		return nil, err
	}
	arrivals, gated, spans := between(e.target.moments(), e.begun, time.Time{}), e.target.gatedMoments(), e.ordered()
	verified, undone := e.lookBack() // at a pace of its own
	for _, w := range e.workers {
		p := w.close()
		p.signal(syscall.SIGTERM)
		if !p.endsIn(20 * time.Second) {
			p.dump()
			e.tell(comesToItsEnd, "%s did not end within 20s of a SIGTERM: %s", p.name, lastLines(p.errors(), 30))
		}
	}
	for _, s := range []*slot{e.sandbox, e.engine, e.store} {
		if s != nil {
			s.close().kill()
		}
	}
	search := check.Search{Input: e.original, Secrets: []string{clientSecret, basicAuth()}, Holds: []string{"LoadBatch", "WriteArtifacts"}}
	if e.database != nil {
		// What it has in memory goes to its files.
		p := e.database.close()
		p.signal(syscall.SIGINT)
		if !p.endsIn(time.Minute) {
			return nil, fmt.Errorf("%s did not end within a minute of an interrupt: %s", p.name, lastLines(p.errors(), 3))
		}
		search.Places = append(search.Places, e.real.Data())
	}
	if e.bucket != nil {
		search.Secrets = append(search.Secrets, s3server.SecretKey)
	}
	for _, path := range []string{
		filepath.Join(e.state, "engine"), filepath.Join(e.state, "logs"), filepath.Join(e.work, "names"), filepath.Join(e.work, "pace"),
		e.path("engine"), e.path(machines),
	} {
		if _, err := os.Stat(path); err == nil {
			search.Places = append(search.Places, path)
		}
	}
	e.mu.Lock()
	for _, p := range e.all {
		search.Places = append(search.Places, p.stdout, p.stderr)
	}
	e.mu.Unlock()
	e.count.add(func(f *figures) {
		f.Decisions += e.times(isDecision)
		f.Opened += e.times(isOpened)
	})
	if e.fleet {
		e.fleetHolds(arrivals)
	}
	return &evidence{
		spans: spans, gated: gated, flight: e.flight,
		dir: e.dir, migration: e.migration(summary), witness: e.witness, state: e.work, first: first, second: second,
		search: search, arrivals: arrivals, rate: e.rate, code: code, wantFailed: e.wantFailed,
		world: e.world, verified: verified, undone: undone,
	}, nil
}

// writeAgain has a later run of the same migration write the artifacts once
// more: it finds nothing to load. (Without the mark that the migration is done:
// a file that is done is refused.)
func (e *episode) writeAgain(code int) bool {
	marks, err := filepath.Glob(filepath.Join(e.work, "migrations", "*", "finished.json"))
	if err != nil || len(marks) != 1 {
		e.tell(comesToItsEnd, "the migration is done, and %d migrations are marked so (%v)", len(marks), err)
		return false
	}
	if err := os.Remove(marks[0]); err != nil {
		e.tell(comesToItsEnd, "%v", err)
		return false
	}
	calls := e.truth.count()
	var p *process
	for again := true; again; {
		began := time.Now()
		if p, err = e.command(); err != nil {
			e.tell(comesToItsEnd, "%v", err)
			return false
		}
		if !p.endsIn(time.Minute) {
			e.hang(p)
			return false
		}
		// What was killed last may not be there again yet.
		again = p.code() == migration.ExitCannotRun && !e.unexplained(began.Add(-10*time.Second))
	}
	if p.code() != code {
		e.tell(check.SameBytes, "written again, it ends with exit code %d, the first time with %d: %s", p.code(), code, lastLines(p.errors(), 5))
	}
	if now := e.truth.count(); now != calls {
		e.tell(check.NoBlindRepeat, "%d calls were made when there was nothing to load", now-calls)
	}
	return true
}

// close ends all that still runs.
func (e *episode) close() {
	for _, s := range e.slots() {
		if s != nil {
			s.close()
		}
	}
	if e.database != nil {
		// Killed, it leaves shared memory behind that nobody removes.
		p := e.database.close()
		p.signal(syscall.SIGQUIT)
		p.endsIn(5 * time.Second)
	}
	e.mu.Lock()
	all := append([]*process(nil), e.all...)
	e.mu.Unlock()
	for _, p := range all {
		p.kill()
	}
	for _, p := range []*proxy{e.target, e.service} {
		if p != nil {
			p.close()
		}
	}
}

// release gives the disk back. What was on it is kept, if wanted.
func (e *episode) release(keep bool) error {
	if !e.hasDisk {
		return nil
	}
	e.hasDisk = false
	err := unmount(e.state, keep)
	if err == nil && keep {
		err = errors.Join(os.Remove(e.state), os.Rename(e.state+".kept", e.state))
	}
	return err
}
