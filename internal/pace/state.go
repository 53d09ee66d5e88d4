package pace

import "time"

// State is how a gate stands: numbers, and classes of reasons. It goes into
// heartbeats and results, so it holds no user data.
type State struct {
	// Limit is the calls a second that are set, or planned for now; Allowed is
	// what is left of it after what the target's answers asked for. 0 = no limit.
	Limit   float64 `json:"limit"`
	Allowed float64 `json:"allowed"`
	// Places is how many calls may be in flight.
	Places int `json:"places"`
	// Closed says why no calls are made now, for people, and Since when: somebody
	// paused, the timetable allows no calls, the target asked to wait, or the breaker
	// is open. "" if calls are made.
	Closed string    `json:"closed,omitempty"`
	Since  time.Time `json:"since,omitzero"`
	// Paused says that it is closed because somebody paused.
	Paused bool `json:"paused,omitempty"`
	// Breaker says that the breaker is open; the next probe is made at Probe.
	Breaker bool      `json:"breaker,omitempty"`
	Probe   time.Time `json:"probe,omitzero"`
}
