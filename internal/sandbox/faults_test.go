package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestParseFaults(t *testing.T) {
	cases := []struct {
		text string
		want string // endpoint:kind=percent in order, or the error
		ok   bool
	}{
		{"", "", true},
		{"http502=2,reset-after=0.5", "entity.bulkCreate:http502=2 entity.bulkCreate:reset-after=0.5", true},
		{" http502 = 2 ", "entity.bulkCreate:http502=2", true},
		{" http502=2 , ", "entity.bulkCreate:http502=2", true},
		{"find:http502=5,hang=1", "entity.bulkCreate:hang=1 entity.find:http502=5", true},
		{"update:reset-after=2,replace:hang=3,delete:http502=4", "entity.update:reset-after=2 entity.replace:hang=3 entity.delete:http502=4", true},
		{"hang=1,hang=2", "entity.bulkCreate:hang=2", true},
		{"hang=100", "entity.bulkCreate:hang=100", true},
		{"hang", `"hang" is not a fault: expected a name, = and a percentage`, false},
		{"hang=", "is not a fault", false},
		{"hang=x", "is not a fault", false},
		{"hang=-1", "is not a fault", false},
		{"hang=NaN", "is not a fault", false},
		{"hang=101", "is not a fault", false},
		{"hangs=1", `there is no fault "hangs": expected all or one of refuse, reset-before,`, false},
		{"count:hang=1", `there is no fault "count:hang"`, false},
		{"hang=60,refuse=50", "make 110 percent", false},
		{"all=5", "entity.bulkCreate make 160 percent", false},
		{"find:all=5", "entity.find make 160 percent", false},
		{"update:hangs=1", "with find:, update:, replace:, delete: before it", false},
		{"find:update:hang=1", `there is no fault "find:update:hang"`, false},
	}
	for _, tc := range cases {
		faults, err := ParseFaults(tc.text)
		if tc.ok != (err == nil) {
			t.Errorf("%q: error %v", tc.text, err)
			continue
		}
		if err != nil {
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%q: %q, want %q", tc.text, err, tc.want)
			}
			continue
		}
		var got []string
		for _, e := range faultEndpoints {
			for _, c := range faults.byEndpoint[e.endpoint] {
				got = append(got, fmt.Sprintf("%s:%s=%g", e.endpoint, c.kind.name, c.percent))
			}
		}
		if strings.Join(got, " ") != tc.want {
			t.Errorf("%q: %s, want %s", tc.text, got, tc.want)
		}
	}
	if got := len(faultsOf(t, "all=2.5,hang=0").byEndpoint[bulkCreateEndpoint]); got != len(faultKinds)-6 {
		t.Errorf("all has %d kinds, want %d", got, len(faultKinds)-6)
	}
}

func TestDrawsDependOnSeedAndNumberOnly(t *testing.T) {
	faults := faultsOf(t, "http502=10,reset-after=20,find:hang=50")
	const calls = 10000
	counts := map[string]int{}
	sequence := func(seed int64) (names []string) {
		for number := int64(1); number <= calls; number++ {
			name := ""
			if kind := faults.draw(seed, bulkCreateEndpoint, number); kind != nil {
				name = kind.name
			}
			names = append(names, name)
		}
		return names
	}
	first := sequence(1)
	if !slices.Equal(first, sequence(1)) {
		t.Error("the same seed gives other faults the second time")
	}
	if slices.Equal(first, sequence(2)) {
		t.Error("another seed gives the same faults")
	}
	for _, name := range first {
		counts[name]++
	}
	for name, percent := range map[string]int{"http502": 10, "reset-after": 20, "": 70} {
		if got, want := counts[name], calls*percent/100; got < want*9/10 || got > want*11/10 {
			t.Errorf("%q hits %d of %d calls, want about %d", name, got, calls, want)
		}
	}
	if kind := faults.draw(1, "entity.count", 1); kind != nil {
		t.Errorf("entity.count has the fault %s, want none", kind.name)
	}
	// These are written down: a seed means the same with every version of the program.
	if got, want := fmt.Sprintf("%.6f %.6f", fraction(1, bulkCreateEndpoint, 1), fraction(-7, findEndpoint, 2)), "0.038962 0.244426"; got != want {
		t.Errorf("fractions %s, want %s", got, want)
	}
}

