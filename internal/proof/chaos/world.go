package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/migration"
)

// world has the properties of the target of an episode, and the actions of other users
// and of gateways.
type world struct {
	met           []string      // faults of the sandbox that come often
	dateSkew      time.Duration // of the Date header
	stampSkew     time.Duration // of the clock that stamps records
	hide          []string      // attributes that are not shown
	ignoreCreated bool          // the input has created, and the target ignores it
	emails        string        // the rule for emails, "" = folded
	keyless       int           // every n-th record has no email, 0 = all have one
	undo          bool          // a rollback comes at the end
}

// often are faults of which some are frequent in each episode: misleading answers,
// errors after everything was written, and actions of other users.
var often = []string{
	"http409-after", "http413-after", "http505-after", "http520-after", "http524-after", "api501-after", "api550-after",
	"record504-after", "record510-after", "same-uuid", "wrong-order", "replay", "stranger", "namesake", "sign-in",
}

// drawWorld has a separate random source. An episode with a changed input has no such
// faults, since its calls are counted.
func (p *plan) drawWorld(r *rand.Rand) {
	if p.has(change) {
		return
	}
	for _, i := range r.Perm(len(often))[:2+r.IntN(2)] {
		p.met = append(p.met, often[i])
	}
	millis := func(most int) time.Duration { return time.Duration(r.IntN(2*most)-most) * time.Millisecond }
	switch r.IntN(18) {
	case 0:
		p.dateSkew = millis(5000)
	case 1:
		p.dateSkew = millis(600_000)
	case 2:
		p.stampSkew = millis(5000)
	case 3:
		p.dateSkew, p.stampSkew = millis(60_000), millis(600_000)
	case 4:
		p.hide = []string{"created"}
	case 5:
		p.hide = []string{"lastUpdated"}
	case 6:
		p.hide = []string{"created", "lastUpdated"}
	case 7:
		p.hide = []string{"all"}
	case 8:
		p.ignoreCreated, p.input.Created = true, true
	case 9:
		p.input.Created = true
	case 10:
		p.emails = "exact"
		if !slices.Contains(p.met, "stranger") {
			p.met = append(p.met, "stranger")
		}
	case 11:
		p.emails = "shared"
	case 12, 13:
		// The first field must be recognizable without parsing.
		p.keyless, p.input.Awkward = 2+r.IntN(9), false
	}
	p.undo = p.workers == 0 && r.IntN(3) == 0
	for _, name := range p.met {
		p.faults += fmt.Sprintf(",%s=%.1f", name, 4+8*r.Float64())
	}
	p.faults = strings.TrimPrefix(p.faults, ",")
}

// isBlind reports whether the target does not show enough, or that its clocks do not,
// for all records to be known in the end.
func (w *world) isBlind() bool {
	return w.dateSkew != 0 || w.stampSkew != 0 || len(w.hide) > 0 || w.ignoreCreated || w.emails != ""
}

// leavesUnknown reports whether records may stay unknown for good.
func (w *world) leavesUnknown() bool {
	return w.isBlind() || w.keyless > 0 || slices.ContainsFunc([]string{"stranger", "namesake", "sign-in"}, func(name string) bool { return slices.Contains(w.met, name) })
}

// rounds is how many rounds a command makes. Where records stay unknown all of
// them are made, with pauses that double; where two records have one email each
// takes minutes, in which they are looked at again.
func (w *world) rounds() int {
	switch {
	case w.emails == "exact":
		return 1
	case w.isBlind():
		return 3
	case w.leavesUnknown():
		return 5
	}
	return retryRounds
}

// calmUnknown is how often a command may end with unknown records, with nothing
// having happened to it, until that is taken for the end. A target that shows too
// little will not show more the second time.
func (w *world) calmUnknown() int {
	switch {
	case w.isBlind():
		return 1
	case w.leavesUnknown():
		return 2
	}
	return 4 // more than is believed
}

// flags are those of the sandbox.
func (w *world) flags() []string {
	flags := []string{"--date-skew", w.dateSkew.String(), "--stamp-skew", w.stampSkew.String()}
	if len(w.hide) > 0 {
		flags = append(flags, "--hide", strings.Join(w.hide, ","))
	}
	if w.ignoreCreated {
		flags = append(flags, "--ignore-created")
	}
	if w.emails != "" {
		flags = append(flags, "--emails", w.emails)
	}
	return flags
}

