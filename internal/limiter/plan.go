package limiter

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Plan is a timetable of the pace. Its zero value, and nil, hold nothing back.
type Plan struct {
	zone    *time.Location
	entries []planned
}

// planned is one entry of a plan.
type planned struct {
	other    bool    // else
	days     string  // as it was written, "" = every day
	on       [7]bool // by time.Weekday
	from, to int     // minutes of the day; equal: all day
	rate     planRate
}

// planRate is a rate as it was written; the zero value is no calls.
type planRate struct {
	calls float64
	unit  string
}

func (r planRate) perSecond() float64 {
	if r.calls == 0 {
		return 0
	}
	return r.calls / units[r.unit]
}

func (r planRate) String() string {
	if r.calls == 0 {
		return "off"
	}
	return strconv.FormatFloat(r.calls, 'g', -1, 64) + "/" + r.unit
}

var (
	everyDay = [7]bool{true, true, true, true, true, true, true}
	units    = map[string]float64{"s": 1, "min": 60, "h": 3600}
	weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}
)

// Rates that a plan may have, in calls a second: those that --rate-limit takes.
const (
	lowestRate  = 0.001
	highestRate = 100_000
)

// ParsePlan reads a timetable such as
//
//	zone Europe/Berlin; mon-fri 08:00-18:00 2/s; sat,sun off; else 10/s
//
// Entries stand between semicolons, and the first that matches counts. An entry
// is days (mon-fri, fri-mon, sat,sun, daily; left out: daily), a time
// (08:00-18:00; left out: all day) and a rate (2/s, 30/min, 100/h; off or 0/s: no
// calls). A time may span midnight, and belongs then to the day on which it
// begins: "sat 22:00-06:00 off" ends on Sunday. The entry else, the last, is for
// all other times; without it nothing but the rate limit holds then.
//
// Days and times are those of a clock on the wall: of the zone that the first
// entry names (a name of the IANA database), else of zone, else of UTC. An hour
// that a clock shows twice is twice in the plan, one that it skips not at all.
//
// An empty text is a plan that holds nothing back. An error says which entry it
// is about.
func ParsePlan(text string, zone *time.Location) (*Plan, error) {
	if zone == nil {
		zone = time.UTC
	}
	p := &Plan{zone: zone}
	if strings.TrimSpace(text) == "" {
		return p, nil
	}
	for n, entry := range strings.Split(text, ";") {
		if err := p.add(n, strings.Fields(strings.ToLower(entry)), strings.Fields(entry)); err != nil {
			return nil, fmt.Errorf("entry %d, %q: %w", n+1, strings.TrimSpace(entry), err)
		}
	}
	if len(p.entries) == 0 {
		return nil, fmt.Errorf("there is a zone and no entry; expected one such as mon-fri 08:00-18:00 2/s")
	}
	return p, nil
}

// add reads one entry, from its words in lower case and as they are.
func (p *Plan) add(n int, words, asGiven []string) error {
	switch {
	case len(words) == 0:
		return fmt.Errorf("it is empty; expected days, a time and a rate, such as mon-fri 08:00-18:00 2/s")
	case words[0] == "zone":
		return p.readZone(n, asGiven)
	case len(p.entries) > 0 && p.entries[len(p.entries)-1].other:
		return fmt.Errorf("it comes after else, which matches always; put else last")
	}
	var e planned
	var err error
	last := len(words) - 1
	if e.rate, err = parseRate(words[last]); err != nil {
		return err
	}
	words = words[:last]
	if len(words) == 1 && words[0] == "else" {
		e.other = true
		words = nil
	}
	if len(words) > 0 && !strings.Contains(words[0], ":") {
		if e.days, e.on, err = parseDays(words[0]); err != nil {
			return err
		}
		words = words[1:]
	} else {
		e.on = everyDay
	}
	if len(words) > 0 {
		if e.from, e.to, err = parseTimes(words[0]); err != nil {
			return err
		}
		words = words[1:]
	}
	if len(words) > 0 {
		return fmt.Errorf("%q is too much; expected days, a time and a rate, such as mon-fri 08:00-18:00 2/s", words[0])
	}
	p.entries = append(p.entries, e)
	return nil
}

func (p *Plan) readZone(n int, words []string) error {
	if n != 0 || len(words) != 2 {
		return fmt.Errorf("expected the zone as the first entry, such as zone Europe/Berlin")
	}
	zone, err := time.LoadLocation(words[1])
	if err != nil || words[1] == "Local" {
		// Local is another zone on another machine.
		return fmt.Errorf("there is no time zone %q; expected a name such as Europe/Berlin or UTC", words[1])
	}
	p.zone = zone
	return nil
}

