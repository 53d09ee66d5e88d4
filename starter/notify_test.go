package main_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

const (
	hookToken = "t0ken-9sYw3kQ7"
	hookKey   = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

// hook is a receiver of notices.
type hook struct {
	t       *testing.T
	address string
	server  *http.Server

	mu      sync.Mutex
	notices []hookNotice // that came, each once
	seen    map[string]bool
}

type hookNotice struct {
	ID, Type, Text, Target, Phase string
	Timestamp                     time.Time
	WorkflowID                    string `json:"workflow_id"`
	DataFile                      string `json:"data_file"`
	EntityType                    string `json:"entity_type"`
	Records                       map[string]int
	ExitCode                      *int `json:"exit_code"`
}

// newHook has an address, and does not listen yet.
func newHook(t *testing.T) *hook {
	return &hook{t: t, address: freeAddress(t), seen: map[string]bool{}}
}

func (h *hook) env() []string {
	return []string{"NOTIFY_URL=http://" + h.address + "/hooks/" + hookToken, "NOTIFY_SECRET=whsec_" + hookKey}
}

func (h *hook) listen() *hook {
	h.t.Helper()
	listener, err := net.Listen("tcp", h.address)
	must(h.t, err)
	h.server = &http.Server{Handler: http.HandlerFunc(h.take)}
	go func() { _ = h.server.Serve(listener) }()
	h.t.Cleanup(func() { _ = h.server.Close() })
	return h
}

func (h *hook) take(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	key, _ := base64.StdEncoding.DecodeString(hookKey)
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.Header.Get("webhook-id") + "." + r.Header.Get("webhook-timestamp") + "." + string(body)))
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); r.Header.Get("webhook-signature") != want || r.URL.Path != "/hooks/"+hookToken {
		h.t.Errorf("%s is signed with %q, want %q", r.URL, r.Header.Get("webhook-signature"), want)
	}
	var n hookNotice
	if err := json.Unmarshal(body, &n); err != nil || n.ID != r.Header.Get("webhook-id") {
		h.t.Errorf("%s: %v, the header has the id %s", body, err, r.Header.Get("webhook-id"))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.seen[n.ID] {
		h.seen[n.ID] = true
		h.notices = append(h.notices, n)
	}
}

// of gives the notice of this type, of the migration of a file.
func (h *hook) of(kind, file string) *hookNotice {
	h.mu.Lock()
	defer h.mu.Unlock()
	var found *hookNotice
	for i, n := range h.notices {
		if n.Type == kind && n.DataFile == file {
			if found != nil {
				h.t.Errorf("two notices %s of %s", kind, file)
			}
			found = &h.notices[i]
		}
	}
	return found
}

// hasStartAndEnd checks the notices of a migration.
func (h *hook) hasStartAndEnd(m *migration, code int) {
	h.t.Helper()
	file := filepath.Base(m.input)
	start, end := h.of("migration.started", file), h.of("migration.ended", file)
	if start == nil || end == nil {
		h.t.Fatalf("start %v and end %v of %s; came: %+v", start, end, file, h.notices)
	}
	for _, n := range []*hookNotice{start, end} {
		if !strings.HasPrefix(n.WorkflowID, "migration-"+file) || n.Target != m.target.address || n.EntityType != "user" || n.Text == "" {
			h.t.Errorf("%+v", n)
		}
	}
	if end.Timestamp.Before(start.Timestamp) || start.Records != nil || end.ExitCode == nil || *end.ExitCode != code {
		h.t.Errorf("start %+v, end %+v; want exit code %d", start, end, code)
	}
	for name, n := range m.figures().Records {
		if end.Records[name] != n || end.Records["total"] == 0 {
			h.t.Errorf("the notice has %d %s, the summary %d", end.Records[name], name, n)
		}
	}
}

func TestANoticeIsRetriedUntilTheReceiverAnswers(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	h := newHook(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 60, Seed: 95, Awkward: true}), 10, "--rate-limit", "0")
	m.env = append(m.env, h.env()...)
	p := m.startUntil(1)
	h.listen()
	p.ends(3)
	m.check()
	h.hasStartAndEnd(m, 3)

	e := m.traces("engine", "logs", "migrations")
	e.addFolder(t, m.out)
	e.mustHold(t, "NotifyWorkflow", "migration.ended", h.address) // of the attempts that failed
	e.mustNotHold(t, map[string]string{hookToken: "the token in the URL", hookKey: "the secret"})
}

func TestAnUndeliveredNoticeIsSentByTheNextCommand(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	h := newHook(t)
	first := l.migration(s, l.users(fakeusers.Options{Records: 20, Seed: 96}), 10, "--rate-limit", "0")
	first.env = append(first.env, h.env()...)
	p := first.run(0)
	hasAll(t, p.errors(), "2 of its notices are not delivered yet")
	h.listen()
	// The next attempts are some seconds away, and commands are short.
	for n := range 20 {
		next := l.migration(s, l.path(fmt.Sprintf("others%d.csv", n)), 10)
		next.env, next.out = first.env, l.path(fmt.Sprintf("out%d", n))
		must(t, os.WriteFile(next.input, fmt.Appendf(nil, "email\nnobody%d@example.com\n", n), 0o600))
		next.run(0)
		h.hasStartAndEnd(next, 0)
		if h.of("migration.started", "users.csv") != nil && h.of("migration.ended", "users.csv") != nil {
			break
		}
	}
	h.hasStartAndEnd(first, 0)
}

func TestAWorkerNotifies(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	h := newHook(t).listen()
	m := l.migration(s, l.users(fakeusers.Options{Records: 20, Seed: 97}), 10, "--rate-limit", "0").remote()
	m.env = nil // the starter has no receiver
	l.start("worker", append(s.credentials(), h.env()...), append(serviceFlags(t, "--task-queue", m.queue()), m.locations()...)...)
	m.run(0)
	until(t, "the notice of the end has arrived", func() bool { return h.of("migration.ended", "users.csv") != nil })
	h.hasStartAndEnd(m, 0)
}
