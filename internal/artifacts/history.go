package artifacts

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
)

// history are the intervals that the events delimit.
type history struct{ paused, slowed, open, idle []period }

type period struct {
	span
	text string
}

// each returns the names of the kinds and their intervals, in the order of the page.
func (h history) each(yield func(string, []period) bool) {
	_ = yield("paused", h.paused) && yield("slowed", h.slowed) && yield("breaker", h.open) && yield("no run", h.idle)
}

// historyOf pairs beginnings and ends. An interval without an end lasts to the end of the
// migration.
func historyOf(events []migration.Event, tl *Timeline) (h history) {
	between := func(text string, begins, ends func(migration.Event) bool) (all []period) {
		var since time.Time
		for _, e := range events {
			switch {
			case since.IsZero() && begins(e) && len(all) < shownEvents:
				since = tl.within(e.At)
			case !since.IsZero() && ends(e):
				all, since = append(all, period{span{since, tl.within(e.At)}, text}), time.Time{}
			}
		}
		if !since.IsZero() {
			all = append(all, period{span{since, tl.end}, text})
		}
		return all
	}
	is := func(kinds ...migration.EventKind) func(migration.Event) bool {
		return func(e migration.Event) bool { return slices.Contains(kinds, e.Kind) }
	}
	pauses := func(e migration.Event) bool {
		return e.Kind == migration.EventChanged && e.Name == "paused" && isYes(e.New)
	}
	resumes := func(e migration.Event) bool {
		return e.Kind == migration.EventChanged && e.Name == "paused" && !isYes(e.New) || is(migration.EventBegun, migration.EventEnded)(e)
	}
	h.paused = between("paused", pauses, resumes)
	h.slowed = between("slowed down", is(migration.EventSlowed), is(migration.EventRestored))
	h.open = between("breaker open", is(migration.EventOpened), is(migration.EventClosed))
	h.idle = between("no run", is(migration.EventEnded), is(migration.EventBegun))
	h.idle = slices.DeleteFunc(h.idle, func(p period) bool { return p.last.Equal(tl.end) }) // the end of the last run
	return h
}

func isYes(value string) bool { return value == "true" || value == "yes" }

// shownChanges are the first changes by operators; more than a person makes are those of a
// script.
func shownChanges(events []migration.Event) (changes []migration.Event) {
	for _, e := range events {
		if e.Kind == migration.EventChanged && len(changes) < shownEvents {
			changes = append(changes, e)
		}
	}
	return changes
}

// step is a rate that is allowed from a time on, 0 = any, and the rate that it has grown to
// when the next step begins: after the target has lowered the pace it recovers linearly.
type step struct {
	from     time.Time
	rate, to float64
}

// allowedRate is how many calls a second were allowed, nil if that is not known: the events
// do not have the steps of a timetable.
func allowedRate(d Details, tl *Timeline) (steps []step) {
	if d.Spec.RatePlan != "" {
		return nil
	}
	set, first := d.Spec.RateLimit, true
	for _, e := range d.Events {
		switch {
		case e.Kind == migration.EventChanged && e.Name == "rate-plan":
			return nil
		case e.Kind == migration.EventChanged && e.Name == "rate" && first:
			first = false
			if old, ok := rate(e.Old); ok {
				set = old
			}
		}
	}
	steps = []step{{tl.start, set, set}}
	for _, e := range d.Events {
		before, slowed := set, 0.0
		switch e.Kind {
		case migration.EventChanged:
			if r, ok := rate(e.New); ok && e.Name == "rate" {
				set = r
			}
		case migration.EventSlowed:
			slowed, _ = rate(e.New)
		case migration.EventRestored:
		default:
			continue
		}
		steps = grow(steps, tl.within(e.At), before)
		last := steps[len(steps)-1]
		now := set
		switch {
		case slowed > 0 && (set == 0 || slowed < set):
			now = slowed
		case e.Kind == migration.EventSlowed: // its rate cannot be parsed
			now = last.to
		case e.Kind == migration.EventChanged && before == 0 && last.to > 0 && set == 0:
			now = last.to
		case e.Kind == migration.EventChanged && last.to < before: // the share of the limit that is used stays
			now = set * last.to / before
		}
		if now != last.to {
			steps = append(steps, step{tl.within(e.At), now, now})
		}
	}
	return grow(steps, tl.end, set)
}

