package artifacts

import (
	"fmt"
	"strings"
	"testing"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/source"
)

var peopleHeader = &source.Header{Names: []string{"email", "givenName", "familyName", "bio", "addresses"}, Raw: []byte("email,givenName,familyName,bio,addresses\n")}

func failed(line int, raw, words string) Record {
	return Record{Batch: 1, Line: int64(line), Email: "x", Raw: []byte(raw + "\n"), Record: ledger.Record{Outcome: ledger.Failed, Error: words}}
}

const anna = `Anna.Beck@example.com,Anna Maria,von Beck,"Likes the sea, and the value of quiet","[{""city"": ""Graz""}]"`

func TestAReasonHasNoValueOfItsRecord(t *testing.T) {
	for _, tc := range []struct{ words, want string }{
		{"Attempted to update a duplicate value", "Attempted to update a duplicate value"},
		{"API Error 200: attributes was not valid", "API Error 200: attributes was not valid"},
		{"the target refuses the record as too large: API Error 413: 12 bytes", "the target refuses the record as too large: API Error 413: … bytes"},
		{"", "no reason was given"},
		// quoted
		{`"Nobody" is no name`, "… is no name"},
		{"“Nobody” is `no` name", "… is … name"},
		{"value 'Nobody' and 'O'Neill' is wrong", "value … and … is wrong"},
		{"the attribute's value isn't one", "the attribute's value isn't one"},
		{`"givenName" is too long: "Nobody, the open`, `"givenName" is too long: …`},
		// digits and @
		{"nobody@example.org is taken", "… is taken"},
		{"name <nobody@example.org> is taken, since 2026-11-22T10:00", "name <…> is taken, since …"},
		{"expected 2 fields, found 4", "expected … fields, found …"},
		// the cells of the record
		{"Anna Maria is no name", "… is no name"},
		{"ANNA is no name, nor is beck", "… is no name, nor is …"},
		{"Annabel is no name", "Annabel is no name"},
		{"the value of quiet is not enough", "the value of quiet is not enough"}, // words of a text
		{"bio: Likes the sea, and the value of quiet", "bio: …"},
		{"no such city: Graz.", "no such city: …."},
		{"Anna Maria von Beck, twice", "…, twice"},
	} {
		r := newReasons(peopleHeader)
		if got := r.words(failed(2, anna, tc.words)); got != tc.want {
			t.Errorf("%q becomes %q, want %q", tc.words, got, tc.want)
		}
		if got := r.words(failed(2, anna, tc.words)); got != tc.want {
			t.Errorf("%q becomes %q the second time, want %q", tc.words, got, tc.want)
		}
	}
	r := newReasons(peopleHeader)
	if got, want := r.words(failed(2, "a,no,AB,,", "no AB can be a part of it, nor ab")), "… … can be … part of it, nor ab"; got != strings.Replace(want, "… …", "…", 1) {
		t.Errorf("short cells: %q, want %q", got, want)
	}
	if got := r.words(failed(2, anna, strings.Repeat("no ", 1000))); len(got) > 4*longestWords {
		t.Errorf("a long reason has %d bytes", len(got))
	}
	if got := r.words(failed(2, anna, strings.Repeat("Nobody", 1000))); got != "no reason was given" {
		t.Errorf("a word of 6000 bytes becomes %q", got)
	}
	if got, want := r.words(failed(2, `a,"b" c`, "expected a comma")), "expected a comma"; got != want {
		t.Errorf("of a record that is no CSV: %q, want %q", got, want)
	}
}

