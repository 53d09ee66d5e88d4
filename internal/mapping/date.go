package mapping

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // for machines without a time zone database
)

// layout is a form in which an input writes dates, in the tokens below. Digits are 0 to 9.
type layout struct {
	text   string
	tokens []token
	unix   time.Duration // instead of tokens: the value counts these since 1970
}

type token struct {
	field   byte   // 'l' a literal; else which part of the date, see tokenNames
	literal string // of field 'l'
	min     int    // digits
	max     int
}

// tokenNames has the tokens of a layout, longer ones first.
var tokenNames = []struct {
	name string
	token
}{
	{"YYYY", token{field: 'Y', min: 4, max: 4}},
	{"YY", token{field: 'y', min: 2, max: 2}},
	{"MMMM", token{field: 'N'}},
	{"MMM", token{field: 'n'}},
	{"MM", token{field: 'M', min: 2, max: 2}},
	{"M", token{field: 'M', min: 1, max: 2}},
	{"DD", token{field: 'D', min: 2, max: 2}},
	{"D", token{field: 'D', min: 1, max: 2}},
	{"hh", token{field: 'h', min: 2, max: 2}},
	{"h", token{field: 'h', min: 1, max: 2}},
	{"mm", token{field: 'm', min: 2, max: 2}},
	{"ss", token{field: 's', min: 2, max: 2}},
	{"am", token{field: 'a'}},
	{"Z", token{field: 'Z'}},
}

const tokensForPeople = "YYYY or YY, MM or M, MMM (Jan) or MMMM (January), DD or D, hh or h, mm, ss, am (AM or PM), Z (+01:00 or Z), T, or the words unix and unix-ms"

func parseLayout(text string) (layout, error) {
	l := layout{text: text}
	switch text {
	case "unix":
		l.unix = time.Second
		return l, nil
	case "unix-ms":
		l.unix = time.Millisecond
		return l, nil
	}
	seen := ""
	for rest := text; rest != ""; {
		i := slices.IndexFunc(tokenNames, func(t struct {
			name string
			token
		}) bool {
			return strings.HasPrefix(rest, t.name)
		})
		if i >= 0 {
			t := tokenNames[i]
			part := strings.ToUpper(string(t.field))
			switch t.field {
			case 'm': // not the month
				part = "m"
			case 'N', 'n':
				part = "M"
			}
			if strings.Contains(seen, part) {
				return l, fmt.Errorf("the layout %q contains a part of a date twice; expected each once", text)
			}
			seen += part
			l.tokens = append(l.tokens, t.token)
			rest = rest[len(t.name):]
			continue
		}
		if c := rest[0]; c != 'T' && (c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9') {
			return l, fmt.Errorf("the layout %q has %q in it; expected %s", text, c, tokensForPeople)
		}
		if n := len(l.tokens); n > 0 && l.tokens[n-1].field == 'l' {
			l.tokens[n-1].literal += rest[:1]
		} else {
			l.tokens = append(l.tokens, token{field: 'l', literal: rest[:1]})
		}
		rest = rest[1:]
	}
	for _, part := range "YMD" {
		if !strings.ContainsRune(seen, part) {
			return l, fmt.Errorf("the layout %q has no year, no month or no day; expected all three, as in YYYY-MM-DD", text)
		}
	}
	if strings.Contains(seen, "A") && !strings.Contains(seen, "H") {
		return l, fmt.Errorf("the layout %q has am and no hour", text)
	}
	return l, nil
}

// moment is a parsed value, before a zone is applied.
type moment struct {
	year, month, day     int
	hour, minute, second int
	nanosecond           int
	offset               int // in seconds, if hasOffset
	hasOffset            bool
	half                 byte // 'a' or 'p', if the hour is one of twelve
}

// parse reads a value that is in this layout, from end to end.
func (l *layout) parse(s string) (m moment, ok bool) {
	if l.unix > 0 {
		return l.parseUnix(s)
	}
	for i := range l.tokens {
		if s, ok = l.tokens[i].read(s, &m); !ok {
			return m, false
		}
	}
	return m, s == "" && m.settle()
}

