package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"

	"github.com/spf13/pflag"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/source"
	"durable-dataload/internal/target"
	"durable-dataload/internal/target/identitycloud"
)

// bareCommand is the least that a loader does: read, transform, encode, call.
// It keeps no account, and a lost answer is the end of it.
func bareCommand(args []string, out io.Writer) error {
	var data, uri string
	var batchSize, workers int
	f := pflag.NewFlagSet("bench bare", pflag.ContinueOnError)
	f.StringVar(&data, "data", "", "CSV file")
	f.StringVar(&uri, "apid_uri", "", "address of the target")
	f.IntVar(&batchSize, "batch-size", 100, "records in one call")
	f.IntVar(&workers, "workers", 10, "calls in flight")
	if err := f.Parse(args); err != nil {
		return err
	}
	client, err := identitycloud.NewAdapter(identitycloud.Config{
		BaseURL: uri, ClientID: os.Getenv("CAPTURE_CLIENT_ID"), ClientSecret: os.Getenv("CAPTURE_CLIENT_SECRET"), MaxConnections: workers,
	}, target.Hooks{})
	if err != nil {
		return err
	}
	created, err := bare(context.Background(), client, data, batchSize, workers)
	fmt.Fprintf(out, "%d created\n", created)
	return err
}

func bare(ctx context.Context, client target.Adapter, data string, batchSize, workers int) (int64, error) {
	indexFile, err := os.CreateTemp("", "bench-index-")
	if err != nil {
		return 0, err
	}
	_ = indexFile.Close()
	defer func() { _ = os.Remove(indexFile.Name()) }()
	if _, err := source.Inspect(ctx, data, source.InspectOptions{BatchSize: batchSize, IndexPath: indexFile.Name()}); err != nil {
		return 0, err
	}
	index, err := source.OpenIndex(indexFile.Name())
	if err != nil {
		return 0, err
	}
	defer func() { _ = index.Close() }()
	file, err := os.Open(data)
	if err != nil {
		return 0, err
	}
	defer func() { _ = file.Close() }()
	transformer, err := mapping.BuiltIn().Compile(index.Header().Names)
	if err != nil {
		return 0, err
	}
	var created, next atomic.Int64
	var failures []error
	var mu sync.Mutex
	var all sync.WaitGroup
	for range workers {
		all.Go(func() {
			for n := next.Add(1); n <= int64(index.Batches()); n = next.Add(1) {
				done, err := bareBatch(ctx, client, index, file, transformer, int(n))
				created.Add(int64(done))
				if err != nil {
					mu.Lock()
					failures = append(failures, err)
					mu.Unlock()
					return
				}
			}
		})
	}
	all.Wait()
	return created.Load(), errors.Join(failures...)
}

func bareBatch(ctx context.Context, client target.Adapter, index *source.Index, file *os.File, transformer *mapping.Records, n int) (int, error) {
	b, err := index.Batch(n)
	if err != nil {
		return 0, err
	}
	data, err := source.ReadBatch(file, b)
	if err != nil {
		return 0, err
	}
	var records []target.Record
	for r := range source.Records(b, data) {
		fields, err := index.Header().Fields(r.Raw)
		if err != nil {
			return 0, err
		}
		record, err := transformer.AppendJSON(make([]byte, 0, 2*len(r.Raw)), fields)
		if err != nil {
			return 0, err
		}
		encoded, err := client.Encode(record, "")
		if err != nil {
			return 0, err
		}
		records = append(records, encoded)
	}
	answer := client.Create(ctx, records)
	if answer.Err != nil {
		return 0, fmt.Errorf("batch %d: %s", n, answer.Reason())
	}
	return len(answer.Results), nil
}
