package ledger

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

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
