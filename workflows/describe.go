package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/migration"
)

// Summary is the line by which a list of workflows tells a migration.
func Summary(spec migration.Spec) string {
	return fmt.Sprintf("%s → %s (%s)", spec.InputName(), spec.Target.Host(), spec.Target.EntityType)
}

// Details are what was asked for. shown is how a person knows the input.
func Details(spec migration.Spec, shown string) string {
	rate := "no rate limit"
	if spec.RateLimit > 0 {
		rate = fmt.Sprintf("%g a second at most", spec.RateLimit)
	}
	text := fmt.Sprintf("Input `%s`, SHA-256 `%s`. Results in `%s`. As it began: %d records a call, %d calls in flight, %s, %d retry rounds.",
		shown, spec.SHA256, spec.OutputDir, spec.BatchSize, spec.Workers, rate, spec.RetryRounds)
	if spec.RatePlan != "" {
		text += fmt.Sprintf(" Timetable: `%s`.", spec.RatePlan)
	}
	return text
}

// Attributes are the search attributes with which a migration starts.
func Attributes(spec migration.Spec) temporal.SearchAttributes {
	return temporal.NewSearchAttributes(
		AttributeFile.ValueSet(spec.InputName()),
		AttributeTarget.ValueSet(spec.Target.Host()),
		AttributePhase.ValueSet(string(PhaseInspecting)),
	)
}
