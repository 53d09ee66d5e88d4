package limiter

import (
	"math"
	"time"
)

// Request is what a worker process sends the limiter: what it needs, and what its
// calls have come to since the request before. It holds no user data.
type Request struct {
	Worker string `json:"worker"` // one process; a restarted process is another worker
	Seq    int64  `json:"seq"`    // grows by one; a repeated request gets the same answer

	// Clock identifies the monotonic clock that Sent was read from: the boot of a
	// machine. Workers with the same Clock share start times exactly.
	Clock string        `json:"clock"`
	Sent  time.Duration `json:"sent"`
	// Travel is how long a request of this worker takes at most, there and back, as
	// far as it has measured.
	Travel time.Duration `json:"travel"`

	Needs   []Need   `json:"needs,omitempty"`
	Reports []Report `json:"reports,omitempty"` // in the order in which the calls ended
	// Leaving says that the worker makes no more calls: its slots are free at once.
	Leaving bool `json:"leaving,omitempty"`
}

// Need is what a worker needs for one run.
type Need struct {
	Run      string `json:"run"`
	Limits   Limits `json:"limits"`    // of the command line; those of an order replace them
	InFlight int    `json:"in_flight"` // calls
	Slots    int    `json:"slots"`     // those of InFlight, and those that calls need which are prepared or wait
	Ready    int    `json:"ready"`     // calls that have no start time
	// Lead is how long a call is prepared, from when it has a start time on: start times
	// that come sooner cannot be used.
	Lead time.Duration `json:"lead,omitempty"`
}

// Report is what calls of a run came to: Calls that say the target serves, or, if
// Reason is not empty, one that says something else.
type Report struct {
	Run   string `json:"run"`
	Calls int    `json:"calls"`
	// Ago is how long before Request.Sent the call, or the last of several, was sent.
	Ago time.Duration `json:"ago"`
	// Reason is a class for metrics and people, as "http 502".
	Reason string `json:"reason,omitempty"`
	// Unknown says that the target is to blame for a call of unknown outcome.
	Unknown bool `json:"unknown,omitempty"`
	// Fault says why no call can succeed until a person acts: the credentials, say.
	Fault string `json:"fault,omitempty"`
	// Busy says that the target asks for fewer calls, Crowded that it asks for fewer
	// at the same time, RetryAfter for how long it wants none.
	Busy       bool          `json:"busy,omitempty"`
	Crowded    bool          `json:"crowded,omitempty"`
	RetryAfter time.Duration `json:"retry_after,omitempty"`
	// Rate is, with Busy, the calls a second that the worker has begun lately: what was too
	// much may come with the first calls.
	Rate float64 `json:"rate,omitempty"`
}

// Answer is a lease: what the worker may do until Lease has passed since it sent
// the request, by its own monotonic clock. Afterwards it begins no call.
type Answer struct {
	Lease  time.Duration `json:"lease"`
	Grants []Grant       `json:"grants,omitempty"` // one for each need, in their order
	// Stale says that a later request of this worker was answered before: the worker
	// drops this one.
	Stale bool `json:"stale,omitempty"`
}

// Grant is the part of a lease that is for one run.
type Grant struct {
	Run   string `json:"run"`
	Slots int    `json:"slots"` // calls in flight at most
	// Starts are the moments at which one call each may begin, since Request.Sent, in
	// order; Every is the least between two calls of all workers. A start time that
	// passes unused lapses. Without a limit calls begin at any time, and Every is 0.
	Starts []time.Duration `json:"starts,omitempty"`
	Every  time.Duration   `json:"every,omitempty"`
	// AskAfter is how long after Request.Sent another request can be granted start
	// times, where this one was granted none or fewer than it asked for.
	AskAfter time.Duration `json:"ask_after,omitempty"`
	// Probe is the right to make one harmless call, and, if that says that the target
	// serves, one call of the run.
	Probe bool `json:"probe,omitempty"`
	// Hungry says that fewer start times were granted than were asked for.
	Hungry bool `json:"hungry,omitempty"`
	State  Gate `json:"state"`
	// Changes are those of the pace since the last grant for the run, to any worker:
	// the worker that is given them writes them down.
	Changes []Change `json:"changes,omitempty"`
}

// Gate is how the limiter stands for one run, for people and metrics: numbers, and
// classes of reasons. It goes into heartbeats and results, so it holds no user data.
type Gate struct {
	// Limit is the calls a second that are set, or planned for now; Allowed is what is
	// left of it after what the target's answers asked for. 0 = no limit.
	Limit   float64 `json:"limit"`
	Allowed float64 `json:"allowed"`
	// Slots is how many calls may be in flight, over all workers.
	Slots int `json:"places"`
	// Closed says why no calls are made now, for people, and Since when; "" if calls are
	// made.
	Closed string    `json:"closed,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	Paused bool      `json:"paused,omitempty"` // Closed, because an operator paused
	Ended  bool      `json:"ended,omitempty"`  // Closed for good
	// Breaker says that the breaker is open. If nothing else closes the limiter, the next
	// probe is made at Probe: it lets a call through, which a pause forbids.
	Breaker bool      `json:"breaker,omitempty"`
	Probe   time.Time `json:"probe,omitzero"`
}

// IsProbed reports whether the breaker alone keeps calls away, so that probes are made.
func (g Gate) IsProbed() bool { return !g.Probe.IsZero() }

// Limits bound the calls of a run.
type Limits struct {
	Rate    float64 `json:"rate"`           // calls a second, 0 = no limit
	Plan    string  `json:"plan,omitempty"` // a timetable of the rate, see ParsePlan
	Workers int     `json:"workers"`        // calls in flight
	Breaker int     `json:"breaker"`        // calls of unknown outcome in a row that open the breaker, 0 = none do
}

// At is the calls a second that people allow at a moment, where they allow any; 0 = no
// limit.
func (l Limits) At(now time.Time) float64 {
	planned := planOf(l.Plan).rate(now)
	if planned > 0 && !math.IsInf(planned, 1) && (l.Rate == 0 || planned < l.Rate) {
		return planned
	}
	return l.Rate
}

// Order changes what holds for a run, or for all runs.
type Order struct {
	Run string `json:"run,omitempty"` // "" = all runs into the target
	// Number grows with the orders for a run, and an order that comes late, after one with
	// a greater number, changes nothing. 0 is not compared.
	Number int64   `json:"number,omitempty"`
	Limits *Limits `json:"limits,omitempty"`
	// Pause closes the limiter for the run, with the text for people; Resume opens it.
	Pause  string `json:"pause,omitempty"`
	Resume bool   `json:"resume,omitempty"`
	// End says that no call of the run begins any more.
	End bool `json:"end,omitempty"`
	// By names the operator, if one has given the order, and Reason is theirs.
	By     string `json:"by,omitempty"`
	Reason string `json:"reason,omitempty"`
}
