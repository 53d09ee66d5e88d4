package activities

import (
	"errors"
	"testing"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

func TestAForecastIsByTheCallsThatWereMade(t *testing.T) {
	for name, tc := range map[string]struct {
		control migration.Control
		want    time.Duration // for the 7 batches that are left, 3 s each
	}{
		"the rate limits":         {migration.Control{Limits: migration.Limits{RateLimit: 0.5, Workers: 10}}, 14 * time.Second},
		"the time of calls does":  {migration.Control{Limits: migration.Limits{RateLimit: 100, Workers: 2}}, 10500 * time.Millisecond},
		"without any rate limit":  {migration.Control{Limits: migration.Limits{Workers: 1}}, 21 * time.Second},
		"the timetable limits":    {migration.Control{Limits: migration.Limits{RateLimit: 4, RatePlan: "else 0.5/s", Workers: 10}}, 14 * time.Second},
		"what operators set does": {migration.Control{Limits: migration.Limits{RateLimit: 1, Workers: 10}}, 7 * time.Second},
	} {
		r := inspected(t, people(40)) // 10 batches
		for i, took := range []time.Duration{9 * time.Second, time.Second, 3 * time.Second} {
			outcomes := ledger.NewOutcomes(4)
			for n := range 4 {
				outcomes.Created(n, "uuid")
			}
			settled := outcomes.Outcomes(true, "")
			settled.At, settled.Took = now, took
			if _, _, err := r.ledger().Decide(t.Context(), ledger.ByCall, ledger.Key{Batch: i + 1}, settled); err != nil {
				t.Fatal(err)
			}
		}
		noError(t, r.run.Folder.SaveControl(r.run.ID, tc.control))
		got := must[Forecast](r, r.acts.Forecast, ForecastInput{Run: r.run, Loaded: 3})
		if want := (Forecast{Calls: 3, Median: 3 * time.Second, Longest: 9 * time.Second, Left: 7, Takes: tc.want}); got != want {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
}

func TestThereIsNoForecastWithoutAnAnswer(t *testing.T) {
	r := inspected(t, people(40))
	r.claim(ledger.Key{Batch: 1})
	if got := must[Forecast](r, r.acts.Forecast, ForecastInput{Run: r.run, Loaded: 1}); got != (Forecast{Left: 9}) {
		t.Errorf("%+v, want 9 batches left, and nothing known of calls", got)
	}
	if _, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: 1}); !errors.Is(err, ledger.ErrNotFound) {
		t.Errorf("the forecast has decided the batch whose worker died: %v", err)
	}
}
