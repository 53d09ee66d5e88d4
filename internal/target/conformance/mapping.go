package conformance

import (
	"encoding/csv"
	"strings"
	"testing"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/target"
)

// Load creates the records of a CSV file as a mapping makes them, in one call, and returns them as the target shows them.
func Load(t *testing.T, a target.Adapter, mappingFile []byte, file string) []target.Entity {
	t.Helper()
	m, err := mapping.Parse("mapping.yaml", mappingFile)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(strings.NewReader(file)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	records, err := m.Compile(rows[0])
	if err != nil {
		t.Fatal(err)
	}
	var sent []target.Record
	for _, fields := range rows[1:] {
		json, err := records.AppendJSON(nil, fields)
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.Encode(json, target.NewTag(run, newNumber()))
		if err != nil {
			t.Fatalf("%s: %v", json, err)
		}
		sent = append(sent, r)
	}
	answer := a.Create(t.Context(), sent)
	if answer.Err != nil {
		t.Fatalf("Create: %v (%s)", answer.Err, answer.Words())
	}
	found := make([]target.Entity, len(sent))
	for i, r := range answer.Results {
		if r.Err != nil {
			t.Fatalf("record %d: %v (%s)", i, r.Err, r.Err.Words)
		}
		if found[i], err = a.Get(t.Context(), target.Ref{ID: r.ID}); err != nil {
			t.Fatal(err)
		}
	}
	return found
}
