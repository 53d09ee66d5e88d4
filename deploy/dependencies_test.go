package deploy_test

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// rows gives the rows of the table under a heading of docs/dependencies.md, by
// their first cell, without the backquotes.
func rows(t *testing.T, heading string) map[string][]string {
	t.Helper()
	_, section, ok := strings.Cut(readFile(t, "docs/dependencies.md"), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("docs/dependencies.md has no %q", "## "+heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	found := map[string][]string{}
	for line := range strings.Lines(section) {
		if cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|"); len(cells) > 2 && strings.Contains(cells[0], "`") {
			for i, cell := range cells {
				cells[i] = strings.TrimSpace(cell)
			}
			found[strings.Trim(cells[0], "`")] = cells[1:]
		}
	}
	if len(found) == 0 {
		t.Fatalf("the table under %q is empty", "## "+heading)
	}
	return found
}

func TestEveryDependencyHasItsReason(t *testing.T) {
	block := regexp.MustCompile(`(?s)\nrequire \((.*?)\n\)`).FindStringSubmatch(readFile(t, "go.mod"))[1]
	wanted := map[string]bool{}
	for line := range strings.Lines(block) {
		if fields := strings.Fields(line); len(fields) > 1 && !strings.Contains(line, "// indirect") {
			wanted[fields[0]] = true
		}
	}
	listed := rows(t, "Direct")
	for module := range wanted {
		if listed[module] == nil {
			t.Errorf("go.mod requires %s, which docs/dependencies.md does not list: add a row under Direct with what it is for, what else was looked at, and its licence; or do without it", module)
		}
	}
	modules := modules(t)
	for module, cells := range listed {
		if !wanted[module] {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not require any more; remove the row", module)
			continue
		}
		if len(cells) != 3 || slices.Contains(cells, "") {
			t.Errorf("docs/dependencies.md: %s has the cells %q; want what it is for, what else was looked at, its licence", module, cells)
			continue
		}
		// What only tests use is not in the programs.
		if dir, linked := modules[module]; linked {
			if got := licence(t, dir); got != cells[2] {
				t.Errorf("%s is under %s, and docs/dependencies.md says %s", module, got, cells[2])
			}
		}
	}
}

// A licence that asks for more than its text to be kept is looked at by a
// person, once, and that is written down.
func TestTheLicencesOfWhatIsShippedAreKnown(t *testing.T) {
	permissive := []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"}
	reviewed := rows(t, "Licences that were looked at")
	left := maps.Clone(reviewed)
	for module, dir := range modules(t) {
		found := licence(t, dir)
		known := true
		for _, one := range strings.Split(found, " and ") {
			known = known && slices.Contains(permissive, one)
		}
		if known {
			continue
		}
		delete(left, module)
		if cells := reviewed[module]; cells == nil {
			t.Errorf("%s is shipped in our programs under %q, which is none of %s: read it (%s), and do without the module or add it under \"Licences that were looked at\" in docs/dependencies.md", module, found, strings.Join(permissive, ", "), dir)
		} else if found != "no licence file" && cells[0] != found {
			t.Errorf("%s is under %s, and docs/dependencies.md says %s", module, found, cells[0])
		}
	}
	for module := range left {
		t.Errorf("docs/dependencies.md says that the licence of %s was looked at; the module is not shipped any more, or has a licence that needs no look: remove the row", module)
	}
}

// modules gives the folders of the modules that the programs are built of.
func modules(t *testing.T) map[string]string {
	t.Helper()
	list := exec.Command("go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", "./starter", "./worker", "./sandbox")
	list.Dir = top
	output, err := list.Output()
	must(t, err)
	found := map[string]string{}
	for line := range strings.Lines(string(output)) {
		if module, dir, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			found[module] = dir
		}
	}
	if len(found) < 50 {
		t.Fatalf("only %d modules: go list tells something else now", len(found))
	}
	return found
}

var licenceName = regexp.MustCompile(`(?i)^(licen[sc]e|copying)(\.\w+)?$`)

// licence tells what the licence files of a folder are by what only they say.
func licence(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	found := map[string]bool{}
	for _, e := range entries {
		if !licenceName.MatchString(e.Name()) {
			continue
		}
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		must(t, err)
		for _, one := range classify(string(text)) {
			found[one] = true
		}
	}
	if len(found) == 0 {
		return "no licence file"
	}
	return strings.Join(slices.Sorted(maps.Keys(found)), " and ")
}

func classify(text string) (found []string) {
	text = strings.ToLower(strings.Join(strings.Fields(text), " "))
	has := func(s string) bool { return strings.Contains(text, s) }
	if has("mozilla public license version 2.0") { // its text names those of GNU
		return []string{"MPL-2.0"}
	}
	for _, l := range []struct {
		name string
		is   bool
	}{
		{"a licence of GNU", has("gnu general public license") || has("gnu lesser general public") || has("gnu affero") || has("gnu library general public")},
		{"Apache-2.0", has("apache license") && has("version 2.0")},
		{"MIT", has("permission is hereby granted, free of charge, to any person obtaining a copy")},
		{"ISC", has("permission to use, copy, modify, and/or distribute this software for any purpose") || has("permission to use, copy, modify, and distribute this software for any purpose")},
		{"BSD-3-Clause", has("redistribution and use in source and binary forms") && (has("neither the name") || has("may not be used to endorse") || has("may be used to endorse"))},
		{"BSD-2-Clause", has("redistribution and use in source and binary forms") && !has("neither the name") && !has("may not be used to endorse") && !has("may be used to endorse")},
	} {
		if l.is {
			found = append(found, l.name)
		}
	}
	if found == nil {
		found = []string{"a licence that is not known"}
	}
	return found
}

func TestLicencesAreToldByTheirText(t *testing.T) {
	for text, want := range map[string]string{
		readFile(t, "LICENSE"):                                                                                 "MIT",
		"GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007":                                                 "a licence of GNU",
		"Mozilla Public License Version 2.0 ... GNU General Public License":                                    "MPL-2.0",
		"Apache License\n   Version 2.0, January 2004":                                                         "Apache-2.0",
		"Redistribution and use in source and\nbinary forms ... Neither the name of":                           "BSD-3-Clause",
		"Redistribution and use in source and binary forms, with or without modification":                      "BSD-2-Clause",
		"Permission to use, copy, modify, and distribute this software for any purpose":                        "ISC",
		"You may use this for good, not evil.":                                                                 "a licence that is not known",
		"Permission is hereby granted, free of charge, to any person obtaining a copy. Or: GNU Affero license": "a licence of GNU and MIT",
	} {
		if got := strings.Join(classify(text), " and "); got != want {
			t.Errorf("%.40q…: got %s, want %s", text, got, want)
		}
	}
}
