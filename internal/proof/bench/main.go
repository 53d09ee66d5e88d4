// Command bench measures the cost of durability: it loads the same synthetic
// file into the same sandbox alternately with a bare loader, which has only our
// client and our transformations, and with the durable migration, and reports
// the medians, and the medians of the ratios of each pair, with the goals.
//
//	go run ./internal/proof/bench
//
//	go run ./internal/proof/bench scale --records 10000000 (see scaleCommand)
//	go run ./internal/proof/bench history --state-dir … (see historyCommand)
//	go run ./internal/proof/bench pace (see paceCommand)
//
// Every run has a fresh sandbox in a separate process, so that both loaders
// share the machine with the same neighbour. The durable run is the real command
// from its start to its exit code: it checks and copies the input, starts the
// engine, loads, and writes the artifacts. On a shared machine the ratio is more
// meaningful than the absolute numbers.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/sandbox"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

type options struct {
	records   int64
	pairs     int
	workers   int
	latency   time.Duration
	dir, disk string
	args      []string // further options of the starter
}

func run(args []string, out io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "bare":
			return bareCommand(args[1:], out)
		case "history":
			return historyCommand(args[1:], out)
		case "scale":
			return scaleCommand(args[1:], out)
		case "pace":
			return paceCommand(args[1:], out)
		}
	}
	var o options
	f := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	f.Int64Var(&o.records, "records", 400_000, "synthetic records in the file")
	f.IntVar(&o.pairs, "pairs", 5, "runs of each loader in each row")
	f.IntVar(&o.workers, "workers", 10, "calls in flight at most")
	f.DurationVar(&o.latency, "latency", 0, "how long the sandbox takes for a call at least")
	f.StringVar(&o.dir, "dir", program.Memory(), "folder to work in; default: one in memory where there is one")
	f.StringVar(&o.disk, "disk", ".", "folder on a disk, for the rows that keep the files of the migration there")
	if err := f.Parse(args); err != nil {
		return err
	}
	if o.records < 1 || o.pairs < 1 || o.workers < 1 {
		return errors.New("records, pairs and workers must be more than 0")
	}
	o.args = f.Args()
	for _, dir := range []*string{&o.dir, &o.disk} {
		var err error
		if *dir, err = os.MkdirTemp(*dir, "durable-dataload-bench-"); err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(*dir) }()
	}
	return compare(o, out)
}

// row is one setting in which the loaders are compared. A goal of 0 is none.
type row struct {
	batchSize    int
	onDisk       bool
	calls, whole float64 // goals: durable ÷ bare
	cpu          float64 // goal: microseconds a record
}

var rows = []row{
	{batchSize: 100, calls: 0.9, whole: 0.65, cpu: 70},
	{batchSize: 100, onDisk: true, calls: 0.75},
	{batchSize: 1000, calls: 0.95, whole: 0.7},
}

// loader is one of the two programs that are compared.
type loader struct {
	name    string
	command func(b *bench, dir, address string, batchSize int) *exec.Cmd
}

var loaders = []loader{
	{"bare", func(b *bench, _, address string, batchSize int) *exec.Cmd {
		return exec.Command(b.self, "bare", "--data", b.data, "--apid_uri", address,
			"--batch-size", fmt.Sprint(batchSize), "--workers", fmt.Sprint(b.o.workers))
	}},
	{"durable", func(b *bench, dir, address string, batchSize int) *exec.Cmd {
		args := append([]string{"--data", b.data, "--apid_uri", address, "--rate-limit", "0",
			"--batch-size", fmt.Sprint(batchSize), "--workers", fmt.Sprint(b.o.workers),
			"--state-dir", filepath.Join(dir, "state"), "--output-dir", dir}, b.o.args...)
		return exec.Command(b.starter, args...)
	}},
}

type bench struct {
	o                      options
	self, starter, sandbox string
	data                   string
}

func compare(o options, out io.Writer) error {
	b := &bench{o: o, starter: binary(o.dir, "starter"), sandbox: binary(o.dir, "sandbox"), data: filepath.Join(o.dir, "users.csv")}
	var err error
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if err := build(o.dir, "starter", "sandbox"); err != nil {
		return err
	}
	if err := b.invent(); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d records, %d calls in flight, medians of %d\n\n", o.records, o.workers, o.pairs)
	fmt.Fprintln(out, "| records a call | files in | loader | records/s while calls are made | records/s, whole command | CPU a record |")
	fmt.Fprintln(out, "|--:|---|---|--:|--:|--:|")
	for _, r := range rows {
		results := make([][]result, len(loaders))
		for pair := range o.pairs {
			for i := range loaders {
				n := (i + pair) % len(loaders) // in turn, the first one changes
				took, err := b.time(loaders[n], r)
				if err != nil {
					return fmt.Errorf("%s, %d a call: %w", loaders[n].name, r.batchSize, err)
				}
				results[n] = append(results[n], took)
			}
		}
		r.print(out, results)
	}
	return nil
}