// grow ends the last step. The rate to which a pace without a limit grows is not known: the
// lowered rate is drawn.
func grow(steps []step, until time.Time, set float64) []step {
	last := &steps[len(steps)-1]
	if last.rate >= set {
		return steps
	}
	full := last.from.Add(time.Duration((set - last.rate) / set * float64(limiter.Recovery)))
	if full.Before(until) {
		last.to = set
		return append(steps, step{full, set, set})
	}
	last.to = last.rate + set*until.Sub(last.from).Seconds()/limiter.Recovery.Seconds()
	return steps
}

func rate(text string) (float64, bool) {
	r, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimSuffix(strings.TrimSpace(text), "/s"), ",", ""), 64)
	return r, err == nil && r >= 0 && !math.IsInf(r, 0)
}

// changes is how many changes there were by operators.
func changes(events []migration.Event) (n int) {
	for _, e := range events {
		if e.Kind == migration.EventChanged {
			n++
		}
	}
	return n
}

// eventRow is a line of the table of events: one, or several of the same sort with nothing between them.
type eventRow struct {
	From    time.Time
	Until   string // "" if it was one
	What    string
	Details string
}

// sorts are events that alternate.
var sorts = map[migration.EventKind]string{
	migration.EventSlowed: "pace", migration.EventRestored: "pace",
	migration.EventOpened: "breaker", migration.EventClosed: "breaker",
}

// eventRows are the events that are no changes by operators, and how many of them have no row.
func eventRows(events []migration.Event) (rows []eventRow, more int) {
	var group []migration.Event
	flush := func() {
		switch {
		case len(group) == 0:
		case len(rows) == shownEvents:
			more += len(group)
		default:
			rows = append(rows, rowOf(group))
		}
		group = nil
	}
	for _, e := range events {
		if e.Kind == migration.EventChanged {
			continue
		}
		if len(group) > 0 && (sorts[e.Kind] == "" || sorts[e.Kind] != sorts[group[0].Kind]) {
			flush()
		}
		group = append(group, e)
	}
	flush()
	return rows, more
}

// rowOf is the row of events of one sort.
func rowOf(group []migration.Event) eventRow {
	row := eventRow{From: group[0].At}
	if last := group[len(group)-1].At.UTC(); len(group) > 1 && last.YearDay() == row.From.UTC().YearDay() {
		row.Until = last.Format("15:04:05")
	} else if len(group) > 1 {
		row.Until = timeText(last)
	}
	times := map[migration.EventKind]int{}
	var kinds []migration.EventKind
	var details []string
	least := math.Inf(1)
	for _, e := range group {
		if times[e.Kind]++; times[e.Kind] == 1 {
			kinds = append(kinds, e.Kind)
		}
		for _, text := range []string{e.Text, e.Reason} {
			if text != "" && !slices.Contains(details, text) {
				details = append(details, text)
			}
		}
		if r, ok := rate(e.New); ok && e.Kind == migration.EventSlowed {
			least = min(least, r)
		}
	}
	var what []string
	for _, kind := range kinds {
		name := string(kind)
		if times[kind] > 1 {
			name += " " + figures.Count(times[kind], "time")
		}
		what = append(what, name)
	}
	row.What = strings.Join(what, ", ")
	const most = 3
	if n := len(details) - most; n > 0 {
		details = append(details[:most], figures.Count(n, "other reason"))
	}
	switch {
	case math.IsInf(least, 1):
	case times[migration.EventSlowed] == 1:
		details = append(details, "allowed at first: "+figures.Rate(least))
	default:
		details = append(details, "allowed at the least: "+figures.Rate(least))
	}
	row.Details = strings.Join(details, "; ")
	return row
}
