package sandbox

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxHang is how long a call that hangs is held at most.
const maxHang = 5 * time.Minute

// share is how much of what a call asks for is done although the fault comes.
type share int

const (
	all     share = iota
	half          // every other record, the first among them
	nothing       // not even the credentials are looked at
)

// ending is how a call with a fault ends for its client.
type ending int

const (
	refused      ending = iota // the connection is closed, the body is not read
	reset                      // the connection is reset
	hung                       // no answer, until the client goes away
	httpStatus                 // an HTTP error with an HTML page
	apiCode                    // HTTP 200 with an API error
	brokenJSON                 // HTTP 200, and a page in the place of JSON
	truncated                  // half of the answer, against its Content-Length
	noStat                     // the answer without stat
	oneResultOff               // the answer without its last result
)

// faultKind is one way in which a call can go wrong.
type faultKind struct {
	name   string
	done   share
	ending ending
	code   int // the HTTP status or API code
}

// faultKinds are all kinds, in the order in which "all" draws them. The order is part of what a seed means.
var faultKinds = []faultKind{
	{"refuse", nothing, refused, 0},
	{"reset-before", nothing, reset, 0},
	{"reset-after", all, reset, 0},
	{"partial-502", half, httpStatus, 502},
	{"hang", nothing, hung, 0},
	{"hang-after", all, hung, 0},
	{"http403", nothing, httpStatus, 403},
	{"http429", nothing, httpStatus, 429},
	{"http500", nothing, httpStatus, 500},
	{"http501", nothing, httpStatus, 501},
	{"http502", nothing, httpStatus, 502},
	{"http503", nothing, httpStatus, 503},
	{"http504", nothing, httpStatus, 504},
	{"http502-after", all, httpStatus, 502},
	{"api403", nothing, apiCode, 403},
	{"api500", nothing, apiCode, 500},
	{"api504", nothing, apiCode, 504},
	{"api510", nothing, apiCode, 510},
	{"api500-after", all, apiCode, 500},
	{"broken-json", all, brokenJSON, 0},
	{"truncated-json", all, truncated, 0},
	{"no-stat", all, noStat, 0},
	{"too-few-results", all, oneResultOff, 0},
}

// status is the HTTP status of the answer, 0 if the client gets none.
func (k *faultKind) status() int {
	switch k.ending {
	case refused, reset, hung:
		return 0
	case httpStatus:
		return k.code
	default:
		return http.StatusOK
	}
}

// Faults says which calls go wrong and how often. The zero value is a server without faults.
type Faults struct {
	byEndpoint map[string][]chance
}

type chance struct {
	kind    *faultKind
	percent float64
}

// faultEndpoints are the endpoints that faults can hit, with what stands before the name of a fault to say so.
var faultEndpoints = []struct{ prefix, endpoint string }{
	{"", bulkCreateEndpoint},
	{"find:", findEndpoint},
	{"update:", updateEndpoint},
	{"replace:", replaceEndpoint},
	{"delete:", deleteEndpoint},
}

// ParseFaults reads a list such as "http502=2,reset-after=0.5,find:http502=5": kinds of faults, each with the percent
// of calls that it hits. A kind hits entity.bulkCreate, or with "find:", "update:", "replace:" or "delete:" before its
// name the calls to that endpoint, which are counted and drawn for each endpoint apart. The name "all" stands for every
// kind, so many percent each. Where a kind comes twice the later one counts. The percentages of one endpoint may not
// exceed 100 together. An empty list is no faults.
//
// Of a call for one entity, partial-502 does all there is to do, and too-few-results changes nothing.
func ParseFaults(s string) (Faults, error) {
	faults := Faults{byEndpoint: map[string][]chance{}}
	for item := range strings.SplitSeq(s, ",") {
		item = strings.TrimSpace(item)
		if item == "" {
			continue
		}
		name, percentText, ok := strings.Cut(item, "=")
		percent, err := strconv.ParseFloat(strings.TrimSpace(percentText), 64)
		if !ok || err != nil || math.IsNaN(percent) || percent < 0 || percent > 100 {
			return Faults{}, fmt.Errorf("%q is not a fault: expected a name, = and a percentage from 0 to 100, such as http502=2", item)
		}
		endpoint, kindName := bulkCreateEndpoint, strings.TrimSpace(name)
		for _, e := range faultEndpoints[1:] {
			if rest, ok := strings.CutPrefix(kindName, e.prefix); ok {
				endpoint, kindName = e.endpoint, rest
				break
			}
		}
		found := false
		for i := range faultKinds {
			kind := &faultKinds[i]
			if kindName != "all" && kindName != kind.name {
				continue
			}
			found = true
			list := slices.DeleteFunc(faults.byEndpoint[endpoint], func(c chance) bool { return c.kind == kind })
			faults.byEndpoint[endpoint] = append(list, chance{kind, percent})
		}
		if !found {
			return Faults{}, fmt.Errorf("there is no fault %q: expected all or one of %s, with %s before it for another endpoint than entity.bulkCreate",
				name, FaultNames(), FaultPrefixes())
		}
	}
	for endpoint, list := range faults.byEndpoint {
		sum := 0.0
		for _, c := range list {
			sum += c.percent
		}
		if sum > 100 {
			return Faults{}, fmt.Errorf("the faults of %s make %g percent of the calls (all=N counts %d times): at most 100 are possible, give smaller ones",
				endpoint, sum, len(faultKinds))
		}
	}
	return faults, nil
}

