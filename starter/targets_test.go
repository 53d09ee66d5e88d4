package main_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	migrations "durable-dataload/internal/migration"
	"durable-dataload/internal/proof/authemulator"
	"durable-dataload/internal/proof/kratos"
	"durable-dataload/internal/proof/program"
)

// wantsTargets skips a test that needs the server of another target, where that is not wanted or not to be had.
func wantsTargets(t *testing.T, install func() (string, error)) (installed string) {
	t.Helper()
	if !program.WantsTargets() {
		t.Skip(program.NoTargets)
	}
	installed, err := install()
	var unavailable *program.Unavailable
	if errors.As(err, &unavailable) {
		t.Skip(err)
	}
	must(t, err)
	return installed
}

func wantsKratos(t *testing.T) (installed string) {
	t.Helper()
	return wantsTargets(t, func() (string, error) { return kratos.Install(t.Context()) })
}

// kratos starts a server with an empty database.
func (l *lab) kratos(installed string) *kratos.Server {
	l.t.Helper()
	server, err := kratos.New(l.t.Context(), installed, l.path("kratos"))
	must(l.t, err)
	must(l.t, server.Start(l.t.Context()))
	l.t.Cleanup(server.Kill)
	return server
}

// losing passes calls on, and does not answer the first one that has written users.
func losing(t *testing.T, target string, wrote func(r *http.Request, body []byte) bool) (address string, lost *atomic.Int32) {
	t.Helper()
	to, err := url.Parse(target)
	must(t, err)
	lost = new(atomic.Int32)
	proxy := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		proxy.ServeHTTP(answer, r)
		if answer.Code == http.StatusOK && wrote(r, body) && lost.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())
	}))
	t.Cleanup(server.Close)
	return server.URL, lost
}

// elsewhere is a migration into another target.
type elsewhere struct {
	lab   *lab
	state string   // folder; "" is "state"
	flags []string // that name the target
	part  []string // of it, which a migration that is there has
	env   []string
}

func (e *elsewhere) starter(want int, args ...string) *process {
	e.lab.t.Helper()
	return e.lab.start("starter", e.env, append(append(args, "--state-dir", e.lab.path(cmp.Or(e.state, "state"))), e.flags...)...).ends(want)
}

// load migrates a file, and returns the table of dispositions, which has to add up.
func (e *elsewhere) load(want int, input, out string, args ...string) migrations.Summary {
	e.lab.t.Helper()
	out = e.lab.path(out)
	e.starter(want, append(append([]string{"--data", input, "--output-dir", out, "--batch-size", "10", "--retry-backoff", "0", "--rate-limit", "0"}, e.part...), args...)...)
	s := summaryIn(e.lab.t, out)
	if c := s.Records; c.Created+c.Recovered+c.Updated+c.Failed+c.Unknown+c.Remaining != c.Total {
		e.lab.t.Errorf("the dispositions %+v do not add up", c)
	}
	return s
}

// loadsWithALostAnswer loads 45 users, of whom two fail. The first answer is lost.
func (e *elsewhere) loadsWithALostAnswer(lost *atomic.Int32) migrations.Summary {
	e.lab.t.Helper()
	input := e.lab.write("users.csv", []byte(exported(45)))
	e.tellsWhatCannotTravel(input)
	if lost.Load() != 0 {
		e.lab.t.Fatal("validate has written something")
	}
	s := e.load(migrations.ExitFailed, input, "out")
	if s.Records.Recovered == 0 {
		e.lab.t.Errorf("none was recovered: %+v", s.Records)
	}
	s.Records.Created, s.Records.Recovered = s.Records.Created+s.Records.Recovered, 0
	e.expect(s, migrations.Counts{Total: 45, Created: 43, Failed: 2})
	return s
}

func (e *elsewhere) expect(s migrations.Summary, want migrations.Counts) {
	e.lab.t.Helper()
	if s.Records != want {
		e.lab.t.Errorf("the dispositions are %+v, want %+v", s.Records, want)
	}
}

// hashOfHorse is the bcrypt hash of "correct horse".
const hashOfHorse = "$2a$04$qmnzZJOar2gYkq6tUszWWOJX48YPvKSdIX9G.SW4fK1OY6n6RHd/e"

// pbkdf2OfHorse is another one, of another algorithm.
const pbkdf2OfHorse = "$pbkdf2-sha256$i=1000,l=32$c2FsdHNhbHRzYWx0c2FsdA$BBs+1+PaslLtBPULUr8/lQicvVuHiEPMz0i8MjLCbzM"

