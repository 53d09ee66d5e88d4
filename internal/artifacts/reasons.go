package artifacts

import (
	"cmp"
	"encoding/json"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
)

// Reasons groups failed records by the words of their reason, without what identifies the
// single record. The report is passed on by mail, so it must not hold a value of a record:
// see words. Reasons of this program hold none, and are shown whole.
type Reasons struct {
	header *source.Header
	names  map[string]bool // names of columns, which may be quoted
	groups map[reasonKey]*reasonGroup
	others int // records whose reason has no group
	known  map[string]general
}

type reasonKey struct {
	words     string
	byUpdate  bool
	duplicate bool
	ours      bool
}

// reasonGroup is the records of one group.
type reasonGroup struct {
	records int
	lines   []int64 // of the first ones
	text    string  // what is shown
}

const (
	mostGroups   = 1000 // in memory
	shownGroups  = 50
	exampleLines = 5
	longestWords = 300 // characters shown

	longestReason = 4000 // bytes examined
)

func newReasons(h *source.Header) *Reasons {
	r := &Reasons{header: h, names: map[string]bool{}, groups: map[reasonKey]*reasonGroup{}, known: map[string]general{}}
	for _, name := range h.Names {
		r.names[name] = true
	}
	return r
}

// add adds a failed record.
func (r *Reasons) add(record Record) {
	key := reasonKey{"", record.ByUpdate, record.WasThere(), record.Ours}
	if record.Ours {
		key.words = revealing.ReplaceAllString(record.Error, leftOut)
	} else {
		key.words = r.words(record)
	}
	g := r.groups[key]
	if g == nil {
		if len(r.groups) == mostGroups {
			r.others++
			return
		}
		g = &reasonGroup{text: key.words}
		if record.Ours {
			g.text = safetext.Text(record.Error)
		}
		r.groups[key] = g
	} else if record.Ours {
		g.text = common(g.text, safetext.Text(record.Error))
	}
	g.records++
	if len(g.lines) < exampleLines {
		g.lines = append(g.lines, record.Line)
	}
}

// common has the words that two reasons of a group have in common, and stands for the others.
func common(a, b string) string {
	if a == b {
		return a
	}
	words, others := strings.Fields(a), strings.Fields(b)
	for i := range min(len(words), len(others)) {
		if words[i] != others[i] {
			words[i] = revealing.ReplaceAllString(words[i], leftOut)
		}
	}
	return strings.Join(words, " ")
}

// bySize returns the groups, the largest first, and how many groups and records
// are not among them.
func (r *Reasons) bySize() (shown []reasonKey, moreGroups, moreRecords int) {
	all := slices.SortedFunc(maps.Keys(r.groups), func(a, b reasonKey) int {
		return cmp.Or(cmp.Compare(r.groups[b].records, r.groups[a].records), cmp.Compare(r.groups[a].lines[0], r.groups[b].lines[0]), cmp.Compare(a.words, b.words))
	})
	shown = all[:min(len(all), shownGroups)]
	moreRecords = r.others
	for _, key := range all[len(shown):] {
		moreRecords += r.groups[key].records
	}
	return shown, len(all) - len(shown), moreRecords
}

// mostReasons is how many reasons a Breakdown has.
const mostReasons = 3

// top returns the most frequent reasons.
func (r *Reasons) top(n int) (top []migration.Reason) {
	shown, _, _ := r.bySize()
	for _, key := range shown[:min(n, len(shown))] {
		top = append(top, migration.Reason{Words: r.groups[key].text, Records: r.groups[key].records, Line: r.groups[key].lines[0], Update: key.byUpdate, Duplicate: key.duplicate})
	}
	return top
}

// leftOut stands for words that are left out.
const leftOut = "…"

var (
	wholeCall = regexp.MustCompile(`^(?:the target refuses the record as too large: )?API Error \d+: `)
	quoted    = regexp.MustCompile("\"[^\"]*\"?|“[^”]*”?|`[^`]*`?|(?:^|[\\s(:=])'(?:[^']|'\\w)*'?")
	revealing = regexp.MustCompile(`[^\s,;()\[\]{}<>"“”]*[\d@][^\s,;()\[\]{}<>"“”]*`)
	runOfDots = regexp.MustCompile(`…(?:[\s.,:;]*…)+`)
)