func (r row) print(out io.Writer, results [][]result) {
	where := "memory"
	if r.onDisk {
		where = "disk"
	}
	of := func(n int, value func(result) float64) float64 {
		values := make([]float64, len(results[n]))
		for i := range values {
			values[i] = value(results[n][i])
		}
		return median(values)
	}
	for n, l := range loaders {
		fmt.Fprintf(out, "| %d | %s | %s | %.0f | %.0f | %.0f µs |\n", r.batchSize, where, l.name,
			of(n, func(r result) float64 { return r.calls }), of(n, func(r result) float64 { return r.whole }),
			of(n, func(r result) float64 { return r.cpu }))
	}
	ratio := func(value func(result) float64) float64 {
		values := make([]float64, len(results[0]))
		for i := range values {
			values[i] = value(results[1][i]) / value(results[0][i])
		}
		return median(values)
	}
	goal := func(format string, goal float64) string {
		if goal == 0 {
			return ""
		}
		return fmt.Sprintf(" (goal "+format+")", goal)
	}
	fmt.Fprintf(out, "| %d | %s | **durable ÷ bare** | **%.2f**%s | **%.2f**%s |%s |\n", r.batchSize, where,
		ratio(func(r result) float64 { return r.calls }), goal("≥ %.2f", r.calls),
		ratio(func(r result) float64 { return r.whole }), goal("≥ %.2f", r.whole), goal("≤ %.0f µs", r.cpu))
}

// median sorts the values.
func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// build builds programs of this project into a folder.
func build(dir string, programs ...string) error {
	for _, program := range programs {
		command := exec.Command("go", "build", "-o", binary(dir, filepath.Base(program)), "durable-dataload/"+program)
		command.Stderr = os.Stderr
		if err := command.Run(); err != nil {
			return fmt.Errorf("cannot build %s: %w; run this in the project's folder", program, err)
		}
	}
	return nil
}

func binary(dir, program string) string { return filepath.Join(dir, program+".bin") }

// sandboxAddress is what the sandbox's first line says.
func sandboxAddress(line string) string {
	_, line, _ = strings.Cut(line, "listens on ")
	address, _, _ := strings.Cut(line, ",")
	return address
}

// result is one run of a loader.
type result struct {
	calls, whole float64 // records a second: from the first call to the last one, and of the whole command
	cpu          float64 // microseconds a record, of the loader alone
}

func (b *bench) invent() error {
	f, err := os.OpenFile(b.data, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := fakeusers.Write(f, fakeusers.Options{Seed: 1, Records: b.o.records}); err != nil {
		return err
	}
	return f.Close()
}

const (
	clientID = "bench"
	secret   = "bench-secret"
)

// time runs a loader against a fresh sandbox, which is in memory in all rows.
func (b *bench) time(l loader, in row) (r result, err error) {
	state, err := os.MkdirTemp(b.o.dir, "sandbox-")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(state) }()
	parent := b.o.dir
	if in.onDisk {
		parent = b.o.disk
	}
	dir, err := os.MkdirTemp(parent, l.name+"-")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	target := exec.CommandContext(ctx, b.sandbox, "--address", "127.0.0.1:0", "--state-dir", state,
		"--client-id", clientID, "--client-secret", secret, "--latency", b.o.latency.String())
	target.Cancel = func() error { return target.Process.Signal(syscall.SIGTERM) }
	said, err := target.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := target.Start(); err != nil {
		return r, err
	}
	defer func() {
		cancel()
		_ = target.Wait()
	}()
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return r, fmt.Errorf("the sandbox did not start: %w", err)
	}
	command := l.command(b, dir, sandboxAddress(line), in.batchSize)
	command.Env = append(os.Environ(), "CAPTURE_CLIENT_ID="+clientID, "CAPTURE_CLIENT_SECRET="+secret)
	start := time.Now()
	output, err := command.CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, output)
	}
	records := float64(b.o.records)
	r.whole = records / time.Since(start).Seconds()
	r.cpu = float64((command.ProcessState.UserTime() + command.ProcessState.SystemTime()).Microseconds()) / records
	arrivals, err := check.Arrivals(filepath.Join(state, sandbox.TruthFile), bulkCreate, 0)
	r.calls = arrivals.Average() * float64(in.batchSize)
	return r, err
}
