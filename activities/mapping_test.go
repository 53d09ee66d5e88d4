package activities

import (
	"os"
	"slices"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// useMapping gives the rig's migration a mapping file; "" is the built-in one.
func (r *rig) useMapping(text string) {
	r.t.Helper()
	r.spec.Mapping, r.spec.MappingFile = "", ""
	if text == "" {
		return
	}
	r.spec.Mapping = migration.MappingDigest([]byte(text))
	r.spec.MappingFile = store.Join(store.Dir(r.spec.DataFile), "mapping.yaml")
	noError(r.t, store.Write(r.spec.MappingFile, []byte(text)))
}

func (r *rig) refusedInspection(words ...string) {
	r.t.Helper()
	_, err := run[Inspected](r, worker.Options{}, nil, r.acts.InspectSource, InspectInput{Spec: r.spec, Run: r.run, Now: now})
	expectType(r.t, err, Refused, false, words...)
}

// holds checks that the records of the target have these texts.
func (r *rig) holds(texts ...string) {
	r.t.Helper()
	log, err := store.Read(store.Join(r.state, sandbox.TruthFile))
	noError(r.t, err)
	for _, text := range texts {
		if !strings.Contains(string(log), text) {
			r.t.Errorf("the target has no %s in\n%s", text, log)
		}
	}
}

const legacy = "Mail,First,Born\nA1@Example.com,One,31.12.1999\na2@example.com,Two,yesterday\n"

const legacyMapping = `
others: fail
columns:
  Mail: {to: email, case: lower}
  First: givenName
  Born: {to: birthday, type: date, layouts: [DD.MM.YYYY]}
`

func TestAMappingIsFollowedFromTheFoldersCopy(t *testing.T) {
	r := newRig(t, legacy)
	r.useMapping(legacyMapping)
	r.inspect()
	noError(t, store.Remove(r.spec.MappingFile))
	r.nextRun("run-2")
	r.inspect()
	if got := r.load(0, 1).Counts; got != (ledger.Counts{Created: 1, Failed: 1, Calls: 1}) {
		t.Fatalf("%+v, want one created, one failed", got)
	}
	r.holds(`"email":"a1@example.com"`, `"givenName":"One"`, `"birthday":"1999-12-31"`)
	r.artifacts(false)
	files := r.outputs()
	if got := files["success_Nov_22_2026_13_05_00.csv"]; !strings.Contains(got, "A1@Example.com") {
		t.Errorf("the success file is\n%s\nwant the e-mail as the input has it", got)
	}
	if got := files["fail_Nov_22_2026_13_05_00.csv"]; !strings.Contains(got, "Born (type date): the value is not a date; expected DD.MM.YYYY, as 31.12.1999") {
		t.Errorf("the fail file is\n%s\nwant the column and the rule in it", got)
	}
	if info, err := os.Stat(store.Join(r.run.Folder.Path(), "mapping-"+r.spec.Mapping+".yaml")); !inBucket() && (err != nil || info.Mode().Perm() != 0o600) {
		t.Errorf("the copy of the mapping: %v, %v; want mode 0600", info, err)
	}
}

func TestDuplicatesAreLookedUpByWhatWasSent(t *testing.T) {
	r := newRig(t, "Login,Name\n a1 ,One\na2,Two\n")
	r.useMapping("columns:\n  Login: {to: email, expression: 'lower(trim(value)) + \"@example.com\"'}\n  Name: givenName\n")
	r.inspect()
	var keys []string
	r.lose = func(send int) bool { return send == 1 }
	r.load(0, 1)
	r.retryFile(1)
	r.load(1, 1)
	r.findOutcome = func(found []target.Entity, err error) ([]target.Entity, error) {
		for _, f := range found {
			keys = append(keys, f.Text("email"))
		}
		return found, err
	}
	if got := r.resolve(1, true); got != (Resolved{Recovered: 2}) {
		t.Errorf("%+v, want two recovered", got)
	}
	if slices.Sort(keys); !slices.Equal(keys, []string{"a1@example.com", "a2@example.com"}) {
		t.Errorf("found %q, want both addresses as they were sent", keys)
	}
}

func TestAMappingThatCannotBeFollowedIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		mapping string
		change  func(r *rig) error
		words   []string
	}{
		"a column that is not there":         {"columns: {Mial: email}\n", nil, []string{"mapping.yaml, line 1", `"Mial"`, `did you mean column 1?`}},
		"no mapping file":                    {"colums: {}\n", nil, []string{"mapping.yaml, line 1", `"colums"`}},
		"a file that was changed in between": {legacyMapping, func(r *rig) error { return store.Write(r.spec.MappingFile, []byte("others: text\n")) }, []string{"mapping.yaml was changed", "SHA-256"}},
		"a file missing before it began":     {legacyMapping, func(r *rig) error { return store.Remove(r.spec.MappingFile) }, []string{"mapping.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, legacy)
			r.useMapping(c.mapping)
			if c.change != nil {
				noError(t, c.change(r))
			}
			r.refusedInspection(c.words...)
			if _, err := store.Stat(r.run.Folder.Index()); err == nil {
				t.Error("there is an index, want none")
			}
			// Fixed, the same migration begins.
			r.useMapping(legacyMapping)
			r.nextRun("run-2")
			r.inspect()
		})
	}
}

func TestAnotherMappingIsRefusedOnceSomethingWasSent(t *testing.T) {
	r := newRig(t, legacy, batchSize(1))
	r.useMapping("columns: {Mail: email}\nothers: ignore\n")
	r.inspect()
	r.plan(0, 0, 10)
	late := r.acts // a worker of the first run, which has read the first mapping and will wake later
	lateRun := r.run
	r.useMapping(legacyMapping)
	r.nextRun("run-2")
	r.inspect() // nothing was sent yet

	if _, err := run[BatchesResult](r, worker.Options{}, nil, late.LoadBatches, BatchesInput{Run: lateRun, First: 2, Last: 2}); err != nil {
		t.Fatal(err)
	}
	if n := len(r.truth()); n != 0 {
		t.Errorf("the late worker made %d calls with the old mapping, want none", n)
	}
	if got := r.load(0, 1).Counts; got.Created != 1 {
		t.Fatalf("%+v, want one created", got)
	}
	r.holds(`"birthday":"1999-12-31"`) // as the second mapping makes it

	for name, text := range map[string]string{"the first again": "columns: {Mail: email}\nothers: ignore\n", "the built-in one": ""} {
		r.useMapping(text)
		r.nextRun("run of " + name)
		r.refusedInspection("started with the mapping mapping.yaml", "its copy is", ".yaml")
	}
	r.useMapping(legacyMapping)
	r.nextRun("run-4")
	r.inspect()
}

func TestBatchesAreCutByWhatTheMappingMakes(t *testing.T) {
	r := newRig(t, people(8), batchSize(8))
	// A mebibyte in each record, which the input does not show.
	r.useMapping("attributes:\n  aboutMe: {constant: " + strings.Repeat("x", 1000_000) + "}\n")
	if got := r.inspect(); got.Batches != 2 {
		t.Errorf("%d batches, want 2: eight records of a megabyte do not fit into one call", got.Batches)
	}
	if got := r.loadAll(0); got.Created != 8 || got.Calls != 2 {
		t.Errorf("%+v, want 8 created by 2 calls", got)
	}
}