// TestFaultsAsSeenByAClient plays each kind on a call of four records, one of them with a taken email.
func TestFaultsAsSeenByAClient(t *testing.T) {
	htmlWith := func(status int) func(*testing.T, answerSeen) {
		return func(t *testing.T, a answerSeen) {
			if a.err != nil || a.status != status || !strings.Contains(a.body, "<html>") {
				t.Errorf("%v; want HTTP %d with HTML", a, status)
			}
			if got, want := a.header.Get("Retry-After") != "", status == 429 || status == 503; got != want {
				t.Errorf("Retry-After: %q", a.header.Get("Retry-After"))
			}
		}
	}
	apiError := func(code int) func(*testing.T, answerSeen) {
		return func(t *testing.T, a answerSeen) {
			if a.err != nil || a.status != 200 || a.json["stat"] != "error" || a.json["code"] != float64(code) {
				t.Errorf("%v; want HTTP 200 with the API error %d", a, code)
			}
		}
	}
	isReset := func(t *testing.T, a answerSeen) {
		if !errors.Is(a.err, syscall.ECONNRESET) {
			t.Errorf("%v; want a connection reset", a)
		}
	}
	timesOut := func(t *testing.T, a answerSeen) {
		if !errors.Is(a.err, context.Canceled) {
			t.Errorf("%v; want the client's own giving up", a)
		}
	}
	// results wants for each record an error's code, or the uuid of a record, both in both lists.
	var written []Written
	results := func(want ...string) func(*testing.T, answerSeen) {
		return func(t *testing.T, a answerSeen) {
			t.Helper()
			ids, _ := a.json["results"].([]any)
			uuids, _ := a.json["uuid_results"].([]any)
			if a.err != nil || a.status != 200 || a.json["stat"] != "ok" || len(ids) != len(want) || len(uuids) != len(want) {
				t.Fatalf("%v; want %d results", a, len(want))
			}
			for i, want := range want {
				got := fmt.Sprint(uuids[i])
				if e, isError := uuids[i].(map[string]any); isError {
					got = fmt.Sprint(e["code"])
					if !reflect.DeepEqual(ids[i], e) {
						t.Errorf("record %d: the id is %v and the uuid %v; want the same error", i, ids[i], e)
					}
				}
				for n, w := range written {
					if w.UUID == got && float64(w.ID) == ids[i] {
						got = fmt.Sprint("uuid ", n+1)
					}
				}
				if got != want {
					t.Errorf("record %d: the result is %v, %v; want %s", i, ids[i], uuids[i], want)
				}
			}
		}
	}
	const none, half, all = "", "0 2", "0 1 2" // records written, by index
	cases := map[string]struct {
		written string
		check   func(*testing.T, answerSeen)
	}{
		"refuse": {none, func(t *testing.T, a answerSeen) {
			if !errors.Is(a.err, io.EOF) && !errors.Is(a.err, syscall.ECONNRESET) && !errors.Is(a.err, syscall.EPIPE) {
				t.Errorf("%v; want a closed connection", a)
			}
		}},
		"reset-before":  {none, isReset},
		"reset-after":   {all, isReset},
		"partial-502":   {half, htmlWith(502)},
		"hang":          {none, timesOut},
		"hang-after":    {all, timesOut},
		"http403":       {none, htmlWith(403)},
		"http429":       {none, htmlWith(429)},
		"http500":       {none, htmlWith(500)},
		"http501":       {none, htmlWith(501)},
		"http502":       {none, htmlWith(502)},
		"http503":       {none, htmlWith(503)},
		"http504":       {none, htmlWith(504)},
		"http502-after": {all, htmlWith(502)},
		"api403":        {none, apiError(403)},
		"api500":        {none, apiError(500)},
		"api504":        {none, apiError(504)},
		"api510":        {none, apiError(510)},
		"api500-after":  {all, apiError(500)},
		"broken-json": {all, func(t *testing.T, a answerSeen) {
			if a.err != nil || a.status != 200 || a.json != nil || a.body == "" {
				t.Errorf("%v; want HTTP 200 with something that is not JSON", a)
			}
		}},
		"truncated-json": {all, func(t *testing.T, a answerSeen) {
			if !errors.Is(a.err, io.ErrUnexpectedEOF) || a.status != 200 || !strings.HasPrefix(a.body, `{"results":[`) {
				t.Errorf("%v; want half an answer and an unexpected end", a)
			}
		}},
		"no-stat": {all, func(t *testing.T, a answerSeen) {
			if _, given := a.json["stat"]; given || a.err != nil || len(a.json["uuid_results"].([]any)) != 4 {
				t.Errorf("%v; want four results and no stat", a)
			}
		}},
		"too-few-results": {all, func(t *testing.T, a answerSeen) {
			if a.err != nil || a.json["stat"] != "ok" || len(a.json["results"].([]any)) != 3 || len(a.json["uuid_results"].([]any)) != 3 {
				t.Errorf("%v; want three results", a)
			}
		}},
		"http409-after":   {all, htmlWith(409)},
		"http413-after":   {all, htmlWith(413)},
		"http505-after":   {all, htmlWith(505)},
		"http520-after":   {all, htmlWith(520)},
		"http524-after":   {all, htmlWith(524)},
		"api501-after":    {all, apiError(501)},
		"api550-after":    {all, apiError(550)},
		"record504-after": {all, results("504", "uuid 2", "504", "361")},
		"record510-after": {all, results("510", "uuid 2", "510", "361")},
		"same-uuid":       {all, results("uuid 1", "uuid 1", "uuid 1", "uuid 1")},
		"wrong-order":     {all, results("uuid 3", "uuid 2", "uuid 1", "361")},
		"replay":          {all, results("361", "361", "361", "361")},
		"stranger":        {"0", isReset},
		"namesake":        {"0", isReset},
		"sign-in":         {all, isReset},
	}
	for _, kind := range faultKinds {
		t.Run(kind.name, func(t *testing.T) {
			tc, ok := cases[kind.name]
			if !ok {
				t.Fatal("there is no case for this kind")
			}
			stateDir := t.TempDir()
			quiet, c := start(t, Options{StateDir: stateDir})
			c.create(`[{"email":"taken@x.org"}]`)
			quiet.Close()

			server, c := start(t, Options{StateDir: stateDir, Faults: faultsOf(t, kind.name+"=100")})
			form := url.Values{"type_name": {"user"}, "all_attributes": {
				`[{"email":"A@x.org"},{"email":"b@x.org"},{"email":"c@x.org"},{"email":"taken@x.org"}]`}}
			seen := see(t, server, c.url+"/entity.bulkCreate", form, kind.ending == hung)

			var call Call // the last that came through the API
			written = nil
			var indexes []string
			for _, line := range truth(t, stateDir)[1:] {
				if line.Endpoint == bulkCreateEndpoint {
					call = line
				}
				for _, w := range line.Written {
					written = append(written, w)
					indexes = append(indexes, fmt.Sprint(w.Index))
				}
			}
			tc.check(t, seen)
			if got := strings.Join(indexes, " "); got != tc.written {
				t.Errorf("truth log: records %q were written, want %q", got, tc.written)
			}
			if call.Fault != kind.name || call.Number != 2 || call.Status != kind.status() {
				t.Errorf("truth log: fault %q of call %d, status %d; want %q, 2 and %d", call.Fault, call.Number, call.Status, kind.name, kind.status())
			}
			if read := kind.name != "refuse"; read != (call.Records == 4 && call.SHA256 != "" && strings.Join(call.Keys, " ") == "a@x.org b@x.org c@x.org taken@x.org") {
				t.Errorf("truth log: %d records, sha256 %q, keys %v", call.Records, call.SHA256, call.Keys)
			}
			if got, want := c.total(), 1+len(written); got != want { // entity.count has no faults
				t.Errorf("%d entities, want %d", got, want)
			}
			if got, want := len(c.emails(params{"filter": "email='a@x.org' or email='b@x.org' or email='c@x.org'"})), len(written); got != want {
				t.Errorf("find gives %d of the emails, want %d", got, want)
			}
		})
	}
}

