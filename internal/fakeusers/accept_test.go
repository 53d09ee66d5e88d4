package fakeusers_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"testing"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/target"
	"durable-dataload/internal/target/identitycloud"
)

// What is said to fail fails, and nothing else: on the way to the platform, or there.
func TestTheSandboxAcceptsWhatIsGood(t *testing.T) {
	text, err := os.ReadFile("testdata/sample_config.json")
	must(t, err)
	config, err := fakeusers.ParseConfig(text)
	must(t, err)
	for name, o := range map[string]fakeusers.Options{
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
func failing(t *testing.T, o fakeusers.Options) (failing []int64) {
	t.Helper()
	server, err := sandbox.Start(sandbox.Options{Address: "127.0.0.1:0", StateDir: t.TempDir(), ClientID: "id", ClientSecret: "secret"})
	must(t, err)
	defer server.Close()
	adapter, err := identitycloud.NewAdapter(identitycloud.Config{BaseURL: server.URL(), ClientID: "id", ClientSecret: "secret", EntityType: "user"}, target.Hooks{})
	must(t, err)
	defer adapter.Close()
	numbers, objects, failing := encoded(t, o)
	for len(numbers) > 0 {
		size := min(100, len(numbers))
		records := make([]target.Record, size)
		for i, object := range objects[:size] {
			records[i], err = adapter.Encode(object, "")
			must(t, err)
		}
		answer := adapter.Create(context.Background(), records)
		if len(answer.Results) != size {
			t.Fatalf("%s: %d results; want %d", answer.Words(), len(answer.Results), size)
		}
		for i, r := range answer.Results {
			if r.Err != nil {
				failing = append(failing, numbers[i])
			}
		}
		numbers, objects = numbers[size:], objects[size:]
	}
	slices.Sort(failing)
	return failing
}

// encoded reads the records of a file as a migration does, and gives those that can be sent, as JSON.
func encoded(t *testing.T, o fakeusers.Options) (numbers []int64, objects [][]byte, failing []int64) {
	t.Helper()
	var file bytes.Buffer
	must(t, fakeusers.Write(&file, o))
	names, records, values := fakeusers.ReadWithHeader(t, file.Bytes())
	transformer, err := mapping.BuiltIn().Compile(names)
	must(t, err)
	for i := range records {
		number := int64(i + 1)
		if values[i] == nil {
			failing = append(failing, number)
			continue
		}
		object, err := transformer.AppendJSON(nil, values[i])
		if err != nil {
			failing = append(failing, number)
			continue
		}
		numbers, objects = append(numbers, number), append(objects, object)
	}
	if int64(len(records)) != o.Records {
		t.Fatalf("the file has %d records; want %d", len(records), o.Records)
	}
	return numbers, objects, failing
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
