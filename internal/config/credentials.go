// Package config reads the configuration of a process: the credentials for the
// target, and the connection to Temporal.
package config

import (
	"fmt"
	"strings"

	"github.com/spf13/pflag"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/target"
	"durable-dataload/internal/targets"
	"durable-dataload/internal/tilde"
)

// Credentials are for one target. They stay in the process that has them: a
// workflow never carries them.
type Credentials struct {
	Target     string // name of the target; "" is the Identity Cloud, which has a client with a secret, others a token
	URI        string // of their target; empty: any target of this name that the workflow names
	ClientID   string
	Secret     string
	secretFile string

	// renew reads the secret again, if it is from a file.
	renew func() string

	configKey     string
	defaultClient bool

	targetURL, tokenFile string
	token                func() (string, error) // nil: none

	// Warnings are set by Complete, for the command line: settings that are valid,
	// but not as safe as they could be.
	Warnings []string
}

// AddFlags adds the corresponding options of dataload.py, and a file for the secret.
func (c *Credentials) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&c.Target, "target", targets.Names()[0], "which platform the target is: "+strings.Join(targets.Names(), ", "))
	f.StringVar(&c.targetURL, "target-url", "", "address of the API of another target than the Identity Cloud ("+TargetURLVariable+")")
	tilde.Var(f, &c.tokenFile, "target-token-file", "file with the bearer token of that target ("+TargetTokenVariable+" is the token itself)")
	f.StringVarP(&c.URI, "apid_uri", "u", "", "address of the Identity Cloud, https://… (CAPTURE_APID_URI)")
	f.StringVarP(&c.ClientID, "client-id", "i", "", "API client (CAPTURE_CLIENT_ID)")
	f.StringVarP(&c.Secret, "client-secret", "s", "", "secret of the API client; visible in the process list, so prefer CAPTURE_CLIENT_SECRET or a file")
	tilde.Var(f, &c.secretFile, "client-secret-file", "file with the secret of the API client")
	f.StringVarP(&c.configKey, "config-key", "k", "", "API client with this path or name in ~/.janrain-capture (JANRAIN_CONFIG)")
	f.BoolVarP(&c.defaultClient, "default-client", "d", false, "API client that is the default in that file")
}

// AddInsecureHTTP adds the option that allows plain HTTP to the addresses of the command: of the target, and of
// --notify-url.
func AddInsecureHTTP(f *pflag.FlagSet, allow *bool) {
	f.BoolVar(allow, "insecure-http", false, "allow plain HTTP to a host that is not this machine")
}

// Complete adds settings that are missing on the command line: id and secret from
// the file of --config-key or --default-client if one of them is given
// (--config-key wins if both are), else from the environment; the
// address from the command line, that file, the environment, in this order. The address
// gets its normal form here: from then on, one target is one text.
//
// With --config-key or --default-client, an id or a secret on the command line
// is an error: there janrain-python-api takes the command line's, dataload.py
// the file's, and a wrong guess selects the wrong target. For the same reason
// --apid_uri is not ignored then, unlike in dataload.py.
func (c *Credentials) Complete(getenv func(string) string) error {
	warning, err := checkProxy(getenv)
	if err != nil {
		return err
	}
	if warning != "" {
		c.Warnings = append(c.Warnings, warning)
	}
	if c.Name() != "" {
		return c.completeTarget(getenv)
	}
	if c.targetURL != "" || c.tokenFile != "" {
		return errOnlyOthers
	}
	if c.Secret != "" {
		c.Warnings = append(c.Warnings, "the secret on the command line is visible to other users of this machine; use CAPTURE_CLIENT_SECRET or --client-secret-file")
	}
	if c.secretFile != "" {
		if c.Secret != "" {
			return fmt.Errorf("both --client-secret and --client-secret-file are given; expected one of them")
		}
		if c.Secret, err = durablefs.ReadSecret(c.secretFile); err != nil {
			return fmt.Errorf("cannot use --client-secret-file: %w", err)
		}
		path := c.secretFile
		c.renew = func() string {
			secret, _ := durablefs.ReadSecret(path)
			return secret
		}
	}
	if c.configKey != "" || c.defaultClient {
		if err := c.completeFromFile(getenv); err != nil {
			return err
		}
	}
	for _, v := range []struct {
		field *string
		name  string
	}{{&c.URI, "CAPTURE_APID_URI"}, {&c.ClientID, "CAPTURE_CLIENT_ID"}, {&c.Secret, "CAPTURE_CLIENT_SECRET"}} {
		if *v.field == "" {
			*v.field = getenv(v.name)
		}
	}
	if err := c.clean(); err != nil || c.URI == "" {
		return err
	}
	c.URI, err = targets.Address(c.URI)
	return err
}