// FaultNames lists the kinds of faults that ParseFaults knows.
func FaultNames() string {
	var names []string
	for _, kind := range faultKinds {
		names = append(names, kind.name)
	}
	return strings.Join(names, ", ")
}

// FaultPrefixes lists what ParseFaults takes before the name of a fault.
func FaultPrefixes() string {
	var prefixes []string
	for _, e := range faultEndpoints[1:] {
		prefixes = append(prefixes, e.prefix)
	}
	return strings.Join(prefixes, ", ")
}

// draw gives the fault of the number-th call to an endpoint, nil for none. It depends on nothing but its arguments,
// so that the same seed gives the same faults to the same calls.
func (f Faults) draw(seed int64, endpoint string, number int64) *faultKind {
	list := f.byEndpoint[endpoint]
	if len(list) == 0 {
		return nil
	}
	drawn := 100 * fraction(seed, endpoint, number)
	for _, c := range list {
		if drawn < c.percent {
			return c.kind
		}
		drawn -= c.percent
	}
	return nil
}

// fraction is a number from 0 up to 1. A hash, so that it stays the same with every version of Go.
func fraction(seed int64, endpoint string, number int64) float64 {
	hash := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", seed, endpoint, number))
	return float64(binary.BigEndian.Uint64(hash[:])>>11) / (1 << 53)
}

// spoil changes an answer's content as the fault wants it.
func (k *faultKind) spoil(reply map[string]any) {
	switch k.ending {
	case noStat:
		delete(reply, "stat")
	case oneResultOff:
		for _, name := range []string{"results", "uuid_results"} {
			if list, ok := reply[name].([]any); ok && len(list) > 0 {
				reply[name] = list[:len(list)-1]
			}
		}
	}
}

// end ends the call in the fault's way; body is the answer that there would be. It tells whether it did, which it
// does not for faults that are in the answer itself.
func (k *faultKind) end(w http.ResponseWriter, r *http.Request, body []byte, closing <-chan struct{}) bool {
	switch k.ending {
	case refused:
		hangUp(w, false)
	case reset:
		hangUp(w, true)
	case hung:
		limit := time.NewTimer(maxHang)
		defer limit.Stop()
		select {
		case <-r.Context().Done():
		case <-closing:
		case <-limit.C:
		}
		hangUp(w, false)
	case httpStatus:
		if k.code == http.StatusTooManyRequests || k.code == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", "1")
		}
		writePage(w, k.code)
	case brokenJSON:
		writePage(w, http.StatusOK)
	case truncated:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		w.Write(body[:len(body)/2]) // the server then closes the connection, since the rest is missing
	default:
		return false
	}
	return true
}

// hangUp closes the client's connection without an answer, with a TCP reset if so wanted.
func hangUp(w http.ResponseWriter, withReset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // net/http then closes the connection
	}
	if tcp, ok := conn.(*net.TCPConn); ok && withReset {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// writePage answers as the web server in front of the API does.
func writePage(w http.ResponseWriter, status int) {
	title := fmt.Sprintf("%d %s", status, http.StatusText(status))
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html>\r\n<head><title>%[1]s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", title)
}
