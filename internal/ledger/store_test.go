package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memory is the smallest Store there is: for tests, and to hold the conformance
// suite to what Store promises and not to what Folder happens to do.
type memory struct {
	mu     sync.Mutex
	values map[string][]byte
}

var _ Store = (*memory)(nil)

func newMemory() *memory { return &memory{values: map[string][]byte{}} }

func (m *memory) Create(ctx context.Context, name string, value []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.values[name]; ok {
		return ErrExists
	}
	m.values[name] = bytes.Clone(value)
	return nil
}

func (m *memory) Get(ctx context.Context, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.values[name]
	if !ok {
		return nil, ErrNotFound
	}
	return bytes.Clone(value), nil
}

func TestFolderIsAStore(t *testing.T) {
	testStore(t, func(t *testing.T) func() Store {
		dir := filepath.Join(t.TempDir(), "not", "made", "yet")
		return func() Store { return NewFolder(dir) }
	})
}

func TestMemoryIsAStore(t *testing.T) {
	testStore(t, func(*testing.T) func() Store {
		store := newMemory()
		return func() Store { return store }
	})
}

// testStore is the conformance suite of Store. newStore makes an empty store,
// and gives a function that opens it: each time as another process would.
func testStore(t *testing.T, newStore func(t *testing.T) (open func() Store)) {
	ctx := context.Background()
	const name = "0/00000/00000001.claim"

	t.Run("what was never created is not found", func(t *testing.T) {
		if value, err := newStore(t)().Get(ctx, name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get: %q, %v; want %v", value, err, ErrNotFound)
		}
	})

	t.Run("a value is read as it was written, also after reopening", func(t *testing.T) {
		open := newStore(t)
		values := map[string][]byte{
			name:                           []byte(`{"outcomes":"cduf"}`),
			"0/00000/00000001.outcomes":    {0, 0xff, '\n', '\r', 0x80},
			"0/00000/00000001-0.outcomes":  []byte("a half"),
			"0/00000/00000001-00.outcomes": []byte("a quarter"),
			"1/00000/00000001.outcomes":    []byte("another round"),
			"0/00001/00001000.outcomes":    bytes.Repeat([]byte("large "), 200_000),
			"flat":                         {},
		}
		for name, value := range values {
			own := bytes.Clone(value)
			if err := open().Create(ctx, name, own); err != nil {
				t.Fatalf("Create %s: %v", name, err)
			}
			clear(own) // the caller may reuse its bytes
		}
		for name, want := range values {
			got, err := open().Get(ctx, name)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("Get %s: %.40q (%d bytes), %v; want %.40q (%d bytes)", name, got, len(got), err, want, len(want))
			}
			clear(got) // and what it got
			if again, _ := open().Get(ctx, name); !bytes.Equal(again, want) {
				t.Errorf("Get %s again: %.40q, want %.40q", name, again, want)
			}
		}
	})

	t.Run("a value never changes", func(t *testing.T) {
		open := newStore(t)
		must(t, open().Create(ctx, name, []byte("first")))
		for _, second := range []string{"second", "", "first"} {
			if err := open().Create(ctx, name, []byte(second)); !errors.Is(err, ErrExists) {
				t.Errorf("Create %q over %q: %v, want %v", second, "first", err, ErrExists)
			}
		}
		if got, err := open().Get(ctx, name); string(got) != "first" {
			t.Errorf("Get: %q, %v; want %q", got, err, "first")
		}
	})

	t.Run("one of many creators wins, and the others see its whole value", func(t *testing.T) {
		open := newStore(t)
		const creators, names = 12, 20
		for n := range names {
			name := fmt.Sprintf("0/%05d/%08d.outcomes", n/3, n)
			won := make(chan []byte, creators)
			seen := make(chan []byte, creators)
			var wg sync.WaitGroup
			for c := range creators {
				store := open()
				wg.Go(func() {
					value := bytes.Repeat([]byte(fmt.Sprintf("creator %d ", c)), 1000)
					err := store.Create(ctx, name, value)
					if err == nil {
						won <- value
					} else if !errors.Is(err, ErrExists) {
						t.Errorf("Create: %v, want nil or %v", err, ErrExists)
					}
					got, err := store.Get(ctx, name)
					if err != nil {
						t.Errorf("Get after Create: %v", err)
					}
					seen <- got
				})
			}
			wg.Wait()
			if len(won) != 1 {
				t.Fatalf("%d of %d creators of %s won, want one", len(won), creators, name)
			}
			want := <-won
			for range len(seen) {
				if got := <-seen; !bytes.Equal(got, want) {
					t.Errorf("a creator of %s sees %.30q (%d bytes), want the winner's %.30q (%d bytes)", name, got, len(got), want, len(want))
				}
			}
		}
	})

	t.Run("with an ended context nothing is done", func(t *testing.T) {
		open := newStore(t)
		ended, cancel := context.WithCancel(ctx)
		cancel()
		if err := open().Create(ended, name, []byte("x")); !errors.Is(err, context.Canceled) {
			t.Errorf("Create: %v, want %v", err, context.Canceled)
		}
		if _, err := open().Get(ended, name); !errors.Is(err, context.Canceled) {
			t.Errorf("Get: %v, want %v", err, context.Canceled)
		}
		if _, err := open().Get(ctx, name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Get afterwards: %v, want %v", err, ErrNotFound)
		}
	})
}

func TestFolderIsForTheOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ledger")
	l := New(NewFolder(dir))
	must(t, l.Claim(t.Context(), Key{Batch: 1001}, Claim{}))
	found := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		} else {
			found++
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		return nil
	})
	if err != nil || found != 1 {
		t.Errorf("%d files in %s (%v), want the claim", found, dir, err)
	}
}

func TestAnUnwritableFolderIsReported(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	err := New(NewFolder(filepath.Join(file, "ledger"))).Claim(t.Context(), Key{Batch: 1}, Claim{})
	if err == nil || errors.Is(err, ErrClaimed) {
		t.Errorf("Claim below a file: %v, want the error of the file system", err)
	}
}

func TestALostLedgerIsNotCreatedAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger")
	ctx := context.Background()
	if _, err := OpenFolder(path); !errors.Is(err, ErrGone) {
		t.Errorf("not begun: %v, want %v", err, ErrGone)
	}
	for range 2 {
		must(t, BeginFolder(path))
	}
	f, err := OpenFolder(path)
	must(t, err)
	l := New(f)
	must(t, l.Claim(ctx, Key{Batch: 1}, Claim{}))
	must(t, os.RemoveAll(path))
	for batch := range 3 {
		if err := l.Claim(ctx, Key{Batch: batch + 1}, Claim{}); !errors.Is(err, ErrGone) {
			t.Errorf("batch %d of a ledger that was removed: %v, want %v", batch+1, err, ErrGone)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v; want it not made again", err)
	}
	if _, err := OpenFolder(path); !errors.Is(err, ErrGone) {
		t.Errorf("opened again: %v, want %v", err, ErrGone)
	}
}

// troubled is a store whose writes fail until a moment, or write and still say that
// they have failed.
type troubled struct {
	*memory
	until    time.Time
	writes   bool // although it gives an error
	took     time.Duration
	attempts int
}

var errAway = errors.New("no answer")

func (s *troubled) Create(ctx context.Context, name string, value []byte) error {
	s.attempts++
	time.Sleep(s.took)
	if !time.Now().Before(s.until) {
		return s.memory.Create(ctx, name, value)
	}
	if s.writes {
		if err := s.memory.Create(ctx, name, value); err != nil {
			return err
		}
	}
	return errAway
}