// exported are users of an Identity Cloud, of whom the second has a password that does not travel.
func exported(n int) string {
	var b strings.Builder
	b.WriteString("uuid,email,givenName,familyName,emailVerified,password\n")
	for i := 1; i <= n; i++ {
		kind, hash := "password-bcrypt", hashOfHorse
		if i == 2 {
			kind, hash = "password-netforum", "x"
		}
		fmt.Fprintf(&b, `efd7fe4e-0000-4000-8000-%012d,a%d@example.com,Ann %d,Lee,2020-01-02 03:04:05 +0000,"{""type"":""%s"",""value"":""%s""}"`+"\n", i, i, i, kind, hash)
	}
	return b.String()
}

// sendJSON makes a call as an app or an operator would, and returns the status.
func sendJSON(t *testing.T, method, url, token, body string, into any) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewBufferString(body))
	must(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must(t, err)
	if into != nil && json.Unmarshal(text, into) != nil {
		t.Fatalf("%s %s: %s", method, url, text)
	}
	return resp.StatusCode
}

// tellsWhatCannotTravel checks that validate counts the hash that the target does not take, and sends nothing.
func (e *elsewhere) tellsWhatCannotTravel(input string) {
	e.lab.t.Helper()
	text := e.starter(migrations.ExitFailed, append([]string{"validate", "--data", input}, e.part...)...).output()
	if !regexp.MustCompile(`(?m)^  1 × .*takes no hashes of the type password-netforum`).MatchString(text) {
		e.lab.t.Errorf("validate says:\n%s\nwant the count of the hashes that cannot travel", text)
	}
}

func TestUsersMoveToKratos(t *testing.T) {
	t.Parallel()
	installed := wantsKratos(t)
	l := newLab(t)
	server := l.kratos(installed)
	if status := sendJSON(t, http.MethodPost, server.Admin+"/admin/identities", "", `{"schema_id":"default","traits":{"email":"a3@example.com","name":{"last":"Stranger"}}}`, nil); status != http.StatusCreated {
		t.Fatalf("the stranger was not created: HTTP %d", status)
	}
	address, lost := losing(t, server.Admin, func(r *http.Request, body []byte) bool {
		// A call with the stranger's email writes none.
		return r.Method == http.MethodPatch && r.URL.Path == "/admin/identities" && !bytes.Contains(body, []byte("a3@example.com"))
	})
	e := &elsewhere{lab: l, flags: []string{"--target", "kratos", "--target-url", address}}
	s := e.loadsWithALostAnswer(lost)
	e.isInKratos(server, 44)
	e.signsIn(server, "a1@example.com", "correct horse", true)
	e.signsIn(server, "a1@example.com", "battery staple", false)

	e.starter(migrations.ExitDone, "verify", s.WorkflowID, "--all", "--output-dir", l.path("verified"))

	// The day of the cutover: one has another name.
	changed := l.write("changed.csv", []byte(strings.Replace(strings.Join(strings.SplitAfter(exported(5), "\n")[:2], ""), "Ann 1", "Anna", 1)))
	e.expect(e.load(migrations.ExitDone, changed, "delta", "-m"), migrations.Counts{Total: 1, Updated: 1})
	var found []struct {
		ID     string
		Traits struct{ Name struct{ First, Last string } }
		Admin  struct {
			UUID string
			Mark string `json:"durable_dataload"`
		} `json:"metadata_admin"`
	}
	sendJSON(t, http.MethodGet, server.Admin+"/admin/identities?credentials_identifier=a1@example.com", "", "", &found)
	if len(found) != 1 || found[0].Traits.Name.First != "Anna" || found[0].Admin.UUID != "efd7fe4e-0000-4000-8000-000000000001" || found[0].Admin.Mark == "" {
		t.Errorf("after the delta: %+v; want the new name, the old uuid and the mark", found)
	}
	e.signsIn(server, "a1@example.com", "correct horse", true)

	// Whoever was changed since stays, and so does the stranger.
	e.starter(migrations.ExitFailed, "rollback", s.WorkflowID, "--yes", "--rate-limit", "0", "--output-dir", l.path("undone"))
	e.isInKratos(server, 2)
}

// isInKratos checks how many identities there are, and that no email has two.
func (e *elsewhere) isInKratos(server *kratos.Server, want int) {
	e.lab.t.Helper()
	var all []struct{ Traits struct{ Email string } }
	sendJSON(e.lab.t, http.MethodGet, server.Admin+"/admin/identities?page_size=500", "", "", &all)
	seen := map[string]bool{}
	for _, i := range all {
		if seen[i.Traits.Email] {
			e.lab.t.Errorf("%s is there twice", i.Traits.Email)
		}
		seen[i.Traits.Email] = true
	}
	if len(all) != want {
		e.lab.t.Errorf("Kratos has %d identities, want %d", len(all), want)
	}
}

