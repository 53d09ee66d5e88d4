// Package suggest finds the name that was most likely meant.
package suggest

import "strings"

// Name returns the one of names that was most likely meant: the same ignoring case, the same in another object, or one with
// few different letters. It is empty if there is none.
func Name(name string, names []string) string {
	last := "." + strings.ToLower(name[strings.LastIndexByte(name, '.')+1:])
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return n
		}
	}
	best, least := "", 2+len(name)/3
	for _, n := range names {
		if strings.HasSuffix("."+strings.ToLower(n), last) {
			return n
		}
		if d := distance(strings.ToLower(name), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
