package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
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

	"durable-dataload/internal/engine"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/proof/s3server"
	"durable-dataload/internal/sandbox"
)

const (
	inFolder, inBucket = "folder", "bucket"

	bucketLatency = 45 * time.Millisecond // added to each request to the bucket
	callLatency   = 30 * time.Millisecond // of the target
	paceBatch     = 10                    // records in one call
	paceSettle    = 5 * time.Second       // from the first call of all workers to the window
	paceQuiet     = 5 * time.Second       // in which calls after the answer to a pause would arrive
	paceSetup     = 2 * time.Minute       // until the first call; and the input lasts so much longer than the window
)

// paceCommand measures how the calls to a target are paced. In each cell of its table the real programs migrate a
// file under a rate limit: one worker is the starter alone, with its embedded engine; several are worker processes,
// with the engine in a process of its own. In a window in which everything runs the calls that arrive at the target
// and the requests to the bucket are counted, then an operator pauses the migration.
//
//	go run ./internal/proof/bench pace
//
// Its columns: the share of the limit that was used in the window; the most calls that arrived in any second,
// wherever it begins, of the whole run; requests to the bucket for each call; seconds from the start of the command
// pause until the last call arrived and until the command ended; calls that arrived after that. With --starter and
// --worker it measures the programs of another commit.
func paceCommand(args []string, out io.Writer) error {
	p := paceBench{storage: []string{inFolder, inBucket}}
	var dir string
	f := pflag.NewFlagSet("bench pace", pflag.ContinueOnError)
	f.StringVar(&p.starter, "starter", "", "program to measure; default: built from this source")
	f.StringVar(&p.worker, "worker", "", "the same, of several workers")
	f.StringSliceVar(&p.storage, "storage", p.storage, "where the migration keeps its files")
	f.IntSliceVar(&p.rates, "rates", []int{4, 20, 100}, "rate limits, calls a second")
	f.IntSliceVar(&p.workers, "workers", []int{1, 3}, "processes that make the calls")
	f.DurationVar(&p.window, "window", 20*time.Second, "time in which calls and requests are counted")
	f.StringVar(&dir, "dir", program.Memory(), "folder to work in; default: one in memory where there is one")
	if err := f.Parse(args); err != nil {
		return err
	}
	for _, s := range p.storage {
		if s != inFolder && s != inBucket {
			return fmt.Errorf("expected --storage %s or %s, found %q", inFolder, inBucket, s)
		}
	}
	if slices.Min(append(append([]int{1}, p.rates...), p.workers...)) < 1 || p.window <= 0 {
		return errors.New("rates, workers and window must be more than 0")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if p.dir, err = os.MkdirTemp(dir, "durable-dataload-pace-"); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(p.dir) }()
	return p.run(ctx, out)
}

type paceBench struct {
	storage         []string
	rates, workers  []int
	window          time.Duration
	dir             string
	starter, worker string
	engine          string
	s3              string // the program of the S3 server
}

