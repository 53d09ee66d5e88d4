package figures

import "testing"

func TestFormats(t *testing.T) {
	for got, want := range map[string]string{
		Number(0): "0", Number(999): "999", Number(int64(1_234_567)): "1,234,567", Number(-1234): "-1,234",
		Count(0, "record"): "0 records", Count(1, "record"): "1 record", Count(8000, "record"): "8,000 records", Count(2, "batch"): "2 batches", Count(1, "batch"): "1 batch",
		Plural(1, "is", "are"): "is", Plural(0, "is", "are"): "are",
		Figure(0): "0", Figure(0.25): "0.25", Figure(2): "2", Figure(9.999): "10", Figure(12.34): "12.3", Figure(20): "20", Figure(1e8): "100,000,000", Figure(1e-9): "< 0.01", Figure(1000): "1,000",
		Rate(1): "1 call a second", Rate(2): "2 calls a second", Rate(0.5): "0.5 calls a second", Rate(1e5): "100,000 calls a second",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
