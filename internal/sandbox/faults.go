package sandbox

import (
	"cmp"
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
	nothing       // not even the credentials are checked
	twice         // all, and then once more: a gateway has sent the request again
)

// ending is how a call with a fault ends for its client.
type ending int

const (
	refused      ending = iota // the connection is closed, the body is not read
	reset                      // the connection is reset
	hung                       // no answer, until the client goes away
	httpStatus                 // an HTTP error with an HTML page
	apiCode                    // HTTP 200 with an API error
	brokenJSON                 // HTTP 200, and a page instead of JSON
	truncated                  // half of the answer, against its Content-Length
	noStat                     // the answer without stat
	oneResultOff               // the answer without its last result
	someUnknown                // every other record has an API error instead of its result
	oneUUID                    // all results are the first one
	reversed                   // the results of the records that were created, the last one first
	answered                   // as if nothing were wrong
)

// aftermath is what other users do to every third record of a call with a fault.
type aftermath int

const (
	peace     aftermath = iota
	strangers           // they register with its address, and with data of their own
	namesakes           // they register with its address and the same data
	signIns             // its user signs in
)

// faultKind is one way in which a call can go wrong.
type faultKind struct {
	name   string
	done   share
	ending ending
	code   int // the HTTP status or API code
	after  aftermath
}

// faultKinds are all kinds, in the order in which "all" draws them. The meaning of a seed depends on the order.
//
// A replay is two calls in the truth log with the same number; the first has the fault "replayed" and no answer. Actions
// of users after a call are separate entries: see truth.go.
var faultKinds = []faultKind{
	{"refuse", nothing, refused, 0, peace},
	{"reset-before", nothing, reset, 0, peace},
	{"reset-after", all, reset, 0, peace},
	{"partial-502", half, httpStatus, 502, peace},
	{"hang", nothing, hung, 0, peace},
	{"hang-after", all, hung, 0, peace},
	{"http403", nothing, httpStatus, 403, peace},
	{"http429", nothing, httpStatus, 429, peace},
	{"http500", nothing, httpStatus, 500, peace},
	{"http501", nothing, httpStatus, 501, peace},
	{"http502", nothing, httpStatus, 502, peace},
	{"http503", nothing, httpStatus, 503, peace},
	{"http504", nothing, httpStatus, 504, peace},
	{"http502-after", all, httpStatus, 502, peace},
	{"api403", nothing, apiCode, 403, peace},
	{"api500", nothing, apiCode, 500, peace},
	{"api504", nothing, apiCode, 504, peace},
	{"api510", nothing, apiCode, 510, peace},
	{"api500-after", all, apiCode, 500, peace},
	{"broken-json", all, brokenJSON, 0, peace},
	{"truncated-json", all, truncated, 0, peace},
	{"no-stat", all, noStat, 0, peace},
	{"too-few-results", all, oneResultOff, 0, peace},
	{"http409-after", all, httpStatus, 409, peace},
	{"http413-after", all, httpStatus, 413, peace},
	{"http505-after", all, httpStatus, 505, peace},
	{"http520-after", all, httpStatus, 520, peace},
	{"http524-after", all, httpStatus, 524, peace},
	{"api501-after", all, apiCode, 501, peace},
	{"api550-after", all, apiCode, 550, peace},
	{"record504-after", all, someUnknown, 504, peace},
	{"record510-after", all, someUnknown, 510, peace},
	{"same-uuid", all, oneUUID, 0, peace},
	{"wrong-order", all, reversed, 0, peace},
	{"replay", twice, answered, 0, peace},
	{"stranger", nothing, reset, 0, strangers},
	{"namesake", nothing, reset, 0, namesakes},
	{"sign-in", all, reset, 0, signIns},
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

// inAll reports whether the name "all" includes it.
func (k *faultKind) inAll() bool {
	return k.after == peace && !slices.Contains([]string{"http413-after", "replay", "wrong-order"}, k.name)
}

func kindsInAll() (n int) {
	for i := range faultKinds {
		if faultKinds[i].inAll() {
			n++
		}
	}
	return n
}

// Faults says which calls go wrong and how often. The zero value is a server without faults.
type Faults struct {
	byEndpoint map[string][]chance
}

type chance struct {
	kind    *faultKind
	percent float64
}

// faultEndpoints are the endpoints that faults can hit, with the prefix of a fault for each.
var faultEndpoints = []struct{ prefix, endpoint string }{
	{"", bulkCreateEndpoint},
	{"find:", findEndpoint},
	{"update:", updateEndpoint},
	{"replace:", replaceEndpoint},
	{"delete:", deleteEndpoint},
}

// ParseFaults reads a list such as "http502=2,reset-after=0.5,find:http502=5": kinds of faults, each with the percent
// of calls that it hits. A kind hits entity.bulkCreate, or with "find:", "update:", "replace:" or "delete:" before its
// name the calls to that endpoint, which are counted and drawn separately for each endpoint. The name "all" selects every
// kind whose answer leaves the client in doubt, with that percentage each: not http413-after, replay and wrong-order, whose
// answers are clear and misleading, nor those with actions of other users. If a kind is repeated the later one counts. The
// percentages of one endpoint may not exceed 100 together. An empty list means no faults.
//
// For a call for one entity, partial-502 does everything, and the kinds that change the list of results change nothing.
// No user registers or signs in after it.
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
			if kindName != kind.name && (kindName != "all" || !kind.inAll()) {
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
				endpoint, sum, kindsInAll())
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

// FaultPrefixes lists the prefixes that ParseFaults accepts before the name of a fault.
func FaultPrefixes() string {
	var prefixes []string
	for _, e := range faultEndpoints[1:] {
		prefixes = append(prefixes, e.prefix)
	}
	return strings.Join(prefixes, ", ")
}

// draw returns the fault of the number-th call to an endpoint, nil for none. It depends on nothing but its arguments,
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
	case someUnknown:
		k.eachList(reply, func(list []any) {
			for i := 0; i < len(list); i += 2 {
				list[i] = k.apiError().object()
			}
		})
	case oneUUID:
		k.eachList(reply, func(list []any) {
			if first := slices.IndexFunc(list, isCreated); first >= 0 {
				for i := range list {
					list[i] = list[first]
				}
			}
		})
	case reversed:
		k.eachList(reply, func(list []any) {
			created := slices.DeleteFunc(slices.Clone(list), func(result any) bool { return !isCreated(result) })
			for i := range list {
				if last := len(created) - 1; isCreated(list[i]) {
					list[i], created = created[last], created[:last]
				}
			}
		})
	}
}

