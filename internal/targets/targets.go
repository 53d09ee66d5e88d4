// Package targets has the adapters by the names of their targets. Outside of their own packages no other names them.
package targets

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/identitycloud"
	"durable-dataload/internal/target/identityplatform"
	"durable-dataload/internal/target/jsonapi"
	"durable-dataload/internal/target/kratos"
)

// Names of targets besides the default.
const (
	Kratos           = kratos.TargetName
	IdentityPlatform = identityplatform.TargetName
)

// Names of the targets; the first is the default.
func Names() []string { return []string{identitycloud.TargetName, Kratos, IdentityPlatform} }

// IsDefault reports whether a name, which may be "", is that of the default target, the Identity Cloud.
func IsDefault(name string) bool { return name == "" || name == identitycloud.TargetName }

// Format is that of a target; part is Config.Part.
func Format(name, part string, timeout time.Duration) target.Format {
	switch name {
	case Kratos:
		return kratos.Format(part)
	case IdentityPlatform:
		return identityplatform.Format()
	}
	return identitycloud.Format(part, timeout) // Connect refuses names that it does not know
}

// DefaultMapping is the mapping file that applies where none is given, nil for the built-in mapping of package mapping.
func DefaultMapping(name string) []byte {
	switch name {
	case Kratos:
		return kratos.DefaultMapping
	case IdentityPlatform:
		return identityplatform.DefaultMapping
	}
	return nil
}

// DefaultPart is the part where none is given, "" if one must be.
func DefaultPart(name string) string {
	switch name {
	case Kratos:
		return "default"
	case IdentityPlatform:
		return ""
	}
	return identitycloud.DefaultEntityType
}

// DefaultURL is the address where none is given, "" if one must be.
func DefaultURL(name string) string {
	if name == IdentityPlatform {
		return identityplatform.BaseURL
	}
	return ""
}

// Config says which target to talk to, and how.
type Config struct {
	Name string // "" is the default
	// URL is the address of the API, and Part what it has of records of one kind: the entity type of an Identity Cloud, the
	// identity schema of a Kratos, PROJECT or PROJECT/TENANT of Identity Platform.
	URL, Part    string
	InsecureHTTP bool
	Timeout      time.Duration
	Connections  int
	// Token returns the bearer token that is valid now; nil is none. The Identity Cloud has Client instead.
	Token  func() (string, error)
	Client Client
}

// Client is an API client of an Identity Cloud.
type Client struct {
	ID, Secret string
	Renew      func() string // see identitycloud.Config
	IsSigned   bool
	// UnknownAPI and UnknownHTTP are the codes after which the outcome of a call is unknown.
	UnknownAPI, UnknownHTTP [][2]int
}

// Connect makes the adapter of a target. It does not connect yet.
func Connect(cfg Config, hooks target.Hooks) (target.Adapter, error) {
	api := jsonapi.Config{BaseURL: cfg.URL, InsecureHTTP: cfg.InsecureHTTP, Token: cfg.Token, Timeout: cfg.Timeout, Connections: cfg.Connections}
	switch cfg.Name {
	case Kratos:
		return adapter(kratos.New(kratos.Config{Config: api, Schema: cfg.Part}, hooks))
	case IdentityPlatform:
		project, tenant, _ := strings.Cut(cfg.Part, "/")
		return adapter(identityplatform.New(identityplatform.Config{Config: api, Project: project, Tenant: tenant}, hooks))
	case "", identitycloud.TargetName:
		auth := identitycloud.Basic
		if cfg.Client.IsSigned {
			auth = identitycloud.Signature
		}
		return adapter(identitycloud.NewAdapter(identitycloud.Config{
			BaseURL: cfg.URL, ClientID: cfg.Client.ID, ClientSecret: cfg.Client.Secret, Auth: auth, Renew: cfg.Client.Renew,
			EntityType: cfg.Part, Timeout: cfg.Timeout, InsecureHTTP: cfg.InsecureHTTP, MaxConnections: cfg.Connections,
			Unknown: identitycloud.UnknownCodes{API: cfg.Client.UnknownAPI, HTTP: cfg.Client.UnknownHTTP},
		}, hooks))
	}
	return nil, Check(cfg.Name)
}

// adapter makes an interface that is nil with an error.
func adapter[T target.Adapter](a T, err error) (target.Adapter, error) {
	if err != nil {
		return nil, err
	}
	return a, nil
}

// Check returns an error for a name that is none of a target.
func Check(name string) error {
	if name == "" || slices.Contains(Names(), name) {
		return nil
	}
	return fmt.Errorf("there is no target %q; expected %s", name, strings.Join(Names(), ", "))
}

// NameOf is the name of a target, which "" is not.
func NameOf(name string) string { return cmp.Or(name, identitycloud.TargetName) }

// Address returns the normal form of an address, in which one target is one text: see identitycloud.NormalAddress.
func Address(url string) (string, error) { return identitycloud.NormalAddress(url) }

// DefaultToken is where the token comes from if none is given: for Identity Platform Google's Application Default
// Credentials, which are looked for when the first token is needed; nil for none.
func DefaultToken(name string) func() (string, error) {
	if name != IdentityPlatform {
		return nil
	}
	return identityplatform.Credentials(jsonapi.DefaultTimeout)
}

// Codes are codes of errors of an Identity Cloud, in ranges: see identitycloud.UnknownCodes.
type Codes = identitycloud.Codes

// DefaultCodes are the codes after which the outcome of a call to an Identity Cloud is unknown: of the API, and of HTTP.
func DefaultCodes() (api, http Codes) {
	d := identitycloud.DefaultUnknownCodes()
	return d.API, d.HTTP
}

// ParseCodes parses a list of codes, or changes of the default: see identitycloud.ParseCodes.
func ParseCodes(defaults Codes, text string) (Codes, error) {
	return identitycloud.ParseCodes(defaults, text)
}
