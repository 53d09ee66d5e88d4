package config

import (
	"errors"
	"fmt"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/targets"
)

// The environment variables of targets other than the Identity Cloud.
const (
	TargetURLVariable   = "DATALOAD_TARGET_URL"
	TargetTokenVariable = "DATALOAD_TARGET_TOKEN" //nolint:gosec // a name, no secret
)

// Name is that of the target, "" for the Identity Cloud.
func (c *Credentials) Name() string {
	if targets.IsDefault(c.Target) {
		return ""
	}
	return c.Target
}

// completeTarget completes the credentials for a target other than the Identity Cloud: address and token from the command
// line or else from the environment. The file with the token is read before each call, so that it may be replaced.
func (c *Credentials) completeTarget(getenv func(string) string) (err error) {
	if err := targets.Check(c.Target); err != nil {
		return err
	}
	if c.URI != "" || c.ClientID != "" || c.Secret != "" || c.secretFile != "" || c.configKey != "" || c.defaultClient {
		return fmt.Errorf("--target %s is reached by --target-url and --target-token-file; expected no option of the Identity Cloud (--apid_uri, --client-id and so on) with it", c.Target)
	}
	if c.URI = c.targetURL; c.URI == "" {
		c.URI = getenv(TargetURLVariable)
	}
	if c.URI == "" {
		c.URI = targets.DefaultURL(c.Target)
	}
	if c.URI != "" {
		if c.URI, err = targets.Address(c.URI); err != nil {
			return err
		}
	}
	secret := ""
	switch {
	case c.tokenFile != "":
		path := c.tokenFile
		c.token = func() (string, error) { return durablefs.ReadSecret(path) }
		if _, err := c.token(); err != nil {
			return fmt.Errorf("cannot use --target-token-file: %w", err)
		}
		return nil
	case getenv(TargetTokenVariable) != "":
		if secret, err = durablefs.CleanSecret(getenv(TargetTokenVariable)); err != nil {
			return fmt.Errorf("%s cannot be used: %w", TargetTokenVariable, err)
		}
		c.token = func() (string, error) { return secret, nil }
		return nil
	}
	c.token = targets.DefaultToken(c.Target)
	return nil
}

// checkToken returns an error if there is no token, and the target asks for one.
func (c *Credentials) checkToken() error {
	if c.token == nil {
		return nil
	}
	if _, err := c.token(); err != nil {
		return fmt.Errorf("there is no token for the target: %w; give one with --target-token-file or %s", err, TargetTokenVariable)
	}
	return nil
}

var errOnlyOthers = errors.New("--target-url and --target-token-file are for another --target; the Identity Cloud has --apid_uri and --client-secret-file")
