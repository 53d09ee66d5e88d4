package main

import (
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/pace"
)

// paceOptions bound the calls of every command that calls the target.
type paceOptions struct {
	limits  migration.Limits
	timeout seconds
}

func (o *paceOptions) addFlags(f *pflag.FlagSet) {
	f.IntVarP(&o.limits.Workers, "workers", "w", 10, "calls in flight at most")
	o.timeout = seconds(10 * time.Second)
	f.VarP(&o.timeout, "timeout", "o", "time for one call, in seconds")
	f.Float64VarP(&o.limits.RateLimit, "rate-limit", "r", 4, "calls a second at most; 0 = no limit")
}

// addPlanFlags adds what only a migration has.
func (o *paceOptions) addPlanFlags(f *pflag.FlagSet) {
	f.StringVar(&o.limits.RatePlan, "rate-plan", "", `timetable of the rate, below --rate-limit: "zone Europe/Berlin; mon-fri 08:00-18:00 2/s; else 10/s" (docs/pace.md)`)
	f.IntVar(&o.limits.Breaker, "breaker", 5, "calls of unknown outcome in a row after which the target is only probed until it answers again; 0 = never")
}

func (o *paceOptions) complete() error {
	if err := migration.CheckRate(o.limits.RateLimit); err != nil {
		return usage("--rate-limit: %w", err)
	}
	plan, err := pace.ParsePlan(o.limits.RatePlan, nil)
	if err != nil {
		return usage("--rate-plan: %w", err)
	}
	o.limits.RatePlan = plan.String()
	return checkRanges([]optionRange{
		{"workers", float64(o.limits.Workers), 1, migration.MaxWorkers},
		{"timeout", time.Duration(o.timeout).Seconds(), 0.1, 3600},
		{"breaker", float64(o.limits.Breaker), 0, migration.MaxBreaker},
	})
}

// loadOptions say how the records of a file are cut into calls and workflows.
type loadOptions struct {
	batchSize  int
	partitions int
}

func (o *loadOptions) addBatchFlag(f *pflag.FlagSet) {
	f.IntVarP(&o.batchSize, "batch-size", "b", 100, "records in one call; 10 with --sandbox")
}

func (o *loadOptions) addPartitionsFlag(f *pflag.FlagSet) {
	f.IntVar(&o.partitions, "partitions", 0, "workflows that load in parallel, at one pace; 0 = by the size of the file")
}

func (o *loadOptions) complete(f *pflag.FlagSet, sandbox bool) error {
	if sandbox && !f.Changed("batch-size") {
		o.batchSize = 10
	}
	return checkRanges([]optionRange{
		{"batch-size", float64(o.batchSize), 1, migration.MaxBatchSize},
		{"partitions", float64(o.partitions), 0, 100},
	})
}
