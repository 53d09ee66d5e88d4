package artifacts

import (
	"bytes"
	"encoding/json"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/store"
)

// SummaryName is the name of the summary that belongs to a stamp.
func SummaryName(stamp string) string { return Name("summary", stamp, "json") }

// WriteSummary writes the report and then the summary: where there is a summary, all files
// that it names exist.
func WriteSummary(dir, stamp string, s migration.Summary, d Details) error {
	page, err := report(stamp, s, d)
	if err != nil {
		return err
	}
	if err := store.Write(store.Join(dir, s.Files.Report), page); err != nil {
		return err
	}
	data, err := MarshalSummary(s)
	if err != nil {
		return err
	}
	return store.Write(store.Join(dir, SummaryName(stamp)), data)
}

// MarshalSummary returns the bytes of summary_*.json.
func MarshalSummary(s migration.Summary) ([]byte, error) { return marshal(s) }

func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	err := e.Encode(value)
	return safetext.JSON(b.Bytes()), err
}
