package activities

import (
	"maps"
	"strings"
	"testing"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/store"
)

func TestTheFailFileSoFarHasWhatHasFailed(t *testing.T) {
	r := inspected(t, people(12)) // 3 batches
	decide := func(batch int, b *ledger.Builder) {
		t.Helper()
		if _, _, err := r.ledger().Decide(t.Context(), ledger.ByCall, ledger.Key{Batch: batch}, b.Outcomes(true, "")); err != nil {
			t.Fatal(err)
		}
	}
	first := ledger.NewOutcomes(4)
	first.Created(0, "uuid-0")
	first.Failed(1, "name is too long")
	first.Classify(1, "api 200")
	first.Unknown(2, "timeout")
	first.Created(3, "uuid-3")
	decide(1, first)
	r.claim(ledger.Key{Batch: 2})
	for range 2 { // again after a restart
		got := must[Reasons](r, r.acts.WriteFailures, r.run)
		if !maps.Equal(got.Failed, map[string]int{"api 200": 1}) || !maps.Equal(got.Unknown, map[string]int{"timeout": 1, ledger.Abandoned: 4}) || !strings.HasPrefix(got.File, "fail_") {
			t.Errorf("%+v; want one failed record, and 5 unknown", got)
		}
		fail, err := store.Read(store.Join(r.spec.OutputDir, got.File))
		if err != nil || strings.Count(string(fail), "\n") != 2 || !strings.Contains(string(fail), "name is too long") {
			t.Errorf("the fail file is %q, %v; want a row", fail, err)
		}
		raw, err := store.Read(store.Join(r.spec.OutputDir, strings.Replace(got.File, "fail_", "fail_records_", 1)))
		if err != nil || strings.Count(string(raw), "@") != 1 {
			t.Errorf("the raw records are %q, %v; want one", raw, err)
		}
		r.restart()
	}
	if _, err := r.ledger().Decided(t.Context(), ledger.ByCall, ledger.Key{Batch: 2}); !isNotFound(err) {
		t.Errorf("the batch whose worker died is decided: %v", err)
	}
	summary := r.artifacts(true)
	if fail, err := store.Read(store.Join(r.spec.OutputDir, summary.Files.Fail)); err != nil || strings.Count(string(fail), "\n") != 2 {
		t.Errorf("at the end the fail file is %q, %v", fail, err)
	}
}