// read reads one part of a date into m, and returns the rest of the text.
func (t *token) read(s string, m *moment) (rest string, ok bool) {
	switch t.field {
	case 'l':
		return strings.CutPrefix(s, t.literal)
	case 'N', 'n':
		m.month, rest = monthName(s, t.field == 'n')
		return rest, m.month != 0
	case 'a':
		if len(s) < 2 || s[1]|0x20 != 'm' || s[0]|0x20 != 'a' && s[0]|0x20 != 'p' {
			return s, false
		}
		m.half = s[0] | 0x20
		return s[2:], true
	case 'Z':
		m.hasOffset = true
		m.offset, rest, ok = zoneOffset(s)
		return rest, ok
	case 'D':
		// %d of Python's strptime takes a space for the leading zero, %m does not.
		if t.min == 1 && len(s) > 1 && s[0] == ' ' && s[1] >= '1' && s[1] <= '9' && (len(s) == 2 || s[2] < '0' || s[2] > '9') {
			s = s[1:]
		}
	}
	n, rest, ok := number(s, t.min, t.max)
	switch t.field {
	case 'Y':
		m.year = n
	case 'y': // as in POSIX: 69 to 99 are of the 20th century
		if m.year = 2000 + n; n >= 69 {
			m.year = 1900 + n
		}
	case 'M':
		m.month = n
	case 'D':
		m.day = n
	case 'h':
		m.hour = n
	case 'm':
		m.minute = n
	case 's':
		m.second = n
		m.nanosecond, rest = fraction(rest)
	}
	return rest, ok
}

// settle converts the hour to 24 hours, and reports whether the moment exists.
func (m *moment) settle() bool {
	if m.year < 1 || m.month < 1 || m.month > 12 || m.day < 1 || m.day > daysIn(m.year, m.month) || m.minute > 59 || m.second > 59 {
		return false
	}
	if m.half == 0 {
		return m.hour <= 23
	}
	if m.hour < 1 || m.hour > 12 {
		return false
	}
	m.hour %= 12
	if m.half == 'p' {
		m.hour += 12
	}
	return true
}

func (l *layout) parseUnix(s string) (moment, bool) {
	const year10000 = 253402300800
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= -year10000*1000 || n >= year10000*1000 {
		return moment{}, false
	}
	t := time.Unix(n, 0)
	if l.unix == time.Millisecond {
		t = time.UnixMilli(n)
	}
	t = t.UTC()
	return moment{
		year: t.Year(), month: int(t.Month()), day: t.Day(), hour: t.Hour(), minute: t.Minute(), second: t.Second(),
		nanosecond: t.Nanosecond(), hasOffset: true,
	}, t.Year() >= 1 && t.Year() <= 9999
}

func number(s string, least, most int) (n int, rest string, ok bool) {
	i := 0
	for i < len(s) && i < most && s[i] >= '0' && s[i] <= '9' {
		n = 10*n + int(s[i]-'0')
		i++
	}
	return n, s[i:], i >= least
}

// fraction reads the optional fraction of a second: a point or a comma and up to nine digits.
func fraction(s string) (nanoseconds int, rest string) {
	if len(s) < 2 || s[0] != '.' && s[0] != ',' {
		return 0, s
	}
	n, rest, ok := number(s[1:], 1, 9)
	if !ok {
		return 0, s
	}
	for range 9 - (len(s) - 1 - len(rest)) {
		n *= 10
	}
	return n, rest
}

func monthName(s string, short bool) (month int, rest string) {
	for m := time.January; m <= time.December; m++ {
		name := m.String()
		if short {
			name = name[:3]
		}
		if len(s) >= len(name) && strings.EqualFold(s[:len(name)], name) {
			return int(m), s[len(name):]
		}
	}
	return 0, s
}

