package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"durable-dataload/internal/proof/kratos"
	"durable-dataload/internal/targets"
)

//go:embed kratos.yaml
var kratosMapping []byte

var onKratos = &realTarget{
	name: "Ory Kratos", place: "a Kratos", install: kratos.Install, connect: connectKratos,
	mapping: kratosMapping, duplicate: "exists already", asksForKey: true,
}

// kratosService is a real Ory Kratos.
type kratosService struct {
	e      *episode
	server *kratos.Server
	api    api
}

func connectKratos(ctx context.Context, e *episode) (_ service, address string, err error) {
	server, err := kratos.New(ctx, e.installed, e.path("target"))
	if err != nil {
		return nil, "", err
	}
	return &kratosService{e, server, newAPI(e.into, server.Admin, "")}, strings.TrimPrefix(server.Admin, "http://"), nil
}

func (k *kratosService) start(name string) (*process, error) {
	return k.e.launchForeign(name, k.server.Command())
}

func (k *kratosService) ready() error { return k.server.Answers(context.Background()) }

func (k *kratosService) flags(address string) []string {
	return []string{"--target", targets.Kratos, "--target-url", address}
}

// environment has a token, which this Kratos does not look at.
func (k *kratosService) environment() []string {
	return []string{"DATALOAD_TARGET_TOKEN=" + clientSecret}
}

const identities = "/admin/identities"

func (k *kratosService) kindOf(r *http.Request) callKind {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPatch && r.URL.Path == identities:
		return createCall
	case strings.Contains(r.URL.Path, "/schemas/"), query.Get("page_size") == "1", query.Get("per_page") == "1":
		return probe
	}
	return otherCall
}

func (k *kratosService) refusal() string {
	return answerOf("401 Unauthorized", `{"error":{"code":401,"status":"Unauthorized","message":"the token has expired"}}`)
}

// identity is a user of Kratos, with what the checker compares.
type identity struct {
	ID      string    `json:"id,omitempty"`
	Schema  string    `json:"schema_id,omitempty"`
	Created time.Time `json:"created_at,omitzero"`
	Traits  struct {
		Email string `json:"email,omitempty"`
		Name  struct {
			First string `json:"first,omitempty"`
			Last  string `json:"last,omitempty"`
		} `json:"name"`
	} `json:"traits"`
	Public struct {
		DisplayName string `json:"displayName,omitempty"`
		Stranger    string `json:"stranger,omitempty"`
	} `json:"metadata_public"`
	Admin struct {
		Mark string `json:"durable_dataload,omitempty"`
	} `json:"metadata_admin"`
}

func (i *identity) user() user {
	return user{
		id: i.ID, email: i.Traits.Email, first: i.Traits.Name.First, last: i.Traits.Name.Last, displayName: i.Public.DisplayName,
		mark: i.Admin.Mark, stranger: i.Public.Stranger, created: i.Created,
	}
}

func (k *kratosService) sent(body []byte) (users []user, err error) {
	var batch struct {
		Identities []struct{ Create identity }
	}
	err = json.Unmarshal(body, &batch)
	for _, i := range batch.Identities {
		users = append(users, i.Create.user())
	}
	return users, err
}

// take reads the answer. That nothing was written it means where the whole call is refused, and where one record is a
// duplicate; whether that is so is seen in what there is.
func (k *kratosService) take(c *creation, status int, answer []byte) {
	var body struct {
		Error      *struct{ Code int }
		Identities []struct{ Action, Identity string }
	}
	if json.Unmarshal(answer, &body) != nil {
		return
	}
	c.tookNone = status >= 400 && status <= 499 && body.Error != nil
	for _, i := range body.Identities {
		if i.Action == "create" {
			c.ids[i.Identity] = true
		} else {
			c.tookNone = true
		}
	}
	c.answered = status == http.StatusOK || c.tookNone
}

func (k *kratosService) make(u user) error {
	i := identity{Schema: "default"}
	i.Traits.Email, i.Traits.Name.First, i.Traits.Name.Last = u.email, u.first, u.last
	i.Public.DisplayName, i.Public.Stranger, i.Admin.Mark = u.displayName, u.stranger, u.mark
	_, err := k.api.call(http.MethodPost, identities, i, nil)
	return err
}

var nextPage = regexp.MustCompile(`<([^>]*)>;\s*rel="next"`)

func (k *kratosService) list() (all []user, err error) {
	for page := identities + "?page_size=500"; page != ""; {
		var some []identity
		header, err := k.api.call(http.MethodGet, page, nil, &some)
		if err != nil {
			return nil, err
		}
		for _, i := range some {
			all = append(all, i.user())
		}
		page = ""
		if next := nextPage.FindStringSubmatch(strings.Join(header.Values("Link"), ",")); next != nil {
			u, err := url.Parse(next[1])
			if err != nil {
				return nil, err
			}
			page = u.RequestURI()
		}
	}
	return all, nil
}
