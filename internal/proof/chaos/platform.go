package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"durable-dataload/internal/proof/check"
)

// platform is the target of an episode: what the harness does with it, and what the checker asks of it.
type platform interface {
	// start starts its server, the first time or again; ready waits until that can be called, where it takes long.
	start(name string) (*process, error)
	ready() error
	// flags name it, at an address, on a command line, and environment has its credentials; loading are further options of
	// a migration.
	flags(address string) []string
	environment() []string
	loading() []string
	// seed makes users that exist before the migration.
	seed(users []map[string]string) error
	// kindOf says what a call is about. creating is told of one that creates records, before it reaches the server; what it
	// returns is told the answer, and whether it was delivered.
	kindOf(*http.Request) callKind
	creating(body []byte) (answered func(status int, answer []byte, delivered bool))
	// register has users register with the address of every third record of a call that is lost; namesakes have all its
	// data.
	register(body []byte, namesakes bool)
	// refusal is its answer to credentials that it does not accept.
	refusal() string
	// creations is how many calls that create records have arrived.
	creations() int
	// complete brings the truth log up to date, and says what else the checker has to know.
	complete(*check.Migration) error
}

type callKind int

const (
	otherCall callKind = iota
	createCall
	probe // finds out whether calls can be made, also in a pause
)

// truthLog is the log of what a target really wrote, in the folder of an episode.
const truthLog = "target/truth.jsonl"

// sandboxPlatform is the sandbox, which writes the log by itself, and plays strangers by itself too.
type sandboxPlatform struct {
	e       *episode
	address string
	truth   truthCounter
}

func newSandboxPlatform(e *episode, address string) *sandboxPlatform {
	return &sandboxPlatform{e: e, address: address, truth: truthCounter{path: e.path(truthLog)}}
}

func (s *sandboxPlatform) start(name string) (*process, error) {
	e := s.e
	args := []string{
		"--address", s.address, "--state-dir", e.path("target"), "--latency", e.latency.String(), "--find-lag", e.findLag.String(),
		"--faults", e.faults, "--seed", strconv.FormatInt(e.seed, 10), "--heal-after", strconv.Itoa(e.batches() + e.batches()/3),
	}
	return e.launch(name, "sandbox", s.environment(), append(args, e.world.flags()...)...)
}

func (s *sandboxPlatform) ready() error { return nil }

func (s *sandboxPlatform) flags(address string) []string { return []string{"--apid_uri", address} }

func (s *sandboxPlatform) environment() []string {
	return []string{"CAPTURE_CLIENT_ID=" + clientID, "CAPTURE_CLIENT_SECRET=" + clientSecret}
}

func (s *sandboxPlatform) loading() []string { return nil }

func (s *sandboxPlatform) kindOf(r *http.Request) callKind {
	switch r.URL.Path {
	case "/entity.bulkCreate":
		return createCall
	case "/entity.count", "/entityType":
		return probe
	}
	return otherCall
}

func (s *sandboxPlatform) creating([]byte) func(int, []byte, bool) {
	return func(int, []byte, bool) {}
}

func (s *sandboxPlatform) register([]byte, bool) {}

func (s *sandboxPlatform) refusal() string {
	return answerOf("200 OK", `{"stat":"error","code":402,"error":"invalid_client_credentials","error_description":"unknown client_id, or wrong client_secret"}`)
}

func answerOf(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func (s *sandboxPlatform) creations() int { return s.truth.count() }

func (s *sandboxPlatform) complete(m *check.Migration) error {
	m.Truth = s.truth.path
	return nil
}

// seed makes users without a fault in the way: a call that meets one is made again, since nothing else runs yet.
func (s *sandboxPlatform) seed(users []map[string]string) error {
	form, err := json.Marshal(users)
	if err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = s.bulkCreate(string(form)); err == nil || time.Now().After(end) {
			return err
		}
	}
}

func (s *sandboxPlatform) bulkCreate(users string) error {
	form := url.Values{"type_name": {"user"}, "all_attributes": {users}}
	request, err := http.NewRequest(http.MethodPost, "http://"+s.address+"/entity.bulkCreate", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(clientID, clientSecret)
	response, err := (&http.Client{Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Contains(body, []byte(`"stat":"ok"`)) {
		err = fmt.Errorf("the sandbox answers %.200s", body)
	}
	return err
}
