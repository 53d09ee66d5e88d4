package kratos

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// Schema reads the identity schema, a JSON Schema. What it says with combinations of schemas is of the type json.
func (a *Adapter) Schema(ctx context.Context) (target.Schema, error) {
	var s jsonSchema
	from, path := a.Client, "/schemas/"+url.PathEscape(a.schema)
	r := from.Send(ctx, http.MethodGet, "/admin"+path, nil)
	// A self-hosted admin API sends a reader to the public API. The token is not for that.
	if public := publicAPI(r, path); public != "" {
		from.Judged(ctx, target.Checks, r, nil)
		var err error
		if from, err = jsonapi.New(jsonapi.Config{BaseURL: public, InsecureHTTP: true}, a.hooks); err != nil {
			return target.Schema{}, &target.Error{Reason: "bad redirect", Err: err}
		}
		defer from.Close()
		r = from.Send(ctx, http.MethodGet, path, nil)
	}
	err := a.expect(r, http.StatusOK, &s)
	from.Judged(ctx, target.Checks, r, err)
	switch {
	case target.Is(err, target.NotFound):
		return target.Schema{}, &target.Error{Class: target.Unusable, Fault: true, Reason: "no schema", Err: fmt.Errorf("there is no identity schema %q (%s): check the name", a.schema, a.Host())}
	case err != nil:
		return target.Schema{}, err
	case s.Properties["traits"].Properties == nil:
		return target.Schema{}, &target.Error{Reason: "no traits", Fault: true, Err: fmt.Errorf("the server (%s) is not Kratos: its schema has no traits", a.Host())}
	}
	traits := s.Properties["traits"].attribute("traits", true)
	address := []target.Attribute{{Name: "value", Type: "string"}, {Name: "via", Type: "string"}, {Name: "verified", Type: "boolean"}, {Name: "status", Type: "string"}}
	return target.Schema{Name: a.schema, Attributes: []target.Attribute{
		{Name: "schema_id", Type: "string"}, {Name: "state", Type: "string"}, {Name: "external_id", Type: "string"},
		traits,
		{Name: "password", Type: "password"}, {Name: "credentials", Type: "json"},
		{Name: "metadata_admin", Type: "object"}, {Name: "metadata_public", Type: "object"},
		{Name: "verifiable_addresses", Type: "plural", Attributes: address},
		{Name: "recovery_addresses", Type: "plural", Attributes: address[:2]},
	}}, nil
}

// publicAPI is the address of the API that a redirect of the path leads to, "" if it is none.
func publicAPI(r jsonapi.Reply, path string) string {
	if r.Status != http.StatusTemporaryRedirect {
		return ""
	}
	base, ok := strings.CutSuffix(r.Header.Get("Location"), path)
	if !ok {
		return ""
	}
	return base
}

type jsonSchema struct {
	Type       json.RawMessage       `json:"type"` // a name, or a list of them
	Format     string                `json:"format"`
	MaxLength  int                   `json:"maxLength"`
	Properties map[string]jsonSchema `json:"properties"`
	Required   []string              `json:"required"`
	Items      json.RawMessage       `json:"items"` // a schema, or a list of them
	Ory        struct {
		Credentials map[string]struct {
			Identifier bool `json:"identifier"`
		} `json:"credentials"`
	} `json:"ory.sh/kratos"`
}

// types are the names of the types, without null.
func (s jsonSchema) types() (names []string) {
	var one string
	if json.Unmarshal(s.Type, &one) == nil {
		return []string{one}
	}
	_ = json.Unmarshal(s.Type, &names) // anything else names no type
	return slices.DeleteFunc(names, func(name string) bool { return name == "null" })
}

func (s jsonSchema) attribute(name string, required bool) target.Attribute {
	a := target.Attribute{Name: name, Type: "json", Length: s.MaxLength}
	if required {
		a.Constraints = append(a.Constraints, "required")
	}
	if types := s.types(); len(types) == 1 {
		switch types[0] {
		case "string":
			a.Type = "string"
			switch s.Format {
			case "date":
				a.Type, a.Format = "date", "rfc3339"
			case "date-time":
				a.Type, a.Format = "dateTime", "rfc3339"
			case "email":
				a.Constraints = append(a.Constraints, "email-address")
			}
		case "integer", "boolean":
			a.Type = types[0]
		case "number":
			a.Type = "decimal"
		case "object":
			a.Type, a.Attributes = "object", s.members()
		case "array":
			var items jsonSchema
			if json.Unmarshal(s.Items, &items) == nil {
				a.Attributes = items.members()
			}
			a.Type = "plural"
		}
	}
	for _, credential := range s.Ory.Credentials {
		if credential.Identifier && !a.Has("unique") {
			a.Constraints = append(a.Constraints, "unique")
			a.CaseSensitive = new(bool)
		}
	}
	return a
}

func (s jsonSchema) members() (all []target.Attribute) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		all = append(all, s.Properties[name].attribute(name, slices.Contains(s.Required, name)))
	}
	return all
}
