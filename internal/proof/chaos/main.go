// Command chaos proves the product's guarantees. It builds the three programs
// and runs migrations while it kills and stops their processes, cuts and delays
// their connections, fills their disk and changes their input, at times drawn
// from a seed; it reruns the command until the migration is done; then an
// independent checker compares input, result files and the target's own log.
//
//	go run ./internal/proof/chaos --minutes 10 --seed 1
//
// docs/chaos.md explains its output. The exit code is 0 if every guarantee held,
// 1 if not, 2 if it could not run.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/fleet"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/proof/s3server"
	"durable-dataload/internal/targets"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const (
	exitKept   = 0
	exitBroken = 1
	exitCannot = 2
)

// options are the command line.
type options struct {
	minutes  float64
	seed     uint64
	records  int64
	episode  int
	atOnce   int
	keep     bool
	verbose  bool
	json     bool
	sabotage string
	fleet    bool
	folder   bool
	target   string
}

func (o options) onBucket() bool { return o.fleet && !o.folder }

// draw draws an episode.
func (o options) draw(number int) plan {
	return drawOn(realTargets[o.target], o.seed, number, o.records)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o options
	flags := pflag.NewFlagSet("chaos", pflag.ContinueOnError)
	flags.SortFlags = false
	flags.SetOutput(stdout)
	flags.Float64Var(&o.minutes, "minutes", 10, "begin no episode that would probably end later")
	flags.Uint64Var(&o.seed, "seed", 1, "decides the episodes and what happens in them")
	flags.Int64Var(&o.records, "records", 0, "records of each migration; 0 = drawn")
	flags.IntVar(&o.episode, "episode", 0, "only this one; 0 = from the first on")
	flags.BoolVar(&o.fleet, "fleet", false, "on the Temporal service of docker-compose.yml, with PostgreSQL and three workers: a large migration, and one with a rate, a schedule and orders, both on a bucket")
	flags.BoolVar(&o.folder, "shared-folder", false, "with --fleet: what the migrations keep is in a folder of all processes, and not in a bucket")
	flags.StringVar(&o.target, "target", theSandbox, "what the migrations write to: "+theSandbox+", "+targets.Kratos+", a real Ory Kratos that is built once, or "+targets.IdentityPlatform+", Google's emulator, which is downloaded once")
	flags.IntVar(&o.atOnce, "at-once", 2, "episodes at the same time: they wait more than they compute")
	flags.BoolVar(&o.keep, "keep", false, "keep the folders of all episodes, not only of those that fail")
	flags.BoolVar(&o.verbose, "verbose", false, "print each event when it happens")
	flags.BoolVar(&o.json, "json", false, "print the figures as JSON on stdout, all else on stderr")
	flags.StringVar(&o.sabotage, "sabotage", "", "self-test: damage the result of the first episode, which must be found: "+sabotageNames())
	err := flags.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return exitKept
	}
	if err == nil && flags.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	}
	if err == nil && (o.atOnce < 1 || o.episode < 0 || o.records < 0) {
		err = errors.New("--at-once, --episode or --records is impossible; see --help")
	}
	if err == nil && o.fleet && (o.sabotage != "" || flags.Changed("minutes")) {
		err = errors.New("--fleet has its own two episodes, and takes neither --minutes nor --sabotage; see --help")
	}
	if err == nil && o.folder && !o.fleet {
		err = errors.New("--shared-folder is for --fleet; without it all processes share a folder; see --help")
	}
	if err == nil && o.target != theSandbox && (realTargets[o.target] == nil || o.fleet || o.sabotage != "") {
		err = fmt.Errorf("--target %s is impossible; expected %s, or without --fleet and --sabotage %s or %s", o.target, theSandbox, targets.Kratos, targets.IdentityPlatform)
	}
	if err == nil && o.sabotage != "" {
		_, err = findSabotage(o.sabotage)
	}
	if err == nil {
		out := stdout
		if o.json {
			out = stderr
		}
		var h *harness
		if h, err = newHarness(ctx, o, out); err == nil {
			err = h.runAll(ctx)
			h.finish(stdout)
			if err == nil && h.figures.Broken > 0 {
				return exitBroken
			}
		}
	}
	var unavailable *program.Unavailable
	if errors.As(err, &unavailable) {
		fmt.Fprintf(stderr, "chaos: nothing was run: %v\n", err)
		return exitKept
	}
	if err != nil {
		fmt.Fprintf(stderr, "chaos: %v\n", err)
		return exitCannot
	}
	return exitKept
}

