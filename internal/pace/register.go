package pace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	crand "crypto/rand"

	"durable-dataload/internal/store"
)

// register is a small value in a bucket that many processes change, each change
// on top of the one before. It is made of exclusive creation alone: version n+1
// of the value is an object of the number n+1, and who finds it taken reads it,
// makes its change to that and tries the next number.
//
// What a process remembers of the last version holds as long as it is young
// (trust). Old versions are removed, but never sooner than removable after there
// was a newer one, so the next number of a version that is still trusted cannot
// have been removed: if it is not there it never was. A process that was stopped
// or slept may wake with an old number in its hand, and even create a version
// that was removed long ago. It does not believe in that, because too much time
// has passed since it knew the number to be the last, and looks at the list of
// all versions; and nobody else meets it, since the list's last version counts,
// and what is far behind is removed with the rest. No two clocks are compared:
// each process measures how long ago it has seen a version itself. It assumes
// that clocks run at the same speed, and that the store does not carry out a
// request later than it says that it has.
//
// A register that is damaged is begun anew from its zero value. Where all of it
// was removed, processes may begin anew at different numbers; each reads the list
// now and then (relist), and then the highest number counts for all.
//
// Changes that wait at the same time are made in one version, so that many need
// no more requests than one.
type register[T any] struct {
	folder string
	bucket requests
	now    func() time.Time

	mu      sync.Mutex
	known   version[T]
	waiting []*change[T]
	working bool
	arrived chan struct{} // wakes the worker

	// Only the worker uses these.
	listed   time.Time // when the list was read last
	marks    []mark
	alone    int           // versions of this process since one of another
	took     time.Duration // the last creation
	quiet    time.Time     // until then others may write
	failures int           // in a row
	cleaning chan struct{} // holds one while old versions are removed
}

// requests are what a register needs of a store.
type requests struct {
	read   func(name string) ([]byte, error)
	create func(name string, data []byte) error
	list   func(folder string) ([]string, error)
	remove func(name string) error
}

// version is one value of a register.
type version[T any] struct {
	number uint64 // 0: there is none yet
	writer string // another one for each attempt to write
	data   []byte // the value, encoded
	value  T
	at     time.Time // there was no later one at this time; zero: not known
}

// mark remembers that a version was there at a time.
type mark struct {
	number uint64
	at     time.Time
}

// sheet is the content of an object.
type sheet struct {
	Version int             `json:"version"`
	Writer  string          `json:"writer"`
	Value   json.RawMessage `json:"value"`
}

const sheetVersion = 1

const (
	// trust is how long a process believes that the version after the one that it
	// knows is not one that was removed.
	trust = 20 * time.Second
	// removable is how long there must have been a newer version before one is
	// removed. It is longer than trust by more than clocks run apart.
	removable = 2 * trust
	// relist is how often the list is read in any case.
	relist = time.Minute
	// shortest is the time between two versions of a process that is alone: more
	// of them would do no more.
	shortest = 10 * time.Millisecond
	// tidy is after how many versions the old ones are removed.
	tidy = 64
)

// change is what a caller wants to be done, and waits for.
type change[T any] struct {
	ctx   context.Context
	apply func(v *T, now time.Time) // nil: nothing but to know the last version
	done  chan error
}

func newRegister[T any](folder string) *register[T] {
	return &register[T]{
		folder: folder, bucket: requests{store.Read, store.Create, store.List, store.Remove}, now: time.Now,
		arrived: make(chan struct{}, 1), cleaning: make(chan struct{}, 1),
	}
}

