package mapping

import (
	"encoding/csv"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Every example of the page must hold, and every key must be on the page.
func TestTheExamplesOfTheDocsHold(t *testing.T) {
	text, err := os.ReadFile("../../docs/mapping.md")
	must(t, err)
	page := string(text)
	examples := regexp.MustCompile("(?s)```yaml\n(.*?)```\n```csv\n(.*?)```\n```json\n(.*?)```").FindAllStringSubmatch(page, -1)
	if blocks := strings.Count(page, "```yaml"); len(examples) != blocks || blocks < 15 {
		t.Errorf("%d examples are whole, of %d", len(examples), blocks)
	}
	for _, e := range examples {
		rows, err := csv.NewReader(strings.NewReader(e[2])).ReadAll()
		if err != nil {
			t.Fatalf("%s: %v", e[2], err)
		}
		r, err := compile(t, e[1], rows[0]...)
		if err != nil {
			t.Errorf("%s: %v", e[1], err)
			continue
		}
		var got strings.Builder
		for _, fields := range rows[1:] {
			object, err := r.AppendJSON(nil, fields)
			if err != nil {
				object = []byte("cannot be sent: " + err.Error())
			}
			got.Write(append(object, '\n'))
		}
		if got.String() != e[3] {
			t.Errorf("%s\n%s\ngives\n%s\nthe page says\n%s", e[1], e[2], got.String(), e[3])
		}
	}
	source, err := os.ReadFile("parse.go")
	must(t, err)
	for _, key := range regexp.MustCompile(`(?m)^\t\t"([a-z-]+)":|known\["([a-z]+)"\]`).FindAllStringSubmatch(string(source), -1) {
		name := key[1] + key[2]
		if name != "version" && !strings.Contains(page, "`"+name) && !strings.Contains(page, name+":") {
			t.Errorf("the page does not have the key %s", name)
		}
	}
	for _, f := range slices.Concat(functions, ownFunctions) {
		if !strings.Contains(page, "`"+f+"`") {
			t.Errorf("the page does not have the function %s", f)
		}
	}
	for _, h := range hashes {
		if !strings.Contains(page, "`"+strings.TrimPrefix(h, hashPrefix)+"`") {
			t.Errorf("the page does not have the hash %s", h)
		}
	}
}
