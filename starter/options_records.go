package main

import (
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/undo"
)

// recordOptions say what becomes of the columns of a record, and of one that exists
// already.
type recordOptions struct {
	mapping       string // absolute; "" is the built-in mapping
	primaryKey    string
	delta         bool
	undoRecipient string
}

func (o *recordOptions) addMappingFlag(f *pflag.FlagSet) {
	tilde.Var(f, &o.mapping, "mapping", "mapping file: what becomes of each column (docs/mapping.md); default: as dataload.py does")
}

func (o *recordOptions) addKeyFlag(f *pflag.FlagSet) {
	f.StringVarP(&o.primaryKey, "primary-key", "p", "email", "unique attribute by which records are looked up")
}

func (o *recordOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.delta, "delta-migration", "m", false, "update records that exist already")
	f.StringVar(&o.undoRecipient, "undo-recipient", "", "public key of age (age1…) to which the previous values of updated records are encrypted")
}

func (o *recordOptions) complete() (err error) {
	if o.primaryKey == "" {
		return usage("--primary-key is empty")
	}
	if _, err := undo.ParseRecipient(o.undoRecipient); err != nil {
		return usage("--undo-recipient: %w", err)
	}
	if o.undoRecipient != "" && !o.delta {
		return usage("--undo-recipient is for the records that --delta-migration updates")
	}
	if o.mapping != "" {
		o.mapping, err = config.Absolute("mapping", o.mapping)
	}
	return err
}

// retryOptions say which records are in unknown state, and what is done about it.
type retryOptions struct {
	retryRounds  int
	retryBackoff seconds
	unknownAPI   codeList
	unknownHTTP  codeList
	recoveredBy  string
	isolate      bool
}

func (o *retryOptions) addFlags(f *pflag.FlagSet) {
	f.IntVar(&o.retryRounds, "retry-rounds", 3, "how often records in unknown state are loaded again; 0 = only write the retry file")
	o.retryBackoff = seconds(30 * time.Second)
	f.Var(&o.retryBackoff, "retry-backoff", "pause before the first retry round, doubling; 1s with --sandbox")
	defaults := identitycloud.DefaultUnknownCodes()
	o.unknownAPI = codeList{defaults: defaults.API, codes: defaults.API}
	o.unknownHTTP = codeList{defaults: defaults.HTTP, codes: defaults.HTTP}
	f.Var(&o.unknownAPI, "unknown-api-codes", "API codes after which records are unknown: 403,510 means only these, +361,-501 changes the default (403,500-999)")
	f.Var(&o.unknownHTTP, "unknown-http-codes", "HTTP codes after which a batch is unknown: 403,500 means only these, -404 removes one; default is every status (300-599)")
	f.StringVar(&o.recoveredBy, "recovered-by", string(migration.Lookup), "evidence that a duplicate of a retry round is ours: lookup or refusal")
	f.BoolVar(&o.isolate, "isolate", true, "halve a call that is refused as a whole until the record that causes it is alone; --isolate=false fails all of its records")
}

func (o *retryOptions) complete(f *pflag.FlagSet, sandbox bool) error {
	if sandbox && !f.Changed("retry-backoff") {
		o.retryBackoff = seconds(time.Second)
	}
	if r := migration.RecoveredBy(o.recoveredBy); r != migration.Lookup && r != migration.Refusal {
		return usage("--recovered-by is %q; expected %s or %s", o.recoveredBy, migration.Lookup, migration.Refusal)
	}
	return checkRanges([]optionRange{
		{"retry-rounds", float64(o.retryRounds), 0, 1_000_000},
		{"retry-backoff", time.Duration(o.retryBackoff).Seconds(), 0, 7 * 24 * 3600},
	})
}

// codeList is a list of codes, or a change of the default list.
type codeList struct {
	defaults, codes identitycloud.Codes
	given           string
}

func (c *codeList) String() string { return c.given }
func (c *codeList) Type() string   { return "string" }
func (c *codeList) Set(text string) (err error) {
	c.codes, err = identitycloud.ParseCodes(c.defaults, text)
	c.given = text
	return err
}
