package activities

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
)

const hookToken = "t0ken-never-shown"

// notified has a receiver of notices with the given answers.
func notified(t *testing.T, r *rig, answer func(http.ResponseWriter, *http.Request)) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(server.Close)
	sender, err := notify.New(notify.Options{URL: server.URL + "/" + hookToken})
	noError(t, err)
	r.acts.NotifyWith(sender)
}

func (r *rig) notify(n notify.Notice, stop chan struct{}) (Notified, error) {
	r.t.Helper()
	return run[Notified](r, worker.Options{}, stop, r.acts.Notify, NotifyInput{Run: r.run, Notice: n})
}

func TestANoticeSaysWhatTheFolderKnows(t *testing.T) {
	r := inspected(t, people(1))
	var got notify.Notice
	notified(t, r, func(_ http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if err := json.Unmarshal(body, &got); err != nil {
			t.Errorf("%s: %v", body, err)
		}
	})
	sent := notify.Notice{ID: "msg_1", Type: notify.BreakerOpened, Timestamp: now, Text: "http 503"}
	if result, err := r.notify(sent, nil); err != nil || !result.Delivered {
		t.Fatalf("%+v, %v", result, err)
	}
	sent.About(r.spec)
	expect(t, "notice", got, sent)
	if got.WorkflowID != r.spec.ID || got.DataFile != "users.csv" || got.Target != r.spec.Target.Host() || got.EntityType != "user" {
		t.Errorf("%+v, want the facts of %+v", got, r.spec)
	}

	r.run.Folder = migration.RunFolder(t.TempDir()) // of a migration that was refused
	if _, err := r.notify(notify.Notice{ID: "msg_2", WorkflowID: "given"}, nil); err != nil || got.ID != "msg_2" || got.WorkflowID != "given" {
		t.Errorf("%+v, %v; want it delivered without a folder", got, err)
	}
}

func TestWithoutASenderNoNoticeIsSent(t *testing.T) {
	r := inspected(t, people(1))
	if result, err := r.notify(notify.Notice{ID: "msg_1"}, nil); err != nil || result.Delivered {
		t.Errorf("%+v, %v; want it not delivered, and no error", result, err)
	}
}

func TestWhichNoticesAreSentAgain(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		kind       string
		retryable  bool
		after      time.Duration
	}{
		{500, "", Undelivered, true, 0},
		{429, "90", Undelivered, true, 90 * time.Second},
		{503, "86400", Undelivered, true, longestRetryAfter},
		{404, "", GivenUp, false, 0},
		{307, "", GivenUp, false, 0},
	} {
		r := inspected(t, people(1))
		notified(t, r, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", c.retryAfter)
			w.WriteHeader(c.status)
		})
		_, err := r.notify(notify.Notice{ID: "msg_1"}, nil)
		expectType(t, err, c.kind, c.retryable, "127.0.0.1")
		if err != nil && strings.Contains(err.Error(), hookToken) {
			t.Errorf("HTTP %d: the error shows the token: %v", c.status, err)
		}
		var application *temporal.ApplicationError
		if errors.As(err, &application) && application.NextRetryDelay() != c.after {
			t.Errorf("HTTP %d, Retry-After %q: again after %v, want %v", c.status, c.retryAfter, application.NextRetryDelay(), c.after)
		}
	}
}

func TestAWorkerThatStopsDoesNotWaitForAReceiver(t *testing.T) {
	r := inspected(t, people(1))
	stop := make(chan struct{})
	notified(t, r, func(_ http.ResponseWriter, req *http.Request) {
		_, _ = io.ReadAll(req.Body)
		close(stop)
		<-req.Context().Done() // the sender hangs up
	})
	_, err := r.notify(notify.Notice{ID: "msg_1"}, stop)
	expectType(t, err, Undelivered, true, "sent again")
}
