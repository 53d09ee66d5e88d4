package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
)

// evidence is what an episode leaves, to be checked when nothing runs any more.
type evidence struct {
	dir           string
	migration     check.Migration
	witness       *check.Witness
	state         string
	first, second map[string][]byte // the tables, written twice
	search        check.Search
	arrivals      check.Moments // of calls, at the proxy
	gated         check.Moments // those that wait at the gate
	rate          float64
	flight        int
	spans         []span // what operators have ordered
	code          int    // the last exit code
	wantFailed    int    // records that cannot but fail
	world         world
	verified      string // the table of a verification of all records, "" if there was none
	undone        bool   // all was rolled back
	tally         check.Tally
}

// check returns the broken invariants, and the summary.
func (v *evidence) check() (s migration.Summary, broken []check.Broken, err error) {
	if err := json.Unmarshal([]byte(read(v.migration.Summary)), &s); err != nil {
		return s, nil, fmt.Errorf("%s: %w", v.migration.Summary, err)
	}
	for _, look := range []func() ([]check.Broken, error){
		func() ([]check.Broken, error) { return check.Check(v.migration) },
		func() ([]check.Broken, error) { return check.FromLedger(v.migration) },
		v.witness.Broken,
		func() ([]check.Broken, error) { return check.Same(v.first, v.second), nil },
		func() ([]check.Broken, error) { return check.Leaks(v.search) },
		func() ([]check.Broken, error) { return v.arrivals.Over(v.rate), nil },
		func() ([]check.Broken, error) { return v.steered(), nil },
		func() ([]check.Broken, error) {
			if v.verified == "" {
				return nil, nil
			}
			return check.Verified(v.migration, v.verified)
		},
		func() ([]check.Broken, error) {
			if !v.undone || v.world.isBlind() {
				return nil, nil
			}
			return check.RolledBack(v.migration)
		},
	} {
		found, err := look()
		if err != nil {
			return s, broken, err
		}
		broken = append(broken, found...)
	}
	if v.tally, err = check.Count(v.migration); err != nil {
		return s, broken, err
	}
	return s, append(broken, v.outcome(s)...), nil
}

// outcome holds that all is resolved that can be, that exactly those records
// failed that cannot but fail, and that the exit code says so.
func (v *evidence) outcome(s migration.Summary) (broken []check.Broken) {
	tell := func(format string, args ...any) {
		broken = append(broken, check.Broken{Invariant: check.TrueOutcome, What: fmt.Sprintf(format, args...)})
	}
	c := s.Records
	if c.Remaining > 0 {
		tell("%d records remain when the migration is done", c.Remaining)
	}
	if unresolved := v.tally.Unresolved; unresolved > 0 && !v.world.isBlind() {
		tell("%d records are unknown when the migration is done, though nobody else has touched their address", unresolved)
	}
	// A record that cannot but fail may be unknown instead, where others are.
	wantFailed := v.wantFailed + v.tally.Failed
	if c.Failed > wantFailed || c.Failed+c.Unknown < wantFailed {
		tell("%d records failed and %d are unknown; %d cannot but fail", c.Failed, c.Unknown, wantFailed)
	}
	if want := c.ExitCode(); v.code != want {
		tell("the exit code is %d, expected %d", v.code, want)
	}
	return broken
}

// in returns the same evidence in a copy of its folder.
func (v *evidence) in(dir string) *evidence {
	moved := *v
	move := func(path string) string { return filepath.Join(dir, strings.TrimPrefix(path, v.dir)) }
	moved.dir, moved.state = dir, move(v.state)
	m := &moved.migration
	m.Input, m.Summary, m.Truth, m.Ledger = move(m.Input), move(m.Summary), move(m.Truth), move(m.Ledger)
	moved.witness = v.witness.In(moved.state)
	moved.second = maps.Clone(v.second)
	moved.arrivals, moved.gated, moved.spans = slices.Clone(v.arrivals), slices.Clone(v.gated), slices.Clone(v.spans)
	if v.verified != "" {
		moved.verified = move(v.verified)
	}
	moved.search.Input = m.Input
	moved.search.Places = nil
	for _, place := range v.search.Places {
		moved.search.Places = append(moved.search.Places, move(place))
	}
	return &moved
}

// sabotage is a self-test: damage after an episode, which the harness must
// find and call by its name.
type sabotage struct {
	name      string
	invariant string
	damage    func(*evidence) error
}

