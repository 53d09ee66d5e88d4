package main_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"durable-dataload/internal/engine"
	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// evidence is everything that must not hold user data or a secret, in lower
// case, by where it was found.
type evidence map[string][]byte

func (e evidence) add(where string, content []byte) {
	e[where] = append(append(e[where], bytes.ToLower(content)...), '\n')
}

// addFolder takes in all files of a folder that another process may write to.
func (e evidence) addFolder(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		e.add(path, []byte(path+"\n"+readAll(path)))
		return nil
	})
	must(t, err)
}

// traces are what a migration left in folders of the state, on the screens of its
// programs, and in the engine of the state folder, which has to be free.
func (m *migration) traces(folders ...string) evidence {
	t := m.lab.t
	t.Helper()
	e := evidence{}
	for _, name := range folders {
		e.addFolder(t, filepath.Join(m.state, name))
	}
	for _, p := range m.lab.processes {
		e.add(p.stdout, []byte(p.output()))
		e.add(p.stderr, []byte(p.errors()))
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	service, err := engine.Start(ctx, filepath.Join(m.state, "engine"), nil, 0)
	must(t, err)
	defer service.Stop()
	e.addService(t, service.Address())
	return e
}

// addService takes in what the Temporal service tells of every workflow: by its
// own interface, and by that of the Web UI.
func (e evidence) addService(t *testing.T, address engine.Address) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := dial(t, address)
	browser := openWebUI(t, address)
	var err error
	var list *workflowservice.ListWorkflowExecutionsResponse
	until(t, "the service lists its workflows", func() bool {
		list, err = c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: engine.Namespace, PageSize: 1000})
		return err == nil && len(list.GetExecutions()) > 0
	})
	type message interface{ Marshal() ([]byte, error) }
	add := func(where string, m message, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", where, err)
		}
		content, err := m.Marshal()
		must(t, err)
		e.add(where, content)
	}
	add("the list of workflows", list, nil)
	for _, x := range list.GetExecutions() {
		id, run := x.GetExecution().GetWorkflowId(), x.GetExecution().GetRunId()
		described, err := c.DescribeWorkflowExecution(ctx, id, run)
		add("the description of "+id, described, err)
		history := c.GetWorkflowHistory(ctx, id, run, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
		for history.HasNext() {
			event, err := history.Next()
			add("the history of "+id, event, err)
		}
		for _, path := range []string{"", "/history"} {
			address := fmt.Sprintf("%s/api/v1/namespaces/%s/workflows/%s%s?execution.runId=%s", address.UI, engine.Namespace, url.PathEscape(id), path, run)
			e.addAnswer(t, browser, address)
		}
	}
	e.addAnswer(t, browser, address.UI+"/api/v1/namespaces/"+engine.Namespace+"/workflows")
}

// openWebUI is a browser that has followed a link to an engine's Web UI.
func openWebUI(t *testing.T, address engine.Address) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	must(t, err)
	browser := &http.Client{Jar: jar}
	response, err := browser.Get(address.Link(""))
	must(t, err)
	_ = response.Body.Close()
	return browser
}

// addPage takes in a page as it is, and gives it.
func (e evidence) addPage(t *testing.T, browser *http.Client, address string) []byte {
	t.Helper()
	response, err := browser.Get(address)
	must(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %v %.300s", address, response.Status, err, body)
	}
	e.add(address, body)
	return body
}

// addAnswer takes in what the Web UI's interface says, with its payloads
// decoded.
func (e evidence) addAnswer(t *testing.T, browser *http.Client, address string) {
	t.Helper()
	var value any
	if err := json.Unmarshal(e.addPage(t, browser, address), &value); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	e.addDecoded(address, value)
}

func (e evidence) addDecoded(where string, value any) {
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			e.addDecoded(where, inner)
		}
	case []any:
		for _, inner := range v {
			e.addDecoded(where, inner)
		}
	case string:
		if decoded, err := base64.StdEncoding.DecodeString(v); err == nil {
			e.add(where, decoded)
		}
	}
}

// mustHold makes sure that the evidence is what it should be: without it,
// nothing would be found in anything.
func (e evidence) mustHold(t *testing.T, words ...string) {
	t.Helper()
	for _, word := range words {
		found := false
		for _, content := range e {
			found = found || bytes.Contains(content, bytes.ToLower([]byte(word)))
		}
		if !found {
			t.Errorf("%q is nowhere in what was searched: this was no test", word)
		}
	}
}

