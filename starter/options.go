package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/pace"
	"durable-dataload/internal/store"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/tilde"
	"durable-dataload/internal/undo"
	"durable-dataload/workflows"
)

// usageError is a fault of the command line. Its text does not name the help: run
// adds that of the command that was given.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// options are the command line of a migration, with dataload.py's names,
// letters and defaults.
type options struct {
	inputOptions
	credentials  config.Credentials
	temporal     config.Temporal
	entityType   string
	batchSize    int
	limits       migration.Limits
	timeout      seconds
	primaryKey   string
	mapping      string
	auth         string
	insecureHTTP bool

	retryRounds  int
	retryBackoff seconds
	unknownAPI   string
	unknownHTTP  string
	recoveredBy  string
	isolate      bool
	partitions   int

	maxFailed     string
	canary        int
	canaryTimeout seconds

	home
	outputDir  string
	taskQueue  string
	sandbox    bool
	withWorker bool
	again      bool
	json       bool

	dryRun        bool
	noValidate    bool
	delta         bool
	undoRecipient string

	notify  config.Notify
	notices *notify.Sender // nil: nobody is to be notified here

	targetOptional bool // nothing is sent
	patterns       bool // the data are patterns of files that come later

	api, http identitycloud.Codes // the lists that unknownAPI and unknownHTTP mean
	file      dataFile

	mappingText []byte // nil without a mapping file

	watched   telemetry.Options
	telemetry *telemetry.Telemetry // what watched means, see attend
}

func (o *options) addFlags(f *pflag.FlagSet) {
	o.inputOptions.addFlags(f)
	tilde.Var(f, &o.mapping, "mapping", "mapping file: what becomes of each column (docs/mapping.md); default: as dataload.py does")
	under(f, "Input")

	o.credentials.AddFlags(f)
	f.StringVarP(&o.entityType, "type-name", "t", "user", "entity type")
	f.StringVarP(&o.primaryKey, "primary-key", "p", "email", "unique attribute by which records are looked up")
	f.StringVar(&o.auth, "auth", config.AuthBasic, "how calls are authenticated: basic or signature")
	config.AddInsecureHTTP(f, &o.insecureHTTP)
	f.BoolVar(&o.sandbox, "sandbox", false, "migrate into a local Identity Cloud that fails now and then")
	under(f, "Target")

	f.IntVarP(&o.batchSize, "batch-size", "b", 100, "records in one call; 10 with --sandbox")
	o.addPaceFlags(f)
	f.StringVar(&o.limits.RatePlan, "rate-plan", "", `timetable of the rate, below --rate-limit: "zone Europe/Berlin; mon-fri 08:00-18:00 2/s; else 10/s" (docs/pace.md)`)
	f.IntVar(&o.limits.Breaker, "breaker", 5, "calls of unknown outcome in a row after which the target is only probed until it answers again; 0 = never")
	f.IntVar(&o.partitions, "partitions", 0, "workflows that load beside each other, at one pace; 0 = by the size of the file")
	under(f, "Pace")

	f.BoolVarP(&o.delta, "delta-migration", "m", false, "update the records that are there already")
	f.StringVar(&o.undoRecipient, "undo-recipient", "", "public key of age (age1…) to which the previous values of updated records are encrypted")
	f.IntVar(&o.retryRounds, "retry-rounds", 3, "how often records in unknown state are loaded again; 0 = only write the retry file")
	o.retryBackoff = seconds(30 * time.Second)
	f.Var(&o.retryBackoff, "retry-backoff", "pause before the first retry round, doubling; 1s with --sandbox")
	f.StringVar(&o.unknownAPI, "unknown-api-codes", "", "API codes after which records are unknown: 403,510 means only these, +361,-501 changes the default (403,500-999)")
	f.StringVar(&o.unknownHTTP, "unknown-http-codes", "", "HTTP codes after which a batch is unknown: 403,500 means only these, -404 takes one away; default is every status (300-599)")
	f.StringVar(&o.recoveredBy, "recovered-by", string(migration.Lookup), "evidence that a duplicate of a retry round is ours: lookup or refusal")
	f.BoolVar(&o.isolate, "isolate", true, "halve a call that is refused as a whole until the guilty record is alone; --isolate=false fails all of its records")
	under(f, "What becomes of the records")

	f.BoolVarP(&o.dryRun, "dry-run", "x", false, "write down what would be sent, and send nothing")
	f.BoolVar(&o.noValidate, "no-validate", false, "do not look for what is wrong with the input before a migration begins")
	f.IntVar(&o.canary, "canary", 0, "load this many records first, read them back, and wait for starter approve")
	f.Var(&o.canaryTimeout, "canary-timeout", "how long a canary waits for the approval until the migration stops; 0 = as long as it takes")
	f.StringVar(&o.maxFailed, "max-failed", "", "wait for a decision once more records than this have failed: a number, or a part of all as in 2%; default: any number may fail")
	f.BoolVar(&o.again, "again", false, "load a file that was migrated already once more")
	under(f, "Care")

	o.addOutputDirFlag(f)
	o.addHomeFlags(f, "folder for the state: ledger and embedded engine")
	f.BoolVar(&o.json, "json", false, "print the summary as JSON on stdout")
	o.watched.AddFlags(f)
	o.notify.AddFlags(f)
	under(f, "Results, logs and notices")

	o.addWorkFlags(f)
	under(f, "A Temporal service of your own, instead of the embedded one")
}