// signsIn checks whether a user can sign in, as an app does.
func (e *elsewhere) signsIn(server *kratos.Server, email, password string, want bool) {
	e.lab.t.Helper()
	var flow struct{ UI struct{ Action string } }
	sendJSON(e.lab.t, http.MethodGet, server.Public+"/self-service/login/api", "", "", &flow)
	body, err := json.Marshal(map[string]string{"method": "password", "identifier": email, "password": password})
	must(e.lab.t, err)
	if status := sendJSON(e.lab.t, http.MethodPost, flow.UI.Action, "", string(body), nil); (status == http.StatusOK) != want {
		e.lab.t.Errorf("%s signs in with the password %q: HTTP %d, want success: %t", email, password, status, want)
	}
}

func TestUsersMoveToIdentityPlatform(t *testing.T) {
	t.Parallel()
	installed := wantsTargets(t, func() (string, error) { return authemulator.Install(t.Context()) })
	l := newLab(t)
	server, err := authemulator.Start(t.Context(), installed, t.TempDir())
	must(t, err)
	t.Cleanup(server.Kill)
	address, lost := losing(t, server.Address, func(r *http.Request, _ []byte) bool { return strings.HasSuffix(r.URL.Path, "accounts:batchCreate") })
	users := server.Address + "/v1/projects/" + authemulator.Project + "/accounts"
	const token = "owner"
	if status := sendJSON(t, http.MethodPost, users+":batchCreate", token, `{"users":[{"localId":"stranger","email":"a3@example.com"}]}`, nil); status != http.StatusOK {
		t.Fatalf("the stranger was not created: HTTP %d", status)
	}
	e := &elsewhere{lab: l, flags: []string{"--target", "identity-platform", "--target-url", address}, part: []string{"--target-project", authemulator.Project}, env: []string{"DATALOAD_TARGET_TOKEN=" + token}}
	s := e.loadsWithALostAnswer(lost)
	count := func() (n int) {
		var all struct{ Users []struct{ LocalID string } }
		sendJSON(t, http.MethodGet, users+":batchGet?maxResults=1000", token, "", &all)
		return len(all.Users)
	}
	if n := count(); n != 44 {
		t.Errorf("the project has %d users, want 44", n)
	}
	e.starter(migrations.ExitDone, "verify", s.WorkflowID, "--all", "--output-dir", l.path("verified"))

	// Another work place has the same users, with hashes that take several calls a batch. None of its answers is lost, so
	// none of them is its own.
	other := *e
	other.state = "another"
	mixed := strings.ReplaceAll(exported(45), hashOfHorse, pbkdf2OfHorse)
	mixed = strings.Replace(mixed, pbkdf2OfHorse, hashOfHorse, 20)
	again := other.load(migrations.ExitFailed, l.write("mixed.csv", []byte(mixed)), "again")
	other.expect(again, migrations.Counts{Total: 45, Failed: 45})
	other.starter(migrations.ExitDone, "rollback", again.WorkflowID, "--yes", "--rate-limit", "0", "--output-dir", l.path("none"))
	if n := count(); n != 44 {
		t.Errorf("after the rollback of what was there before: %d users, want 44", n)
	}

	changed := l.write("changed.csv", []byte(strings.Replace(strings.Join(strings.SplitAfter(exported(5), "\n")[:2], ""), "Ann 1", "Anna", 1)))
	e.expect(e.load(migrations.ExitDone, changed, "delta", "-m"), migrations.Counts{Total: 1, Updated: 1})
	var found struct {
		Users []struct{ LocalID, CustomAttributes string }
	}
	sendJSON(t, http.MethodPost, users+":lookup", token, `{"email":["a1@example.com"]}`, &found)
	if len(found.Users) != 1 || found.Users[0].LocalID != "efd7fe4e-0000-4000-8000-000000000001" || !strings.Contains(found.Users[0].CustomAttributes, "Anna") {
		t.Errorf("after the delta: %+v; want the new name, and the old uuid as the id", found)
	}
	e.starter(migrations.ExitFailed, "rollback", s.WorkflowID, "--yes", "--rate-limit", "0", "--output-dir", l.path("undone"))
	if n := count(); n != 2 {
		t.Errorf("after the rollback the project has %d users, want the one that was changed, and the stranger", n)
	}
}