func (p *paceBench) run(ctx context.Context, out io.Writer) (err error) {
	for source, path := range map[string]*string{"starter": &p.starter, "worker": &p.worker, "internal/proof/chaos/engine": &p.engine} {
		if *path != "" {
			continue
		}
		if err := build(p.dir, source); err != nil {
			return err
		}
		*path = binary(p.dir, filepath.Base(source))
	}
	if slices.Contains(p.storage, inBucket) {
		if p.s3, err = s3server.Install(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "%d records a call, each call takes %s, each request to the bucket %s\n\n", paceBatch, callLatency, bucketLatency)
	fmt.Fprintln(out, "| files in | limit, calls/s | workers | used | most in a second | bucket requests a batch | pause: last call, s | answer, s | calls after the answer |")
	fmt.Fprintln(out, "|---|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, storage := range p.storage {
		for _, rate := range p.rates {
			for _, workers := range p.workers {
				r, err := p.measure(ctx, storage, rate, workers)
				if err != nil {
					return fmt.Errorf("%s, %d calls/s, workers %d: %w", storage, rate, workers, err)
				}
				requests := "–"
				if storage == inBucket {
					requests = fmt.Sprintf("%.1f", r.requests)
				}
				fmt.Fprintf(out, "| %s | %d | %d | %.1f %% | %d | %s | %.2f | %.2f | %d |\n", storage, rate, workers,
					100*r.perSecond/float64(rate), r.most, requests, r.lastCall.Seconds(), r.answer.Seconds(), r.late)
			}
		}
	}
	return nil
}

// paced is what one cell came to.
type paced struct {
	perSecond, requests float64 // in the window: calls a second, requests to the bucket a call
	most                int     // calls in any second
	lastCall, answer    time.Duration
	late                int
}

func (p *paceBench) measure(ctx context.Context, storage string, rate, workers int) (r paced, err error) {
	dir, err := os.MkdirTemp(p.dir, "cell-")
	if err != nil {
		return r, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	ctx, cancel := context.WithTimeoutCause(ctx, paceSetup+p.window+time.Minute, errors.New("it took too long"))
	defer cancel()
	c := &paceCell{paceBench: p, dir: dir, truth: filepath.Join(dir, "sandbox", sandbox.TruthFile)}
	c.ctx, c.fail = context.WithCancelCause(ctx)
	defer c.running.Wait()
	defer c.fail(nil)

	target, err := sandbox.Start(sandbox.Options{
		Address: "127.0.0.1:0", StateDir: filepath.Dir(c.truth), ClientID: clientID, ClientSecret: secret, Latency: callLatency,
	})
	if err != nil {
		return r, err
	}
	defer func() { _ = target.Close() }()
	c.env = []string{
		"HOME=" + dir, "TMPDIR=" + dir, "CAPTURE_CLIENT_ID=" + clientID, "CAPTURE_CLIENT_SECRET=" + secret, "CAPTURE_APID_URI=" + target.URL(),
	}
	c.there = []string{"--state-dir", filepath.Join(dir, "state")}
	if storage == inBucket {
		server, err := s3server.New(p.s3, filepath.Join(dir, "s3"), "")
		if err != nil {
			return r, err
		}
		defer server.Kill()
		if err := server.Start(c.ctx); err != nil { //nolint:contextcheck // c.ctx is that of the cell
			return r, err
		}
		front, err := c.distant(server)
		if err != nil {
			return r, err
		}
		defer func() { _ = front.Close() }()
	}
	if err := c.load(rate, workers); err != nil {
		return r, err
	}
	from := time.Now().Add(paceSettle)
	if err := c.sleep(paceSettle + p.window); err != nil {
		return r, err
	}
	asked := time.Now()
	if output, err := c.command(p.starter, append([]string{"pause", "--latest"}, c.there...)...).CombinedOutput(); err != nil {
		return r, fmt.Errorf("pause: %w\n%s", err, output)
	}
	answered := time.Now()
	if err := c.sleep(paceQuiet); err != nil {
		return r, err
	}
	if clock := time.Now(); (clock.Sub(from) - clock.Round(0).Sub(from.Round(0))).Abs() > 10*time.Millisecond {
		return r, errors.New("the clock of this machine was set meanwhile: measure again")
	}
	arrivals, err := check.Arrivals(c.truth, bulkCreate, 0)
	if err != nil {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return figuresOf(arrivals, c.requests, from, asked, answered), nil
}

// figuresOf takes the window from the last call before it to the first one after it, so that whole intervals are
// counted, whatever the rate is.
func figuresOf(arrivals, requests check.Moments, from, asked, answered time.Time) (r paced) {
	first := max(0, after(arrivals, from)-1)
	next := after(arrivals, asked)
	start, end := arrivals[first], asked
	if next < len(arrivals) {
		end = arrivals[next]
	}
	r.perSecond = float64(next-first) / end.Sub(start).Seconds()
	r.requests = float64(after(requests, end)-after(requests, start)) / float64(next-first)
	r.most, _ = arrivals.Most(time.Second)
	r.lastCall = max(0, arrivals[len(arrivals)-1].Sub(asked))
	r.answer = answered.Sub(asked)
	r.late = len(arrivals) - after(arrivals, answered)
	return r
}

// after is the index of the first moment after t.
func after(all check.Moments, t time.Time) int {
	i, _ := slices.BinarySearchFunc(all, t, func(m, t time.Time) int {
		if m.After(t) {
			return 1
		}
		return -1
	})
	return i
}

// bulkCreate is the endpoint whose calls are counted.
const bulkCreate = "entity.bulkCreate"

// paceCell is a migration with its processes, until its context ends. It ends if one of them does.
type paceCell struct {
	*paceBench
	ctx     context.Context // the life of the processes
	fail    context.CancelCauseFunc
	running sync.WaitGroup

	dir, truth string
	env, there []string // of all programs; the options that say where migration and service are

	mu       sync.Mutex
	requests check.Moments // to the bucket
}

// distant has the programs keep their files in a bucket that is some way off.
func (c *paceCell) distant(server *s3server.Server) (*http.Server, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = transport.MaxIdleConns
	proxy := server.Proxy()
	proxy.Transport = transport
	proxy.ErrorLog = log.New(io.Discard, "", 0) // of requests that were on their way when the programs were killed
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	front := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		c.requests = append(c.requests, time.Now())
		c.mu.Unlock()
		time.Sleep(bucketLatency)
		proxy.ServeHTTP(w, r)
	})}
	go func() { _ = front.Serve(listener) }()
	c.env = append(c.env, server.Environment()...)
	c.there = append(c.there, "--work-url", server.Through(listener.Addr().String(), "work"))
	return front, nil
}

