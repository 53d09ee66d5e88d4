package main_test

import (
	"os"
	"strings"
	"testing"
)

func TestValidateBeforeANewMigrationOnly(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.path("users.csv")
	must(t, os.WriteFile(input, []byte("email,givenname\na@example.com,A\nb@example.com,B\nB@example.com,C\n"), 0o600))
	const found = "before anything is sent"
	m := l.migration(s, input, 10)
	p := m.run(3)
	hasAll(t, p.errors(), found, "error: 3 × givenname: the schema does not have this attribute; did you mean givenName?", "(line 4 (first in 3))")
	if strings.Contains(p.errors(), "example.com") {
		t.Errorf("a value is on the screen:\n%s", p.errors())
	}

	m = l.migration(s, input, 10, "--again", "--no-validate")
	p = m.run(3)
	if strings.Contains(p.errors(), found) {
		t.Errorf("it was validated in spite of --no-validate:\n%s", p.errors())
	}
}