// clean removes characters that were copied along with id and secret.
func (c *Credentials) clean() (err error) {
	for _, v := range []struct {
		field *string
		what  string
	}{{&c.ClientID, "the id of the API client"}, {&c.Secret, "the secret of the API client"}} {
		if *v.field, err = durablefs.CleanSecret(*v.field); err != nil {
			return fmt.Errorf("%s cannot be used: %w", v.what, err)
		}
	}
	return nil
}

// completeFromFile takes the API client that --config-key or --default-client selects.
func (c *Credentials) completeFromFile(getenv func(string) string) error {
	if c.ClientID != "" || c.Secret != "" {
		return fmt.Errorf("the API client is given twice: by --config-key or --default-client, and by --client-id, --client-secret or --client-secret-file; expected one of the two")
	}
	path, err := clientsFilePath(getenv)
	if err != nil {
		return err
	}
	key := c.configKey
	client, warning, err := readClient(path, key)
	if err != nil {
		return err
	}
	if warning != "" {
		c.Warnings = append(c.Warnings, warning)
	}
	c.renew = func() string {
		now, _, err := readClient(path, key)
		if err != nil || now.id != client.id {
			return ""
		}
		return now.secret
	}
	c.ClientID, c.Secret = client.id, client.secret
	if c.URI == "" {
		c.URI = client.uri
	}
	return nil
}

// readClient returns the API client with this key in the file, or the default one.
func readClient(path, key string) (client apiClient, warning string, err error) {
	file, warning, err := readClientsFile(path)
	switch {
	case err != nil:
	case key != "":
		client, err = file.client(key)
	default:
		client, err = file.defaultClient()
	}
	if err == nil {
		if client.secret, err = durablefs.CleanSecret(client.secret); err != nil {
			err = fmt.Errorf("%s: client_secret cannot be used: %w", path, err)
		}
	}
	return client, warning, err
}

// Check returns an error that names missing settings.
func (c *Credentials) Check() error {
	if c.Name() != "" {
		return c.checkToken()
	}
	if c.ClientID == "" || c.Secret == "" {
		return fmt.Errorf("the credentials of the API client are missing; expected --client-id and --client-secret-file, --config-key, or CAPTURE_CLIENT_ID and CAPTURE_CLIENT_SECRET in the environment")
	}
	return nil
}

// Connect returns the adapter of the target of a migration with these credentials. They
// are never sent to another target.
func (c *Credentials) Connect(spec migration.Spec, hooks target.Hooks) (target.Adapter, error) {
	if c.Name() != spec.Target.Name {
		return nil, unfit("--target "+targets.NameOf(c.Target), targets.NameOf(spec.Target.Name))
	}
	if c.URI != "" && c.URI != spec.Target.URI {
		return nil, unfit(c.URI, spec.Target.URI)
	}
	return targets.Connect(c.configOf(spec), hooks)
}

// unfit is the error of a worker that polls the task queue of a migration into another target. It names the worker: there
// may be many.
func unfit(has, needed string) error {
	return fmt.Errorf("worker %s has credentials for %s, the migration needs %s; give it those of that target, or another --task-queue",
		WorkerIdentity(), has, needed)
}

func (c *Credentials) configOf(spec migration.Spec) targets.Config {
	return targets.Config{
		Name: spec.Target.Name, URL: spec.Target.URI, Part: spec.Target.EntityType, InsecureHTTP: spec.Target.InsecureHTTP, Timeout: spec.Timeout,
		// The gate limits the calls in flight, and the limit may change; a look-up
		// and a probe are added to it.
		Connections: migration.MaxWorkers + 2,
		Token:       c.token,
		Client: targets.Client{
			ID: c.ClientID, Secret: c.Secret, Renew: c.renew, IsSigned: spec.Target.Auth == AuthSignature,
			UnknownAPI: spec.UnknownAPI, UnknownHTTP: spec.UnknownHTTP,
		},
	}
}

// The values of --auth.
const (
	AuthBasic     = "basic"
	AuthSignature = "signature"
)
