package tally

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
)

// folder is that of a migration of n records, of which nothing was sent.
func folder(t testing.TB, n, batch int, delta bool) migration.Folder {
	t.Helper()
	f := migration.In(t.TempDir(), "00000000000a")
	input := filepath.Join(t.TempDir(), "users.csv")
	var text strings.Builder
	text.WriteString("email\n")
	for i := range n {
		fmt.Fprintf(&text, "%d@example.com\n", i)
	}
	must(t, os.WriteFile(input, []byte(text.String()), 0o600))
	must(t, f.Make())
	_, err := source.Inspect(context.Background(), input, source.InspectOptions{BatchSize: batch, IndexPath: f.Index()})
	must(t, err)
	must(t, f.SaveSpec(migration.Spec{Delta: delta}))
	return f
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// entry makes an entry of letters; class is that of what failed or is unknown.
func entry(letters, class string) ledger.Outcomes {
	b := ledger.NewOutcomes(len(letters))
	for i := range len(letters) {
		switch ledger.Outcome(letters[i]) {
		case ledger.Created:
			b.Created(i, fmt.Sprint("uuid-", i))
		case ledger.Recovered:
			b.Recovered(i, fmt.Sprint("uuid-", i))
		case ledger.Duplicate:
			b.Duplicate(i, "twice")
		case ledger.Failed:
			b.Failed(i, "words of the target")
			b.Classify(i, class)
		case ledger.Unknown:
			b.Unknown(i, class)
		case ledger.Updated:
			b.Updated(i)
		}
	}
	return b.Outcomes(true, class)
}

func TestTheLedgerGivesTheStateOfTheRecords(t *testing.T) {
	f := folder(t, 14, 4, false)
	l := ledger.New(ledger.NewFolder(f.Ledger()))
	decide := func(key ledger.Key, o ledger.Outcomes) {
		t.Helper()
		_, _, err := l.Decide(t.Context(), ledger.ByCall, key, o)
		must(t, err)
	}
	decide(ledger.Key{Batch: 1}, entry("ccff", "api 200"))
	decide(ledger.Key{Batch: 2}, entry("uuuu", "http 502"))
	// The third was too large. The call for its second half is not decided.
	decide(ledger.Key{Batch: 3}, ledger.Outcomes{Split: true, Sent: true})
	decide(ledger.Key{Batch: 3, Part: "0"}, entry("cf--", "too large"))
	must(t, l.Claim(t.Context(), ledger.Key{Batch: 3, Part: "1"}, ledger.Claim{}))
	_, err := f.CreateRetryFile(migration.RetryFile{Round: 1})
	must(t, err)
	decide(ledger.Key{Round: 1, Batch: 2}, entry("cddu", "timeout"))
	_, _, err = l.Decide(t.Context(), ledger.ByLookup, ledger.Key{Round: 1, Batch: 2}, entry("-r--", ""))
	must(t, err)

	got, err := Of(t.Context(), f)
	must(t, err)
	if want := (migration.Counts{Total: 14, Created: 4, Recovered: 1, Failed: 3, Unknown: 4, Remaining: 2}); got.Records != want {
		t.Errorf("the records: %v, want %v", got.Records, want)
	}
	if want := map[string]int{"api 200": 2, "too large": 1}; !maps.Equal(got.Failed, want) {
		t.Errorf("failed: %v, want %v", got.Failed, want)
	}
	if want := map[string]int{ledger.Abandoned: 2, ledger.NotLookedUp: 1, "timeout": 1}; !maps.Equal(got.Unknown, want) {
		t.Errorf("unknown: %v, want %v", got.Unknown, want)
	}
	sum := 0
	for _, n := range got.Errors() {
		sum += n
	}
	if sum != got.Records.Failed+got.Records.Unknown {
		t.Errorf("%d records have a reason, want the %d failed and %d unknown", sum, got.Records.Failed, got.Records.Unknown)
	}
	want := []Round{
		{Counts: ledger.Counts{Created: 3, Failed: 3, Unknown: 4, Calls: 4}},
		{Counts: ledger.Counts{Created: 1, Duplicate: 2, Unknown: 1, Calls: 1}, Recovered: 1},
	}
	if len(got.Rounds) != 2 || got.Rounds[0] != want[0] || got.Rounds[1] != want[1] {
		t.Errorf("the rounds: %+v, want %+v", got.Rounds, want)
	}
}

func TestDuplicatesOfADeltaMigrationRemainUntilTheyAreUpdated(t *testing.T) {
	f := folder(t, 4, 4, true)
	l := ledger.New(ledger.NewFolder(f.Ledger()))
	_, _, err := l.Decide(t.Context(), ledger.ByCall, ledger.Key{Batch: 1}, entry("cddd", ""))
	must(t, err)
	_, _, err = l.Decide(t.Context(), ledger.ByLookup, ledger.Key{Batch: 1}, entry("-ddd", ""))
	must(t, err)
	_, _, err = l.DecideAnswer(t.Context(), ledger.ByUpdate, ledger.Key{Batch: 1}, entry("-pf-", ""))
	must(t, err)
	got, err := Of(t.Context(), f)
	must(t, err)
	if want := (migration.Counts{Total: 4, Created: 1, Updated: 1, Failed: 1, Remaining: 1}); got.Records != want || got.Failed["update"] != 1 {
		t.Errorf("%v, failed %v; want %v, one by its update", got.Records, got.Failed, want)
	}
}

func TestAnInputThatWasNotIndexedHasNoRecords(t *testing.T) {
	f := migration.In(t.TempDir(), "00000000000a")
	if got, err := Of(t.Context(), f); err != nil || got.Records.Total != 0 {
		t.Errorf("%+v, %v; want nothing", got, err)
	}
}

func TestCountingEndsWithItsContext(t *testing.T) {
	f := folder(t, 400, 1, false)
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	if _, err := Of(ctx, f); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want that its time is up", err)
	}
}

// Counting changes nothing, also where a worker has died and left a claim.
func TestCountingOnlyReads(t *testing.T) {
	f := folder(t, 4, 2, false)
	l := ledger.New(ledger.NewFolder(f.Ledger()))
	must(t, l.Claim(t.Context(), ledger.Key{Batch: 1}, ledger.Claim{}))
	files := func() string {
		var names []string
		must(t, filepath.WalkDir(f.Path(), func(path string, _ os.DirEntry, err error) error {
			names = append(names, path)
			return err
		}))
		return strings.Join(names, "\n")
	}
	before := files()
	got, err := Of(t.Context(), f)
	must(t, err)
	if got.Records.Unknown != 2 || got.Records.Remaining != 2 {
		t.Errorf("%v, want the claimed records unknown and the others remaining", got.Records)
	}
	if after := files(); after != before {
		t.Errorf("the folder has\n%s\nand had\n%s", after, before)
	}
}

func BenchmarkAMillionRecords(b *testing.B) {
	f := folder(b, 1_000_000, 100, false)
	l := ledger.New(ledger.NewFolder(f.Ledger()))
	created := entry(strings.Repeat("c", 100), "")
	for batch := range 10_000 {
		_, _, err := l.Decide(b.Context(), ledger.ByCall, ledger.Key{Batch: batch + 1}, created)
		must(b, err)
	}
	for b.Loop() {
		if got, err := Of(b.Context(), f); err != nil || got.Records.Created != 1_000_000 {
			b.Fatalf("%v, %v", got.Records, err)
		}
	}
}
