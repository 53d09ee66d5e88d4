package main

import (
	"context"
	"crypto/rand"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
	"durable-dataload/internal/terminal"
)

// dryRun writes down, without a call, what the migrations would send. It leaves
// nothing in the state folder: a migration after it is new. It gives the exit code.
func (c *migrator) dryRun(ctx context.Context) (int, error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := artifacts.CheckFolder(c.o.outputDir); err != nil {
		return 0, err
	}
	// Staged inputs and the index are in a folder of their own.
	dir, err := os.MkdirTemp("", "durable-dataload-")
	if err != nil {
		return 0, durablefs.TemporaryError(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	c.o.locations = locations{stateDir: dir}
	results := []dryResult{}
	code := migration.ExitDone
	for _, in := range c.inputs {
		if in.left {
			c.Screen.Say(fmt.Sprintf("%s is skipped: its name is that of a result file; give it alone to load it.", in.given))
			continue
		}
		r, err := c.dry(ctx, in, dir)
		if errors.Is(err, context.Canceled) {
			return 0, errors.New("stopped before the end; nothing was sent, and no file was written")
		}
		if err != nil {
			return 0, err
		}
		if r.Failed > 0 {
			code = migration.ExitFailed
		}
		results = append(results, r)
		if !c.o.json {
			printDry(c.Screen, r, c.o.outputDir)
		}
	}
	switch {
	case !c.o.json:
		return code, nil
	case c.several:
		return code, terminal.WriteJSON(c.Screen.Stdout, results)
	}
	return code, terminal.WriteJSON(c.Screen.Stdout, results[0])
}

// dryResult is the result of a dry run.
type dryResult struct {
	DataFile string `json:"data_file"`
	Total    int64  `json:"total"`
	Sent     int64  `json:"would_be_sent"`
	Failed   int64  `json:"failed"`
	Calls    int64  `json:"calls"`
	Bytes    int64  `json:"bytes"` // of all requests
	Records  string `json:"records_file"`
	Fail     string `json:"fail_file"`
}

// dryWriter writes the files of a dry run.
type dryWriter struct {
	dryResult
	encoder *mapping.Encoder
	format  target.Format
	records *store.Writer
	fail    *store.Writer
	rows    *csv.Writer
}

// dry does the dry run of one input. Batches are cut as a migration cuts them.
func (c *migrator) dry(ctx context.Context, in input, dir string) (result dryResult, err error) {
	file, err := plainFile(ctx, c.Process, c.o.locations, in)
	if err != nil {
		return result, err
	}
	d := &dryWriter{dryResult: dryResult{DataFile: file.inputName()}, format: c.o.spec(nil).Format()}
	delimiter, err := source.ParseDelimiter(c.o.delimiter)
	if err != nil {
		return result, err
	}
	path := filepath.Join(dir, "index")
	_, err = source.Inspect(ctx, file.path, source.InspectOptions{
		Delimiter: delimiter, Name: d.DataFile, BatchSize: c.o.batchSize, StartAt: c.o.startAt, CutAfter: c.o.canary,
		Header: func(h *source.Header) (err error) {
			d.encoder, err = c.o.spec(nil).Encoder(h, c.mapping)
			return err
		},
		MaxEncoded: d.format.Traits().MaxBytes, EncodedSize: func(_ *source.Header, r source.Record) int64 { return d.encoder.Size(r.Raw) }, Unbounded: !c.o.spec(nil).IsBounded(), IndexPath: path,
	})
	if errors.Is(err, syscall.ENOSPC) { // the index is the one file that it writes
		err = durablefs.TemporaryError(err)
	}
	if err != nil {
		return result, err
	}
	index, err := source.OpenIndex(path)
	if err != nil {
		return result, err
	}
	defer func() { _ = index.Close() }()
	owner := rand.Text()
	defer func() { _ = artifacts.Release(c.o.outputDir, owner) }()
	if err := d.begin(&c.o, owner); err != nil {
		return result, err
	}
	defer d.discard()
	if err := d.readBatches(ctx, index, file.path); err != nil {
		return result, err
	}
	return d.dryResult, d.commit(ctx)
}

// begin starts the files. owner reserves their names.
func (d *dryWriter) begin(o *options, owner string) error {
	if err := mapping.CheckHeader(d.encoder, o.primaryKey, nil, d.format.Traits()); err != nil {
		return fmt.Errorf("%s: %w", d.DataFile, err)
	}
	stamp, err := artifacts.ReserveStamp(o.outputDir, owner, "dry run", time.Now())
	if err != nil {
		return err
	}
	d.Records, d.Fail = artifacts.Name("dry_run", stamp, "jsonl"), artifacts.Name("dry_run_fail", stamp, "csv")
	if d.records, err = store.NewWriter(store.Join(o.outputDir, d.Records)); err != nil {
		return err
	}
	if d.fail, err = store.NewWriter(store.Join(o.outputDir, d.Fail)); err != nil {
		d.records.Discard()
		return err
	}
	d.rows = csv.NewWriter(d.fail)
	return d.rows.Write([]string{"batch", "line", "email", "error"})
}

func (d *dryWriter) readBatches(ctx context.Context, index *source.Index, path string) error {
	f, err := store.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	d.Total = index.Records()
	for n := 1; n <= index.Batches(); n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		b, err := index.Batch(n)
		if err != nil {
			return err
		}
		data, err := source.ReadBatch(f, b)
		if err != nil {
			return err
		}
		if err := d.batch(b, data); err != nil {
			return err
		}
	}
	return nil
}

func (d *dryWriter) batch(b source.Batch, data []byte) error {
	var size int64
	line := []byte(nil)
	for r := range source.Records(b, data) {
		line = append(line[:0], `{"batch":`...)
		line = strconv.AppendInt(line, int64(b.Number), 10)
		line = append(line, `,"line":`...)
		line = strconv.AppendInt(line, r.Line, 10)
		line = append(line, `,"record":`...)
		from := len(line)
		var err error
		if line, err = d.encoder.Append(line, r.Raw); err != nil {
			d.Failed++
			if err := d.rows.Write([]string{strconv.Itoa(b.Number), strconv.FormatInt(r.Line, 10), d.encoder.Label(r.Raw), err.Error()}); err != nil {
				return err
			}
			continue
		}
		d.Sent++
		measured, err := d.format.Measure(line[from:])
		if err != nil {
			return err // the encoder has measured it
		}
		size += measured
		if _, err := d.records.Write(append(line, "}\n"...)); err != nil {
			return err
		}
	}
	if size > 0 {
		d.Calls++
		d.Bytes += d.format.Traits().Overhead + size
	}
	return nil
}

func (d *dryWriter) commit(ctx context.Context) error {
	d.rows.Flush()
	if err := d.rows.Error(); err != nil {
		return err
	}
	if err := d.records.Commit(ctx); err != nil {
		return err
	}
	return d.fail.Commit(ctx)
}

func (d *dryWriter) discard() {
	d.records.Discard()
	d.fail.Discard()
}

// printDry prints the table of a dry run.
func printDry(s *terminal.Screen, d dryResult, dir string) {
	w := tabwriter.NewWriter(s.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "\nwould be sent\t%d\t\nfailed\t%d\t\ntotal\t%d\t\ncalls\t%d\t\nbytes\t%d\t\n\n", d.Sent, d.Failed, d.Total, d.Calls, d.Bytes)
	_ = w.Flush()
	for _, name := range []string{d.Records, d.Fail} {
		fmt.Fprintln(s.Stdout, safetext.Name(store.Join(dir, name)))
	}
	fmt.Fprintln(s.Stdout, "\nNothing was sent. The files hold user data: remove them after use.")
}