// harness runs episodes, some at the same time.
type harness struct {
	options
	mu  sync.Mutex // of out and kept
	out io.Writer
	dir string // of all that is written
	bin string // of the programs
	s3  string // the S3 server of a fleet
	// installed is where the server of a real target is.
	installed string
	figures   *figures
	begun     time.Time
	kept      bool // the folder of an episode is still there
}

func newHarness(ctx context.Context, o options, out io.Writer) (*harness, error) {
	h := &harness{options: o, out: out, figures: newFigures(o.seed)}
	var err error
	if h.dir, err = os.MkdirTemp(fastFolder(o.onBucket()), folderPrefix); err != nil {
		return nil, err
	}
	h.bin = filepath.Join(h.dir, "bin")
	if real := realTargets[h.target]; real != nil {
		h.say("getting %s, unless it is here from before", real.name)
		h.installed, err = real.install(ctx)
	}
	if err == nil {
		h.say("building starter, worker, sandbox and engine")
		err = build(ctx, h.bin)
	}
	if err == nil && h.fleet {
		h.say("building Temporal's server and schema tool")
		// The database is another user's.
		err = errors.Join(fleet.Build(ctx, h.bin), os.Chmod(h.dir, 0o711))
	}
	if err == nil && h.onBucket() {
		h.say("building the S3 server")
		h.s3, err = s3server.Install(ctx)
	}
	if err != nil {
		_ = os.RemoveAll(h.dir)
		return nil, err
	}
	h.begun = time.Now()
	return h, nil
}

// build builds the programs into a folder, without what debuggers need: that is a
// third of the time.
func build(ctx context.Context, dir string) error {
	command := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", dir+string(filepath.Separator),
		"durable-dataload/starter", "durable-dataload/worker", "durable-dataload/sandbox", "durable-dataload/internal/proof/chaos/engine")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("the programs do not build; run this in the project's folder: %w\n%s", err, output)
	}
	return nil
}

const folderPrefix = "durable-dataload-chaos-"

// fastFolder is a folder in memory, if there is one. An S3 server needs one that
// is good for it.
func fastFolder(forStore bool) string {
	memory := program.Memory()
	if forStore && memory != "" {
		probe, err := os.MkdirTemp(memory, folderPrefix)
		if err != nil {
			return ""
		}
		defer func() { _ = os.Remove(probe) }()
		if s3server.Usable(probe) != nil {
			return ""
		}
	}
	return memory
}

func (h *harness) say(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fmt.Fprintf(h.out, format+"\n", args...)
}

