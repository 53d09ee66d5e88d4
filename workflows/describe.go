package workflows

import (
	"fmt"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
)

// Summary describes a migration in a list of workflows.
func Summary(spec migration.Spec) string {
	return Line("%s → %s (%s)", spec.ShownName(), spec.Target.Host(), spec.Target.EntityType)
}

// Line is one line for a list of workflows, within the limit of the service.
func Line(format string, args ...any) string {
	return safetext.Cut(fmt.Sprintf(format, args...), mostLine)
}

const (
	mostLine    = 350   // bytes; the service rejects more than 400
	mostDetails = 15000 // bytes, of 20,000
)

// Details are the options of a migration. shown is the name of the input for people.
func Details(spec migration.Spec, shown string) string {
	rate := "no rate limit"
	if spec.RateLimit > 0 {
		rate = figures.Rate(spec.RateLimit) + " at most"
	}
	text := fmt.Sprintf("Input %s, SHA-256 `%s`. Results in %s. As it began: %s a call, %s in flight, %s, %s.",
		safetext.Code(shown), spec.SHA256, safetext.Code(spec.OutputDir), figures.Count(spec.BatchSize, "record"), figures.Count(spec.Workers, "call"), rate, figures.Count(spec.RetryRounds, "retry round"))
	if spec.RatePlan != "" {
		text += fmt.Sprintf(" Timetable: %s.", safetext.Code(spec.RatePlan))
	}
	return safetext.Cut(text, mostDetails)
}

// Attributes are the search attributes with which a migration starts.
func Attributes(spec migration.Spec) temporal.SearchAttributes {
	return temporal.NewSearchAttributes(
		AttributeFile.ValueSet(spec.InputName()),
		AttributeTarget.ValueSet(spec.Target.Host()),
		AttributePhase.ValueSet(string(PhaseInspecting)),
	)
}