// lookBack verifies all records if the target has answered in a wrong order, and rolls
// the migration back if the plan says so. It returns the table of the verification, and
// whether a rollback was completed.
func (e *episode) lookBack() (verified string, undone bool) {
	if slices.Contains(e.met, "wrong-order") && e.fromTheEnd("verify", "--all") {
		found, _ := filepath.Glob(filepath.Join(e.path("verify"), "verify_*.csv"))
		if len(found) > 0 {
			verified = slices.Max(found)
		}
	}
	return verified, e.undo && e.fromTheEnd("rollback", "--yes")
}

// fromTheEnd runs a command about the migration that is over until it comes to
// its end: faults of the target may still come between.
func (e *episode) fromTheEnd(command string, flags ...string) bool {
	path, err := e.summary()
	var s migration.Summary
	if err == nil {
		err = json.Unmarshal([]byte(read(path)), &s)
	}
	if err != nil {
		e.tell(comesToItsEnd, "%v", err)
		return false
	}
	args := append(e.there(command), "--migration", s.WorkflowID, "--output-dir", e.path(command), "--rate-limit", "0", "--timeout", fmt.Sprint(callTimeout.Seconds()))
	args = append(args, e.platform.flags("http://"+e.target.address)...)
	if e.service != nil {
		args = append(args, append(e.serviceFlags(), "--task-queue", e.queue)...)
	}
	for attempt := 1; attempt <= 5; attempt++ {
		p, err := e.launch(fmt.Sprintf("%s-%d", command, attempt), "starter", e.platform.environment(), append(args, flags...)...)
		if err != nil {
			e.tell(comesToItsEnd, "%v", err)
			return false
		}
		if !p.endsIn(2 * time.Minute) {
			e.hang(p)
			return false
		}
		if code := p.code(); code == migration.ExitDone || code == migration.ExitFailed {
			e.count.add(func(f *figures) { f.LookedBack[command]++ })
			return true
		}
		e.say("%s ended with exit code %d: %s", p.name, p.code(), lastLines(p.errors(), 2))
	}
	e.tell(comesToItsEnd, "%s did not come to its end five times", command)
	return false
}

// withoutKeys takes the emails away that the plan wants to be missing. They are
// the first field, without quotes.
func (w *world) withoutKeys(content []byte) []byte {
	if w.keyless == 0 {
		return content
	}
	lines := strings.SplitAfter(string(content), "\n")
	for i := w.keyless; i < len(lines); i += w.keyless {
		if at := strings.IndexByte(lines[i], ','); at >= 0 {
			lines[i] = lines[i][at:]
		}
	}
	return []byte(strings.Join(lines, ""))
}

// key is an email as the target compares it.
func (w *world) key(email string) string {
	if w.emails == "exact" {
		return email
	}
	return strings.ToLower(email)
}

func (w *world) String() string {
	var parts []string
	add := func(is bool, format string, args ...any) {
		if is {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(w.dateSkew != 0, "the Date header %s ahead", w.dateSkew)
	add(w.stampSkew != 0, "records stamped %s ahead", w.stampSkew)
	add(len(w.hide) > 0, "%s hidden", strings.Join(w.hide, " and "))
	add(w.ignoreCreated, "created ignored")
	add(w.emails != "", "emails %s", w.emails)
	add(w.keyless > 0, "each %d. without an email", w.keyless)
	add(w.undo, "rolled back at the end")
	return strings.Join(parts, ", ")
}

// kinds are the names under which the figures count the records of an episode.
func (w *world) kinds() (kinds []string) {
	add := func(is bool, name string) {
		if is {
			kinds = append(kinds, name)
		}
	}
	add(w.dateSkew != 0, "Date skewed")
	add(w.stampSkew != 0, "stamps skewed")
	for _, name := range w.hide {
		kinds = append(kinds, name+" hidden")
	}
	add(w.ignoreCreated, "created ignored")
	add(w.emails != "", "emails "+w.emails)
	return kinds
}