// runAll runs episodes until the time is used up.
func (h *harness) runAll(ctx context.Context) error {
	if h.fleet {
		for _, p := range drawFleet(h.seed, h.records, h.folder) {
			if h.episode == 0 || h.episode == p.number {
				if err := h.runOne(ctx, p); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if h.episode > 0 {
		return h.runOne(ctx, h.draw(h.episode))
	}
	if h.sabotage != "" {
		return h.runOne(ctx, h.draw(1))
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var mu sync.Mutex
	number, longest := 0, time.Duration(0)
	next := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		number++
		inTime := time.Since(h.begun)+longest <= time.Duration(h.minutes*float64(time.Minute))
		return number, ctx.Err() == nil && (number <= h.atOnce || inTime)
	}
	var group sync.WaitGroup
	for range h.atOnce {
		group.Go(func() {
			for number, more := next(); more; number, more = next() {
				began := time.Now()
				if err := h.runOne(ctx, h.draw(number)); err != nil {
					cancel(err)
				}
				mu.Lock()
				longest = max(longest, time.Since(began))
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// runOne runs an episode, checks it, and reports what is broken.
func (h *harness) runOne(ctx context.Context, p plan) error {
	began, number := time.Now(), p.number
	e := &episode{
		plan: p, programs: h.bin, s3: h.s3, installed: h.installed, dir: filepath.Join(h.dir, "episode-"+strconv.Itoa(number)),
		count: h.figures, underway: map[string]*underway{}, say: func(string, ...any) {},
	}
	if h.verbose {
		e.say = func(format string, args ...any) { h.say("  %d: %s", number, fmt.Sprintf(format, args...)) }
	}
	mode := os.FileMode(0o700)
	if p.fleet {
		mode = 0o711
	}
	if err := os.Mkdir(e.dir, mode); err != nil {
		return err
	}
	h.say("episode %d: %s", number, e.plan.String())
	if h.sabotage == "hang" {
		e.hangs()
	}
	v, broken, err := e.run(ctx)
	if err == nil && v != nil {
		broken, err = h.judge(e, v, broken)
	}
	h.figures.add(func(f *figures) { f.Episodes++; f.Broken += len(broken) })
	keep := h.keep || len(broken) > 0 || err != nil && ctx.Err() == nil
	if releaseErr := e.release(keep); err == nil {
		err = releaseErr
	}
	if err != nil {
		return fmt.Errorf("episode %d: %w", number, err)
	}
	if keep {
		h.mu.Lock()
		h.kept = true
		h.mu.Unlock()
	} else if err := os.RemoveAll(e.dir); err != nil {
		return err
	}
	if len(broken) == 0 {
		h.say("episode %d: every promise was kept (%s)", number, time.Since(began).Round(100*time.Millisecond))
		return nil
	}
	for _, b := range broken {
		h.say("episode %d: BROKEN: %s", number, describe(b))
	}
	h.say("everything is kept in %s; to repeat it:\n  %s", e.dir, h.repeat(number))
	return nil
}

func describe(b check.Broken) string {
	if slices.Contains([]string{comesToItsEnd, ordersHold, scheduleFires, allWork}, b.Invariant) {
		return b.Invariant + ": " + b.What
	}
	return b.String()
}

func (h *harness) repeat(number int) string {
	command := fmt.Sprintf("go run ./internal/proof/chaos --seed %d --episode %d --verbose --keep", h.seed, number)
	if h.fleet {
		command += " --fleet"
	}
	if realTargets[h.target] != nil {
		command += " --target " + h.target
	}
	if h.folder {
		command += " --shared-folder"
	}
	if h.records > 0 {
		command += fmt.Sprintf(" --records %d", h.records)
	}
	return command
}

// judge runs the checker on an episode, after the sabotage if there is one.
func (h *harness) judge(e *episode, v *evidence, broken []check.Broken) ([]check.Broken, error) {
	if h.sabotage != "" {
		s, err := findSabotage(h.sabotage)
		if err == nil && s.damage != nil {
			err = s.damage(v)
		}
		if err != nil {
			return broken, fmt.Errorf("the sabotage %s failed: %w", h.sabotage, err)
		}
	}
	summary, found, err := v.check()
	if err != nil {
		return broken, err
	}
	h.figures.take(summary, &e.world, v.tally, e.starts, e.platform.creations())
	return append(broken, found...), nil
}

// finish prints the figures and removes temporary files.
func (h *harness) finish(stdout io.Writer) {
	h.figures.Minutes = time.Since(h.begun).Minutes()
	if h.json {
		encoder := json.NewEncoder(stdout)
		encoder.SetIndent("", " ")
		_ = encoder.Encode(h.figures)
	} else {
		h.figures.print(stdout)
	}
	if !h.kept {
		_ = os.RemoveAll(h.dir)
	}
}