// mustNotHold looks for what nobody but the target may see.
func (e evidence) mustNotHold(t *testing.T, secrets map[string]string) {
	t.Helper()
	told, size := 0, 0
	for _, content := range e {
		size += len(content)
	}
	t.Logf("%d secrets in %d places with %d bytes", len(secrets), len(e), size)
	for secret, what := range secrets {
		needle := bytes.ToLower([]byte(secret))
		for where, content := range e {
			if at := indexWhole(content, needle); at >= 0 {
				t.Errorf("%s, %q, is in %s:\n…%q…", what, secret, where, content[max(0, at-100):min(len(content), at+len(needle)+60)])
				if told++; told > 20 {
					t.Fatal("and so on")
				}
			}
		}
	}
}

// indexWhole finds a needle. One of digits only does not count within a longer
// number.
func indexWhole(content, needle []byte) int {
	digits := len(bytes.TrimFunc(needle, unicode.IsDigit)) == 0
	for from := 0; ; {
		at := bytes.Index(content[from:], needle)
		if at < 0 {
			return -1
		}
		at += from
		end := at + len(needle)
		if !digits || !(at > 0 && isDigit(content[at-1]) || end < len(content) && isDigit(content[end])) {
			return at
		}
		from = at + 1
	}
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// secretsOf gives what is private in a file of invented users, and in the
// credentials.
func secretsOf(t *testing.T, path string, s *sandboxTarget) map[string]string {
	t.Helper()
	secrets := map[string]string{
		s.secret: "the client secret",
		base64.StdEncoding.EncodeToString([]byte(s.id + ":" + s.secret)): "the client's credentials",
	}
	for i, row := range rows(t, path) {
		name := fmt.Sprintf(" of record %d", i+1)
		secrets[row[0]] = "the email" + name
		for _, column := range []struct {
			at   int
			what string
		}{{3, "the name"}, {4, "the password"}} {
			if value := strings.TrimSpace(row[column.at]); value != "" {
				secrets[value] = column.what + name
			}
		}
		var hash struct{ Value string }
		if json.Unmarshal([]byte(row[4]), &hash) == nil && hash.Value != "" {
			secrets[hash.Value] = "the password's hash" + name
		}
	}
	return secrets
}

func TestNoUserDataAndNoSecretLeavesTheMigration(t *testing.T) {
	t.Parallel()
	const faults, retries = "all=1.4,find:all=1", "12"
	flags := []string{"--rate-limit", "0", "--timeout", "1", "--retry-rounds", retries, "--retry-backoff", "100ms"}

	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		l, s := labWithSandbox(t, "--faults", faults, "--seed", "12", "--latency", "30ms")
		m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 91, Awkward: true}), 5, flags...)
		p := m.startUntil(10)
		p.kill()
		m.run(3)
		m.check()
		e := m.traces("engine", "logs")
		e.mustHold(t, "LoadBatches", "SettleBatches", "ResolveDuplicates", "WriteArtifacts", "batch_size", `"unknown":`, "lines ", "Started Worker")
		e.mustNotHold(t, secretsOf(t, m.input, s))
		ownerOnly(t, m.state)
		ownerOnly(t, m.out)
	})

	t.Run("with a worker of its own", func(t *testing.T) {
		program.Long(t)
		t.Parallel()
		l, s := labWithSandbox(t, "--faults", faults, "--seed", "13", "--latency", "30ms")
		m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 92, Awkward: true}), 5, flags...).remote()
		m.env = nil // the starter needs no credentials where a worker has them
		p := m.start()
		m.worker()
		until(t, "some calls", func() bool { return s.calls() >= 10 })
		m.lab.processes[len(m.lab.processes)-1].kill()
		w := m.worker("--metrics-address", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug")
		p.ends(3)
		m.check()
		e := evidence{}
		e.addFolder(t, filepath.Join(m.state, "logs"))
		for _, p := range l.processes {
			e.add(p.stdout, []byte(p.output()))
			e.add(p.stderr, []byte(p.errors()))
		}
		for _, path := range []string{"/metrics", "/readyz"} {
			e.addPage(t, http.DefaultClient, regexp.MustCompile(`"address":"(http://[^"]+)"`).FindStringSubmatch(w.errors())[1]+path)
		}
		e.addService(t, serviceOf(t))
		e.mustHold(t, "LoadBatches", "SettleBatches", m.queue(), "Started Worker", `"level":"DEBUG"`, `dataload_records_total{outcome="created"`, `temporal_activity_execution_latency_seconds_count{activity_type="LoadBatches"`)
		e.mustNotHold(t, secretsOf(t, m.input, s))
		ownerOnly(t, m.state)
		ownerOnly(t, m.out)
	})
}

// ownerOnly holds that nobody else can read a folder.
func ownerOnly(t *testing.T, dir string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		want := fs.FileMode(0o600)
		if entry.IsDir() {
			want = 0o700
		}
		if info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", path, info.Mode().Perm(), want)
		}
		files++
		return nil
	})
	if err != nil || files < 2 {
		t.Errorf("%s: %d files and folders, %v", dir, files, err)
	}
}
