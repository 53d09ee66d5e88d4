package artifacts

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
)

// charts are the drawings of a timeline, which share one time axis. A drawing is 1000 wide
// and 100 high, and scaled by the page: it has no text in it, so that text keeps its size on
// a small screen.
type charts struct {
	Drawings []chart
	Lanes    []lane
	Shades   []shade // times without calls, behind all drawings
	Marks    string  // a line for each change by an operator, before all drawings
	Times    []tick
	Day      string // of the first time
	Untimed  string // what is not in the drawings; "" if nothing
}

const (
	chartWidth  = 1000.0
	chartHeight = 100.0
)

type chart struct {
	ID, Title, Text string // Text is the content in words
	Series          []series
	Scale           []tick
}

// series is one line, or one set of bars.
type series struct{ Class, Name, Path string }

// tick is a label at a position, in percent from the left or from the bottom. Unix is the time that it names, if it does.
type tick struct {
	At   float64
	Text string
	Unix int64
}

// lane shows intervals, or numbered points, on the time axis.
type lane struct {
	Name   string
	Spans  []shade
	Labels []tick
}

// shade is an interval of the time axis, in units of the drawing.
type shade struct {
	X, Width float64
	Text     string
}

// axis maps times to positions.
type axis struct {
	from, to time.Time
}

func (a axis) x(t time.Time) float64 {
	share := float64(t.Sub(a.from)) / float64(a.to.Sub(a.from))
	return round1(chartWidth * min(max(share, 0), 1))
}

func (a axis) span(s span, text string) shade {
	from, to := a.x(s.first), a.x(s.last)
	width := max(to-from, 4) // a short one is visible
	return shade{min(from, chartWidth-width), round1(width), text + ", " + clock(s.first) + " to " + clock(s.last)}
}

// drawn returns the charts of a timeline, nil if there is nothing to show.
func drawn(tl *Timeline, d Details) *charts {
	if tl == nil || !tl.isDrawn() {
		return nil
	}
	a := axis{tl.begin(0), tl.begin(len(tl.intervals))}
	all := &charts{Day: tl.start.Format("2 January 2006")}
	all.Times = a.ticks()
	history := historyOf(d.Events, tl)
	for _, h := range slices.Concat(history.paused, history.open, history.idle) {
		all.Shades = append(all.Shades, a.span(h.span, h.text))
	}
	for _, e := range shownChanges(d.Events) {
		all.Marks += "M" + number1(a.x(e.At)) + " 0V100"
	}
	all.Drawings = []chart{tl.throughput(), tl.outcomes(a, allowedRate(d, tl))}
	if tl.all.count > 0 {
		all.Drawings = append(all.Drawings, tl.latency())
	}
	all.Lanes = tl.lanes(a, history, d.Events)
	all.Untimed = tl.whatIsMissing()
	return all
}

// whatIsMissing says how many calls have no time or no duration.
func (tl *Timeline) whatIsMissing() string {
	var missing []string
	if tl.untimed > 0 {
		missing = append(missing, "Not shown, since their time is not known: "+figures.Count(tl.untimed, "call")+".")
	}
	if tl.unmeasured > 0 {
		missing = append(missing, "Shown at their start and without a latency, since their worker died: "+figures.Count(tl.unmeasured, "call")+".")
	}
	return strings.Join(missing, " ")
}

// ticks are times of a clock, as many as a small screen can show.
func (a axis) ticks() (all []tick) {
	span := a.to.Sub(a.from)
	step := widths[0]
	most := 6
	if span < 6*time.Minute || span > 24*time.Hour { // seconds, or days, take more room
		most = 4
	}
	for i := 0; span > time.Duration(most)*step; i++ {
		if i < len(widths) {
			step = widths[i]
		} else {
			step *= 2
		}
	}
	layout := "2 Jan 15:04"
	switch {
	case step < time.Minute:
		layout = "15:04:05"
	case step >= 24*time.Hour:
		layout = "2 Jan"
	case span <= 24*time.Hour:
		layout = "15:04"
	}
	for t := a.from.Truncate(step); !t.After(a.to); t = t.Add(step) {
		if at := a.x(t) / chartWidth * 100; !t.Before(a.from) && at <= 95 {
			all = append(all, tick{round1(at), t.Format(layout), t.Unix()})
		}
	}
	return all
}

// throughput draws the records a second.
func (tl *Timeline) throughput() chart {
	rates, top, at := make([]float64, len(tl.intervals)), 0.0, 0
	settled := 0
	for i, s := range tl.intervals {
		rates[i] = float64(s.settled) / tl.seconds(i)
		settled += s.settled
		if rates[i] > top {
			top, at = rates[i], i
		}
	}
	scale := scaleTo(top)
	ch := chart{ID: "throughput", Title: "Records a second", Scale: scale.ticks()}
	ch.Series = []series{{"a", "records that got an outcome", tl.bars(scale, nil, rates)}}
	ch.Text = fmt.Sprintf("%s a second on average, %s at most, at %s.",
		records(float64(settled)/max(1, tl.end.Sub(tl.start).Seconds())), figures.Figure(top), clock(tl.within(tl.begin(at))))
	return ch
}

