package main

import (
	"cmp"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/limiter"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
	"durable-dataload/internal/targets"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/undo"
	"durable-dataload/workflows"
)

// targetOptions say which target is called, and how.
type targetOptions struct {
	credentials  config.Credentials
	entityType   string
	schema       string
	project      string
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
	f.StringVar(&o.schema, "target-schema", targets.DefaultPart(targets.Kratos), "identity schema, with --target "+targets.Kratos)
	f.StringVar(&o.project, "target-project", "", "project, or PROJECT/TENANT, with --target "+targets.IdentityPlatform)
	f.StringVarP(&o.entityType, "type-name", "t", "user", "entity type")
	f.StringVar(&o.auth, "auth", config.AuthBasic, "how calls are authenticated: basic or signature")
	config.AddInsecureHTTP(f, &o.insecureHTTP)
}

func (o *targetOptions) addSandboxFlag(f *pflag.FlagSet, usage string) {
	f.BoolVar(&o.sandbox, "sandbox", false, usage)
}

// complete checks them, and takes the credentials from where they are.
func (o *targetOptions) complete(f *pflag.FlagSet, getenv func(string) string) error {
	if err := o.completeName(f); err != nil {
		return err
	}
	switch {
	case f.Lookup("auth") != nil && o.auth != config.AuthBasic && o.auth != config.AuthSignature:
		return usage("--auth is %q; expected %s or %s", o.auth, config.AuthBasic, config.AuthSignature)
	case f.Lookup("type-name") != nil && o.entityType == "":
		return usage("--type-name is empty")
	case !o.sandbox:
		return o.credentials.Complete(getenv)
	}
	for _, name := range []string{"target-url", "target-token-file", "apid_uri", "client-id", "client-secret", "client-secret-file", "config-key", "default-client"} {
		if f.Changed(name) {
			return usage("--sandbox brings its own target; expected no --%s with it", name)
		}
	}
	return nil
}

// optionsOf are the options that one target has, by its name; "" is the Identity Cloud.
var optionsOf = map[string][]string{
	"":                       {"sandbox", "type-name", "auth", "unknown-api-codes", "unknown-http-codes"},
	targets.Kratos:           {"target-schema"},
	targets.IdentityPlatform: {"target-project"},
}

// completeName checks the name of the target, and refuses the options of others.
func (o *targetOptions) completeName(f *pflag.FlagSet) error {
	if err := targets.Check(o.credentials.Target); err != nil {
		return usage("--target: %w", err)
	}
	name := o.credentials.Name()
	for of, options := range optionsOf {
		for _, option := range options {
			if of != name && f.Changed(option) {
				return usage("--%s is for --target %s, and the target is %s", option, targets.NameOf(of), targets.NameOf(name))
			}
		}
	}
	return nil
}

// require says that a target is to be named.
func (o *targetOptions) require() error {
	switch name := o.credentials.Name(); {
	case name != "" && o.credentials.URI == "":
		return usage("expected the address of %s: --target-url https://… (or %s)", name, config.TargetURLVariable)
	case name != "" && o.target().EntityType == "":
		return usage("expected the project of %s: --target-project PROJECT, or PROJECT/TENANT", name)
	}
	if o.credentials.URI == "" && !o.sandbox {
		return usage("expected a target: --apid_uri https://… (or CAPTURE_APID_URI), or --sandbox to try")
	}
	return nil
}

// requireOf takes the address that a migration was loaded into, and refuses another.
func (o *targetOptions) requireOf(id string, t migration.Target) error {
	if name := o.credentials.Name(); name != t.Name {
		return usage("the migration %s went to %s, and --target is %s; expected the same", id, targets.NameOf(t.Name), targets.NameOf(name))
	}
	if uri := o.credentials.URI; uri != "" && uri != t.URI {
		return usage("the migration %s went to %s, and the address that is given is %s; expected the same, or none", id, t.URI, uri)
	}
	o.credentials.URI = t.URI
	return nil
}