func parseRate(word string) (r planRate, err error) {
	if word == "off" {
		return r, nil
	}
	number, unit, _ := strings.Cut(word, "/")
	calls, err := strconv.ParseFloat(number, 64)
	if err != nil || units[unit] == 0 || !(calls >= 0) {
		return r, fmt.Errorf("%q is not a rate; expected 2/s, 30/min, 100/h or off", word)
	}
	if calls == 0 {
		return r, nil
	}
	r = planRate{calls, unit}
	if a := r.perSecond(); a < lowestRate || a > highestRate {
		return r, fmt.Errorf("the rate %s is out of range; expected %v to %v calls a second, or off", word, lowestRate, highestRate)
	}
	return r, nil
}

func parseDays(word string) (days string, on [7]bool, err error) {
	if word == "daily" {
		return "", everyDay, nil
	}
	for part := range strings.SplitSeq(word, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, to := weekday(first), weekday(last)
		if from < 0 || to < 0 {
			return "", on, fmt.Errorf("%q are no days; expected mon-fri, sat,sun or daily, with mon, tue, wed, thu, fri, sat, sun", word)
		}
		for day := from; ; day = (day + 1) % 7 {
			on[day] = true
			if day == to {
				break
			}
		}
	}
	return word, on, nil
}

func weekday(name string) int {
	for i, w := range weekdays {
		if w == name {
			return i
		}
	}
	return -1
}

func parseTimes(word string) (from, to int, err error) {
	first, last, _ := strings.Cut(word, "-")
	from, to = minutes(first), minutes(last)
	switch {
	case from < 0 || from == day || to < 0:
		return 0, 0, fmt.Errorf("%q is not a time; expected 08:00-18:00, with 00:00 to 24:00", word)
	case from == to%day && to != day || from == to:
		return 0, 0, fmt.Errorf("the time %s is empty; leave it out for the whole day", word)
	case from == 0 && to == day:
		return 0, 0, nil // all day
	}
	return from, to % day, nil
}

// day is the minutes of one.
const day = 24 * 60

// minutes reads 08:00, -1 if it is none.
func minutes(clock string) int {
	h, m, ok := strings.Cut(clock, ":")
	hours, err := strconv.ParseUint(h, 10, 8)
	if err != nil || !ok || len(h) > 2 || len(m) != 2 {
		return -1
	}
	rest, err := strconv.ParseUint(m, 10, 8)
	if err != nil || rest > 59 || hours*60+rest > day {
		return -1
	}
	return int(hours*60 + rest)
}

// String is the plan as ParsePlan reads it, with its zone. It is "" for one that
// holds nothing back.
func (p *Plan) String() string {
	if p == nil || len(p.entries) == 0 {
		return ""
	}
	text := "zone " + p.zone.String()
	for _, e := range p.entries {
		text += ";"
		if e.other {
			text += " else"
		}
		if e.days != "" {
			text += " " + e.days
		}
		if e.from != e.to {
			to := e.to
			if to == 0 {
				to = day
			}
			text += fmt.Sprintf(" %02d:%02d-%02d:%02d", e.from/60, e.from%60, to/60, to%60)
		}
		text += " " + e.rate.String()
	}
	return text
}

// At is how many calls a second the plan allows at t: 0 = none, +Inf where it
// holds nothing back. It changes at until; zero if it never does.
func (p *Plan) At(t time.Time) (perSecond float64, until time.Time) {
	perSecond = p.rate(t)
	if p == nil || len(p.entries) == 0 {
		return perSecond, time.Time{}
	}
	// A week and a day sees every change, also where a clock is set. The steps
	// are those of the clock on the wall.
	first := t.Add(-time.Duration(t.In(p.zone).Second())*time.Second - time.Duration(t.Nanosecond()))
	for i := 1; i <= 8*day; i++ {
		if next := first.Add(time.Duration(i) * time.Minute); p.rate(next) != perSecond {
			return perSecond, next
		}
	}
	return perSecond, time.Time{}
}

func (p *Plan) rate(t time.Time) float64 {
	if p == nil {
		return math.Inf(1)
	}
	t = t.In(p.zone)
	for _, e := range p.entries {
		if e.matches(t.Weekday(), 60*t.Hour()+t.Minute()) {
			return e.rate.perSecond()
		}
	}
	return math.Inf(1)
}

func (e planned) matches(today time.Weekday, minute int) bool {
	switch {
	case e.from == e.to:
		return e.on[today]
	case e.from < e.to || e.to == 0:
		return e.on[today] && minute >= e.from && (minute < e.to || e.to == 0)
	}
	yesterday := (today + 6) % 7
	return e.on[today] && minute >= e.from || e.on[yesterday] && minute < e.to
}