// change makes a change on top of the last version. apply may be called more than
// once, each time with another value; it is not called any more once change has
// returned nil, and what its last call did is written down then. After an error it may be written down
// all the same. A value that apply leaves as it is costs no version.
func (r *register[T]) change(ctx context.Context, apply func(v *T, now time.Time)) error {
	c := &change[T]{ctx, apply, make(chan error, 1)}
	r.mu.Lock()
	r.waiting = append(r.waiting, c)
	if !r.working {
		r.working = true
		go r.work()
	}
	select {
	case r.arrived <- struct{}{}:
	default:
	}
	r.mu.Unlock()
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read gives the last version, as it is or was after since.
func (r *register[T]) read(ctx context.Context, since time.Time) (T, error) {
	if v := r.last(); !v.at.Before(since) {
		return v.value, nil
	}
	err := r.change(ctx, nil)
	return r.last().value, err
}

// last is the last version that is known. Its value is not to be changed.
func (r *register[T]) last() version[T] {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.known
}

func (r *register[T]) know(v version[T]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known = v
}

// elapsed is how long ago a time was, also when the machine slept meanwhile or
// its clock was set.
func (r *register[T]) elapsed(since time.Time) time.Duration {
	now := r.now()
	return max(now.Sub(since), now.Round(0).Sub(since.Round(0)))
}

// work serves those who wait, until nobody does.
func (r *register[T]) work() {
	var batch []*change[T]
	for {
		r.mu.Lock()
		all := append(batch, r.waiting...)
		r.waiting, batch = nil, nil
		select {
		case <-r.arrived:
		default:
		}
		for _, c := range all {
			if c.ctx.Err() == nil {
				batch = append(batch, c)
			}
		}
		if len(batch) == 0 {
			r.working = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		var err error
		if batch, err = r.serve(batch); err != nil {
			answer(batch, err)
			batch = nil
			// The store is given time.
			time.Sleep(50 * time.Millisecond << min(r.failures, 5))
			r.failures++
			continue
		}
		r.failures = 0
	}
}

func answer[T any](batch []*change[T], err error) {
	for _, c := range batch {
		c.done <- err
	}
}

// serve makes one attempt for those who wait, and gives back those who wait on.
func (r *register[T]) serve(batch []*change[T]) ([]*change[T], error) {
	const sole = 3 // versions after which another process is not expected
	looks, writers := split(batch)
	early := len(writers) > 0 && r.now().Before(r.quiet)
	if early && len(looks) == 0 {
		r.rest()
		return writers, nil
	}
	sure := early || len(writers) == 0 || r.alone < sole || r.elapsed(r.last().at) > trust/2
	if sure {
		if err := r.catchUp(); err != nil {
			return batch, err
		}
		answer(looks, nil)
		if batch = writers; early || len(writers) == 0 {
			return batch, nil
		}
	}
	last := r.last()
	value := decodeValue[T](last.data)
	now := r.now()
	for _, c := range writers {
		c.apply(&value, now)
	}
	data, err := json.Marshal(value)
	if err != nil {
		return batch, err
	}
	if string(data) == string(last.data) {
		if !sure {
			r.alone = 0 // what they found is made sure of
			return batch, nil
		}
		answer(batch, nil)
		return nil, nil
	}
	written, err := r.write(version[T]{number: last.number + 1, writer: crand.Text(), data: data, value: value})
	if err != nil || !written {
		return batch, err
	}
	answer(batch, nil)
	return nil, nil
}

func split[T any](batch []*change[T]) (looks, writers []*change[T]) {
	for _, c := range batch {
		if c.apply == nil {
			looks = append(looks, c)
		} else {
			writers = append(writers, c)
		}
	}
	return looks, writers
}

// rest waits until others had their time to write, or somebody comes.
func (r *register[T]) rest() {
	select {
	case <-time.After(r.quiet.Sub(r.now())):
	case <-r.arrived:
	}
}

// write creates a version, and says whether it is one of the register now.
func (r *register[T]) write(v version[T]) (bool, error) {
	content, err := json.Marshal(sheet{sheetVersion, v.writer, v.data})
	if err != nil {
		return false, err
	}
	v.at = r.now()
	err = r.bucket.create(r.name(v.number), content)
	r.took = r.now().Sub(v.at)
	if errors.Is(err, store.ErrExists) {
		r.alone = 0
		return false, r.readNext()
	}
	if err != nil {
		return false, err
	}
	if r.elapsed(r.last().at) > trust {
		// It may be one that was removed long ago.
		r.alone = 0
		err := r.catchUp()
		return r.last().writer == v.writer, err
	}
	if r.alone == 0 {
		// Who has lost needs three requests for its next attempt.
		r.quiet = r.now().Add(rand.N(3*min(r.took, 100*time.Millisecond) + 1))
	} else {
		r.quiet = v.at.Add(shortest)
	}
	r.alone++
	r.know(v)
	r.mark(v.number)
	if v.number%tidy == 0 {
		r.clean()
	}
	return true, nil
}

// readNext reads the version that was found to be there.
func (r *register[T]) readNext() error {
	v := r.last()
	data, err := r.bucket.read(r.name(v.number + 1))
	if errors.Is(err, fs.ErrNotExist) || err == nil && r.elapsed(v.at) > trust {
		v.at = time.Time{} // it was removed, or is not one of the register
		r.know(v)
		return nil
	}
	if err != nil {
		return err
	}
	r.know(decodeVersion[T](data, v.number+1, v.at))
	return nil
}

// catchUp finds the last version.
func (r *register[T]) catchUp() error {
	for {
		v := r.last()
		if r.elapsed(v.at) > trust || r.elapsed(r.listed) > relist {
			var err error
			if v, err = r.fromList(v); err != nil {
				return err
			}
		}
		// Far behind, the steps grow.
		for step := uint64(1); ; {
			asked := r.now()
			data, err := r.bucket.read(r.name(v.number + step))
			missing := errors.Is(err, fs.ErrNotExist)
			if err != nil && !missing {
				return err
			}
			if r.elapsed(v.at) > trust {
				break // it may be missing because it was removed, or be there and be none of the register
			}
			switch {
			case !missing:
				v = decodeVersion[T](data, v.number+step, v.at)
				r.alone = 0
				step *= 2
			case step > 1:
				step = 1
			default:
				v.at = asked
				r.know(v)
				r.mark(v.number)
				return nil
			}
		}
		v.at = time.Time{}
		r.know(v)
	}
}

// fromList gives the last version of the list, where it is not the one known.
func (r *register[T]) fromList(known version[T]) (version[T], error) {
	for range 3 {
		asked := r.now()
		names, err := r.bucket.list(r.folder)
		if err != nil {
			return known, err
		}
		var last uint64
		for _, name := range names {
			if n, ok := numberOf(name); ok {
				last = max(last, n)
			}
		}
		r.listed = asked
		if last <= known.number && r.elapsed(known.at) <= trust {
			return known, nil // where it is less, somebody has removed all
		}
		r.alone = 0
		if last == 0 {
			return decodeVersion[T](nil, 0, asked), nil
		}
		data, err := r.bucket.read(r.name(last))
		if err == nil {
			return decodeVersion[T](data, last, asked), nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return known, err
		}
	}
	return known, fmt.Errorf("the last version in %s is gone as soon as it is there; expected that nothing else writes or removes there: look at what does", r.folder)
}

// decodeVersion reads an object. What cannot be understood is the zero value.
func decodeVersion[T any](data []byte, number uint64, at time.Time) version[T] {
	var s sheet
	if json.Unmarshal(data, &s) != nil || s.Version != sheetVersion {
		s = sheet{}
	}
	v := version[T]{number: number, writer: s.Writer, data: s.Value, at: at}
	v.value = decodeValue[T](v.data)
	return v
}

func decodeValue[T any](data []byte) T {
	var value, none T
	if json.Unmarshal(data, &value) != nil {
		return none
	}
	return value
}

// digits are those of the number that an object is named with.
const digits = 20

func (r *register[T]) name(number uint64) string {
	return store.Join(r.folder, fmt.Sprintf("%0*d", digits, number))
}

func numberOf(name string) (uint64, bool) {
	n, err := strconv.ParseUint(name, 10, 64)
	return n, err == nil && len(name) == digits
}

// mark remembers now and then which version there was at a time.
func (r *register[T]) mark(number uint64) {
	now := r.now()
	if n := len(r.marks); n > 0 && now.Sub(r.marks[n-1].at) < removable/4 {
		return
	}
	r.marks = append(r.marks, mark{number, now})
	for len(r.marks) > 1 && now.Sub(r.marks[1].at) > removable {
		r.marks = r.marks[1:]
	}
}

// clean removes, beside the work, the versions that are old enough.
func (r *register[T]) clean() {
	if len(r.marks) == 0 || r.now().Sub(r.marks[0].at) <= removable {
		return
	}
	superseded := r.marks[0].number
	select {
	case r.cleaning <- struct{}{}:
	default:
		return // it is being done still
	}
	go func() {
		defer func() { <-r.cleaning }()
		names, err := r.bucket.list(r.folder)
		if err != nil {
			return // the next one does it
		}
		for _, name := range names {
			if n, ok := numberOf(name); ok && n < superseded {
				_ = r.bucket.remove(store.Join(r.folder, name))
			}
		}
	}()
}
