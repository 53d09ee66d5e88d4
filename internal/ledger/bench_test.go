package ledger

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// BenchmarkBatches claims and decides batches of 100 records from ten goroutines, as a migration with ten calls in flight
// does. One operation is one batch; TMPDIR says on which disk.
func BenchmarkBatches(b *testing.B) {
	l := New(NewFolder(b.TempDir()))
	outcomes := Outcomes{Sent: true, Letters: strings.Repeat("c", 100)}
	for range 100 {
		outcomes.UUIDs = append(outcomes.UUIDs, "6e0b1f52-3f0c-4f0e-9d5b-0a3f2b1c4d5e")
	}
	const writers = 10
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range writers {
		all.Go(func() {
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				key := Key{Batch: int(n)}
				if err := l.Claim(b.Context(), key, Claim{Clock: "here"}); err != nil {
					b.Error(err)
				}
				if _, won, err := l.DecideAnswer(b.Context(), ByCall, key, outcomes); err != nil || !won {
					b.Error(won, err)
				}
			}
		})
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "batches/s")
}
