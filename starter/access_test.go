package main_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"

	"durable-dataload/internal/fakeusers"
)

// A second starter prints a link to the Web UI of the first one.
func TestTheLinkOfAnAttachedStarterWorksOnce(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 401}), 5, "--rate-limit", "5")
	p := m.startUntil(3)
	of := func(what string, text string) string {
		t.Helper()
		link := regexp.MustCompile(`Web UI: +(http://\S+)`).FindStringSubmatch(text)
		if link == nil {
			t.Fatalf("%s prints no link: %s", what, text)
		}
		return link[1]
	}
	listed := m.operate("list").ends(0)
	links := map[string]string{
		"the starter": of("the starter", p.errors()),
		"status":      of("status", m.ordered("status", "--latest")),
		"list":        of("list", listed.errors()),
	}
	for what, link := range links {
		jar, err := cookiejar.New(nil)
		must(t, err)
		first := get(t, &http.Client{Jar: jar}, link)
		if first.StatusCode != http.StatusOK || strings.Contains(first.Request.URL.String(), "code=") {
			t.Errorf("the link of %s: %s at %s; want the page, without the code", what, first.Status, first.Request.URL)
		}
		if what == "the starter" && !strings.Contains(first.Request.URL.EscapedPath(), "%2Fload-") {
			t.Errorf("the link of %s leads to %s; want the workflow with the batches", what, first.Request.URL)
		}
		if second := get(t, http.DefaultClient, link); second.StatusCode != http.StatusUnauthorized {
			t.Errorf("the link of %s in another browser: %s; want no way in", what, second.Status)
		}
	}
}

func get(t *testing.T, browser *http.Client, url string) *http.Response {
	t.Helper()
	response, err := browser.Get(url)
	must(t, err)
	_, _ = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	return response
}

// A worker of another state folder is no help, and says so at once.
func TestAWorkerOfAnotherStateFolderRefuses(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 20, Seed: 402}), 5).remote()
	m.worker("--state-dir", l.path("elsewhere"))
	p := m.run(1)
	hasAll(t, p.errors(), m.state, "in no state folder or work URL of worker ", l.path("elsewhere"), "--state-dir")
	s.wantCalls(0)
}
