package workflows

import (
	"fmt"
	"time"

	"go.temporal.io/sdk/workflow"

	"durable-dataload/activities"
	"durable-dataload/internal/figures"
)

const (
	// New records can stay invisible to look-ups for minutes. A round retries for
	// this long; what is still invisible waits for the next round.
	invisibleFor        = 3 * time.Minute
	shortestLookupPause = time.Second // doubling
	longestLookupPause  = 30 * time.Second
)

// resolveDuplicates finds out whose the records are that the target refused as
// duplicates in a round, and retries for those that it does not show yet.
func resolveDuplicates(ctx workflow.Context, run activities.Run, round, duplicates int, pause func(d time.Duration, forWhat string) error) (resolved activities.Resolved, err error) {
	if duplicates == 0 {
		return resolved, nil
	}
	start := workflow.Now(ctx)
	for after := shortestLookupPause; ; after = min(2*after, longestLookupPause) {
		in := activities.ResolveInput{Run: run, Round: round, Again: after > shortestLookupPause, Last: workflow.Now(ctx).Sub(start) >= invisibleFor}
		if err := execute(ctx, fmt.Sprintf("whose are the %d duplicates of round %d?", duplicates, round), a.ResolveDuplicates, in, &resolved); err != nil {
			return resolved, err
		}
		if resolved.Invisible == 0 || in.Last {
			return resolved, nil
		}
		if err := pause(after, "for "+figures.Count(resolved.Invisible, "record")+" to show"); err != nil {
			return resolved, err
		}
	}
}
