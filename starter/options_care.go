package main

import (
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/migration"
)

// careOptions say what is checked before a file is loaded, and when a migration waits for
// a decision.
type careOptions struct {
	dryRun        bool
	noValidate    bool
	canary        int
	canaryTimeout seconds
	maxFailed     string
	again         bool
}

func (o *careOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.dryRun, "dry-run", "x", false, "write what would be sent to a file, and send nothing")
	f.BoolVar(&o.noValidate, "no-validate", false, "do not validate the input before a migration")
	f.IntVar(&o.canary, "canary", 0, "load this many records first, read them back, and wait for starter approve")
	f.Var(&o.canaryTimeout, "canary-timeout", "how long a canary waits for the approval until the migration stops; 0 = no limit")
	f.StringVar(&o.maxFailed, "max-failed", "", "wait for a decision once more records than this have failed: a number, or a part of all as in 2%; default: any number may fail")
	f.BoolVar(&o.again, "again", false, "load a file again that was migrated already")
}

func (o *careOptions) complete() error {
	if _, err := migration.ParseMaxFailed(o.maxFailed); err != nil {
		return usage("--max-failed: %w", err)
	}
	if o.canaryTimeout != 0 && o.canary == 0 {
		return usage("--canary-timeout is for --canary")
	}
	return checkRanges([]optionRange{
		{"canary", float64(o.canary), 0, 1e6},
		{"canary-timeout", time.Duration(o.canaryTimeout).Seconds(), 0, 365 * 24 * 3600},
	})
}
