package sandbox

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain can also be a server of its own process, for the tests that kill it.
func TestMain(m *testing.M) {
	if stateDir := os.Getenv("SANDBOX_TEST_STATE_DIR"); stateDir != "" {
		os.Exit(serveForever(stateDir))
	}
	os.Exit(m.Run())
}

func serveForever(stateDir string) int {
	server, err := Start(Options{Address: "127.0.0.1:0", StateDir: stateDir, ClientID: testID, ClientSecret: testSecret})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(server.URL())
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	<-ended
	return 0
}

const (
	testID     = "client"
	testSecret = "secret"
)

// params are the parameters of a call.
type params map[string]string

// client calls a server with Basic authentication, each time on a new connection.
type client struct {
	t   testing.TB
	url string
}

// start starts a server with some options, the others as they should be, and closes it when the test ends.
func start(t testing.TB, o Options) (*Server, client) {
	t.Helper()
	if o.StateDir == "" {
		o.StateDir = t.TempDir()
	}
	o.Address, o.ClientID, o.ClientSecret = "127.0.0.1:0", testID, testSecret
	server, err := Start(o)
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	t.Cleanup(func() { server.Close() })
	return server, client{t, server.URL()}
}

var transport = &http.Transport{DisableKeepAlives: true}

// send makes a call and gives what came, with the error of the connection if there was one.
func (c client) send(endpoint string, p params) (status int, header http.Header, body string, err error) {
	c.t.Helper()
	form := url.Values{}
	for name, value := range p {
		form.Set(name, value)
	}
	request, err := http.NewRequest(http.MethodPost, c.url+"/"+endpoint, strings.NewReader(form.Encode()))
	must(c.t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(testID, testSecret)
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, nil, "", err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return response.StatusCode, response.Header, string(answer), err
}

// call makes a call that should be answered with JSON and HTTP 200, and gives the answer.
func (c client) call(endpoint string, p params) map[string]any {
	c.t.Helper()
	if _, given := p["type_name"]; !given {
		withType := params{"type_name": "user"}
		for name, value := range p {
			withType[name] = value
		}
		p = withType
	}
	status, _, body, err := c.send(endpoint, p)
	if err != nil || status != http.StatusOK {
		c.t.Fatalf("%s: status %d, error %v, body %.200s; want 200 and no error", endpoint, status, err, body)
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		c.t.Fatalf("%s: the answer is not JSON: %v: %.200s", endpoint, err, body)
	}
	return answer
}

// ok makes a call that should succeed.
func (c client) ok(endpoint string, p params) map[string]any {
	c.t.Helper()
	answer := c.call(endpoint, p)
	if answer["stat"] != "ok" {
		c.t.Fatalf("%s(%v): %v; want stat ok", endpoint, p, answer)
	}
	return answer
}

// fails makes a call that should be answered with an API error, and gives the answer.
func (c client) fails(endpoint string, p params, code int) map[string]any {
	c.t.Helper()
	answer := c.call(endpoint, p)
	if answer["stat"] != "error" || answer["code"] != float64(code) {
		c.t.Fatalf("%s(%v): %v; want stat error, code %d", endpoint, p, answer, code)
	}
	for _, field := range []string{"error", "error_description", "request_id"} {
		if text, _ := answer[field].(string); text == "" {
			c.t.Errorf("%s(%v): the error %d has no %s: %v", endpoint, p, code, field, answer)
		}
	}
	return answer
}

// create creates records from a JSON array and gives their uuids, "" where there is an error.
func (c client) create(records string) (uuids []string) {
	c.t.Helper()
	answer := c.ok("entity.bulkCreate", params{"all_attributes": records})
	for _, result := range answer["uuid_results"].([]any) {
		uuid, _ := result.(string)
		uuids = append(uuids, uuid)
	}
	return uuids
}

// total is the number of entities.
func (c client) total() int {
	c.t.Helper()
	return int(c.ok("entity.count", nil)["total_count"].(float64))
}

// emails finds entities and gives their emails.
func (c client) emails(p params) []string {
	c.t.Helper()
	emails := []string{}
	for _, result := range c.ok("entity.find", p)["results"].([]any) {
		email, _ := result.(map[string]any)["email"].(string)
		emails = append(emails, email)
	}
	return emails
}

// truth reads the log of a running server, or of one that has ended.
func truth(t *testing.T, stateDir string) []Call {
	t.Helper()
	calls, err := ReadTruth(stateDir)
	if err != nil {
		t.Fatalf("ReadTruth: %v", err)
	}
	return calls
}

// waitFor waits for a condition that is sure to come.
func waitFor(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not so within 30 s: %s", what)
		}
	}
}