// outcomes draws the calls a second, by outcome, and how many were allowed.
func (tl *Timeline) outcomes(a axis, allowed []step) chart {
	n := len(tl.intervals)
	answered, refused, unknown := make([]float64, n), make([]float64, n), make([]float64, n)
	var sum interval
	top := 0.0
	for i, s := range tl.intervals {
		seconds := tl.seconds(i)
		answered[i], refused[i], unknown[i] = float64(s.answered)/seconds, float64(s.refused)/seconds, float64(s.unknown)/seconds
		top = max(top, float64(s.calls())/seconds)
		sum.answered, sum.refused, sum.unknown = sum.answered+s.answered, sum.refused+s.refused, sum.unknown+s.unknown
	}
	highest := 0.0
	for _, s := range allowed {
		for _, rate := range []float64{s.rate, s.to} {
			if rate > highest && rate <= 2*top {
				highest = rate
			}
		}
	}
	scale := scaleTo(max(top, highest))
	ch := chart{ID: "calls", Title: "Calls a second, by outcome", Scale: scale.ticks()}
	low := slices.Clone(answered)
	ch.Series = append(ch.Series, series{"a", "answered", tl.bars(scale, nil, answered)})
	ch.Text = fmt.Sprintf("Of %s %s answered, %s refused as a whole, and %s of unknown outcome.", figures.Count(sum.calls(), "call"),
		were(sum.answered), were(sum.refused), were(sum.unknown))
	if sum.refused > 0 {
		ch.Series = append(ch.Series, series{"b", "refused", tl.bars(scale, low, refused)})
		for i := range low {
			low[i] += refused[i]
		}
	}
	if sum.unknown > 0 {
		ch.Series = append(ch.Series, series{"c", "unknown", tl.bars(scale, low, unknown)})
	}
	if line := allowedLine(a, scale, allowed); line != "" {
		ch.Series = append(ch.Series, series{"l dash", "allowed", line})
	}
	return ch
}

func were(n int) string { return figures.Number(n) + figures.Plural(n, " was", " were") }

// latency draws how long calls took, on a scale of powers of ten.
func (tl *Timeline) latency() chart {
	bottom, top := math.Inf(1), math.Inf(-1)
	power := func(d time.Duration) float64 { return math.Log10(max(d, time.Microsecond).Seconds()) }
	for _, s := range tl.intervals {
		if s.took.count > 0 {
			bottom, top = min(bottom, power(s.took.quantile(.5))), max(top, power(s.took.longest))
		}
	}
	bottom, top = math.Floor(bottom), math.Ceil(top)
	if top == bottom {
		top++
	}
	ch := chart{ID: "latency", Title: "Time that a call took"}
	if ch.Text = "The only call took " + brief(tl.all.longest) + "."; tl.all.count > 1 {
		ch.Text = fmt.Sprintf("Half of the calls took %s or less, 95 %% %s or less; the longest took %s. A call without an answer counts with the time until it was abandoned.",
			brief(tl.all.quantile(.5)), brief(tl.all.quantile(.95)), brief(tl.all.longest))
	}
	for p := bottom; p <= top; p++ {
		ch.Scale = append(ch.Scale, tick{At: round1(100 * (p - bottom) / (top - bottom)), Text: brief(time.Duration(math.Round(math.Pow(10, p)*1e6)) * time.Microsecond)})
	}
	line := func(value func(latencies) time.Duration) string {
		var b strings.Builder
		before := false
		for i, s := range tl.intervals {
			if s.took.count == 0 {
				before = false
				continue
			}
			y := number1(chartHeight * (1 - (power(value(s.took))-bottom)/(top-bottom)))
			if before {
				b.WriteString("V" + y)
			} else {
				b.WriteString("M" + tl.left(i) + " " + y)
			}
			b.WriteString("H" + tl.left(i+1))
			before = true
		}
		return b.String()
	}
	ch.Series = []series{
		{"l thin", "longest", line(func(l latencies) time.Duration { return l.longest })},
		{"l dash", "95 %", line(func(l latencies) time.Duration { return l.quantile(.95) })},
		{"l", "median", line(func(l latencies) time.Duration { return l.quantile(.5) })},
	}
	return ch
}

// left is where a interval begins.
func (tl *Timeline) left(i int) string {
	return number1(chartWidth * float64(i) / float64(len(tl.intervals)))
}

