package rollback

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/undo"

	_ "gocloud.dev/blob/memblob"
)

// migrated returns the folder of a migration of two batches of four records.
func migrated(t *testing.T, header string) (migration.Folder, *ledger.Ledger) {
	t.Helper()
	dir := t.TempDir()
	folder := migration.In(dir, "key")
	input := filepath.Join(dir, "users.csv")
	text := header + "\n"
	for _, r := range []string{"a", "b", "\"c\nd\"", "e", "f", "g", "h", "i"} {
		text += r + ",Name\n"
	}
	must(t, os.WriteFile(input, []byte(text), 0o600))
	must(t, folder.Make())
	if _, err := source.Inspect(t.Context(), input, source.InspectOptions{BatchSize: 4, IndexPath: folder.Index(), CopyTo: folder.Staged()}); err != nil {
		t.Fatal(err)
	}
	must(t, folder.SaveSpec(migration.Spec{PrimaryKey: "key"}))
	return folder, ledger.New(ledger.NewFolder(folder.Ledger()))
}

func collect(t *testing.T, each func(func(Item) error) error) (items []Item) {
	t.Helper()
	must(t, each(func(i Item) error { items = append(items, i); return nil }))
	return items
}

func TestEveryRecordThatAMigrationTouchedIsAnItem(t *testing.T) {
	for _, header := range []string{"email,givenName", "key,givenName"} {
		folder, l := migrated(t, header)
		o := ledger.NewOutcomes(4)
		o.Created(0, "uuid-a")
		o.Duplicate(1, "there")
		o.Unknown(2, "timeout")
		o.Failed(3, "refused")
		decide(t, l, 0, 1, o)
		if _, err := folder.CreateRetryFile(migration.RetryFile{Round: 1}); err != nil {
			t.Fatal(err)
		}
		o = ledger.NewOutcomes(4)
		o.Recovered(2, "uuid-c")
		decide(t, l, 1, 1, o)
		o = ledger.NewOutcomes(4)
		o.Recovered(0, "")
		o.Unknown(1, "timeout")
		o.Duplicate(2, "there")
		o.Duplicate(3, "there")
		decide(t, l, 0, 2, o)
		for batch, there := range map[int][]int{1: {1}, 2: {2, 3}} {
			o = ledger.NewOutcomes(4)
			for _, i := range there {
				o.Duplicate(i, "there")
			}
			if _, _, err := l.Decide(t.Context(), ledger.ByLookup, ledger.Key{Batch: batch}, o.Outcomes(false, "")); err != nil {
				t.Fatal(err)
			}
		}
		// The update of h failed halfway, and that of i was never started.
		must(t, undo.Write(folder.Undo(), 2, 1, []undo.Entry{{Change: undo.Change{Line: 9, UUID: "uuid-h", Paths: []string{"x"}}}}, nil))
		want := []Item{
			{Batch: 1, Line: 2, UUID: "uuid-a", Email: "a", Kind: Delete},
			{Batch: 1, Line: 4, UUID: "uuid-c", Email: "c\nd", Kind: Delete},
			{Batch: 2, Line: 7, Email: "f", Kind: Impossible, Reason: noUUID},
			{Batch: 2, Line: 8, Email: "g", Kind: Impossible, Reason: unknown},
			{Batch: 2, Line: 9, UUID: "uuid-h", Email: "h", Kind: Restore},
		}
		got := collect(t, OfMigration(t.Context(), folder))
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v\nwant %+v", header, got, want)
		}
	}
}

func decide(t *testing.T, l *ledger.Ledger, round, batch int, o *ledger.Builder) {
	t.Helper()
	if _, _, err := l.Decide(t.Context(), ledger.ByCall, ledger.Key{Round: round, Batch: batch}, o.Outcomes(true, "")); err != nil {
		t.Fatal(err)
	}
}

func TestOnlyAClaimedBatchWithoutAnOutcomeIsUnknown(t *testing.T) {
	folder, l := migrated(t, "email,givenName")
	must(t, l.Claim(t.Context(), ledger.Key{Batch: 2}, ledger.Claim{}))
	got := collect(t, OfMigration(t.Context(), folder))
	if len(got) != 4 || slices.ContainsFunc(got, func(i Item) bool { return i.Batch != 2 || i.Reason != unknown }) {
		t.Errorf("%+v, want the four of batch 2, unknown", got)
	}
}

