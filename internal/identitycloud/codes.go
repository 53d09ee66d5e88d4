package identitycloud

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// UnknownCodes are the codes after which the outcome of a call is unknown: something may have been written. API codes
// are the numbers in the API's JSON, HTTP codes those of the status line; they look alike and mean different things.
type UnknownCodes struct {
	API, HTTP []int
}

// DefaultUnknownCodes are the codes of dataload.py (API 403, 500, 504, 510; HTTP 403, 500, 501, 502) and the HTTP codes
// 408, 429, 503 and 504, which it took for failures although they do not say what was written.
func DefaultUnknownCodes() UnknownCodes {
	return UnknownCodes{
		API:  []int{403, 500, 504, 510},
		HTTP: []int{403, 408, 429, 500, 501, 502, 503, 504},
	}
}

// checked replaces nil lists by the defaults, and copies and sorts.
func (u UnknownCodes) checked() (UnknownCodes, error) {
	d := DefaultUnknownCodes()
	if u.API == nil {
		u.API = d.API
	}
	if u.HTTP == nil {
		u.HTTP = d.HTTP
	}
	for _, code := range u.API {
		if code < lowestCode || code > highestCode {
			return u, fmt.Errorf("%d is not an API code: expected %d to %d", code, lowestCode, highestCode)
		}
	}
	for _, code := range u.HTTP {
		if code < 300 || code > 599 {
			return u, fmt.Errorf("%d is not the HTTP code of an error: expected 300 to 599", code)
		}
	}
	return UnknownCodes{API: sorted(u.API), HTTP: sorted(u.HTTP)}, nil
}

const (
	lowestCode  = 100
	highestCode = 999
)

// ParseCodes reads a list of codes as given on a command line:
//
//	""           the defaults
//	"none"       an empty list
//	"403,500"    these codes instead of the defaults
//	"+503,-501"  the defaults with 503 and without 501
//
// The result is sorted, without repetitions and never nil. The forms cannot be mixed, codes are from 100 to 999, and a
// code that is taken away must be on the list.
func ParseCodes(defaults []int, s string) ([]int, error) {
	s = strings.TrimSpace(s)
	switch s {
	case "":
		return sorted(defaults), nil
	case "none":
		return []int{}, nil
	}
	changes := s[0] == '+' || s[0] == '-'
	codes := []int{}
	if changes {
		codes = sorted(defaults)
	}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		digits := strings.TrimLeft(item, "+-")
		sign := item[:len(item)-len(digits)]
		code, err := strconv.ParseUint(digits, 10, 31)
		switch {
		case err != nil || len(sign) > 1:
			return nil, fmt.Errorf("%q in %q is not a code: expected codes like 403,500 or changes like +503,-501", item, s)
		case code < lowestCode || code > highestCode:
			return nil, fmt.Errorf("%d in %q is not a code: expected %d to %d", code, s, lowestCode, highestCode)
		case (sign != "") != changes:
			return nil, fmt.Errorf("%q mixes codes with changes: give either all codes (403,500) or only changes to the usual ones (+503,-501)", s)
		case sign == "-":
			at := slices.Index(codes, int(code))
			if at < 0 {
				return nil, fmt.Errorf("%q takes away %d, which is not on the list %s", s, code, list(codes))
			}
			codes = slices.Delete(codes, at, at+1)
		default:
			codes = append(codes, int(code))
		}
	}
	return sorted(codes), nil
}

func sorted(codes []int) []int {
	codes = append([]int{}, codes...)
	slices.Sort(codes)
	return slices.Compact(codes)
}

func list(codes []int) string {
	if len(codes) == 0 {
		return "(empty)"
	}
	texts := make([]string, len(codes))
	for i, code := range codes {
		texts[i] = strconv.Itoa(code)
	}
	return strings.Join(texts, ",")
}