func TestReasonsAreGroupedAndSortedBySize(t *testing.T) {
	r := newReasons(peopleHeader)
	line := 1
	add := func(n int, words string) {
		for range n {
			line++
			r.add(failed(line, anna, words))
		}
	}
	add(2, "first in line 7")
	add(7, "too long")
	add(1, "first in line 12")
	shown, moreGroups, moreRecords := r.bySize()
	if len(shown) != 2 || moreGroups != 0 || moreRecords != 0 || shown[0].words != "too long" || shown[1].words != "first in line …" {
		t.Fatalf("%+v, %d, %d; want two groups", shown, moreGroups, moreRecords)
	}
	rows, more := r.rows()
	if want := []reasonRow{{"too long", 7, "4, 5, 6, 7, 8, …"}, {"first in line …", 3, "2, 3, 11"}}; fmt.Sprint(rows) != fmt.Sprint(want) || more != "" {
		t.Errorf("%v, %q; want %v", rows, more, want)
	}
}

func TestReasonsOfThisProgramAreShownWhole(t *testing.T) {
	r := newReasons(peopleHeader)
	line := int64(1)
	add := func(ours bool, words ...string) {
		for _, w := range words {
			line++
			record := failed(int(line), anna, w)
			record.Ours = ours
			r.add(record)
		}
	}
	const date, clash = "bio: the value is not a date; expected YYYY-MM-DD, as 2026-11-22", "Anna Maria is no name"
	add(true, date, date, date, date)
	add(true, "duplicate key in the file, first in line 7; only the first is loaded", "duplicate key in the file, first in line 12; only the first is loaded")
	add(true, "first in line 7")
	add(false, clash, date)
	rows, _ := r.rows()
	want := []reasonRow{
		{date, 4, "2, 3, 4, 5"},
		{"duplicate key in the file, first in line …; only the first is loaded", 2, "6, 7"},
		{"first in line 7", 1, "8"},
		{"… is no name", 1, "9"},
		{"bio: the value is not a date; expected YYYY-MM-DD, as …", 1, "10"},
	}
	if fmt.Sprint(rows) != fmt.Sprint(want) {
		t.Errorf("%v\nwant\n%v", rows, want)
	}
	if top := r.top(1); len(top) != 1 || top[0].Words != date {
		t.Errorf("the first is %+v", top)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	r := newReasons(peopleHeader)
	letters := func(n int) string { return strings.Repeat("x", n%40+1) + strings.Repeat("y", n/40+1) }
	for n := range 1500 {
		r.add(failed(n+2, "a,b,c,d,e", letters(n)))
	}
	rows, more := r.rows()
	if len(rows) != shownGroups || len(r.groups) != mostGroups || len(r.known) > mostGroups {
		t.Errorf("%d rows, %d groups, %d known; want %d and %d", len(rows), len(r.groups), len(r.known), shownGroups, mostGroups)
	}
	if want := "More than 950 other reasons, of 1,450 records, are not shown."; more != want {
		t.Errorf("%q, want %q", more, want)
	}
}

func BenchmarkReasons(b *testing.B) {
	r := newReasons(peopleHeader)
	record := failed(2, anna, "givenName is longer than 100 characters: it has 2500")
	for range b.N {
		r.add(record)
	}
}

func FuzzAReasonWithoutItsCell(f *testing.F) {
	f.Add("Anna is no name", "Anna")
	f.Add("\"Anna", "Anna Maria")
	f.Add("ǅ and 'x'y' of İi", "ǆ")
	f.Add("[[x", `["x", {"a": "of"}]`)
	f.Fuzz(func(t *testing.T, words, cell string) {
		raw := `a,"` + strings.ReplaceAll(cell, `"`, `""`) + `",,,`
		if len(words) > 1000 || len(cell) > 1000 {
			return
		}
		got := newReasons(peopleHeader).words(failed(2, raw, words+" "+cell+" "+words))
		if strings.ContainsAny(cell, " \t\r\n…") || cell == "" || strings.HasPrefix(words, "API Error") || strings.HasPrefix(words, "the target refuses") {
			return
		}
		if _, err := peopleHeader.Fields([]byte(raw)); err != nil {
			return
		}
		for _, word := range strings.Fields(got) {
			if word == cell {
				t.Errorf("%q with the cell %q becomes %q", words, cell, got)
			}
		}
	})
}
