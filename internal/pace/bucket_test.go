package pace

import (
	"context"
	crand "crypto/rand"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"durable-dataload/internal/store"

	_ "gocloud.dev/blob/memblob"
)

// bucket is a folder in a bucket, for one test.
func bucket() string { return "mem://pace/" + crand.Text() }

// everywhere runs a test over files and over a bucket.
func everywhere(t *testing.T, test func(t *testing.T, folder func() string)) {
	t.Run("files", func(t *testing.T) { t.Parallel(); test(t, func() string { return t.TempDir() }) })
	t.Run("bucket", func(t *testing.T) { t.Parallel(); test(t, bucket) })
}

// delay makes each request take so long, or a little longer.
func delay(r *requests, by time.Duration) {
	was, wait := *r, func() { time.Sleep(by + rand.N(by+1)) }
	r.read = func(name string) ([]byte, error) { wait(); return was.read(name) }
	r.create = func(name string, data []byte) error { wait(); return was.create(name, data) }
	r.list = func(folder string) ([]string, error) { wait(); return was.list(folder) }
}

// registers are those of a gate over a bucket.
func registers(g *Gate) []*requests {
	return []*requests{&g.target.(*bucketTarget).register.bucket, &g.places.(*bucketPlaces).register.bucket}
}

// A look that began before a pause, and ends after one that has seen it, does not
// end the pause for who cannot read the settings then.
func TestALateLookDoesNotEndAPause(t *testing.T) {
	t.Parallel()
	folder := bucket()
	settings := make(chan func() (Settings, error), 1)
	now := func(s Settings, err error) func() (Settings, error) {
		return func() (Settings, error) { return s, err }
	}
	settings <- now(Settings{Places: 1}, nil)
	g, err := New(Config{
		Starts: store.Join(folder, "pace"), Places: store.Join(folder, "places"),
		Settings: func() (Settings, error) { return (<-settings)() },
	})
	if err != nil {
		t.Fatal(err)
	}
	reading, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	settings <- func() (Settings, error) { close(reading); <-goOn; return Settings{Places: 1}, nil }
	go func() { defer close(ended); g.refresh(time.Now(), time.Time{}) }()
	<-reading
	settings <- now(Settings{Places: 1, Paused: true}, nil)
	g.refresh(time.Now(), time.Time{})
	close(goOn)
	<-ended
	settings <- now(Settings{}, errors.New("the bucket does not answer"))
	g.refresh(time.Now(), time.Time{})
	if v := g.view(); !v.set.Paused {
		t.Error("the pause is over; want it to hold")
	}
}