// zoneOffset reads Z, +01:00, +0100 or +01.
func zoneOffset(s string) (seconds int, rest string, ok bool) {
	if s == "" {
		return 0, s, false
	}
	sign := 1
	switch s[0] {
	case 'Z', 'z':
		return 0, s[1:], true
	case '-':
		sign = -1
	case '+':
	default:
		return 0, s, false
	}
	hours, s, ok := number(s[1:], 2, 2)
	if !ok || hours > 14 {
		return 0, s, false
	}
	minutes, rest, ok := number(strings.TrimPrefix(s, ":"), 2, 2)
	if !ok {
		minutes, rest = 0, s
	}
	return sign * 60 * (60*hours + minutes), rest, minutes < 60
}

func daysIn(year, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// example shows the last day of 1999 in a layout, for messages.
func (l *layout) example() string {
	switch l.unix {
	case time.Second:
		return "946598400"
	case time.Millisecond:
		return "946598400000"
	}
	var b strings.Builder
	for _, t := range l.tokens {
		b.WriteString(map[byte]string{
			'l': t.literal, 'Y': "1999", 'y': "99", 'N': "December", 'n': "Dec", 'M': "12", 'D': "31",
			'h': "11", 'm': "30", 's': "00", 'a': "PM", 'Z': "+01:00",
		}[t.field])
	}
	return b.String()
}

// dates formats dates and dateTimes as the Identity Cloud has them (yyyy-mm-dd hh:mm:ss, 24 hours, in UTC) or, where rfc3339
// is set, as that standard's full-date and date-time.
// A date stays the day that the input says; its time of day is midnight. A dateTime without an offset is a time in zone.
type dates struct {
	layouts []layout
	zone    *time.Location
	time    bool // dateTime
	rfc3339 bool
}

func (d *dates) append(dst []byte, value string) ([]byte, error) {
	for i := range d.layouts {
		m, ok := d.layouts[i].parse(value)
		if !ok {
			continue
		}
		if !d.time {
			dst = appendDay(append(dst, '"'), m.year, m.month, m.day)
			if d.rfc3339 {
				return append(dst, '"'), nil
			}
			return append(dst, ` 00:00:00"`...), nil
		}
		zone := d.zone
		if m.hasOffset {
			zone = time.FixedZone("", m.offset)
		}
		t := firstOf(time.Date(m.year, time.Month(m.month), m.day, m.hour, m.minute, m.second, m.nanosecond, zone))
		if t = t.UTC(); t.Year() < 1 || t.Year() > 9999 {
			break
		}
		if d.rfc3339 {
			return t.Truncate(time.Microsecond).AppendFormat(dst, `"2006-01-02T15:04:05.999999Z"`), nil
		}
		// The API prints microseconds, with the zone; in that form it reads them.
		if t.Nanosecond() >= 1000 {
			return t.AppendFormat(dst, `"2006-01-02 15:04:05.000000 -0700"`), nil
		}
		return t.AppendFormat(dst, `"2006-01-02 15:04:05"`), nil
	}
	return nil, d.refusal(value)
}

// firstOf is the first occurrence of a local time that occurs twice, because clocks are set back; time.Date gives either.
func firstOf(t time.Time) time.Time {
	change, _ := t.ZoneBounds()
	if change.IsZero() {
		return t
	}
	_, before := change.Add(-1).Zone()
	_, after := t.Zone()
	if first := t.Add(time.Duration(after-before) * time.Second); after < before && first.Before(change) {
		return first
	}
	return t
}

func (d *dates) refusal(value string) error {
	var forms []string
	for i := range d.layouts {
		forms = append(forms, d.layouts[i].text+", as "+d.layouts[i].example())
	}
	found := "the value is not a date"
	if len(value) == 5 && isDigits(value) {
		found = "the value is a number, as a spreadsheet counts days, and not a date; format the column as a date and export it again"
	}
	return errors.New(found + "; expected " + strings.Join(forms, "; or "))
}

func appendDay(dst []byte, year, month, day int) []byte {
	digits := func(n int) []byte { return append(dst, byte('0'+n/10), byte('0'+n%10)) }
	dst = digits(year / 100)
	dst = append(digits(year%100), '-')
	dst = append(digits(month), '-')
	return digits(day)
}