// firstUUID ends where the uuid begins of the first record that a call wrote.
var firstUUID = regexp.MustCompile(`"endpoint":"entity.bulkCreate".*"written":\[\{"index":0,"id":\d+,"uuid":"`)

var (
	anyFault = regexp.MustCompile(`"fault":"[^"]*"`)
	anyUUID  = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}`)
)

// more appends a call to the log of the target.
func (v *evidence) more(call string) error {
	return v.edit(truthLog, func(content []byte) []byte {
		seq := bytes.Count(content, []byte("\n")) + 1
		return append(content, fmt.Sprintf(`{"seq":%d,"received":%q,"committed":%[2]q,%s}`+"\n", seq, time.Now().UTC().Format(time.RFC3339Nano), call)...)
	})
}

var sabotages = []sabotage{
	{"lost-record", check.OneDisposition, func(v *evidence) error {
		return v.edit("out/success_*.csv", func(content []byte) []byte { return withoutLine(content, 1) })
	}},
	{"forgotten-write", check.TrueOutcome, func(v *evidence) error {
		return v.edit(truthLog, func(content []byte) []byte {
			found := firstUUID.FindAllIndex(content, -1)
			if len(found) == 0 {
				return content
			}
			return slices.Insert(content, found[len(found)-1][1], 'x')
		})
	}},
	{"wrong-sum", check.AddsUp, func(v *evidence) error {
		return v.edit("out/summary_*.json", func(content []byte) []byte {
			return bytes.Replace(content, []byte(`"total": `), []byte(`"total": 1`), 1)
		})
	}},
	{"repeated-call", check.NoBlindRepeat, func(v *evidence) error {
		return v.edit(truthLog, func(content []byte) []byte {
			for line := range bytes.Lines(content) {
				if bytes.Contains(line, []byte(`"endpoint":"entity.bulkCreate"`)) && bytes.Contains(line, []byte(`"written":[{`)) {
					call, _, _ := bytes.Cut(line, []byte(`,"written":`))
					return append(append(content, call...), "}\n"...)
				}
			}
			return content
		})
	}},
	{"changed-outcome", check.DecidedOnce, func(v *evidence) error {
		return v.edit("state/migrations/*/ledger/0/00000/00000001.outcomes", func(content []byte) []byte {
			return bytes.Replace(content, []byte(`"sent":true`), []byte(`"sent":false`), 1)
		})
	}},
	{"other-bytes", check.SameBytes, func(v *evidence) error {
		for name := range v.second {
			v.second[name] = append(slices.Clone(v.second[name]), ' ')
		}
		return nil
	}},
	{"other-reason", check.SameBytes, func(v *evidence) error {
		return v.edit("out/fail_[A-Z]*.csv", func(content []byte) []byte {
			return bytes.Replace(content, []byte("duplicate value"), []byte("other value"), 1)
		})
	}},
	{"open-file", check.Private, func(v *evidence) error {
		return v.each("out/success_*.csv", func(path string) error { return os.Chmod(path, 0o644) })
	}},
	{"leak", check.NothingPrivate, func(v *evidence) error {
		_, secret, _ := strings.Cut(read(v.migration.Input), "\n")
		email, _, _ := strings.Cut(secret, ",")
		return v.each("starter-1.stderr", func(path string) error {
			return os.WriteFile(path, []byte("cannot load "+email), 0o600)
		})
	}},
	{"other-value", check.InputFixed, func(v *evidence) error {
		return v.edit(truthLog, func(content []byte) []byte {
			return bytes.Replace(content, []byte(`"givenName":"`), []byte(`"givenName":"X`), 1)
		})
	}},
	{"burst", check.RateHolds, func(v *evidence) error {
		if v.rate == 0 {
			v.rate = 10
		}
		for range 200 {
			v.arrivals = append(v.arrivals, v.arrivals[len(v.arrivals)-1])
		}
		return nil
	}},
	{"call-in-a-pause", pauseHolds, func(v *evidence) error {
		last := v.gated[len(v.gated)-1]
		v.spans = append(v.spans, span{from: last.Add(-time.Second), to: last.Add(time.Second), paused: true})
		v.gated = append(v.gated, slices.Repeat(v.gated[len(v.gated)-1:], v.flight)...)
		return nil
	}},
	{"faster-than-set", check.RateHolds, func(v *evidence) error {
		v.spans = append(v.spans, span{from: v.arrivals[0].Add(-settledAfter), to: v.arrivals[len(v.arrivals)-1], rate: 0.01})
		return nil
	}},
	{"stranger-counted", check.Proven, func(v *evidence) error {
		return v.edit(truthLog, func(content []byte) []byte {
			for line := range bytes.Lines(content) {
				if bytes.Contains(line, []byte(`"endpoint":"entity.bulkCreate"`)) && bytes.Contains(line, []byte(`"givenName":"`)) {
					changed := bytes.Replace(line, []byte(`"endpoint":"entity.bulkCreate"`), []byte(`"endpoint":"user.register"`), 1)
					changed = bytes.ReplaceAll(changed, []byte(`"givenName":"`), []byte(`"givenName":"X`))
					return bytes.Replace(content, line, changed, 1)
				}
			}
			return content
		})
	}},
	{"stranger-deleted", check.Proven, func(v *evidence) error {
		return v.more(`"endpoint":"entity.delete","deleted":[{"id":1,"uuid":"a-stranger","email":""}]`)
	}},
	{"stranger-changed", check.Proven, func(v *evidence) error {
		return v.more(`"endpoint":"entity.update","written":[{"index":0,"id":1,"uuid":"a-stranger","email":""}],"entities":[{}]`)
	}},
	{"keyless-twice", check.NoBlindRepeat, func(v *evidence) error {
		return v.more(`"endpoint":"entity.bulkCreate","keys":[""],"written":[{"index":0,"id":1,"uuid":"one-more","email":""}],"entities":[{"givenName":"nobody's"}]`)
	}},
	{"unaccounted", check.TrueOutcome, func(v *evidence) error {
		return v.more(`"endpoint":"entity.bulkCreate","keys":["one@more.example.com"],"written":[{"index":0,"id":1,"uuid":"one-more","email":"one@more.example.com"}],"entities":[{}]`)
	}},
	{"order-not-found", check.VerifyFinds, func(v *evidence) error {
		v.verified = filepath.Join(v.dir, "verified.csv")
		return errors.Join(
			os.WriteFile(v.verified, []byte("batch,line,attribute,difference\n"), 0o600),
			v.edit(truthLog, func(content []byte) []byte {
				return anyFault.ReplaceAll(content, []byte(`"fault":"wrong-order"`))
			}),
			v.edit("out/success_*.csv", func(content []byte) []byte {
				lines := slices.Collect(bytes.Lines(content))
				uuids := anyUUID.FindAll(bytes.Join(lines[1:3], nil), -1)
				if len(uuids) < 2 {
					return content
				}
				content = bytes.Replace(content, uuids[0], []byte("-"), 1)
				content = bytes.Replace(content, uuids[1], uuids[0], 1)
				return bytes.Replace(content, []byte("-,"), append(slices.Clone(uuids[1]), ','), 1)
			}))
	}},
	{"not-undone", check.Undone, func(v *evidence) error { v.undone = true; return nil }},
	{"line-ends", check.BytesKept, func(v *evidence) error {
		return v.edit("out/fail_records_*.csv", func(content []byte) []byte {
			return bytes.Replace(content, []byte("\n"), []byte("\r\n"), 1)
		})
	}},
	{"hang", comesToItsEnd, nil}, // the target is stopped for ever
}