func (o *targetOptions) target() migration.Target {
	t := migration.Target{Name: o.credentials.Name(), URI: o.credentials.URI, InsecureHTTP: o.insecureHTTP}
	switch t.Name {
	case "":
		t.EntityType, t.Auth = o.entityType, o.auth
	case targets.Kratos:
		t.EntityType = o.schema
	default:
		t.EntityType = o.project
	}
	return t
}

// paceOptions bound the calls of every command that calls the target.
type paceOptions struct {
	limits  migration.Limits
	timeout seconds
}

func (o *paceOptions) addFlags(f *pflag.FlagSet) {
	f.IntVarP(&o.limits.Workers, "workers", "w", 10, "calls in flight at most")
	o.addRateFlags(f)
}

// addRateFlags adds those of a command that makes one call at a time.
func (o *paceOptions) addRateFlags(f *pflag.FlagSet) {
	o.timeout = seconds(10 * time.Second)
	f.VarP(&o.timeout, "timeout", "o", "time for one call, in seconds")
	f.Float64VarP(&o.limits.RateLimit, "rate-limit", "r", 4, "calls a second at most; 0 = no limit")
}

// addPlanFlags adds what only a migration has.
func (o *paceOptions) addPlanFlags(f *pflag.FlagSet) {
	f.StringVar(&o.limits.RatePlan, "rate-plan", "", `timetable of the rate, below --rate-limit: "zone Europe/Berlin; mon-fri 08:00-18:00 2/s; else 10/s" (docs/pace.md)`)
	f.IntVar(&o.limits.Breaker, "breaker", 5, "calls of unknown outcome in a row after which the target is only probed until it answers again; 0 = never")
}

func (o *paceOptions) complete() error {
	if err := migration.CheckRate(o.limits.RateLimit); err != nil {
		return usage("--rate-limit: %w", err)
	}
	plan, err := limiter.ParsePlan(o.limits.RatePlan, nil)
	if err != nil {
		return usage("--rate-plan: %w", err)
	}
	o.limits.RatePlan = plan.String()
	return checkRanges([]optionRange{
		{"workers", float64(o.limits.Workers), 1, migration.MaxWorkers},
		{"timeout", time.Duration(o.timeout).Seconds(), 0.1, 3600},
		{"breaker", float64(o.limits.Breaker), 0, migration.MaxBreaker},
	})
}

// loadOptions say how the records of a file are cut into calls and workflows.
type loadOptions struct {
	batchSize  int
	partitions int
}

func (o *loadOptions) addBatchFlag(f *pflag.FlagSet) {
	f.IntVarP(&o.batchSize, "batch-size", "b", 100, "records in one call; 10 with --sandbox")
}

func (o *loadOptions) addPartitionsFlag(f *pflag.FlagSet) {
	f.IntVar(&o.partitions, "partitions", 0, "workflows that load in parallel, at one pace; 0 = by the size of the file")
}

func (o *loadOptions) complete(f *pflag.FlagSet, sandbox bool, format target.Format) error {
	most := migration.MaxBatchSize
	if n := format.Traits().MaxRecords; n > 0 {
		most = min(most, n)
	}
	if sandbox && !f.Changed("batch-size") {
		o.batchSize = 10
	}
	return checkRanges([]optionRange{
		{"batch-size", float64(o.batchSize), 1, float64(most)},
		{"partitions", float64(o.partitions), 0, 100},
	})
}

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
	f.StringVarP(&o.primaryKey, "primary-key", "p", "", "unique attribute by which records are looked up; default: that of the target, email or traits.email")
}

func (o *recordOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.delta, "delta-migration", "m", false, "update records that exist already")
	f.StringVar(&o.undoRecipient, "undo-recipient", "", "public key of age (age1…) to which the previous values of updated records are encrypted")
}

func (o *recordOptions) complete(f *pflag.FlagSet, format target.Format) (err error) {
	if o.primaryKey == "" && f.Changed("primary-key") {
		return usage("--primary-key is empty")
	}
	o.primaryKey = cmp.Or(o.primaryKey, format.Traits().DefaultKey)
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
	f.Var(&o.retryBackoff, "retry-backoff", "pause before the first retry round, doubling up to an hour; 1s with --sandbox")
	api, http := targets.DefaultCodes()
	o.unknownAPI = codeList{defaults: api, codes: api}
	o.unknownHTTP = codeList{defaults: http, codes: http}
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
	defaults, codes targets.Codes
	given           string
}