// words are the reason of a record without what could be a value of a record: quotations,
// unless of the name of a column; words with a digit or an @; and the contents of the
// record's own cells.
func (r *Reasons) words(record Record) string {
	g, ok := r.known[record.Error]
	if !ok {
		g = r.generalize(record.Error)
		if len(r.known) < mostGroups {
			r.known[record.Error] = g
		}
	}
	fields, err := r.header.Fields(record.Raw)
	if err != nil { // it was not sent; the words are our own, and quote nothing
		return g.words
	}
	text := g.text
	for _, field := range fields {
		for phrase := range phrases(field) {
			if strings.Contains(g.lower, strings.ToLower(phrase)) {
				text = withoutPhrase(text, phrase)
			}
		}
	}
	if text == g.text {
		return g.words
	}
	return tidy(g.head, text)
}

// general is a reason before the cells of a record are left out. Most records of a migration
// fail for the same few reasons.
type general struct {
	head  string // of a call that was refused as a whole
	text  string // the rest
	lower string // text in lower case
	words string // both, as shown
}

func (r *Reasons) generalize(reason string) general {
	if len(reason) > longestReason {
		reason = strings.ToValidUTF8(reason[:longestReason], "")
		reason = reason[:strings.LastIndexByte(reason, ' ')+1] // no part of a word
	}
	head := wholeCall.FindString(reason)
	text := quoted.ReplaceAllStringFunc(reason[len(head):], func(s string) string {
		start := strings.IndexAny(s, "\"“`'")
		if r.names[strings.Trim(s[start:], "\"“”`'")] {
			return s
		}
		return s[:start] + leftOut
	})
	text = revealing.ReplaceAllString(text, leftOut)
	return general{head, text, strings.ToLower(text), tidy(head, text)}
}

func tidy(head, text string) string {
	text = runOfDots.ReplaceAllString(strings.Join(strings.Fields(text), " "), leftOut)
	if utf8.RuneCountInString(text) > longestWords {
		text = string([]rune(text)[:longestWords]) + leftOut
	}
	if head+text == "" {
		return "no reason was given"
	}
	return safetext.Text(head + text) // the target's words, in the report and in notices
}

// phrases are the parts of a cell that are left out: the whole cell, the strings of one that
// is JSON, and the words of one that has at most four, such as a name.
func phrases(cell string) iter.Seq[string] {
	return func(yield func(string) bool) {
		cell = strings.TrimSpace(cell)
		if cell == "" || !yield(cell) {
			return
		}
		var value any
		if (cell[0] == '{' || cell[0] == '[') && json.Unmarshal([]byte(cell), &value) == nil && !yieldTexts(value, yield) {
			return
		}
		if strings.Count(cell, " ") > 3 {
			return
		}
		for _, word := range strings.Fields(cell) {
			if !yield(word) {
				return
			}
		}
	}
}

// yieldTexts returns the texts in a JSON value, without the names of members.
func yieldTexts(value any, yield func(string) bool) bool {
	switch v := value.(type) {
	case string:
		return v == "" || yield(v)
	case []any:
		for _, element := range v {
			if !yieldTexts(element, yield) {
				return false
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if !yieldTexts(v[name], yield) {
				return false
			}
		}
	}
	return true
}

// withoutPhrase leaves out a phrase, regardless of case, where it does not begin or end
// within a word. One or two characters must match in case, or they would match half the
// language.
func withoutPhrase(text, phrase string) string {
	sameCase := utf8.RuneCountInString(phrase) <= 2
	var b strings.Builder
	rest := text
	for from := 0; from < len(rest); {
		at := indexFold(rest[from:], phrase)
		if at < 0 {
			break
		}
		at += from
		end := at + len(phrase)
		before, _ := utf8.DecodeLastRuneInString(rest[:at])
		after, _ := utf8.DecodeRuneInString(rest[end:])
		if at > 0 && isWord(before) || end < len(rest) && isWord(after) || sameCase && rest[at:end] != phrase {
			_, size := utf8.DecodeRuneInString(rest[at:])
			from = at + size
			continue
		}
		b.WriteString(rest[:at])
		b.WriteString(leftOut)
		rest, from = rest[end:], 0
	}
	return b.String() + rest
}

// indexFold is the first index of a phrase, regardless of case. It assumes that the match is
// as long as the phrase, which is wrong only for a few letters whose capital takes more
// bytes.
func indexFold(text, phrase string) int {
	for at := range text {
		if len(text)-at < len(phrase) {
			return -1
		}
		if strings.EqualFold(text[at:at+len(phrase)], phrase) {
			return at
		}
	}
	return -1
}

func isWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) }
