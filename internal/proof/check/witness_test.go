package check

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheWitnessSeesAnOutcomeThatChanges(t *testing.T) {
	const entry = "migrations/k/ledger/0/00000/00000001.outcomes"
	cases := []struct {
		name   string
		change func(*lab)
		want   string // "" for nothing
	}{
		{"nothing", func(*lab) {}, ""},
		{"one more entry", func(l *lab) { l.write("migrations/k/ledger/0/00000/00000002.outcomes", "d") }, ""},
		{"a file that is being written", func(l *lab) { l.write("migrations/k/ledger/0/00000/.00000002.outcomes.tmp-X", "d") }, ""},
		{"another content", func(l *lab) { l.write(entry, "uu") }, `was "cu", and is "uu"`},
		{"a content that comes back", func(l *lab) {
			l.write(entry, "u")
			l.look()
			l.write(entry, "cu")
		}, `was "cu", and is "u"`},
		{"gone", func(l *lab) {
			must(l.t, os.Remove(l.path(entry)))
		}, "gone"},
	}
	for _, c := range cases {
		l := &lab{t: t, dir: t.TempDir()}
		l.write(entry, "cu")
		l.write("migrations/k/ledger/0/00000/00000001.claim", "{}")
		l.witness = NewWitness(l.dir)
		l.look()
		if claims, outcomes := l.witness.Claims(), l.witness.Outcomes(); claims != 1 || outcomes != 1 {
			t.Errorf("%s: %d claims and %d outcomes seen, want one of each", c.name, claims, outcomes)
		}
		c.change(l)
		broken, err := l.witness.Broken()
		must(t, err)
		if found := len(broken) > 0; found != (c.want != "") || found && (broken[0].Invariant != DecidedOnce || !strings.Contains(broken[0].What, c.want)) {
			t.Errorf("%s: found %v, want %q", c.name, broken, c.want)
		}
	}
}

func (l *lab) look() {
	l.t.Helper()
	must(l.t, l.witness.Look())
}

func TestALeakIsFound(t *testing.T) {
	const input = "email,displayName,password\nann.long@a.test,\"Ann \"\"Long\"\" Doe\",12345678\nbo@a.t,Bo,invented-secret\n"
	cases := []struct {
		name, content string
		want          string
	}{
		{"nothing", "LoadBatches lines 2 to 3, 12345678 ann.lon@a.test bo@a.t", ""},
		{"an email in capitals", "LoadBatches \x00ANN.long@A.test\x00", "the email of line 2"},
		{"a name with quotes", "LoadBatches Ann \"Long\" Doe", "the displayName of line 2"},
		{"a password at the end", "LoadBatches invented-secret", "the password of line 3"},
		{"the secret", "LoadBatches x=client-secret!", "a secret"},
		{"nothing was searched", "", `"LoadBatches" is nowhere`},
	}
	for _, c := range cases {
		l := &lab{t: t, dir: t.TempDir()}
		l.write("users.csv", input)
		l.write("place/below/engine.db", c.content)
		broken, err := Leaks(Search{Input: l.path("users.csv"), Secrets: []string{"client-secret"}, Places: []string{l.path("place")}, Holds: []string{"LoadBatches"}})
		must(t, err)
		if found := len(broken) > 0; found != (c.want != "") || found && !strings.Contains(broken[0].String(), c.want) {
			t.Errorf("%s: found %v, want %q", c.name, broken, c.want)
		}
	}
}

func TestArtifactsThatDifferTheSecondTime(t *testing.T) {
	l := &lab{t: t, dir: t.TempDir()}
	l.write("success.csv", "a\nb\n")
	l.write("retry.csv", "a\n")
	l.write("summary.json", "{}")
	first, err := Tables(l.dir)
	must(t, err)
	l.write("summary.json", "{another time}")
	second, err := Tables(l.dir)
	if broken := Same(first, second); err != nil || len(broken) > 0 {
		t.Errorf("of the same tables: %v, %v", broken, err)
	}
	l.write("success.csv", "a\nB\n")
	l.write("fail.csv", "a\n")
	must(t, os.Remove(filepath.Join(l.dir, "retry.csv")))
	if second, err = Tables(l.dir); err != nil {
		t.Fatal(err)
	}
	broken := Same(first, second)
	for _, want := range []string{"success.csv has 4 bytes, and 4 the second time; they differ at byte 2", "retry.csv was written, and is not there", "fail.csv is there only the second time"} {
		if !slices.ContainsFunc(broken, func(b Broken) bool { return b.Invariant == SameBytes && strings.Contains(b.What, want) }) {
			t.Errorf("found %v, want %q", broken, want)
		}
	}
}

func TestOver(t *testing.T) {
	start := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	every := func(pause time.Duration, n int) (m Moments) {
		for i := range n {
			m = append(m, start.Add(time.Duration(i)*pause))
		}
		return m
	}
	late := every(100*time.Millisecond, 50)
	late[20] = late[20].Add(200 * time.Millisecond)
	cases := []struct {
		name    string
		moments Moments
		rate    float64
		over    bool
	}{
		{"evenly", every(100*time.Millisecond, 100), 10, false},
		{"one that is late", late, 10, false},
		{"a third more", every(75*time.Millisecond, 100), 10, true},
		{"a burst", append(every(100*time.Millisecond, 20), every(time.Millisecond, 5)...), 10, true},
		{"no limit", every(time.Millisecond, 100), 0, false},
	}
	for _, c := range cases {
		slices.SortFunc(c.moments, time.Time.Compare)
		if broken := c.moments.Over(c.rate); (len(broken) > 0) != c.over {
			t.Errorf("%s: found %v, want broken %v", c.name, broken, c.over)
		}
	}
}

func TestALateCallBelongsToAnyEarlierClaim(t *testing.T) {
	l := newLab(t)
	// The call of round 0 arrives after round 1 was claimed.
	l.replace("ledger/1/00000/00000002.claim", "13:05:04.9", "13:05:02.95")
	l.breaks("two calls under one claim, where no call is late", NoBlindRepeat)
	l.migration.Late = true
	l.holds() // there are two claims and two calls
	l.replace("ledger/1/00000/00000002.claim", "13:05:02.95", "13:05:08")
	l.breaks("a second call that nobody had claimed", NoBlindRepeat)
}
