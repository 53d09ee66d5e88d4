package main

import (
	"cmp"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/proof/authemulator"
	"durable-dataload/internal/targets"
)

//go:embed identityplatform.yaml
var identityPlatformMapping []byte

var onIdentityPlatform = &realTarget{
	name: "Google's Auth emulator", place: "Google's Auth emulator", install: authemulator.Install, connect: connectEmulator,
	mapping: identityPlatformMapping, part: []string{"--target-project", authemulator.Project}, duplicate: "exists in other account", forgets: true, lowers: true,
}

// emulatorService is Google's emulator of the Identity Platform.
type emulatorService struct {
	e      *episode
	server *authemulator.Server
	api    api
}

// emulatorToken is taken for that of an administrator: the emulator looks no further than its beginning.
const emulatorToken = "ya29." + clientSecret

func connectEmulator(_ context.Context, e *episode) (_ service, address string, err error) {
	server, err := authemulator.New(e.installed, e.path("target"))
	if err != nil {
		return nil, "", err
	}
	at, err := url.Parse(server.Address)
	if err != nil {
		return nil, "", err
	}
	return &emulatorService{e, server, newAPI(e.into, server.Address, emulatorToken)}, at.Host, nil
}

func (s *emulatorService) start(name string) (*process, error) {
	return s.e.launchForeign(name, s.server.Command())
}

func (s *emulatorService) ready() error { return s.server.Answers(context.Background()) }

func (s *emulatorService) flags(address string) []string {
	return []string{"--target", targets.IdentityPlatform, "--target-url", address + authemulator.Path}
}

func (s *emulatorService) environment() []string {
	return []string{"DATALOAD_TARGET_TOKEN=" + emulatorToken}
}

const accounts = "/v1/projects/" + authemulator.Project + "/accounts"

func (s *emulatorService) kindOf(r *http.Request) callKind {
	switch {
	case strings.HasSuffix(r.URL.Path, accounts+":batchCreate"):
		return createCall
	case strings.HasSuffix(r.URL.Path, "/config"), strings.HasSuffix(r.URL.Path, accounts+":query"):
		return probe
	}
	return otherCall
}

func (s *emulatorService) refusal() string {
	return answerOf("401 Unauthorized", `{"error":{"code":401,"message":"Request had invalid authentication credentials.","status":"UNAUTHENTICATED"}}`)
}

// account is a user of the platform, with what the checker compares. Its id is the mark.
type account struct {
	ID          string `json:"localId"`
	Email       string `json:"email,omitempty"`
	DisplayName string `json:"displayName,omitempty"`
	Claims      string `json:"customAttributes,omitempty"` // as JSON
	Created     string `json:"createdAt,omitempty"`        // in milliseconds
}

type claims struct {
	First    string `json:"givenName,omitempty"`
	Last     string `json:"familyName,omitempty"`
	Stranger string `json:"stranger,omitempty"`
}

func (a *account) user() (user, error) {
	var c claims
	if err := json.Unmarshal([]byte(cmp.Or(a.Claims, "{}")), &c); err != nil {
		return user{}, err
	}
	ms, err := strconv.ParseInt(cmp.Or(a.Created, "0"), 10, 64)
	return user{
		id: a.ID, email: a.Email, first: c.First, last: c.Last, displayName: a.DisplayName,
		mark: a.ID, stranger: c.Stranger, created: time.UnixMilli(ms).UTC(),
	}, err
}

// list of users, in calls and answers.
type accountList struct {
	Users []account `json:"users"`
	Next  string    `json:"nextPageToken,omitempty"`
}

func (l *accountList) users() (users []user, err error) {
	for _, a := range l.Users {
		u, err := a.user()
		if err != nil {
			return nil, err
		}
		users = append(users, u)
	}
	return users, nil
}

func (s *emulatorService) sent(body []byte) ([]user, error) {
	var sent accountList
	if err := json.Unmarshal(body, &sent); err != nil {
		return nil, err
	}
	return sent.users()
}

// failures are those that the answer to a call names. The other users of the call were created.
type failures struct {
	Error []struct {
		Index   int
		Message string
	}
}

func (s *emulatorService) take(c *creation, status int, answer []byte) {
	if status != http.StatusOK {
		var refused struct{ Error *struct{ Code int } }
		c.tookNone = status >= 400 && status <= 499 && json.Unmarshal(answer, &refused) == nil && refused.Error != nil
		c.answered = c.tookNone
		return
	}
	var failed failures
	if json.Unmarshal(answer, &failed) != nil {
		return
	}
	for _, mark := range c.marks {
		c.ids[mark] = true
	}
	for _, f := range failed.Error {
		delete(c.ids, c.marks[f.Index])
	}
	c.answered = true
}

func (s *emulatorService) make(u user) error {
	text, err := json.Marshal(claims{u.first, u.last, u.stranger})
	if err != nil {
		return err
	}
	made := accountList{Users: []account{{
		ID: cmp.Or(u.mark, rand.Text()), Email: strings.ToLower(u.email), DisplayName: u.displayName, Claims: string(text),
	}}}
	_, err = s.api.call(http.MethodPost, accounts+":batchCreate", made, nil)
	return err
}

func (s *emulatorService) list() (all []user, err error) {
	for next := ""; ; {
		var page accountList
		if _, err := s.api.call(http.MethodGet, accounts+":batchGet?maxResults=1000&nextPageToken="+url.QueryEscape(next), nil, &page); err != nil {
			return nil, err
		}
		some, err := page.users()
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		if next = page.Next; next == "" || len(some) == 0 {
			return all, nil
		}
	}
}
