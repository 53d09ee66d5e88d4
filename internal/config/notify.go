package config

import (
	"fmt"

	"github.com/spf13/pflag"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/tilde"
)

// Notify is the receiver of notices. URL and secret stay in the process: the URL
// may contain a token.
type Notify struct {
	url, secretFile string

	// Warnings are set by Sender, for the command line.
	Warnings []string
}

// AddFlags adds the options of notices.
func (n *Notify) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&n.url, "notify-url", "", "webhook for notices when a migration starts, pauses, waits for a decision or ends (docs/notify.md); prefer NOTIFY_URL for one with a token")
	tilde.Var(f, &n.secretFile, "notify-secret-file", "file with the secret, whsec_…, that notices are signed with (NOTIFY_SECRET)")
}

// Sender takes missing settings from the environment, and returns a sender; nil
// without a URL.
func (n *Notify) Sender(getenv func(string) string, insecureHTTP bool) (*notify.Sender, error) {
	if n.url == "" {
		n.url = getenv("NOTIFY_URL")
	}
	if n.url == "" {
		if n.secretFile != "" {
			return nil, fmt.Errorf("--notify-secret-file is given without an address; expected --notify-url or NOTIFY_URL with it")
		}
		return nil, nil
	}
	if _, err := checkProxy(getenv); err != nil {
		return nil, err
	}
	secret, err := durablefs.CleanSecret(getenv("NOTIFY_SECRET"))
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SECRET cannot be used: %w", err)
	}
	if n.secretFile != "" {
		if secret, err = durablefs.ReadSecret(n.secretFile); err != nil {
			return nil, fmt.Errorf("cannot use --notify-secret-file: %w", err)
		}
	}
	sender, err := notify.New(notify.Options{URL: n.url, InsecureHTTP: insecureHTTP, Secret: secret})
	if err != nil {
		return nil, err
	}
	if !sender.Signed() {
		n.Warnings = append(n.Warnings, "notices are not signed, so the receiver cannot tell them from those of others; give --notify-secret-file or NOTIFY_SECRET")
	}
	return sender, nil
}