// load starts a migration and returns when all of its workers are ready and calls are made.
func (c *paceCell) load(rate, workers int) error {
	input := filepath.Join(c.dir, "users.csv")
	records := int64((paceSetup + c.window).Seconds()) * int64(rate) * paceBatch
	if err := (&bench{o: options{records: records}, data: input}).invent(); err != nil {
		return err
	}
	if workers > 1 {
		if err := c.attach(workers); err != nil {
			return err
		}
	}
	args := append([]string{"--data", input, "--rate-limit", strconv.Itoa(rate), "--batch-size", strconv.Itoa(paceBatch)}, c.there...)
	if !slices.Contains(args, "--work-url") { // a bucket has the result files too
		args = append(args, "--output-dir", c.dir)
	}
	if err := c.start("starter", c.starter, args...); err != nil {
		return err
	}
	return c.until(func() bool {
		calls, _, err := check.Calls(c.truth, bulkCreate)
		return err == nil && calls > 0
	})
}

// attach starts the engine in a process of its own, with workers. (A starter that embeds it gives its batches to no
// other process.)
func (c *paceCell) attach(workers int) error {
	database := filepath.Join(c.dir, "engine")
	if err := c.start("engine", c.engine, database); err != nil {
		return err
	}
	address, err := engine.Running(c.ctx, database)
	if err != nil {
		return cmp.Or(context.Cause(c.ctx), err)
	}
	c.there = append(c.there, program.ServiceFlags(address.Frontend, engine.ClientFile(database))...)
	probes, err := program.FreeAddresses(workers)
	if err != nil {
		return err
	}
	for i, probe := range probes {
		if err := c.start(fmt.Sprintf("worker-%d", i+1), c.worker, append([]string{"--metrics-address", probe}, c.there...)...); err != nil {
			return err
		}
	}
	for _, probe := range probes {
		if err := c.until(func() bool { return program.Healthy(c.ctx, "http://"+probe+"/readyz") == nil }); err != nil {
			return err
		}
	}
	return nil
}

func (c *paceCell) command(path string, args ...string) *exec.Cmd {
	command := exec.CommandContext(c.ctx, path, args...)
	command.Dir, command.Env = c.dir, c.env
	program.EndWithThisProcess(command)
	return command
}

// start runs a program until the cell ends.
func (c *paceCell) start(name, path string, args ...string) error {
	said := filepath.Join(c.dir, name+".out")
	log, err := os.Create(said)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	command := c.command(path, args...)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return err
	}
	c.running.Go(func() {
		_ = command.Wait()
		output, _ := os.ReadFile(said)
		c.fail(fmt.Errorf("the %s ended during the measurement with %s:\n%s", name, command.ProcessState, output))
	})
	return nil
}

func (c *paceCell) sleep(d time.Duration) error {
	select {
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-time.After(d):
		return nil
	}
}

// until polls a condition.
func (c *paceCell) until(met func() bool) error {
	for !met() {
		if err := c.sleep(100 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
