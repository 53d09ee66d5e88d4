package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/migration"
)

const (
	token  = "t0ken-never-shown"
	secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
)

var (
	now    = time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	notice = Notice{ID: ID("run", "started"), Type: Started, Timestamp: now.Add(-time.Minute), WorkflowID: "migration-users.csv-0123", Text: "it began"}
)

// receiver accepts notices and answers as configured.
type receiver struct {
	*httptest.Server
	got    *http.Request // the last one
	body   []byte
	answer func(http.ResponseWriter)
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{answer: func(w http.ResponseWriter) { w.WriteHeader(http.StatusNoContent) }}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.got = req
		r.body, _ = io.ReadAll(req.Body)
		r.answer(w)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) sender(t *testing.T, secret string) *Sender {
	t.Helper()
	s, err := New(Options{URL: r.URL + "/hooks/" + token + "?key=" + token, Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return now }
	return s
}

func TestANoticeArrivesSigned(t *testing.T) {
	r := newReceiver(t)
	if err := r.sender(t, secret).Send(t.Context(), notice); err != nil {
		t.Fatal(err)
	}
	if r.got.Method != http.MethodPost || r.got.URL.String() != "/hooks/"+token+"?key="+token {
		t.Errorf("%s %s", r.got.Method, r.got.URL)
	}
	for name, want := range map[string]string{
		"content-type": "application/json", "user-agent": "durable-dataload",
		"webhook-id": notice.ID, "webhook-timestamp": strconv.FormatInt(now.Unix(), 10),
	} {
		if got := r.got.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(r.got.Header.Get("webhook-id") + "." + r.got.Header.Get("webhook-timestamp") + "." + string(r.body)))
	if got, want := r.got.Header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("the signature is %q, want %q", got, want)
	}
	var body Notice
	if err := json.Unmarshal(r.body, &body); err != nil || body != notice {
		t.Errorf("%s\nis %+v (%v), want %+v", r.body, body, err, notice)
	}
}

// The example comes from the libraries of the specification; openssl computes
// the same.
func TestTheSignatureIsThatOfTheSpecification(t *testing.T) {
	s, err := New(Options{URL: "https://example.com", Secret: secret + "\n"})
	if err != nil {
		t.Fatal(err)
	}
	s.now = func() time.Time { return time.Unix(1614265330, 0) }
	h := s.header("msg_p5jXN8AQM9LWM0D4loKWxJek", []byte(`{"test": 2432232314}`))
	if got, want := h.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestWithoutASecretThereIsNoSignature(t *testing.T) {
	r := newReceiver(t)
	s := r.sender(t, "")
	if err := s.Send(t.Context(), notice); err != nil {
		t.Fatal(err)
	}
	if signature, ok := r.got.Header["Webhook-Signature"]; ok || s.Signed() {
		t.Errorf("signed: %v %q", s.Signed(), signature)
	}
}

func TestAnswersOfReceivers(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		final      bool
		after      time.Duration
		words      string
	}{
		{200, "", false, 0, ""},
		{204, "", false, 0, ""},
		{299, "", false, 0, ""},
		{302, "", true, 0, "redirects are not followed"},
		{304, "", true, 0, "redirects are not followed"},
		{400, "", true, 0, "HTTP 400"},
		{404, "60", true, 0, "HTTP 404"},
		{410, "", true, 0, "HTTP 410"},
		{408, "", false, 0, "HTTP 408"},
		{429, "7", false, 7 * time.Second, "HTTP 429"},
		{500, "", false, 0, "HTTP 500"},
		{502, "soon", false, 0, "HTTP 502"},
		{503, "Sun, 22 Nov 2026 13:06:30 GMT", false, 90 * time.Second, "HTTP 503"},
	} {
		r := newReceiver(t)
		r.answer = func(w http.ResponseWriter) {
			w.Header().Set("Date", now.Format(http.TimeFormat))
			w.Header().Set("Location", "/elsewhere")
			if c.retryAfter != "" {
				w.Header().Set("Retry-After", c.retryAfter)
			}
			w.WriteHeader(c.status)
		}
		err := r.sender(t, secret).Send(t.Context(), notice)
		var failure *Failure
		switch {
		case c.words == "":
			if err != nil {
				t.Errorf("HTTP %d: %v, want it to count as delivered", c.status, err)
			}
		case !errors.As(err, &failure):
			t.Errorf("HTTP %d: %v, want a failure", c.status, err)
		case failure.Final != c.final || failure.RetryAfter != c.after || !strings.Contains(failure.Error(), c.words):
			t.Errorf("HTTP %d, Retry-After %q: final %v, again after %v, %q; want %v, %v and the words %q", c.status, c.retryAfter, failure.Final, failure.RetryAfter, failure, c.final, c.after, c.words)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	other := newReceiver(t)
	for _, status := range []int{301, 302, 303, 307, 308} {
		r := newReceiver(t)
		r.answer = func(w http.ResponseWriter) {
			w.Header().Set("Location", other.URL)
			w.WriteHeader(status)
		}
		var failure *Failure
		if err := r.sender(t, secret).Send(t.Context(), notice); !errors.As(err, &failure) || !failure.Final {
			t.Errorf("HTTP %d: %v, want it given up", status, err)
		}
	}
	if other.got != nil {
		t.Errorf("the other host was called: %s %s", other.got.Method, other.body)
	}
}

// Any failure of the network may be temporary, and its text contains only the
// host.
func TestANoticeWithoutAnAnswerMayBeRepeated(t *testing.T) {
	closed := newReceiver(t)
	closed.Close()
	garbage := newReceiver(t)
	garbage.answer = func(w http.ResponseWriter) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_, _ = io.WriteString(c, "HTTP/1.1 "+token+"\r\n\r\n")
			_ = c.Close()
		}
	}
	silent := newReceiver(t)
	over, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	silent.answer = func(http.ResponseWriter) { <-over.Done(); <-silent.got.Context().Done() }
	for _, c := range []struct {
		name string
		r    *receiver
		ctx  context.Context
		want string
	}{
		{"nobody listens", closed, t.Context(), "refused"},
		{"not HTTP", garbage, t.Context(), "not http"},
		{"no answer in time", silent, over, "timeout"},
	} {
		err := c.r.sender(t, secret).Send(c.ctx, notice)
		var failure *Failure
		if !errors.As(err, &failure) || failure.Final || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want one that may pass, with %q", c.name, err, c.want)
			continue
		}
		if host := strings.TrimPrefix(c.r.URL, "http://"); !strings.Contains(err.Error(), host) || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %v; want the host %s in it and not the token", c.name, err, host)
		}
	}
}