func TestStartRefusesWhatCannotWork(t *testing.T) {
	running, _ := start(t, Options{})
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	good := Options{Address: "127.0.0.1:0", StateDir: t.TempDir(), ClientID: "id", ClientSecret: "secret"}
	cases := []struct {
		name   string
		change func(*Options)
		want   string // part of the error
	}{
		{"no credentials", func(o *Options) { o.ClientSecret = "" }, "client secret"},
		{"no state folder", func(o *Options) { o.StateDir = "" }, "state folder"},
		{"negative limit", func(o *Options) { o.Limit = -1 }, "negative"},
		{"address in use", func(o *Options) { o.Address = strings.TrimPrefix(running.URL(), "http://") }, "in use by another program"},
		{"malformed address", func(o *Options) { o.Address = "nowhere" }, "host:port"},
		{"state folder in use", func(o *Options) { o.StateDir = running.options.StateDir }, "belongs to a sandbox that is running"},
		{"state folder is a file", func(o *Options) { o.StateDir = file }, "state folder"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			o := good
			c.change(&o)
			server, err := Start(o)
			if err == nil {
				server.Close()
				t.Fatal("Start succeeded")
			}
			if !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("Start: %q; want one line with %q", err, c.want)
			}
		})
	}
}

func TestCloseLetsGoOfAddressAndStateFolder(t *testing.T) {
	server, _ := start(t, Options{})
	o := server.options
	o.Address = strings.TrimPrefix(server.URL(), "http://")
	for range 2 { // closing twice is allowed
		if err := server.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	again, err := Start(o)
	if err != nil {
		t.Fatalf("Start after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func TestStateIsForItsOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "deep", "state")
	start(t, Options{StateDir: dir})
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, TruthFile): 0o600} {
		info, err := os.Stat(path)
		must(t, err)
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s is %o, want %o", filepath.Base(path), got, want)
		}
	}
}

func TestStructuralFaultsOfACall(t *testing.T) {
	_, c := start(t, Options{})
	cases := []struct {
		endpoint string
		params   params
		code     int
		argument string // argument_name of the answer
	}{
		{"entity.bulkCreate", params{"type_name": "", "all_attributes": "[]"}, 100, "type_name"},
		{"entity.bulkCreate", params{"type_name": "nope", "all_attributes": "[]"}, 222, ""},
		{"entity.bulkCreate", params{}, 100, "all_attributes"},
		{"entity.bulkCreate", params{"all_attributes": `[{]`}, 200, "all_attributes"},
		{"entity.bulkCreate", params{"all_attributes": `[] []`}, 200, "all_attributes"},
		{"entity.bulkCreate", params{"all_attributes": `{}`}, 200, "all_attributes"},
		{"entity.bulkCreate", params{"all_attributes": "[{\"a\":\"\xff\"}]"}, 200, "all_attributes"},
		{"entity.find", params{"filter": "nope = 'x'"}, 200, "filter"},
		{"entity.find", params{"filter": "email ="}, 200, "filter"},
		{"entity.find", params{"max_results": "10001"}, 200, "max_results"},
		{"entity.find", params{"first_result": "0"}, 200, "first_result"},
		{"entity.find", params{"sort_on": "id"}, 200, "sort_on"},
		{"entity.find", params{"attributes": "[1]"}, 200, "attributes"},
		{"entity.count", params{"filter": "(email is null"}, 200, "filter"},
		{"entity", params{}, 100, "uuid"},
		{"entity", params{"id": "1", "uuid": "x"}, 201, ""},
		{"entity", params{"id": "x"}, 200, "id"},
		{"entity.delete", params{"uuid": "x"}, 200, "uuid"},
		{"entity.delete", params{"uuid": newUUID(1)}, 310, ""},
		{"entity.update", params{"key_attribute": "email"}, 100, "key_value"},
		{"entity.update", params{"key_attribute": "email", "key_value": "a@x.org"}, 200, "key_value"},
		{"entity.update", params{"key_attribute": "email", "key_value": `5`}, 200, "key_value"},
		{"entity.update", params{"key_attribute": "uuid", "key_value": `{}`}, 200, "key_value"},
		{"entity.update", params{"key_attribute": "id", "key_value": `1.5`}, 200, "id"},
		{"entity.update", params{"key_attribute": "givenName", "key_value": `"Ann"`}, 200, "key_attribute"},
		{"entity.replace", params{"id": "77", "attributes": "{}"}, 310, ""},
	}
	for _, tc := range cases {
		answer := c.fails(tc.endpoint, tc.params, tc.code)
		if got, _ := answer["argument_name"].(string); got != tc.argument {
			t.Errorf("%s(%v): argument_name %q, want %q", tc.endpoint, tc.params, got, tc.argument)
		}
	}
}