func TestAnAnswerIsRetriedUntilTheStoreRecovers(t *testing.T) {
	for _, away := range []time.Duration{0, time.Second, 20 * time.Second, AnswerBudget - longestPause} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			l := New(&troubled{memory: newMemory(), until: start.Add(away)})
			if _, won, err := l.DecideAnswer(t.Context(), ByCall, Key{Batch: 1}, outcomes("c", "a uuid")); !won || err != nil {
				t.Errorf("won %v, %v; want it written when the store is back", won, err)
			}
			if _, err := l.Decided(t.Context(), ByCall, Key{Batch: 1}); err != nil {
				t.Error(err)
			}
			if waited := time.Since(start); waited > away+longestPause {
				t.Errorf("written %s after the store was back, want %s at most", waited-away, longestPause)
			}
		})
	}
}

func TestAnAnswerIsRetriedWithinItsBudget(t *testing.T) {
	for _, took := range []time.Duration{0, time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			l := New(&troubled{memory: newMemory(), until: start.Add(24 * time.Hour), took: took})
			if _, won, err := l.DecideAnswer(t.Context(), ByCall, Key{Batch: 1}, outcomes("u")); won || !errors.Is(err, errAway) {
				t.Errorf("won %v, %v; want the store's error", won, err)
			}
			if waited := time.Since(start); waited < AnswerBudget-longestPause || waited > AnswerBudget+took {
				t.Errorf("it waited %s with requests of %s; want %s", waited, took, AnswerBudget)
			}
		})
	}
}

func TestOnlyAnswersAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		store := &troubled{memory: newMemory(), until: start.Add(time.Hour)}
		l, key := New(store), Key{Batch: 1}
		_, _, decided := l.Decide(t.Context(), ByCall, key, outcomes("u"))
		_, _, resolved := l.Decide(t.Context(), ByLookup, key, outcomes("u"))
		for name, err := range map[string]error{"claim": l.Claim(t.Context(), key, Claim{}), "decide": decided, "resolve": resolved} {
			if !errors.Is(err, errAway) {
				t.Errorf("%s: %v, want %v", name, err, errAway)
			}
		}
		if store.attempts != 3 || time.Since(start) != 0 {
			t.Errorf("%d attempts in %s, want 3 at once", store.attempts, time.Since(start))
		}
	})
}

func TestAnAnswerWrittenDespiteAnErrorIsOurs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := New(&troubled{memory: newMemory(), until: time.Now().Add(time.Millisecond), writes: true})
		if _, won, err := l.DecideAnswer(t.Context(), ByCall, Key{Batch: 1}, outcomes("c", "a uuid")); !won || err != nil {
			t.Errorf("won %v, %v; want it ours", won, err)
		}
	})
}

func TestAnOutcomeDecidedByAnotherWriterWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &troubled{memory: newMemory(), until: time.Now().Add(5 * time.Second)}
		l := New(store)
		if _, _, err := New(store.memory).Decide(t.Context(), ByCall, Key{Batch: 1}, outcomes("u")); err != nil {
			t.Fatal(err)
		}
		held, won, err := l.DecideAnswer(t.Context(), ByCall, Key{Batch: 1}, outcomes("c", "a uuid"))
		if won || err != nil || held.Letters != "u" {
			t.Errorf("held %q, won %v, %v; want what was decided before", held.Letters, won, err)
		}
	})
}

func TestRetriesEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		l := New(&troubled{memory: newMemory(), until: start.Add(time.Hour)})
		if _, won, err := l.DecideAnswer(ctx, ByCall, Key{Batch: 1}, outcomes("c", "a uuid")); won || !errors.Is(err, errAway) || time.Since(start) > 3*time.Second {
			t.Errorf("won %v, %v after %s; want the store's error when ctx ends", won, err, time.Since(start))
		}
	})
}

// fatal is a *testing.T or a *rapid.T.
type fatal interface {
	Helper()
	Fatal(args ...any)
}

func must(t fatal, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