func TestChangesOfManyLoseNone(t *testing.T) {
	t.Parallel()
	folder := bucket()
	const processes, callers, each = 3, 5, 8
	var all sync.WaitGroup
	for range processes {
		r := newRegister[int](folder)
		delay(&r.bucket, time.Millisecond)
		for range callers {
			all.Go(func() {
				for range each {
					if err := r.change(t.Context(), func(n *int, _ time.Time) { *n++ }); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	if n, err := newRegister[int](folder).read(t.Context(), time.Now()); err != nil || n != processes*callers*each {
		t.Errorf("%d, %v after %d changes", n, err, processes*callers*each)
	}
}

// numbers is a register of a process that can be stopped.
type numbers struct {
	*register[int]
	stopped *atomic.Int64 // for so long, in sum
}

func newNumbers(folder string) numbers {
	n := numbers{newRegister[int](folder), &atomic.Int64{}}
	n.now = func() time.Time { return time.Now().Add(time.Duration(n.stopped.Load())) }
	return n
}

func (n numbers) skip(by time.Duration) { n.stopped.Store(int64(by)) }

func add(t *testing.T, r numbers, n int) {
	t.Helper()
	if err := r.change(t.Context(), func(v *int, _ time.Time) { *v += n }); err != nil {
		t.Fatal(err)
	}
}

// A process is stopped with a version in its hand, which others have written and
// removed when it wakes.
func TestAProcessThatWakesDoesNotBelieveWhatItHasWritten(t *testing.T) {
	t.Parallel()
	folder := bucket()
	sleeper, other := newNumbers(folder), newNumbers(folder)
	for range 5 { // it is alone, and writes without a look
		add(t, sleeper, 1)
	}
	var stopped sync.Once
	create := sleeper.bucket.create
	sleeper.bucket.create = func(name string, data []byte) error {
		stopped.Do(func() {
			for range 10 {
				add(t, other, 10)
			}
			for n := range uint64(14) {
				if err := store.Remove(sleeper.name(n)); err != nil {
					t.Error(err)
				}
			}
			sleeper.skip(time.Hour)
		})
		return create(name, data)
	}
	add(t, sleeper, 1000)
	for who, r := range map[string]numbers{"the sleeper": sleeper, "the other": other, "a new one": newNumbers(folder)} {
		if n, err := r.read(t.Context(), r.now()); err != nil || n != 1105 {
			t.Errorf("%s has %d, %v; want all changes, once: 1105", who, n, err)
		}
	}
}

func TestAProcessWithOldKnowledgeLooksAtTheList(t *testing.T) {
	t.Parallel()
	folder := bucket()
	sleeper, other := newNumbers(folder), newNumbers(folder)
	add(t, sleeper, 1)
	for range 10 {
		add(t, other, 10)
	}
	for n := range uint64(10) {
		if err := store.Remove(sleeper.name(n)); err != nil {
			t.Fatal(err)
		}
	}
	sleeper.skip(time.Hour)
	if n, err := sleeper.read(t.Context(), sleeper.now()); err != nil || n != 101 {
		t.Errorf("it reads %d, %v; want 101", n, err)
	}
}

func TestOldVersionsAreRemovedWhenNobodyTrustsThem(t *testing.T) {
	t.Parallel()
	r := newNumbers(bucket())
	versions := func() int {
		names, err := store.List(r.folder)
		if err != nil {
			t.Fatal(err)
		}
		return len(names)
	}
	for range tidy {
		add(t, r, 1)
	}
	if n := versions(); n != tidy {
		t.Errorf("%d versions are there, want all %d, which somebody may trust", n, tidy)
	}
	r.skip(removable + time.Second)
	add(t, r, 1)
	r.skip(2*removable + 2*time.Second)
	for range tidy {
		add(t, r, 1)
	}
	eventually(t, "the old ones are removed", func() bool { return versions() <= tidy+2 })
	if n, err := newNumbers(r.folder).read(t.Context(), time.Now()); err != nil || n != 2*tidy+1 {
		t.Errorf("%d, %v; want %d", n, err, 2*tidy+1)
	}
}

func TestARegisterThatIsDamagedOrGoneIsBegunAnew(t *testing.T) {
	t.Parallel()
	r := newNumbers(bucket())
	add(t, r, 5)
	if err := store.Write(r.name(2), []byte("torn {")); err != nil {
		t.Fatal(err)
	}
	if n, err := newNumbers(r.folder).read(t.Context(), time.Now()); err != nil || n != 0 {
		t.Errorf("%d, %v of a damaged version; want 0", n, err)
	}
	if err := store.RemoveAll(r.folder); err != nil {
		t.Fatal(err)
	}
	another := newNumbers(r.folder)
	add(t, another, 7)
	add(t, r, 1)
	another.skip(relist + time.Second)
	r.skip(relist + time.Second)
	add(t, another, 1)
	add(t, r, 1)
	a, errA := another.read(t.Context(), another.now())
	b, errB := r.read(t.Context(), r.now())
	if errA != nil || errB != nil || a != b {
		t.Errorf("%d and %d, %v, %v; want both to agree after a while", a, b, errA, errB)
	}
}

func TestAStoreThatDoesNotAnswerIsAnError(t *testing.T) {
	t.Parallel()
	g := newGate(t, bucket(), 50, 2)
	down := errors.New("the store is down")
	var isDown atomic.Bool
	var requests atomic.Int64
	for _, r := range registers(g) {
		was := *r
		fails := func() error {
			if !isDown.Load() {
				return nil
			}
			requests.Add(1)
			return down
		}
		r.read = func(name string) ([]byte, error) {
			if err := fails(); err != nil {
				return nil, err
			}
			return was.read(name)
		}
		r.create = func(name string, data []byte) error {
			if err := fails(); err != nil {
				return err
			}
			return was.create(name, data)
		}
	}
	enter(t, g).Leave()
	isDown.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); {
		if _, err := g.Enter(ctx); err != nil && !errors.Is(err, down) {
			t.Fatalf("Enter: %v, want %v", err, down)
		}
	}
	if n := requests.Load(); n > 200 {
		t.Errorf("%d requests in a second, want few", n)
	}
	if v := g.look(true); v.limit() != 50 {
		t.Errorf("the limit is %v, want 50 as before", v.limit())
	}
}

func TestNoMoreCallsAreInFlightThanPlacesOfABucket(t *testing.T) {
	t.Parallel()
	for _, places := range []int{1, 3} {
		folder := bucket()
		var in, most atomic.Int64
		var all sync.WaitGroup
		calls := make([]atomic.Int64, 2)
		end := time.Now().Add(3 * time.Second)
		for n := range calls {
			g := newGate(t, folder, 0, places)
			for range 3 {
				all.Go(func() {
					for time.Now().Before(end) {
						turn, err := g.Enter(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						now := in.Add(1)
						for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
						}
						time.Sleep(time.Millisecond)
						calls[n].Add(1)
						in.Add(-1)
						turn.Leave()
					}
				})
			}
		}
		all.Wait()
		if m := most.Load(); m > int64(places) || m == 0 {
			t.Errorf("%d places: %d calls were in flight in two processes", places, m)
		}
		for n := range calls {
			if calls[n].Load() == 0 {
				t.Errorf("%d places: process %d made no call in seconds, want its share", places, n)
			}
		}
	}
}

func TestThePlacesOfAProcessThatIsStoppedAreFreeAfterAWhile(t *testing.T) {
	t.Parallel()
	folder := bucket()
	stopped, g := newGate(t, folder, 0, 1), newGate(t, folder, 0, 1)
	const abandoned = 900 * time.Millisecond
	for _, g := range []*Gate{stopped, g} {
		g.places.(*bucketPlaces).keep(keeping{poll, abandoned})
	}
	var isStopped atomic.Bool
	goOn := make(chan struct{}) // it wakes
	r := registers(stopped)[1]
	read, create := r.read, r.create
	wait := func() {
		if isStopped.Load() {
			<-goOn
		}
	}
	r.read = func(name string) ([]byte, error) { wait(); return read(name) }
	r.create = func(name string, data []byte) error { wait(); return create(name, data) }
	turn := enter(t, stopped)
	time.Sleep(abandoned * 3 / 2) // it shows that it lives
	if !turn.place.sure() {
		t.Error("a place is lost while its process lives")
	}
	isStopped.Store(true)
	began := time.Now()
	other := enter(t, g)
	if took := time.Since(began); took < abandoned/2 {
		t.Errorf("the place was taken away after %v, want %v", took, abandoned)
	}
	close(goOn)
	if turn.place.sure() {
		t.Error("who was stopped thinks that it has the place still")
	}
	ended, cancel := context.WithTimeout(t.Context(), 5*poll)
	defer cancel()
	if err := turn.Fresh(t.Context(), ended, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Fresh without a place: %v, want it to wait", err)
	}
	other.Leave()
	if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil || !turn.place.sure() {
		t.Errorf("Fresh: %v, want a place again", err)
	}
	turn.Leave()
}

func TestTheRateIsKeptThoughTheStoreIsSlow(t *testing.T) {
	t.Parallel()
	const perSecond, seconds = 10.0, 5
	folder := bucket()
	var mu sync.Mutex
	var begun []time.Time
	var all sync.WaitGroup
	ctx, cancel := context.WithTimeout(t.Context(), seconds*time.Second)
	defer cancel()
	for range 2 {
		g := newGate(t, folder, perSecond, 20)
		for _, r := range registers(g) {
			delay(r, 30*time.Millisecond)
		}
		for range 8 {
			all.Go(func() {
				for ctx.Err() == nil {
					turn, err := g.Enter(ctx)
					if err != nil {
						return
					}
					time.Sleep(40 * time.Millisecond) // the claim
					if err := turn.Fresh(t.Context(), t.Context(), nil); err != nil {
						t.Error(err)
					}
					mu.Lock()
					begun = append(begun, time.Now())
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
					turn.Leave()
				}
			})
		}
	}
	all.Wait()
	slices.SortFunc(begun, time.Time.Compare)
	for i, first := range begun {
		n := 0
		for _, at := range begun[i:] {
			if at.Sub(first) < time.Second {
				n++
			}
		}
		if n > perSecond+1 {
			t.Errorf("%d calls began within a second after call %d, want at most %g", n, i, perSecond)
		}
	}
	rate := float64(len(begun)-1) / begun[len(begun)-1].Sub(begun[0]).Seconds()
	if t.Logf("%.1f calls a second", rate); rate < perSecond/2 {
		t.Errorf("%.1f calls a second, want nearly %g", rate, perSecond)
	}
}

func TestARightToProbeIsOneOfABucket(t *testing.T) {
	t.Parallel()
	folder := bucket()
	a, b := newBucketTarget(folder), newBucketTarget(folder)
	b.watch.keeping = keeping{50 * time.Millisecond, 200 * time.Millisecond}
	first, err := a.tryProbe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.tryProbe(); err == nil {
		t.Fatal("two have the right to probe")
	}
	first.release()
	eventually(t, "it is free again", func() bool {
		second, err := b.tryProbe()
		if err == nil {
			second.release()
		}
		return err == nil
	})
	eventually(t, "it is a's again", func() bool { _, err := a.tryProbe(); return err == nil }) // and a does not show itself so often
	eventually(t, "it is taken away", func() bool { _, err := b.tryProbe(); return err == nil })
}

func TestNobodyThatWaitsOrHoldsMakesNoRequests(t *testing.T) {
	t.Parallel()
	g := newGate(t, bucket(), 50, 2)
	var requests atomic.Int64
	for _, r := range registers(g) {
		was := *r
		r.read = func(name string) ([]byte, error) { requests.Add(1); return was.read(name) }
		r.create = func(name string, data []byte) error { requests.Add(1); return was.create(name, data) }
	}
	enter(t, g).Leave()
	places := g.places.(*bucketPlaces)
	eventually(t, "the place is given back", func() bool {
		places.mu.Lock()
		defer places.mu.Unlock()
		return !places.working
	})
	time.Sleep(poll)
	before := requests.Load()
	time.Sleep(4 * poll)
	if n := requests.Load() - before; n > 0 || before == 0 {
		t.Errorf("%d requests of a gate that nobody uses, after %d", n, before)
	}
}

func TestAProcessThatEndsGivesItsPlacesBack(t *testing.T) {
	t.Parallel()
	folder := bucket()
	ends, other := newGate(t, folder, 0, 1), newGate(t, folder, 0, 1)
	enter(t, ends).Leave()
	ends.Close(t.Context())
	sheet, err := other.places.(*bucketPlaces).register.read(t.Context(), time.Now())
	if err != nil || len(sheet.Of) != 0 {
		t.Errorf("%+v, %v; want that nobody holds a place", sheet.Of, err)
	}
}
