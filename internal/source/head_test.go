package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHeadReadsTheFirstRecords(t *testing.T) {
	long := "email,name\n" + strings.Repeat("a@example.com,\"A\nA\"\n", 200_000)
	for name, c := range map[string]struct {
		text    string
		n       int
		records int
		refused bool
	}{
		"all of a few":           {"email\na\nb\n", 5, 2, false},
		"the header alone":       {"email\na\n", 0, 0, false},
		"no record":              {"email\n", 3, 0, false},
		"some of many":           {long, 3, 3, false},
		"what is wrong later":    {long + "\xff", 3, 3, false},
		"what is wrong at once":  {"email,email\na,b\n", 3, 0, true},
		"a quote without an end": {"email\na\n\"b\n", 3, 0, true},
	} {
		path := filepath.Join(t.TempDir(), "users.csv")
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		header, records, err := Head(t.Context(), path, c.n, InspectOptions{})
		if refusal := new(Refusal); c.refused != errors.As(err, &refusal) || !c.refused && err != nil {
			t.Errorf("%s: error %v", name, err)
			continue
		}
		if c.refused {
			continue
		}
		if len(records) != c.records || header.Names[0] != "email" {
			t.Errorf("%s: %d records below %q, want %d", name, len(records), header.Names, c.records)
		}
		for i, r := range records {
			if fields, err := header.Fields(r.Raw); err != nil || r.Number != int64(i+1) || fields[0] == "" {
				t.Errorf("%s: record %d has %q, %v", name, r.Number, fields, err)
			}
		}
	}
}
