package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"durable-dataload/internal/migration"
)

// outcome is the result of one of several inputs.
type outcome struct {
	input   input
	code    int
	summary *migration.Summary
	result  string // in a few words
}

// all runs the migrations of several inputs, one after the other, and gives the worst exit
// code.
func (c *command) all(ctx context.Context) (int, error) {
	var outcomes []outcome
	for _, in := range c.inputs {
		switch {
		case in.left:
			c.Screen.Say(fmt.Sprintf("%s is skipped: its name is that of a result file; give it alone to load it.", in.given))
			continue
		case c.IsStopped():
			outcomes = append(outcomes, outcome{in, migration.ExitStopped, nil, "not started"})
			continue
		}
		o, err := c.next(ctx, in)
		if err != nil {
			return 0, err
		}
		outcomes = append(outcomes, o)
	}
	if err := printOutcomes(c.Screen, outcomes); err != nil {
		return 0, err
	}
	return worst(outcomes), nil
}

// next runs one of several migrations. After an error the next one still runs; a usage
// error ends the command.
func (c *command) next(ctx context.Context, in input) (outcome, error) {
	code, summary, err := c.one(ctx, in)
	var done *doneError
	var wrong usageError
	switch {
	case errors.As(err, &done):
		c.Screen.Say(fmt.Sprintf("%s was done already, %s UTC.", in.given, done.summary.FinishedAt.Format(time.DateTime)))
		return outcome{in, done.summary.Records.ExitCode(), &done.summary, "done already"}, nil //nolint:nilerr // it was reported
	case errors.As(err, &wrong):
		return outcome{}, err
	case err != nil:
		c.Screen.Say("starter: " + err.Error())
		return outcome{in, migration.ExitCannotRun, nil, "could not run"}, nil //nolint:nilerr // it was reported
	}
	result := map[int]string{
		migration.ExitDone: "done", migration.ExitFailed: "done, with failed records", migration.ExitUnknown: "records still unknown", migration.ExitStopped: "stopped",
	}[code]
	return outcome{in, code, summary, result}, nil
}

// worst is the most severe exit code.
func worst(outcomes []outcome) int {
	for _, code := range []int{migration.ExitCannotRun, migration.ExitStopped, migration.ExitUnknown, migration.ExitFailed} {
		if slices.ContainsFunc(outcomes, func(o outcome) bool { return o.code == code }) {
			return code
		}
	}
	return migration.ExitDone
}