// addPaceFlags adds what every command has that calls the target.
func (o *options) addPaceFlags(f *pflag.FlagSet) {
	f.IntVarP(&o.limits.Workers, "workers", "w", 10, "calls in flight at most")
	o.timeout = seconds(10 * time.Second)
	f.VarP(&o.timeout, "timeout", "o", "time for one call, in seconds")
	f.Float64VarP(&o.limits.RateLimit, "rate-limit", "r", 4, "calls a second at most; 0 = no limit")
}

// addWorkFlags adds the options that say which service is meant, and who works
// for it.
func (o *options) addWorkFlags(f *pflag.FlagSet) {
	o.temporal.AddFlags(f)
	f.BoolVar(&o.withWorker, "with-worker", false, "run a worker in this process also with --address")
	f.StringVar(&o.taskQueue, "task-queue", workflows.TaskQueue, "where the workers of --address look for work")
}

// complete checks the command line and adds what is not on it.
func (o *options) complete(f *pflag.FlagSet, args []string, getenv func(string) string) error {
	if err := o.inputOptions.complete(args); err != nil {
		return err
	}
	if o.sandbox {
		if name := namesTarget(f); name != "" {
			return usage("--sandbox brings its own target; expected no --%s with it", name)
		}
		if !f.Changed("batch-size") {
			o.batchSize = 10
		}
		if !f.Changed("retry-backoff") {
			o.retryBackoff = seconds(time.Second)
		}
	} else if err := o.completeTarget(getenv); err != nil {
		return err
	}
	if err := o.checkNumbers(); err != nil {
		return err
	}
	var err error
	if o.notices, err = o.notify.Sender(getenv, o.insecureHTTP); err != nil {
		return err
	}
	defaults := identitycloud.DefaultUnknownCodes()
	if o.api, err = identitycloud.ParseCodes(defaults.API, o.unknownAPI); err != nil {
		return usage("--unknown-api-codes: %w", err)
	}
	if o.http, err = identitycloud.ParseCodes(defaults.HTTP, o.unknownHTTP); err != nil {
		return usage("--unknown-http-codes: %w", err)
	}
	return o.completePaths(getenv)
}

// namesTarget is a flag on the command line that says which target is meant, or
// "".
func namesTarget(f *pflag.FlagSet) string {
	for _, name := range []string{"apid_uri", "client-id", "client-secret", "client-secret-file", "config-key", "default-client"} {
		if f.Changed(name) {
			return name
		}
	}
	return ""
}

func (o *options) completeTarget(getenv func(string) string) error {
	if err := o.credentials.Complete(getenv); err != nil {
		return err
	}
	if o.credentials.URI == "" && !o.targetOptional && !o.dryRun {
		return usage("expected a target: --apid_uri https://… (or CAPTURE_APID_URI), or --sandbox to try")
	}
	return nil
}

func (o *options) checkNumbers() error {
	if err := o.checkPace(); err != nil {
		return err
	}
	if err := checkLimits([]limit{
		{"batch-size", float64(o.batchSize), 1, migration.MaxBatchSize},
		{"retry-rounds", float64(o.retryRounds), 0, 1_000_000},
		{"partitions", float64(o.partitions), 0, 100},
		{"breaker", float64(o.limits.Breaker), 0, migration.MaxBreaker},
		{"retry-backoff", time.Duration(o.retryBackoff).Seconds(), 0, 7 * 24 * 3600},
		{"canary", float64(o.canary), 0, 1e6},
		{"canary-timeout", time.Duration(o.canaryTimeout).Seconds(), 0, 365 * 24 * 3600},
	}); err != nil {
		return err
	}
	plan, err := pace.ParsePlan(o.limits.RatePlan, nil)
	if err != nil {
		return usage("--rate-plan: %w", err)
	}
	o.limits.RatePlan = plan.String()
	if r := migration.RecoveredBy(o.recoveredBy); r != migration.Lookup && r != migration.Refusal {
		return usage("--recovered-by is %q; expected %s or %s", o.recoveredBy, migration.Lookup, migration.Refusal)
	}
	if o.canaryTimeout != 0 && o.canary == 0 {
		return usage("--canary-timeout is for --canary")
	}
	if _, err := migration.ParseMaxFailed(o.maxFailed); err != nil {
		return usage("--max-failed: %w", err)
	}
	if _, err := undo.ParseRecipient(o.undoRecipient); err != nil {
		return usage("--undo-recipient: %w", err)
	}
	if o.undoRecipient != "" && !o.delta {
		return usage("--undo-recipient is for the records that --delta-migration updates")
	}
	for _, s := range []struct{ name, value string }{{"type-name", o.entityType}, {"primary-key", o.primaryKey}} {
		if s.value == "" {
			return usage("--%s is empty", s.name)
		}
	}
	return nil
}

