package migration

import (
	"fmt"
	"slices"
	"testing"
)

// sampled are the records (from 0) of a file in batches of this size.
func sampled(id string, n, total, batchSize int) (all []int) {
	for first := 0; first < total; first += batchSize {
		for _, i := range Sampled(id, n, total, first, min(batchSize, total-first)) {
			all = append(all, first+i)
		}
	}
	return all
}

func TestASampleIsSpreadOverTheFile(t *testing.T) {
	for _, c := range []struct{ n, total, batchSize int }{
		{1, 1, 1}, {1, 1000, 100}, {10, 50, 7}, {10, 50, 100}, {49, 50, 10}, {50, 50, 10}, {51, 50, 10}, {0, 50, 10}, {333, 1000, 10}, {1000, 123_457, 100},
	} {
		got := sampled("migration-a", c.n, c.total, c.batchSize)
		want := c.n
		if c.n == 0 || c.n > c.total {
			want = c.total
		}
		if len(got) != want || !slices.IsSorted(got) || len(slices.Compact(slices.Clone(got))) != want {
			t.Errorf("%+v: %d records, want %d, each once and in order", c, len(got), want)
			continue
		}
		for part, at := range got {
			if from, to := part*c.total/want, (part+1)*c.total/want; at < from || at >= to {
				t.Errorf("%+v: record %d is not in part %d, from %d to %d", c, at, part, from, to)
			}
		}
		if other := sampled("migration-a", c.n, c.total, 3); !slices.Equal(got, other) {
			t.Errorf("%+v: the sample depends on the batches", c)
		}
	}
	a, b := sampled("migration-a", 20, 1000, 10), sampled("migration-b", 20, 1000, 10)
	if slices.Equal(a, b) {
		t.Error("two migrations have the same sample")
	}
}

func TestAVerifyResultInWords(t *testing.T) {
	var r VerifyResult
	r.Equal, r.NotLoaded = 9, 1
	for _, c := range []struct {
		add  VerifyResult
		want string
		code int
	}{
		{VerifyResult{}, "9 of 9 records are in the target as they should be. 1 was not loaded, so there is nothing to compare.", ExitDone},
		{
			VerifyResult{VerifyCounts: VerifyCounts{Different: 1, ChangedSince: 1}, Attributes: map[string]int{"givenName": 1}, First: []Difference{{12, "givenName", "different"}}},
			"9 of 10 records are in the target as they should be. 1 differs: givenName in 1. Of these 1 changed in the target after the migration. First: line 12, givenName: different. 1 was not loaded, so there is nothing to compare.",
			ExitFailed,
		},
		{
			VerifyResult{VerifyCounts: VerifyCounts{Missing: 1}, First: []Difference{{3, "", "missing"}}, NotCompared: map[string]int{"password": 4}},
			"9 of 11 records are in the target as they should be. 1 is missing. 1 differs: givenName in 1. Of these 1 changed in the target after the migration. First: line 3: missing; line 12, givenName: different. 1 was not loaded, so there is nothing to compare. Not compared, since the target does not show it: password in 4.",
			ExitFailed,
		},
		{
			VerifyResult{VerifyCounts: VerifyCounts{Different: 1, Unseen: 2}, Attributes: map[string]int{"givenName": 1, "clients": 1}},
			"9 of 14 records are in the target as they should be. 1 is missing. 2 differ: clients in 1, givenName in 2. Of these 1 changed in the target after the migration. The target does not show 2. First: line 3: missing; line 12, givenName: different. 1 was not loaded, so there is nothing to compare. Not compared, since the target does not show it: password in 4.",
			ExitUnknown,
		},
		{VerifyResult{VerifyCounts: VerifyCounts{Left: 1}}, "", ExitStopped},
	} {
		r.Add(c.add)
		if got := r.Text(); c.want != "" && got != c.want {
			t.Errorf("it says\n%s\nwant\n%s", got, c.want)
		}
		if code := (VerifySummary{Found: r}).ExitCode(); code != c.code {
			t.Errorf("%+v: exit code %d, want %d", r.VerifyCounts, code, c.code)
		}
	}
	if code := (VerifySummary{Found: r, Halted: "the target is gone"}).ExitCode(); code != ExitUnknown {
		t.Errorf("halted: exit code %d, want %d", code, ExitUnknown)
	}
	if r.Sum() != 16 || r.Checked() != 12 {
		t.Errorf("%d records, %d of them compared; want 16 and 12", r.Sum(), r.Checked())
	}
}

func TestTheFirstDifferencesAreThoseOfTheFirstLines(t *testing.T) {
	var r VerifyResult
	for line := int64(20); line > 0; line-- {
		r.Add(VerifyResult{First: []Difference{{line, "b", "missing"}, {line, "a", "missing"}}})
	}
	if got := fmt.Sprint(r.First); got != "[line 1, a: missing line 1, b: missing line 2, a: missing line 2, b: missing line 3, a: missing]" {
		t.Errorf("%s", got)
	}
}
