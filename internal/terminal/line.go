package terminal

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Line is a line of progress. On a narrow terminal the last parts go first.
type Line struct {
	// Done of Total is drawn as a bar. A Total of 0 is not known, and not drawn.
	Done, Total int
	// What is how far it is, and always there.
	What string
	// Left is the time left, "" if it is not known. It is there as long as What is.
	Left string
	// Parts are the rest, the most important first.
	Parts []string
}

// String is the line without a bar, with all its parts.
func (l Line) String() string { return l.with(len(l.Parts)) }

// with is the line with its first n parts.
func (l Line) with(n int) string {
	parts := append([]string{l.What}, l.Parts[:n]...)
	if l.Left != "" {
		parts = append(parts, l.Left)
	}
	return strings.Join(parts, ", ")
}

const (
	widestBar   = 24 // characters between the brackets
	narrowBar   = 8
	aroundOfBar = len("[] 100% ")
)

// fit is the line in at most width characters.
func (l Line) fit(width int) string {
	for n := len(l.Parts); n >= 0; n-- {
		text := l.with(n)
		room := width - utf8.RuneCountInString(text)
		if l.Total <= 0 && room >= 0 {
			return text
		}
		if l.Total > 0 && room >= aroundOfBar+narrowBar {
			return l.bar(min(widestBar, room-aroundOfBar)) + text
		}
	}
	if text := l.with(0); utf8.RuneCountInString(text) <= width {
		return text
	}
	return cut(l.What, width)
}

// bar is a bar of this many characters, with its brackets and the part in percent. It is full
// only when all is done.
func (l Line) bar(width int) string {
	done := min(max(l.Done, 0), l.Total)
	full := done * width / l.Total
	return fmt.Sprintf("[%s%s] %3d%% ", strings.Repeat("#", full), strings.Repeat(".", width-full), done*100/l.Total)
}

// cut is the start of a text, in at most width characters.
func cut(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:max(0, width-1)]) + "…"
}

// Wrap breaks a text into lines of at most width characters, between words. A longer word, as
// an address or a path, stays whole. Lines after a break are indented like the line that is
// broken.
func Wrap(text string, width int) string {
	var b strings.Builder
	for i, line := range strings.Split(text, "\n") {
		if i > 0 {
			b.WriteByte('\n')
		}
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		used := 0
		for j, word := range strings.Split(line[len(indent):], " ") {
			n := utf8.RuneCountInString(word)
			switch {
			case j == 0:
				b.WriteString(indent)
				used = len(indent)
			case used+1+n > width:
				b.WriteString("\n" + indent)
				used = len(indent)
			default:
				b.WriteByte(' ')
				used++
			}
			b.WriteString(word)
			used += n
		}
	}
	return b.String()
}
