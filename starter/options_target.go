package main

import (
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
)

// targetOptions say which target is called, and how.
type targetOptions struct {
	credentials  config.Credentials
	entityType   string
	auth         string
	insecureHTTP bool
	sandbox      bool
}

// addFlags adds all of them; sandbox is the help of --sandbox.
func (o *targetOptions) addFlags(f *pflag.FlagSet, sandbox string) {
	o.addAPIFlags(f)
	o.addSandboxFlag(f, sandbox)
}

// addAPIFlags adds what a client of the target's API needs.
func (o *targetOptions) addAPIFlags(f *pflag.FlagSet) {
	o.credentials.AddFlags(f)
	f.StringVarP(&o.entityType, "type-name", "t", "user", "entity type")
	f.StringVar(&o.auth, "auth", config.AuthBasic, "how calls are authenticated: basic or signature")
	config.AddInsecureHTTP(f, &o.insecureHTTP)
}

func (o *targetOptions) addSandboxFlag(f *pflag.FlagSet, usage string) {
	f.BoolVar(&o.sandbox, "sandbox", false, usage)
}

// complete checks them, and takes the credentials from where they are.
func (o *targetOptions) complete(f *pflag.FlagSet, getenv func(string) string) error {
	switch {
	case f.Lookup("auth") != nil && o.auth != config.AuthBasic && o.auth != config.AuthSignature:
		return usage("--auth is %q; expected %s or %s", o.auth, config.AuthBasic, config.AuthSignature)
	case f.Lookup("type-name") != nil && o.entityType == "":
		return usage("--type-name is empty")
	case !o.sandbox:
		return o.credentials.Complete(getenv)
	}
	for _, name := range []string{"apid_uri", "client-id", "client-secret", "client-secret-file", "config-key", "default-client"} {
		if f.Changed(name) {
			return usage("--sandbox brings its own target; expected no --%s with it", name)
		}
	}
	return nil
}

// require says that a target is to be named.
func (o *targetOptions) require() error {
	if o.credentials.URI == "" && !o.sandbox {
		return usage("expected a target: --apid_uri https://… (or CAPTURE_APID_URI), or --sandbox to try")
	}
	return nil
}

// requireOf takes the address that a migration was loaded into, and refuses another.
func (o *targetOptions) requireOf(id string, t migration.Target) error {
	if uri := o.credentials.URI; uri != "" && uri != t.URI {
		return usage("the migration %s went to %s, and the address that is given is %s; expected the same, or none", id, t.URI, uri)
	}
	o.credentials.URI = t.URI
	return nil
}

func (o *targetOptions) target() migration.Target {
	return migration.Target{URI: o.credentials.URI, EntityType: o.entityType, Auth: o.auth, InsecureHTTP: o.insecureHTTP}
}
