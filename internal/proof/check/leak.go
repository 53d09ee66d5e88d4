package check

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Search finds user data and secrets where there must be none.
type Search struct {
	Input   string   // the CSV file: its emails, display names and passwords are private
	Secrets []string // what else is private
	Places  []string // files, and folders with all that is below them
	// Holds are words that must be found, each in one of the places at least:
	// otherwise the search has read nothing.
	Holds []string
}

// shortest is the minimum length of a value for the search: shorter ones occur by
// chance.
const shortest = 8

// Leaks returns the findings. ASCII letters are compared without case. Values of
// digits only are not searched: numbers occur everywhere. A value that a database has
// split across pages of its file is not found.
func Leaks(s Search) ([]Broken, error) {
	needles, err := s.needles()
	if err != nil {
		return nil, err
	}
	missing := slices.Clone(s.Holds)
	var broken []Broken
	look := func(path string) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		missing = slices.DeleteFunc(missing, func(word string) bool { return bytes.Contains(content, []byte(word)) })
		for _, what := range needles.in(content) {
			if len(broken) < enough {
				broken = append(broken, Broken{NothingPrivate, fmt.Sprintf("%s is in %s", what, path)})
			}
		}
		return nil
	}
	for _, place := range s.Places {
		err := filepath.WalkDir(place, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.Type().IsRegular() {
				return err
			}
			return look(path)
		})
		if err != nil {
			return nil, err
		}
	}
	for _, word := range missing {
		broken = append(broken, Broken{NothingPrivate, fmt.Sprintf("%q is nowhere in what was searched: this was no search", word)})
	}
	return broken, nil
}

func (s Search) needles() (needles, error) {
	n := needles{byStart: map[string][]needle{}}
	for _, secret := range s.Secrets {
		n.add(secret, "a secret")
	}
	t, err := readTable(s.Input, ',')
	if err != nil {
		return n, err
	}
	for column, name := range t.header {
		if name != "email" && name != "displayName" && name != "password" {
			continue
		}
		for _, r := range t.rows {
			if column < len(r.fields) {
				n.add(strings.TrimSpace(r.fields[column]), fmt.Sprintf("the %s of line %d", name, r.line))
			}
		}
	}
	return n, nil
}

// needles are found by their first bytes, so that a search takes as long for
// many as for few.
type needles struct {
	byStart map[string][]needle
	starts  [1 << 16]bool // by the first two bytes
}

type needle struct {
	value []byte
	what  string
}

func (n *needles) add(value, what string) {
	if len(value) < shortest || strings.Trim(value, "0123456789") == "" {
		return
	}
	folded := fold([]byte(value))
	start := string(folded[:shortest])
	n.byStart[start] = append(n.byStart[start], needle{folded, what})
	n.starts[int(folded[0])<<8|int(folded[1])] = true
}

// in returns the needles in a content.
func (n *needles) in(content []byte) (found []string) {
	content = fold(content)
	for i := 0; i+shortest <= len(content); i++ {
		if !n.starts[int(content[i])<<8|int(content[i+1])] {
			continue
		}
		for _, needle := range n.byStart[string(content[i:i+shortest])] {
			if bytes.HasPrefix(content[i:], needle.value) && !slices.Contains(found, needle.what) {
				found = append(found, needle.what)
			}
		}
	}
	return found
}

// fold returns a copy with ASCII letters in lower case.
func fold(b []byte) []byte {
	folded := bytes.Clone(b)
	for i, c := range folded {
		if 'A' <= c && c <= 'Z' {
			folded[i] = c + 'a' - 'A'
		}
	}
	return folded
}
