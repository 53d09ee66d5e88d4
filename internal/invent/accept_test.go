package invent_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/invent"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/source"
)

// What is said to fail fails, and nothing else: on the way to the platform, or there.
func TestTheSandboxAcceptsWhatIsGood(t *testing.T) {
	text, err := os.ReadFile("testdata/sample_config.json")
	if err != nil {
		t.Fatal(err)
	}
	config, err := invent.ParseConfig(text)
	if err != nil {
		t.Fatal(err)
	}
	for name, o := range map[string]invent.Options{
		"ordinary":                      {Records: 60, Seed: 1, Created: true},
		"required":                      {Records: 60, Seed: 1, Created: true, OnlyRequired: true},
		"configured":                    {Records: 60, Seed: 1, Config: config},
		"configured, required":          {Records: 60, Seed: 1, Config: config, OnlyRequired: true},
		"awkward":                       {Records: 100, Seed: 2, Awkward: true, Created: true},
		"awkward, large":                {Records: 2000, Seed: 3, Awkward: true},
		"awkward, required":             {Records: 100, Seed: 2, Awkward: true, Created: true, OnlyRequired: true},
		"awkward, configured":           {Records: 100, Seed: 2, Awkward: true, Config: config},
		"awkward, configured, required": {Records: 100, Seed: 2, Awkward: true, Config: config, OnlyRequired: true},
	} {
		t.Run(name, func(t *testing.T) {
			want := o.Flaws().Failing()
			if got := failing(t, o); !slices.Equal(got, want) {
				t.Errorf("records %v fail; want %v", got, want)
			}
			if (len(want) > 0) != o.Awkward {
				t.Errorf("records %v are said to fail", want)
			}
		})
	}
}

// failing gives the records that fail on their way into a sandbox of their own, in order.
func failing(t *testing.T, o invent.Options) (failing []int64) {
	t.Helper()
	server, err := sandbox.Start(sandbox.Options{Address: "127.0.0.1:0", StateDir: t.TempDir(), ClientID: "id", ClientSecret: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	client, err := identitycloud.New(identitycloud.Config{BaseURL: server.URL(), ClientID: "id", ClientSecret: "secret", EntityType: "user"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	numbers, objects, failing := encoded(t, o)
	for len(numbers) > 0 {
		size := min(100, len(numbers))
		body, err := client.NewBody(objects[:size])
		if err != nil {
			t.Fatal(err)
		}
		answer := client.CreateBatch(context.Background(), body)
		if len(answer.Records) != size {
			t.Fatalf("%s: %d results; want %d", answer.Words(), len(answer.Records), size)
		}
		for i, r := range answer.Records {
			if r.Err != nil || r.UUID == "" {
				failing = append(failing, numbers[i])
			}
		}
		numbers, objects = numbers[size:], objects[size:]
	}
	slices.Sort(failing)
	return failing
}

// encoded reads the records of a file as a migration does, and gives those that can be sent, as JSON.
func encoded(t *testing.T, o invent.Options) (numbers []int64, objects [][]byte, failing []int64) {
	t.Helper()
	var file bytes.Buffer
	if err := invent.Write(&file, o); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path, index := filepath.Join(dir, "users.csv"), filepath.Join(dir, "index")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Inspect(context.Background(), path, source.InspectOptions{BatchSize: 1 << 20, IndexPath: index}); err != nil {
		t.Fatal(err)
	}
	x, err := source.OpenIndex(index)
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	batch, err := x.Batch(1)
	if err != nil {
		t.Fatal(err)
	}
	data, err := source.ReadBatch(bytes.NewReader(file.Bytes()), batch)
	if err != nil {
		t.Fatal(err)
	}
	transformer, err := mapping.BuiltIn().Compile(x.Header().Names)
	if err != nil {
		t.Fatal(err)
	}
	number := int64(0)
	for r := range source.Records(batch, data) {
		number++
		fields, err := x.Header().Fields(r.Raw)
		var object []byte
		if err == nil {
			object, err = transformer.AppendJSON(nil, fields)
		}
		if err != nil {
			failing = append(failing, number)
			continue
		}
		numbers, objects = append(numbers, number), append(objects, object)
	}
	if number != o.Records {
		t.Fatalf("the file has %d records; want %d", number, o.Records)
	}
	return numbers, objects, failing
}