func faultsOf(t *testing.T, faults string) Faults {
	t.Helper()
	parsed, err := ParseFaults(faults)
	must(t, err)
	return parsed
}

type answerSeen struct {
	status int
	header http.Header
	body   string
	json   map[string]any // nil if the body is not JSON
	err    error
}

func (a answerSeen) String() string {
	return fmt.Sprintf("status %d, error %v, body %.300s", a.status, a.err, a.body)
}

// see makes a call and gives what came. From a call that hangs it goes away as soon as that is in the truth log.
func see(t *testing.T, server *Server, address string, form url.Values, hangs bool) answerSeen {
	t.Helper()
	ctx, giveUp := context.WithCancel(context.Background())
	defer giveUp()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	must(t, err)
	request.SetBasicAuth(testID, testSecret)
	seen := make(chan answerSeen, 1)
	go func() {
		response, err := transport.RoundTrip(request)
		if err != nil {
			seen <- answerSeen{err: err}
			return
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		a := answerSeen{status: response.StatusCode, header: response.Header, body: string(body), err: err}
		if json.Unmarshal(body, &a.json) != nil {
			a.json = nil
		}
		seen <- a
	}()
	if hangs {
		waitFor(t, "the call is in the truth log", func() bool {
			calls := truth(t, server.options.StateDir)
			return calls[len(calls)-1].Fault != ""
		})
		giveUp()
	}
	return <-seen
}

func TestFaultsHeal(t *testing.T) {
	faults := faultsOf(t, "http502=100,find:http503=100")
	server, c := start(t, Options{Faults: faults, HealAfter: 2})
	send := func(endpoint string, want int) {
		t.Helper()
		status, _, _, err := c.send(endpoint, params{"type_name": "user", "all_attributes": "[]"})
		if err != nil || status != want {
			t.Errorf("%s: status %d, %v; want %d", endpoint, status, err, want)
		}
	}
	send("entity.bulkCreate", 502)
	send("entity.find", 503)
	server.Close()
	_, c = start(t, Options{StateDir: server.options.StateDir, Faults: faults, HealAfter: 2}) // the count continues
	send("entity.bulkCreate", 502)
	send("entity.find", 503)
	send("entity.bulkCreate", 200)
	send("entity.find", 200)
}

func TestAllCallsThatWriteCountForHealing(t *testing.T) {
	_, c := start(t, Options{Faults: faultsOf(t, "http502=100,update:http502=100,replace:http502=100,delete:http502=100"), HealAfter: 4})
	p := params{"type_name": "user", "id": "1"}
	for _, tc := range []struct {
		endpoint string
		want     int
	}{
		{bulkCreateEndpoint, 502}, {updateEndpoint, 502}, {"entity", 200}, {replaceEndpoint, 502},
		{deleteEndpoint, 502}, {deleteEndpoint, 200}, {updateEndpoint, 200},
	} {
		if status, _, _, err := c.send(tc.endpoint, p); err != nil || status != tc.want {
			t.Errorf("%s: status %d, %v; want %d", tc.endpoint, status, err, tc.want)
		}
	}
}

// TestFaultsOfCallsForOneEntity plays each kind on each call that changes an entity, and looks whether it did.
func TestFaultsOfCallsForOneEntity(t *testing.T) {
	for _, endpoint := range []string{updateEndpoint, replaceEndpoint, deleteEndpoint} {
		for _, kind := range faultKinds {
			t.Run(endpoint+" "+kind.name, func(t *testing.T) {
				_, verb, _ := strings.Cut(endpoint, ".")
				server, c := start(t, Options{Faults: faultsOf(t, verb+":"+kind.name+"=100")})
				uuid := c.create(`[{"email":"a@x.org","givenName":"Ann"}]`)[0]
				form := url.Values{"type_name": {"user"}, "uuid": {uuid}, "value": {`{"givenName":"Eve"}`}}
				if endpoint == deleteEndpoint {
					form.Del("value")
				}
				a := see(t, server, c.url+"/"+endpoint, form, kind.ending == hung)
				inResults := slices.Contains([]ending{oneResultOff, someUnknown, oneUUID, reversed}, kind.ending)
				repeatable := kind.done != twice || endpoint != deleteEndpoint
				if ok := a.err == nil && a.json["stat"] == "ok"; ok != (inResults || kind.ending == answered && repeatable) {
					t.Errorf("%v; want stat ok only of an answer without results to spoil", a)
				}
				if kind.done == twice {
					checkReplay(t, truth(t, server.options.StateDir)[1:], repeatable)
					return
				}
				call := truth(t, server.options.StateDir)[1]
				done := kind.done != nothing
				if call.Fault != kind.name || call.Number != 1 || call.Status != kind.status() || done != (len(call.Written)+len(call.Deleted) == 1) {
					t.Errorf("truth log: %+v; want the fault %s, call 1, status %d, done %t", call, kind.name, kind.status(), done)
				}
				name := "Ann"
				if done {
					name = "Eve"
				}
				answer := c.call("entity", params{"uuid": uuid})
				if gone := endpoint == deleteEndpoint && done; gone {
					if answer["code"] != 310.0 {
						t.Errorf("the entity is still there: %v", answer)
					}
				} else if answer["result"].(map[string]any)["givenName"] != name {
					t.Errorf("the entity is %v, want the name %s", answer, name)
				}
			})
		}
	}
}

// checkReplay wants two lines of one call, both with an effect if it can be repeated.
func checkReplay(t *testing.T, lines []Call, repeatable bool) {
	t.Helper()
	if len(lines) != 2 || lines[0].Fault != "replayed" || lines[1].Fault != "replay" || lines[0].Number != lines[1].Number {
		t.Fatalf("truth log: %+v; want a call that was replayed, and the replay", lines)
	}
	for i, line := range lines {
		if effect := len(line.Written)+len(line.Deleted) == 1; effect != (i == 0 || repeatable) {
			t.Errorf("truth log: line %d is %+v", i, line)
		}
	}
}

// Other people come between a call that was lost and the next one, and return at that.
func TestWhatOthersDoAfterALostCall(t *testing.T) {
	call := params{"type_name": "user", "all_attributes": `[{"email":"a@x.org","givenName":"Ann","created":"2001-01-01"},{"email":"b@x.org"},{"email":"c@x.org"},{"email":"d@x.org","givenName":"Dan"}]`}
	for _, tc := range []struct {
		fault string
		want  string // name, display name and whether the record was changed since it was made, of each record
	}{
		{"stranger", "a@x.org Somebody registered alone false,d@x.org Somebody changed in the profile true"},
		{"namesake", "a@x.org Ann <nil> false,d@x.org Dan changed in the profile true"},
		{"sign-in", "a@x.org Ann changed in the profile true,b@x.org <nil> <nil> false,c@x.org <nil> <nil> false,d@x.org Dan changed in the profile true"},
	} {
		server, c := start(t, Options{Faults: faultsOf(t, tc.fault+"=100"), HealAfter: 1})
		if _, _, _, err := c.send(bulkCreateEndpoint, call); err == nil {
			t.Errorf("%s: the call was answered", tc.fault)
		}
		var got []string
		c.total() // they return when a call comes
		for _, result := range c.ok(findEndpoint, params{"type_name": "user"})["results"].([]any) {
			r := result.(map[string]any)
			got = append(got, fmt.Sprint(r["email"], " ", r["givenName"], " ", r["displayName"], " ", r["created"] != r["lastUpdated"] && fmt.Sprint(r["created"]) > "2002"))
		}
		want := tc.want
		if tc.fault == "sign-in" { // the migration may give created, who registers cannot
			want = strings.Replace(want, "profile true", "profile false", 1)
		}
		if strings.Join(got, ",") != want {
			t.Errorf("%s: the records are\n%s, want\n%s", tc.fault, strings.Join(got, ","), want)
		}
		log := truth(t, server.options.StateDir)
		server.Close()
		_, c = start(t, Options{StateDir: server.options.StateDir}) // the log is the database
		if c.total() != len(got) || log[0].Endpoint != bulkCreateEndpoint || log[0].Fault != tc.fault {
			t.Errorf("%s: %d records after a restart, want %d; the log begins with %+v", tc.fault, c.total(), len(got), log[0])
		}
	}
}

func TestFaultsOfFind(t *testing.T) {
	_, c := start(t, Options{Faults: faultsOf(t, "find:too-few-results=100")})
	c.create(`[{"email":"a@x.org"},{"email":"b@x.org"}]`)
	if got := c.emails(nil); len(got) != 1 || got[0] != "a@x.org" {
		t.Errorf("find gives %v, want only a@x.org", got)
	}
}

func TestCloseEndsHangingCalls(t *testing.T) {
	server, c := start(t, Options{Faults: faultsOf(t, "hang=100")})
	ended := make(chan error, 1)
	go func() {
		_, _, _, err := c.send("entity.bulkCreate", params{"all_attributes": "[]"})
		ended <- err
	}()
	waitFor(t, "the call hangs", func() bool { return len(truth(t, server.options.StateDir)) == 1 })
	if err := server.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; err == nil {
		t.Error("the call that hung was answered")
	}
}