func sabotageNames() string {
	var names []string
	for _, s := range sabotages {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

func findSabotage(name string) (sabotage, error) {
	i := slices.IndexFunc(sabotages, func(s sabotage) bool { return s.name == name })
	if i < 0 {
		return sabotage{}, fmt.Errorf("there is no sabotage %q: expected one of %s", name, sabotageNames())
	}
	return sabotages[i], nil
}

// each does something to the files of the evidence that match a pattern.
func (v *evidence) each(pattern string, do func(path string) error) error {
	paths, err := filepath.Glob(filepath.Join(v.dir, filepath.FromSlash(pattern)))
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("there is no %s to damage", pattern)
	}
	for _, path := range paths {
		err = errors.Join(err, do(path))
	}
	return err
}

func (v *evidence) edit(pattern string, change func([]byte) []byte) error {
	return v.each(pattern, func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		changed := change(slices.Clone(content))
		if bytes.Equal(changed, content) {
			return fmt.Errorf("%s: found nothing to damage", path)
		}
		return os.WriteFile(path, changed, 0o600)
	})
}

// withoutLine leaves a line out; the first is 0.
func withoutLine(content []byte, n int) []byte {
	lines := slices.Collect(bytes.Lines(content))
	return bytes.Join(slices.Delete(lines, n, n+1), nil)
}

func basicAuth() string {
	return base64.StdEncoding.EncodeToString([]byte(clientID + ":" + clientSecret))
}
