package artifacts

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"

	"durable-dataload/internal/migration"
)

//go:embed report.html
var reportPage string

var reportTemplate = template.Must(template.New("report").Parse(reportPage))

// report makes the summary readable: one page, no script, no network.
func report(s migration.Summary) ([]byte, error) {
	var b bytes.Buffer
	err := reportTemplate.Execute(&b, struct {
		migration.Summary
		Duration string
		Advice   string
	}{s, s.FinishedAt.Sub(s.StartedAt).Round(1e9).String(), Advice(s)})
	return b.Bytes(), err
}

// Advice says how to go on, in one sentence.
func Advice(s migration.Summary) string {
	if left := s.Records.Remaining + s.Records.Unknown; s.Cancelled && left > 0 {
		return fmt.Sprintf("The migration was cancelled: %d records were not attempted, or are in an unknown state. The same command does not go on.", left)
	}
	switch s.Records.ExitCode() {
	case migration.ExitStopped:
		return "The migration was stopped. The same command goes on with the remaining records."
	case migration.ExitUnknown:
		return "Some records are still in an unknown state: those of " + *s.Files.Unresolved + ". When the target is well again, the same command goes on with them."
	case migration.ExitFailed:
		reasons := s.Files.Fail
		if s.Files.UpdateFail != nil {
			reasons += " and " + *s.Files.UpdateFail
		}
		return "Some records failed. Their reasons are in " + reasons + "; mend the records in " + s.Files.FailRecords + " and load that file."
	}
	return "Every record is in the target."
}
