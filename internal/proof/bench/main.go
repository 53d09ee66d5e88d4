// Command bench measures the cost of durability: it loads the same synthetic
// file into the same sandbox alternately with a bare loader, which has only our
// client and our transformations, and with the durable migration, and reports
// the ratio of the medians.
//
//	go run ./internal/proof/bench --records 400000 --pairs 5
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
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "bench: "+err.Error())
		os.Exit(1)
	}
}

type options struct {
	records    int64
	pairs      int
	batchSizes []int
	workers    int
	latency    time.Duration
	dir        string
	keep       bool
	args       []string // further options of the starter
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
	f.IntVar(&o.pairs, "pairs", 5, "runs of each loader at each batch size")
	f.IntSliceVar(&o.batchSizes, "batch-sizes", []int{100, 1000}, "records in one call")
	f.IntVar(&o.workers, "workers", 10, "calls in flight at most")
	f.DurationVar(&o.latency, "latency", 0, "how long the sandbox takes for a call at least")
	f.StringVar(&o.dir, "dir", "", "folder to work in; default: a temporary one")
	f.BoolVar(&o.keep, "keep", false, "keep the folder")
	if err := f.Parse(args); err != nil {
		return err
	}
	o.args = f.Args()
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "durable-dataload-bench-")
		if err != nil {
			return err
		}
		o.dir = dir
	}
	if !o.keep {
		defer func() { _ = os.RemoveAll(o.dir) }()
	}
	return compare(o, out)
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
	fmt.Fprintf(out, "%d records, %d calls in flight, records a second\n\n| batch size | loader | median | lowest | highest | peak memory |\n|--:|---|--:|--:|--:|--:|\n", o.records, o.workers)
	for _, size := range o.batchSizes {
		results := map[string][]result{}
		for pair := range o.pairs {
			for i := range loaders {
				l := loaders[(i+pair)%len(loaders)] // in turn, the first one changes
				r, err := b.time(l, size)
				if err != nil {
					return fmt.Errorf("%s, batch size %d: %w", l.name, size, err)
				}
				results[l.name] = append(results[l.name], r)
			}
		}
		for _, l := range loaders {
			r := results[l.name]
			slices.SortFunc(r, func(a, b result) int { return int(a.rate - b.rate) })
			fmt.Fprintf(out, "| %d | %s | %.0f | %.0f | %.0f | %d MB |\n", size, l.name, median(r), r[0].rate, r[len(r)-1].rate, r[len(r)/2].memory>>20)
		}
		fmt.Fprintf(out, "| %d | **durable ÷ bare** | **%.2f** | | | |\n", size, median(results["durable"])/median(results["bare"]))
	}
	return nil
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

type result struct {
	rate   float64 // records a second
	memory int64   // peak, bytes
}

func median(sorted []result) float64 {
	n := len(sorted)
	if n%2 == 0 {
		return (sorted[n/2-1].rate + sorted[n/2].rate) / 2
	}
	return sorted[n/2].rate
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

// time runs a loader against a fresh sandbox.
func (b *bench) time(l loader, batchSize int) (r result, err error) {
	dir, err := os.MkdirTemp(b.o.dir, l.name+"-")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sandbox := exec.CommandContext(ctx, b.sandbox, "--address", "127.0.0.1:0", "--state-dir", filepath.Join(dir, "sandbox"),
		"--client-id", clientID, "--client-secret", secret, "--latency", b.o.latency.String())
	sandbox.Cancel = func() error { return sandbox.Process.Signal(syscall.SIGTERM) }
	said, err := sandbox.StdoutPipe()
	if err != nil {
		return r, err
	}
	if err := sandbox.Start(); err != nil {
		return r, err
	}
	defer func() {
		cancel()
		_ = sandbox.Wait()
	}()
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		return r, fmt.Errorf("the sandbox did not start: %w", err)
	}
	command := l.command(b, dir, sandboxAddress(line), batchSize)
	command.Env = append(os.Environ(), "CAPTURE_CLIENT_ID="+clientID, "CAPTURE_CLIENT_SECRET="+secret)
	start := time.Now()
	output, err := command.CombinedOutput()
	if err != nil {
		return r, fmt.Errorf("%w\n%s", err, output)
	}
	r.rate = float64(b.o.records) / time.Since(start).Seconds()
	if usage, ok := command.ProcessState.SysUsage().(*syscall.Rusage); ok {
		r.memory = usage.Maxrss * 1024
	}
	return r, nil
}