func TestOptions(t *testing.T) {
	long := base64.StdEncoding.EncodeToString(make([]byte, 65))
	for _, c := range []struct {
		url, secret string
		insecure    bool
		want        string // "" = accepted
	}{
		{"https://hooks.example.com/" + token, "", false, ""},
		{" https://hooks.example.com/?k=" + token + "\n", secret, false, ""},
		{"http://127.0.0.1:8080/" + token, "", false, ""},
		{"http://localhost/" + token, "", false, ""},
		{"http://hooks.example.com/" + token, "", true, ""},
		{"http://hooks.example.com/" + token, "", false, "hooks.example.com) is http://"},
		{"ftp://hooks.example.com/" + token, "", true, "expected the form https://"},
		{"hooks.example.com/" + token, "", false, "expected the form https://"},
		{"https:///" + token, "", false, "expected the form https://"},
		{"https://hooks.example.com/%zz" + token, "", false, "expected the form https://"},
		{"https://somebody:" + token + "@hooks.example.com/", "", false, "user name or password"},
		{"https://hooks.example.com/", token, false, "expected whsec_"},
		{"https://hooks.example.com/", "whsec_" + token, false, "expected whsec_"},
		{"https://hooks.example.com/", "whsec_c2hvcnQ=", false, "24 to 64"},
		{"https://hooks.example.com/", "whsec_" + long, false, "24 to 64"},
		{"https://hooks.example.com/", strings.TrimPrefix(secret, "whsec_"), false, "expected whsec_"},
	} {
		_, err := New(Options{URL: c.url, Secret: c.secret, InsecureHTTP: c.insecure})
		switch {
		case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s, secret %q: %v; want %q", c.url, c.secret, err, c.want)
		case err != nil && strings.Contains(err.Error(), token):
			t.Errorf("%s: the error shows the token: %v", c.url, err)
		}
	}
}

func TestIDsAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, parts := range [][]string{{"a", "b"}, {"a", "c"}, {"ab"}, {"users.csv"}} {
		id := ID(parts...)
		if id != ID(parts...) || seen[id] || strings.ContainsAny(id, ". ") {
			t.Errorf("%q: %s; want the same each time, no other's, and no full stop", parts, id)
		}
		seen[id] = true
	}
}

func TestCommandsAreQuotedForAShell(t *testing.T) {
	for id, want := range map[string]string{
		"migration-users.csv-0123":      "starter resume migration-users.csv-0123",
		"migration-Käufer.csv-0123":     "starter resume migration-Käufer.csv-0123",
		"migration-my users.csv-0123":   "starter resume 'migration-my users.csv-0123'",
		"migration-it's $(late).csv-01": `starter resume 'migration-it'\''s $(late).csv-01'`,
	} {
		if got := Command("resume", id); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestAboutFillsANotice(t *testing.T) {
	spec := migration.Spec{ID: "migration-users.csv-0123", DataFile: "/home/somebody/users.csv", Target: migration.Target{URI: "https://app.example.com", EntityType: "user"}}
	n := Notice{DataFile: "given.csv"}
	n.About(spec)
	if want := (Notice{WorkflowID: spec.ID, DataFile: "given.csv", Target: "app.example.com", EntityType: "user"}); n != want {
		t.Errorf("%+v, want %+v", n, want)
	}
}
