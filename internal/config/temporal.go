package config

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/pflag"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/contrib/envconfig"
	"go.temporal.io/sdk/log"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/tilde"
)

// Temporal selects the Temporal service. The options, the environment
// and the profile file are those of the temporal command line tool.
type Temporal struct {
	Address   string
	Namespace string
	APIKey    string
	Profile   string
	File      string
	TLS       bool
	CertFile  string
	KeyFile   string
	CAFile    string
	Server    string
}

// AddFlags adds the standard client settings.
func (t *Temporal) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&t.Address, "address", "", "host:port of a Temporal service (TEMPORAL_ADDRESS)")
	f.StringVar(&t.Namespace, "namespace", "", "namespace in that service (TEMPORAL_NAMESPACE)")
	f.StringVar(&t.APIKey, "api-key", "", "API key for that service; better in TEMPORAL_API_KEY")
	f.StringVar(&t.Profile, "profile", "", "profile in the configuration file (TEMPORAL_PROFILE)")
	tilde.Var(f, &t.File, "config-file", "configuration file of the temporal CLI (TEMPORAL_CONFIG_FILE)")
	f.BoolVar(&t.TLS, "tls", false, "use TLS (TEMPORAL_TLS)")
	tilde.Var(f, &t.CertFile, "tls-cert-path", "client certificate (TEMPORAL_TLS_CLIENT_CERT_PATH)")
	tilde.Var(f, &t.KeyFile, "tls-key-path", "key of the client certificate (TEMPORAL_TLS_CLIENT_KEY_PATH)")
	tilde.Var(f, &t.CAFile, "tls-ca-path", "certificate authority of the service (TEMPORAL_TLS_SERVER_CA_CERT_PATH)")
	f.StringVar(&t.Server, "tls-server-name", "", "name in the service's certificate (TEMPORAL_TLS_SERVER_NAME)")
}

// ClientOptions merges command line, environment and file. given reports whether
// any of them has an address: otherwise there is no external service.
func (t *Temporal) ClientOptions() (options client.Options, given bool, err error) {
	if err := t.checkFiles(os.Getenv); err != nil {
		return options, false, err
	}
	profile, err := envconfig.LoadClientConfigProfile(envconfig.LoadClientConfigProfileOptions{
		ConfigFilePath: t.File, ConfigFileProfile: t.Profile,
	})
	if err != nil {
		return options, false, fmt.Errorf("cannot read the Temporal configuration: %w", err)
	}
	for _, v := range []struct {
		from string
		to   *string
	}{{t.Address, &profile.Address}, {t.Namespace, &profile.Namespace}, {t.APIKey, &profile.APIKey}} {
		if v.from != "" {
			*v.to = v.from
		}
	}
	if t.TLS || t.CertFile != "" || t.KeyFile != "" || t.CAFile != "" || t.Server != "" {
		if profile.TLS == nil {
			profile.TLS = &envconfig.ClientConfigTLS{}
		}
		for _, v := range []struct {
			from string
			to   *string
		}{
			{t.CertFile, &profile.TLS.ClientCertPath}, {t.KeyFile, &profile.TLS.ClientKeyPath},
			{t.CAFile, &profile.TLS.ServerCACertPath}, {t.Server, &profile.TLS.ServerName},
		} {
			if v.from != "" {
				*v.to = v.from
			}
		}
	}
	if profile.Address != "" {
		if _, err := checkProxy(os.Getenv); err != nil {
			return options, false, err
		}
	}
	options, err = profile.ToClientOptions(envconfig.ToClientOptionsRequest{})
	if err != nil {
		return options, false, fmt.Errorf("cannot use the Temporal configuration: %w", err)
	}
	return options, profile.Address != "", nil
}

// checkFiles refuses anything but regular files: reading a pipe would block.
func (t *Temporal) checkFiles(getenv func(string) string) error {
	for _, f := range []struct{ option, given, name string }{
		{"--config-file", t.File, "TEMPORAL_CONFIG_FILE"},
		{"--tls-cert-path", t.CertFile, "TEMPORAL_TLS_CLIENT_CERT_PATH"},
		{"--tls-key-path", t.KeyFile, "TEMPORAL_TLS_CLIENT_KEY_PATH"},
		{"--tls-ca-path", t.CAFile, "TEMPORAL_TLS_SERVER_CA_CERT_PATH"},
	} {
		if f.given == "" {
			f.option, f.given = f.name, getenv(f.name)
		}
		var wrong *durablefs.NotRegularError
		if err := durablefs.CheckRegular(f.given); f.given != "" && errors.As(err, &wrong) {
			return fmt.Errorf("cannot use %s: %w", f.option, err)
		}
	}
	return nil
}

// dialTimeout is the time limit for the first answer of a service.
const dialTimeout = 10 * time.Second

// Dial connects to a service, or returns an error if none answers.
func Dial(ctx context.Context, options client.Options, logger *slog.Logger) (client.Client, error) {
	options.Logger = log.NewStructuredLogger(logger)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	c, err := client.DialContext(ctx, options)
	if err != nil {
		if options.HostPort == "" {
			options.HostPort = client.DefaultHostPort
		}
		return nil, fmt.Errorf("no Temporal service answers at %s (%w); check --address, and that the service runs", options.HostPort, err)
	}
	return c, nil
}

// WorkerIdentity is the name of this process at the Temporal service.
func WorkerIdentity() string { return IdentityOf(os.Getpid()) }

// IdentityOf is the WorkerIdentity of another process of this machine.
func IdentityOf(pid int) string {
	host, _ := os.Hostname()
	return fmt.Sprintf("%d@%s", pid, host)
}

// OwnerOf is a Temporal service of the user's own, as the owner of a work URL.
func OwnerOf(ctx context.Context, c client.Client, o client.Options) (migration.Owner, error) {
	namespace := o.Namespace
	if namespace == "" {
		namespace = client.DefaultNamespace
	}
	owner := migration.Owner{Name: fmt.Sprintf("the namespace %s at %s", namespace, o.HostPort), Since: time.Now()}
	d, err := c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: namespace})
	if err != nil {
		return owner, fmt.Errorf("the Temporal service does not describe the namespace %s: %w", namespace, err)
	}
	owner.Service = d.GetNamespaceInfo().GetId()
	return owner, nil
}