// eachList changes both lists of results.
func (k *faultKind) eachList(reply map[string]any, change func([]any)) {
	for _, name := range []string{"results", "uuid_results"} {
		if list, ok := reply[name].([]any); ok {
			change(list)
		}
	}
}

// isCreated reports whether a result is an id or a uuid, and no error.
func isCreated(result any) bool {
	_, isError := result.(map[string]any)
	return !isError
}

// apiError is the error that the API declares, of a call or of a record.
func (k *faultKind) apiError() *apiError {
	return newError(k.code, "%s", strings.ReplaceAll(errorNames[k.code], "_", " "))
}

// end ends the call in the fault's way; body is the answer that there would be. It reports whether it did, which it
// does not for faults in the answer itself.
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
		_, _ = w.Write(body[:len(body)/2]) // the server then closes the connection, since the rest is missing
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
		_ = tcp.SetLinger(0)
	}
	conn.Close()
}

// writePage answers as the web server in front of the API does.
func writePage(w http.ResponseWriter, status int) {
	title := strings.TrimSpace(fmt.Sprintf("%d %s", status, cmp.Or(http.StatusText(status), edgeStatus[status])))
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<html>\r\n<head><title>%[1]s</title></head>\r\n<body>\r\n<center><h1>%[1]s</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n", title)
}

// edgeStatus names statuses that only a content delivery network has.
var edgeStatus = map[int]string{520: "Web server is returning an unknown error", 524: "A timeout occurred"}