func TestBodyOverFiveMegabytesIsTooLarge(t *testing.T) {
	server, c := start(t, Options{})
	head := "type_name=user&all_attributes="
	for _, chunked := range []bool{false, true} {
		var body io.Reader = strings.NewReader(head + strings.Repeat("x", maxBody+1-len(head)))
		if chunked {
			body = io.MultiReader(body) // of a size that net/http does not know
		}
		response, err := http.Post(c.url+"/entity.bulkCreate", "application/x-www-form-urlencoded", body)
		must(t, err)
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		want := fmt.Sprintf("client intended to send too large body: %d bytes", maxBody+1)
		if response.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(string(text), want) {
			t.Errorf("chunked %v: status %d, body %q; want 413, %q", chunked, response.StatusCode, text, want)
		}
	}
	// One byte less is read.
	p := params{"type_name": "user"}
	p["all_attributes"] = "[" + strings.Repeat("+", maxBody-len(head)-2) + "]" // "+" is a blank
	request, _ := http.NewRequest(http.MethodPost, c.url+"/entity.bulkCreate", strings.NewReader(head+p["all_attributes"]))
	request.SetBasicAuth(testID, testSecret)
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	defer response.Body.Close()
	if text, _ := io.ReadAll(response.Body); !strings.Contains(string(text), `"stat":"ok"`) {
		t.Errorf("a body of %d bytes: %s; want stat ok", maxBody, text)
	}
	if calls := truth(t, server.options.StateDir); len(calls) != 3 || calls[0].Status != http.StatusRequestEntityTooLarge {
		t.Errorf("the truth log has %d calls, the first with status %d; want 3 and 413", len(calls), calls[0].Status)
	}
}

func TestReadingCallsMayBeGets(t *testing.T) {
	_, c := start(t, Options{})
	c.create(`[{"email":"a@x.org"}]`)
	for path, want := range map[string]int{
		"/entity.count?type_name=user":                                    http.StatusOK,
		"/entity.find?type_name=user&filter=email%3D'a@x.org'":            http.StatusOK,
		"/entity?type_name=user&id=1":                                     http.StatusOK,
		"/entity.delete?type_name=user&id=1":                              http.StatusMethodNotAllowed,
		"/entity.bulkCreate?type_name=user&all_attributes=%5B%7B%7D%5D":   http.StatusMethodNotAllowed,
		"/entity.update?type_name=user&id=1&attributes=%7B%22a%22%3A1%7D": http.StatusMethodNotAllowed,
		"/entity.purge?type_name=user":                                    http.StatusNotFound,
		"/entity.count?type_name=%zz":                                     http.StatusBadRequest,
	} {
		request, _ := http.NewRequest(http.MethodGet, c.url+path, nil)
		request.SetBasicAuth(testID, testSecret)
		response, err := transport.RoundTrip(request)
		must(t, err)
		text, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != want || want == http.StatusOK && !strings.Contains(string(text), `"stat":"ok"`) {
			t.Errorf("GET %s: status %d, %s; want %d", path, response.StatusCode, text, want)
		}
	}
}

func TestLatencyIsWaited(t *testing.T) {
	const latency = 40 * time.Millisecond
	_, c := start(t, Options{Latency: latency})
	began := time.Now()
	c.total()
	if took := time.Since(began); took < latency {
		t.Errorf("a call took %v, want at least %v", took, latency)
	}
}

func TestCallsOverTheLimitGet510(t *testing.T) {
	server, c := start(t, Options{Limit: 0.001})
	c.total()
	c.fails("entity.bulkCreate", params{"all_attributes": `[{"email":"a@x.org"}]`}, 510)
	calls := truth(t, server.options.StateDir)
	if last := calls[len(calls)-1]; last.Code != 510 || len(last.Written) != 0 {
		t.Errorf("truth log: code %d, %d written; want 510 and none", last.Code, len(last.Written))
	}
}

func TestDiskThatFailsIsAnAnswer(t *testing.T) {
	server, c := start(t, Options{})
	c.create(`[{"email":"a@x.org"}]`)
	server.entities.log.file.Close()
	for range 2 {
		c.fails("entity.bulkCreate", params{"all_attributes": `[{"email":"b@x.org"}]`}, 500)
		c.fails("entity", params{"id": "1"}, 500)
	}
	if err := server.Close(); err == nil {
		t.Error("Close gave no error after the log had failed")
	}
}

func TestServerSurvivesClientsThatGoAway(t *testing.T) {
	server, c := start(t, Options{})
	body, pipe := io.Pipe()
	go func() {
		io.WriteString(pipe, "type_name=user&all_attributes=")
		pipe.CloseWithError(io.ErrUnexpectedEOF)
	}()
	if _, err := http.Post(c.url+"/entity.bulkCreate", "application/x-www-form-urlencoded", body); err == nil {
		t.Fatal("the call should have broken")
	}
	waitFor(t, "the broken call is in the truth log", func() bool { return len(truth(t, server.options.StateDir)) == 1 })
	if call := truth(t, server.options.StateDir)[0]; call.Status != 0 || call.Records != 0 {
		t.Errorf("truth log: status %d, %d records; want 0 and 0", call.Status, call.Records)
	}
	if n := c.total(); n != 0 {
		t.Errorf("%d entities, want none", n)
	}
}
