package identitycloud

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// UnknownCodes are the codes after which the outcome of a call, or of one record of it, is unknown: something may have been
// written. API codes are the numbers in the API's JSON, HTTP codes those of the status line. The HTTP codes apply only if
// the answer contains no JSON of the API.
type UnknownCodes struct {
	API, HTTP Codes
}

// DefaultUnknownCodes are the API codes for which dataload.py repeats a call (403, 500, 504, 510), all other internal errors
// of the API (500 and above), and every HTTP status: a page is not from the API, whatever its status.
func DefaultUnknownCodes() UnknownCodes {
	return UnknownCodes{API: Codes{{403, 403}, {500, highestCode}}, HTTP: Codes{{lowestHTTP, highestHTTP}}}
}

// Codes is a set of codes: ranges, each with its first and its last code, in order and with a gap between any two.
// In a configuration, nil means the default and an empty list no code.
type Codes [][2]int

// Contains reports whether the code is in one of the ranges.
func (c Codes) Contains(code int) bool {
	return slices.ContainsFunc(c, func(r [2]int) bool { return r[0] <= code && code <= r[1] })
}

// String returns the codes as ParseCodes reads them: "403,500-999", or "none".
func (c Codes) String() string {
	if len(c) == 0 {
		return "none"
	}
	texts := make([]string, len(c))
	for i, r := range c {
		texts[i] = strconv.Itoa(r[0])
		if r[1] > r[0] {
			texts[i] += "-" + strconv.Itoa(r[1])
		}
	}
	return strings.Join(texts, ",")
}

// checked replaces nil lists with the defaults, and checks the ranges.
func (u UnknownCodes) checked() (UnknownCodes, error) {
	d := DefaultUnknownCodes()
	if u.API == nil {
		u.API = d.API
	}
	if u.HTTP == nil {
		u.HTTP = d.HTTP
	}
	for _, r := range u.API {
		if r[0] < lowestCode || r[1] > highestCode || r[0] > r[1] {
			return u, fmt.Errorf("%s are not API codes: expected %d to %d", Codes{r}, lowestCode, highestCode)
		}
	}
	for _, r := range u.HTTP {
		if r[0] < lowestHTTP || r[1] > highestHTTP || r[0] > r[1] {
			return u, fmt.Errorf("%s are not HTTP codes of errors: expected %d to %d", Codes{r}, lowestHTTP, highestHTTP)
		}
	}
	return u, nil
}

const (
	lowestCode, highestCode = 100, 999
	lowestHTTP, highestHTTP = 300, 599
)

// ParseCodes parses a list of codes from the command line:
//
//	""             the defaults
//	"none"         an empty list
//	"403,500-599"  these codes instead of the defaults
//	"+503,-501"    the defaults with 503 and without 501
//
// The result is never nil. The forms cannot be mixed, codes are from 100 to 999, and only a code that is on the list can be
// removed.
func ParseCodes(defaults Codes, s string) (Codes, error) {
	s = strings.TrimSpace(s)
	switch s {
	case "":
		return append(Codes{}, defaults...), nil
	case "none":
		return Codes{}, nil
	}
	var has [highestCode + 1]bool
	changes := s[0] == '+' || s[0] == '-'
	if changes {
		for code := range has {
			has[code] = defaults.Contains(code)
		}
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		sign, digits := "", item
		if item != "" && (item[0] == '+' || item[0] == '-') {
			sign, digits = item[:1], item[1:]
		}
		firstText, lastText, isRange := strings.Cut(digits, "-")
		if !isRange {
			lastText = firstText
		}
		first, err := strconv.ParseUint(firstText, 10, 31)
		last, err2 := strconv.ParseUint(lastText, 10, 31)
		switch {
		case err != nil || err2 != nil:
			return nil, fmt.Errorf("%q in %q is not a code: expected codes like 403,500-599 or changes like +503,-501", item, s)
		case first < lowestCode || last > highestCode || first > last:
			return nil, fmt.Errorf("%s in %q is not a code: expected %d to %d", digits, s, lowestCode, highestCode)
		case (sign != "") != changes:
			return nil, fmt.Errorf("%q mixes codes with changes: give either all codes (403,500-599) or only changes to the default (+503,-501)", s)
		}
		for code := first; code <= last; code++ {
			if sign == "-" && !has[code] {
				return nil, fmt.Errorf("%q removes %d, which is not on the list %s", s, code, codesOf(has[:]))
			}
			has[code] = sign != "-"
		}
	}
	return codesOf(has[:]), nil
}

// codesOf returns the codes for which has is true.
func codesOf(has []bool) Codes {
	codes := Codes{}
	for code, is := range has {
		switch last := len(codes) - 1; {
		case !is:
		case last >= 0 && codes[last][1] == code-1:
			codes[last][1] = code
		default:
			codes = append(codes, [2]int{code, code})
		}
	}
	return codes
}