func TestTheListIsReadAsItWasWritten(t *testing.T) {
	folder := migration.RollbackIn(t.TempDir(), "key")
	var want []Item
	for line := int64(1); line <= 45; line++ {
		i := Item{Batch: 3, Line: line, UUID: "u", Email: "a,\"b\"\r\nc" + strings.Repeat("x", int(line)), Kind: []Kind{Delete, Restore, Impossible}[line%3]}
		if i.Kind == Impossible {
			i.Reason = noUUID
		}
		want = append(want, i)
	}
	// It is no tar archive, whatever stands at the place of its magic.
	want[0].Email = strings.Repeat("x", 257-len("batch,line,uuid,email,kind,reason\n3,1,u,")) + "ustar\x0000"
	// An existing list is replaced.
	for _, items := range [][]Item{want[:1], want} {
		totals, err := Write(t.Context(), folder, func(yield func(Item) error) error {
			for _, i := range items {
				if err := yield(i); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil || totals.Items() != len(items) {
			t.Fatalf("%+v, %v", totals, err)
		}
	}
	if info, err := os.Stat(folder.Items()); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v; want the list with mode 0600", info, err)
	}
	in, err := openInput(folder.Index(), folder.Items())
	must(t, err)
	defer in.close()
	var got []Item
	for batch := 1; batch <= in.index.Batches(); batch++ {
		items, err := Read(in.data, in.index, batch)
		if err != nil || len(items) > batchSize {
			t.Fatalf("batch %d: %d items, %v", batch, len(items), err)
		}
		got = append(got, items...)
	}
	if !reflect.DeepEqual(got, want) {
		g, _ := json.Marshal(got)
		t.Errorf("the list has changed on the way: %.500s", g)
	}
}

func TestASuccessFileIsRead(t *testing.T) {
	a := Item{Batch: 1, Line: 2, UUID: "u-1", Email: "a@example.com", Kind: Delete}
	b := Item{Batch: 2, Line: 30, UUID: "u-2", Email: "b@example.com", Kind: Delete}
	for name, c := range map[string]struct {
		text string
		want []Item
		err  string
	}{
		"ours":                 {"batch,line,uuid,email,round,how\n1,2,u-1,a@example.com,0,created\n2,30,u-2,b@example.com,1,recovered\n", []Item{a, b}, ""},
		"that of dataload.py":  {"batch,line,uuid,email\r\n2,30,u-2,b@example.com\r\n1,2,u-1,a@example.com\r\n", []Item{a, b}, ""},
		"without records":      {"batch,line,uuid,email\n", nil, ""},
		"without a uuid":       {"batch,line,uuid,email,round,how\n1,2,,a@example.com,0,recovered\n", []Item{{Batch: 1, Line: 2, Email: "a@example.com", Kind: Impossible, Reason: noUUID}}, ""},
		"a fail file":          {"batch,line,email,error\n", nil, "no column uuid"},
		"an update file":       {"batch,line,uuid,email,how\n1,2,u,a@example.com,updated\n", nil, "line 2: the column how"},
		"a line twice":         {"batch,line,uuid,email\n1,2,u,a@example.com\n1,2,v,a@example.com\n", nil, "two outcomes for line 2"},
		"no number":            {"batch,line,uuid,email\n1,x,u,a@example.com\n", nil, "line 2: the column line"},
		"too few fields":       {"batch,line,uuid,email\n1,2,u\n", nil, "line 2: the record has 3 fields"},
		"empty":                {"", nil, "the file is empty"},
		"an unclosed quote":    {"batch,line,uuid,email\n1,2,\"u,a@example.com\n", nil, "line 2"},
		"text that is not UTF": {"batch,line,uuid,email\n1,2,u,\xff\n", nil, "line 2"},
	} {
		path := filepath.Join(t.TempDir(), "success.csv")
		must(t, os.WriteFile(path, []byte(c.text), 0o600))
		var got []Item
		err := OfSuccessFile(t.Context(), path)(func(i Item) error { got = append(got, i); return nil })
		if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "success.csv")) {
			t.Errorf("%s: %v, want %q", name, err, c.err)
		}
		if err != nil && strings.Contains(err.Error(), "example.com") {
			t.Errorf("%s: the error quotes a record: %v", name, err)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestASuccessFileOfABucketIsNamed(t *testing.T) {
	path := "mem://rollback/out/success.csv?nomd5=true"
	must(t, store.Write(path, []byte("batch,line,email,error\n")))
	err := OfSuccessFile(t.Context(), path)(func(Item) error { return nil })
	if err == nil || !strings.HasPrefix(err.Error(), "success.csv has no column uuid") {
		t.Errorf("%v; want the name of the file, and what is not in it", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
