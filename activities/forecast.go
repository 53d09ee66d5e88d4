package activities

import (
	"context"
	"slices"
	"time"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
)

// ForecastInput asks how long the batches of round 0 after these ones take.
type ForecastInput struct {
	Run `json:"run"`
	// Loaded is how many batches were loaded, from the first on.
	Loaded int `json:"loaded"`
}

// Forecast is how long the rest of a round takes, by the calls that were made.
type Forecast struct {
	Calls   int           `json:"calls"` // whose answer came
	Median  time.Duration `json:"median"`
	Longest time.Duration `json:"longest"`
	Left    int           `json:"left"` // batches
	// Takes is the time that these need at the present pace if the calls take as long as
	// before, without retry rounds. 0 if no answer came.
	Takes time.Duration `json:"takes"`
}

// Forecast reads the calls of the first batches of round 0 from the ledger and changes
// nothing: a batch whose worker died is left undecided.
func (a *Activities) Forecast(ctx context.Context, in ForecastInput) (Forecast, error) {
	return onRun(ctx, a.migration, in.Run, (*migrationRun).forecast, in)
}

func (m *migrationRun) forecast(ctx context.Context, in ForecastInput) (f Forecast, err error) {
	var took []time.Duration
	for batch := 1; batch <= in.Loaded; batch++ {
		err := m.ledger.Visit(ctx, ledger.Key{Batch: batch}, nil, func(_ ledger.Key, outcomes ledger.Outcomes) {
			if outcomes.Took > 0 {
				took = append(took, outcomes.Took)
			}
		}, func([]int, bool) {})
		if err != nil {
			return f, err
		}
	}
	f.Calls, f.Left = len(took), m.index.Batches()-in.Loaded
	if len(took) == 0 {
		return f, nil
	}
	slices.Sort(took)
	f.Median, f.Longest = took[len(took)/2], took[len(took)-1]
	set := m.gate.State()
	limits := migration.Limits{RateLimit: set.Limit, Workers: set.Places}
	f.Takes = limits.Time(int64(f.Left), f.Median)
	return f, nil
}