func (c *codeList) String() string { return c.given }
func (c *codeList) Type() string   { return "string" }
func (c *codeList) Set(text string) (err error) {
	c.codes, err = targets.ParseCodes(c.defaults, text)
	c.given = text
	return err
}

// careOptions say what is checked before a file is loaded, and when a migration waits for
// a decision.
type careOptions struct {
	dryRun        bool
	noValidate    bool
	canary        int
	canaryTimeout seconds
	maxFailed     string
	again         bool
}

func (o *careOptions) addFlags(f *pflag.FlagSet) {
	f.BoolVarP(&o.dryRun, "dry-run", "x", false, "write what would be sent to a file, and send nothing")
	f.BoolVar(&o.noValidate, "no-validate", false, "do not validate the input before a migration")
	f.IntVar(&o.canary, "canary", 0, "load this many records first, read them back, and wait for starter approve")
	f.Var(&o.canaryTimeout, "canary-timeout", "how long a canary waits for the approval until the migration stops; 0 = no limit")
	f.StringVar(&o.maxFailed, "max-failed", "", "wait for a decision once more records than this have failed: a number, or a part of all as in 2%; default: any number may fail")
	f.BoolVar(&o.again, "again", false, "load a file again that was migrated already")
}

func (o *careOptions) complete() error {
	if _, err := migration.ParseMaxFailed(o.maxFailed); err != nil {
		return usage("--max-failed: %w", err)
	}
	if o.canaryTimeout != 0 && o.canary == 0 {
		return usage("--canary-timeout is for --canary")
	}
	return checkRanges([]optionRange{
		{"canary", float64(o.canary), 0, 1e6},
		{"canary-timeout", time.Duration(o.canaryTimeout).Seconds(), 0, 365 * 24 * 3600},
	})
}

// outputOptions say where results come.
type outputOptions struct {
	outputDir string
	relative  bool // as it was given
	json      bool
}

func (o *outputOptions) addFlags(f *pflag.FlagSet) {
	tilde.Var(f, &o.outputDir, "output-dir", "folder for the result files, or the URL of one; default: this folder, and with --work-url the folder artifacts there")
	o.addJSONFlag(f)
}

func (o *outputOptions) addJSONFlag(f *pflag.FlagSet) {
	f.BoolVar(&o.json, "json", false, "print the summary as JSON on stdout")
}

// complete normalizes the output folder.
func (o *outputOptions) complete(workURL string) (err error) {
	switch {
	case store.IsURL(o.outputDir):
		o.outputDir, err = checkURL("output-dir", o.outputDir, "its path")
	case o.outputDir == "" && workURL != "":
		o.outputDir = store.Join(workURL, "artifacts")
	default:
		o.relative = !filepath.IsAbs(o.outputDir)
		o.outputDir, err = config.Absolute("output-dir", o.outputDir)
	}
	return err
}

// serviceOptions say which Temporal service is used, and which workers.
type serviceOptions struct {
	temporal   config.Temporal
	taskQueue  string
	withWorker bool
	uiPort     uint16
}

func (o *serviceOptions) addFlags(f *pflag.FlagSet) {
	o.temporal.AddFlags(f)
	f.BoolVar(&o.withWorker, "with-worker", false, "run a worker in this process also with --address")
	f.StringVar(&o.taskQueue, "task-queue", workflows.TaskQueue, "task queue that the workers of --address poll")
	o.addUIPort(f)
}

// addUIPort adds the port of the embedded Web UI.
func (o *serviceOptions) addUIPort(f *pflag.FlagSet) {
	f.Uint16Var(&o.uiPort, "ui-port", 0, "`port` of the embedded Web UI on this machine; default: that of the last time, 8233, or a free one")
}