// checkPace checks what every command has that calls the target.
func (o *options) checkPace() error {
	if err := checkLimits([]limit{
		{"workers", float64(o.limits.Workers), 1, migration.MaxWorkers},
		{"timeout", time.Duration(o.timeout).Seconds(), 0.1, 3600},
	}); err != nil {
		return err
	}
	if err := migration.CheckRate(o.limits.RateLimit); err != nil {
		return usage("--rate-limit: %w", err)
	}
	if o.auth != config.AuthBasic && o.auth != config.AuthSignature {
		return usage("--auth is %q; expected %s or %s", o.auth, config.AuthBasic, config.AuthSignature)
	}
	if err := o.watched.Check(); err != nil {
		return usage("%w", err)
	}
	return nil
}

// limit is the range of an option.
type limit struct {
	name      string
	value     float64
	low, high float64
}

func checkLimits(limits []limit) error {
	for _, n := range limits {
		if !(n.value >= n.low && n.value <= n.high) {
			return usage("--%s is %v; expected %v to %v", n.name, n.value, n.low, n.high)
		}
	}
	return nil
}

func (o *options) completePaths(getenv func(string) string) (err error) {
	if err := o.completeHome(getenv); err != nil {
		return err
	}
	if o.dryRun {
		o.workURL = "" // it keeps nothing
	}
	if o.mapping != "" {
		if _, o.mappingText, err = readMappingFile(o.mapping); err != nil {
			return err
		}
		if o.mapping, err = config.Absolute("mapping", o.mapping); err != nil {
			return err
		}
	}
	if err := o.completeOutputDir(); err != nil || o.patterns {
		return err
	}
	return o.find()
}

// addOutputDirFlag adds the option that says where the result files come.
func (o *options) addOutputDirFlag(f *pflag.FlagSet) {
	tilde.Var(f, &o.outputDir, "output-dir", "folder for the result files, or the URL of one; default: this folder, and with --work-url the folder artifacts there")
}

func (o *options) completeOutputDir() (err error) {
	switch {
	case store.IsURL(o.outputDir):
		o.outputDir, err = checkURL("output-dir", o.outputDir, "its path")
	case o.outputDir == "" && o.workURL != "" && !o.patterns:
		o.outputDir = store.Join(o.workURL, "artifacts")
	default:
		o.outputDir, err = config.Absolute("output-dir", o.outputDir)
	}
	return err
}

// spec is the migration that these options mean, without its input.
func (o *options) spec() migration.Spec {
	mappingDigest := ""
	if o.mapping != "" {
		mappingDigest = migration.MappingDigest(o.mappingText)
	}
	return migration.Spec{
		OutputDir: o.outputDir, Delimiter: o.delimiter,
		Target:    migration.Target{URI: o.credentials.URI, EntityType: o.entityType, Auth: o.auth, InsecureHTTP: o.insecureHTTP},
		BatchSize: o.batchSize, StartAt: o.startAt, Limits: o.limits, Timeout: time.Duration(o.timeout),
		RetryRounds: o.retryRounds, RetryBackoff: time.Duration(o.retryBackoff), UnknownAPI: o.api, UnknownHTTP: o.http,
		RecoveredBy: migration.RecoveredBy(o.recoveredBy), PrimaryKey: o.primaryKey, Isolate: o.isolate, Partitions: o.partitions,
		MaxFailed: o.maxFailed, Canary: o.canary, CanaryTimeout: time.Duration(o.canaryTimeout),
		Delta: o.delta, UndoRecipient: o.undoRecipient,
		Mapping: mappingDigest, MappingFile: o.mapping,
	}
}

// seconds is a duration that may be given as a bare number, as dataload.py
// wants it.
type seconds time.Duration

func (s *seconds) String() string { return time.Duration(*s).String() }
func (s *seconds) Type() string   { return "seconds" }
func (s *seconds) Set(text string) error {
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		*s = seconds(n * float64(time.Second))
		return nil
	}
	d, err := time.ParseDuration(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("expected seconds (10) or a duration (1m30s)")
	}
	*s = seconds(d)
	return nil
}
