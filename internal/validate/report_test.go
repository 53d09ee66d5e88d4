package validate

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// inOrder groups faults as if they were found one after the other.
func inOrder(faults []fault, lines int) (all []Finding) {
	at := map[findingKey]int{}
	for _, f := range faults {
		key, severity := f.key, Warning
		i, ok := at[key]
		if !ok && len(all) >= maxFindings {
			key, severity = findingKey{kind: KindMore}, Error
			i, ok = at[key]
		}
		if !ok {
			i = len(all)
			at[key] = i
			all = append(all, Finding{Severity: severity, Kind: key.kind, Attribute: key.about, Message: fmt.Sprint(key)})
		}
		all[i].Count++
		if len(all[i].Places) < lines {
			all[i].Places = append(all[i].Places, f.place)
		}
	}
	return all
}

type fault struct {
	key   findingKey
	place Place
}

// Blocks of a file are checked in any order, and their findings merged: neither their borders nor the limit of the kinds of
// findings shows in the report.
func TestFindingsOfBlocksAreThoseOfTheWholeFile(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		kinds := 1 + random.IntN(2*maxFindings)
		var faults []fault
		for line := range int64(3000) {
			faults = append(faults, fault{findingKey{KindType, "a", rune(random.IntN(kinds))}, Place{Line: line}})
		}
		lines := 1 + random.IntN(20)
		whole, block := newFindings(lines), newFindings(lines)
		for _, f := range faults {
			block.found(f.key, f.place, func() (Severity, string) { return Warning, fmt.Sprint(f.key) })
			if random.IntN(100) == 0 {
				whole.merge(block)
				block.reset()
			}
		}
		whole.merge(block)
		var got []Finding
		for _, f := range whole.list {
			if f.Kind == KindMore {
				f.Message = fmt.Sprint(f.key)
			}
			got = append(got, f.Finding)
		}
		if want := inOrder(faults, lines); !reflect.DeepEqual(got, want) {
			t.Fatalf("%d kinds, %d lines: %d findings differ from the %d of the file as one block", kinds, lines, len(got), len(want))
		}
	}
}