// bars draws one bar for each interval, on top of what is below it.
func (tl *Timeline) bars(s scale, below, values []float64) string {
	var b strings.Builder
	for i, v := range values {
		if v == 0 {
			continue
		}
		low := 0.0
		if below != nil {
			low = below[i]
		}
		b.WriteString("M" + tl.left(i) + " " + s.y(low) + "V" + s.y(low+v) + "H" + tl.left(i+1) + "V" + s.y(low) + "Z")
	}
	return b.String()
}

// scale goes from 0 to a round number.
type scale struct{ top float64 }

func scaleTo(top float64) scale {
	if top <= 0 {
		return scale{1}
	}
	power := math.Pow(10, math.Floor(math.Log10(top)))
	for _, m := range []float64{1, 2, 3, 4, 5, 6, 8, 10} {
		if m*power >= top*0.9999 {
			return scale{m * power}
		}
	}
	return scale{10 * power}
}

func (s scale) y(value float64) string {
	return number1(chartHeight * (1 - min(value/s.top, 1)))
}

func (s scale) ticks() []tick {
	return []tick{{At: 0, Text: "0"}, {At: 50, Text: figures.Figure(s.top / 2)}, {At: 100, Text: figures.Figure(s.top)}}
}

// allowedLine draws what is allowed, where that is within the drawing.
func allowedLine(a axis, s scale, steps []step) string {
	var b strings.Builder
	before := false
	for i, st := range steps {
		if st.rate == 0 || st.rate > s.top*1.0001 {
			before = false
			continue
		}
		from, to := a.x(st.from), chartWidth
		if i+1 < len(steps) {
			to = a.x(steps[i+1].from)
		}
		if before {
			b.WriteString("V" + s.y(st.rate))
		} else {
			b.WriteString("M" + number1(from) + " " + s.y(st.rate))
		}
		before = true
		switch {
		case st.to > s.top*1.0001: // it exceeds the drawing
			to = from + (to-from)*(s.top-st.rate)/(st.to-st.rate)
			before = false
			fallthrough
		case st.to > st.rate:
			b.WriteString("L" + number1(to) + " " + s.y(st.to))
		default:
			b.WriteString("H" + number1(to))
		}
	}
	return b.String()
}

// lanes draws rounds, changes and events on the same time axis.
func (tl *Timeline) lanes(a axis, h history, events []migration.Event) (all []lane) {
	rounds := lane{Name: "rounds"}
	for _, n := range tl.roundNumbers() {
		s := a.span(tl.rounds[n].span, fmt.Sprintf("round %d", n))
		rounds.Spans = append(rounds.Spans, s)
		rounds.label(s.X+s.Width/2, strconv.Itoa(n))
	}
	all = append(all, rounds)
	if !tl.updates.first.IsZero() {
		all = append(all, lane{Name: "updates", Spans: []shade{a.span(tl.updates, "updates")}})
	}
	changes, decisions := lane{Name: "changes"}, lane{Name: "decisions"}
	for i, e := range shownChanges(events) {
		x := a.x(e.At)
		changes.Spans = append(changes.Spans, a.span(span{e.At, e.At}, fmt.Sprintf("change %d: %s", i+1, e.Name)))
		changes.label(x, strconv.Itoa(i+1))
	}
	for _, e := range events {
		if e.Kind == migration.EventDecision && len(decisions.Spans) < shownEvents {
			decisions.Spans = append(decisions.Spans, a.span(span{e.At, e.At}, string(e.Kind)))
		}
	}
	all = append(all, changes)
	for name, times := range h.each {
		l := lane{Name: name}
		for _, t := range times {
			l.Spans = append(l.Spans, a.span(t.span, t.text))
		}
		all = append(all, l)
	}
	all = append(all, decisions)
	return slices.DeleteFunc(all, func(l lane) bool { return len(l.Spans) == 0 })
}

// label puts a text at x, unless it would cover the one before it.
func (l *lane) label(x float64, text string) {
	at := round1(x / chartWidth * 100)
	if n := len(l.Labels); n == 0 || at-l.Labels[n-1].At >= 4 {
		l.Labels = append(l.Labels, tick{At: at, Text: text})
	}
}

func round1(f float64) float64 { return math.Round(f*10) / 10 }

func clock(t time.Time) string { return t.UTC().Format("2 Jan 15:04:05") }

func number1(f float64) string { return strconv.FormatFloat(round1(f), 'f', -1, 64) }

func records(f float64) string {
	if text := figures.Figure(f); text != "1" {
		return text + " records"
	}
	return "1 record"
}

// brief is a duration for people, to two digits.
func brief(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return strconv.FormatInt(d.Microseconds(), 10) + " µs"
	case d < time.Second:
		return strconv.FormatFloat(float64(d)/1e6, 'f', digitsBehind(float64(d)/1e6), 64) + " ms"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', digitsBehind(d.Seconds()), 64) + " s"
}

func digitsBehind(f float64) int {
	if f < 10 && f != math.Trunc(f) {
		return 1
	}
	return 0
}
