package main_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// rollback gives the command that undoes a migration.
func (m *migration) rollback(flags ...string) *process {
	m.lab.t.Helper()
	args := append([]string{"rollback", "--migration", m.figures().ID, "--output-dir", m.lab.path("undone")}, m.locations()...)
	return m.lab.start("starter", m.env, append(args, flags...)...)
}

// content is what the sandbox has, by uuid, without what no rollback can put back.
func (s *sandboxTarget) content() map[string]map[string]any {
	s.lab.t.Helper()
	all := s.contentOf("")
	for uuid, record := range all {
		all[uuid] = bare(record).(map[string]any)
	}
	return all
}

// contentOf is what the sandbox has of an entity type, or of all where it is "", by uuid.
func (s *sandboxTarget) contentOf(entityType string) map[string]map[string]any {
	s.lab.t.Helper()
	all := map[string]map[string]any{}
	decoder := json.NewDecoder(strings.NewReader(readAll(s.truth())))
	for {
		var call struct {
			TypeName string `json:"type_name"`
			Written  []struct{ UUID string }
			Deleted  []struct{ UUID string }
			Entities []map[string]any
		}
		if err := decoder.Decode(&call); err == io.EOF {
			return all
		} else if err != nil {
			s.lab.t.Fatal(err)
		}
		if entityType != "" && call.TypeName != entityType {
			continue
		}
		for i, w := range call.Written {
			all[w.UUID] = call.Entities[i]
		}
		for _, d := range call.Deleted {
			delete(all, d.UUID)
		}
	}
}

// bare is a value without lastUpdated, without the ids of list elements, and
// without what is empty: null, a list or an object of nothing else.
func bare(value any) any {
	switch v := value.(type) {
	case map[string]any:
		kept := map[string]any{}
		for name, member := range v {
			if member = bare(member); member != nil && name != "lastUpdated" && name != "id" {
				kept[name] = member
			}
		}
		if len(kept) == 0 {
			return nil
		}
		return kept
	case []any:
		if len(v) == 0 {
			return nil
		}
		var kept []any
		for _, element := range v {
			kept = append(kept, bare(element))
		}
		return kept
	}
	return value
}

func sameContent(t *testing.T, got, want map[string]map[string]any) {
	t.Helper()
	wrong := 0
	for uuid := range want {
		g, _ := json.Marshal(got[uuid])
		w, _ := json.Marshal(want[uuid])
		if string(g) != string(w) {
			if wrong++; wrong < 5 {
				t.Errorf("the record %s is\n%s\nwant\n%s", uuid, g, w)
			}
		}
	}
	for uuid := range got {
		if want[uuid] == nil {
			if wrong++; wrong < 5 {
				t.Errorf("the record %s is there, and was not before", uuid)
			}
		}
	}
	if wrong > 0 {
		t.Errorf("%d records of %d are not as they were", wrong, len(want))
	}
}

// edit changes a record as another client would.
func (s *sandboxTarget) edit(uuid, attributes string) {
	s.lab.t.Helper()
	body := s.post("/entity.update", url.Values{"type_name": {"user"}, "uuid": {uuid}, "attributes": {attributes}})
	if !bytes.Contains(body, []byte(`"stat":"ok"`)) {
		s.lab.t.Fatalf("the record was not changed: %s", body)
	}
}

type rollbackFigures struct {
	Items      int
	Records    struct{ Deleted, Gone, Restored, Kept, Failed, Left int }
	Unverified int
	Reasons    map[string]int `json:"failed_by_reason"`
	Success    string         `json:"rollback_success"`
	Fail       string         `json:"rollback_fail"`
}

// TestAKilledRollbackResumes: a delta migration into a target with
// strangers, its rollback with faults, killed in the middle twice.
func TestAKilledRollbackResumes(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 300, Seed: 51})
	all := emails(t, input)
	s.seed(all[:100])
	s.seed([]string{"stranger-1@example.com", "stranger-2@example.com"})
	before := s.content()
	key, err := age.GenerateX25519Identity()
	must(t, err)
	identity := l.path("key.txt")
	must(t, os.WriteFile(identity, []byte(key.String()+"\n"), 0o600))
	s.runAgain("--faults", "reset-after=10", "--seed", "2")
	m := l.migration(s, input, 20, "-m", "--rate-limit", "0", "--timeout", "1", "--retry-backoff", "20ms", "--undo-recipient", key.Recipient().String())
	p := m.run(0)
	if f := m.figures(); f.Records["updated"] != 100 || f.Records["created"]+f.Records["recovered"] != 200 {
		t.Fatalf("the records came to %v: not what is to be rolled back", f.Records)
	}
	s.runAgain("--faults", "delete:all=0.7,update:all=0.7,replace:all=0.7", "--seed", "3", "--latency", "30ms")

	code := m.rollback("--yes").wait()
	if code != 1 || s.count("entity.delete") != 0 {
		t.Errorf("without the key of the previous values: exit code %d, %d deletes; want 1, none", code, s.count("entity.delete"))
	}
	flags := []string{"--yes", "--rate-limit", "0", "--timeout", "1", "--undo-identity", identity, "--json"}
	for range 2 {
		deletes, updates := s.count("entity.delete"), s.count("entity.update")
		p = m.rollback(flags...)
		until(t, "some are deleted", func() bool {
			return s.count("entity.delete")+s.count("entity.update") > deletes+updates+50 || p.hasEnded()
		})
		if p.hasEnded() {
			t.Fatalf("it ended before it was killed: this was no test\n%s", p.errors())
		}
		p.kill()
	}
	refused(t, m.start(), 1, "rollback")
	p = m.rollback(flags...).ends(0)
	sameContent(t, s.content(), before)
	f := decoded[rollbackFigures](t, p.output())
	if f.Items != 300 || f.Records.Deleted+f.Records.Gone != 200 || f.Records.Restored+f.Records.Kept != 100 || f.Unverified != 0 {
		t.Errorf("it came to %+v; want 200 deleted and 100 restored", f)
	}
	if got := rows(t, l.path("undone", f.Success)); len(got) != 300 || len(got[0]) != 4 {
		t.Errorf("%d rows in %s, want 300 of 4 columns", len(got), f.Success)
	}

	refused(t, m.rollback(flags...), 1, "rolled back already")
	refused(t, m.start(), 1, "migrated and rolled back")
	m.flags = append(m.flags, "--again")
	m.out = l.path("out-again")
	s.runAgain()
	m.run(0)
	if f := m.figures(); f.Records["created"] != 200 || f.Records["updated"] != 100 {
		t.Errorf("loaded again: %v; want 200 created and 100 updated", f.Records)
	}
}

func TestRollbackLeavesAloneWhatWasChangedSince(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	input := l.users(fakeusers.Options{Records: 30, Seed: 52})
	s.seed(emails(t, input)[:10])
	before := s.content()
	m := l.migration(s, input, 10, "-m", "--rate-limit", "0")
	m.run(0)
	after := s.content()
	var created, updated string
	for uuid := range after {
		if before[uuid] == nil {
			created = uuid
		} else {
			updated = uuid
		}
	}
	// Longer than the clocks may differ and the end of the migration is not known.
	time.Sleep(3 * time.Second)
	s.edit(created, `{"displayName":"has signed in"}`)
	s.edit(updated, `{"displayName":"has another name now"}`)
	changed := s.content()

	p := m.rollback("--dry-run", "--json", "--rate-limit", "0").ends(0)
	var counts struct {
		Deleted, Restored, Failed int
		Reasons                   map[string]int `json:"failed_by_reason"`
	}
	if err := json.Unmarshal([]byte(p.output()), &counts); err != nil || counts.Deleted != 19 || counts.Restored != 9 || counts.Failed != 2 || len(counts.Reasons) != 1 {
		t.Errorf("the dry run says %s (%v); want 19, 9 and 2 for one reason", p.output(), err)
	}
	refused(t, m.rollback("--rate-limit", "0"), 2, "--yes")
	sameContent(t, s.content(), changed)
	if left, _ := os.ReadDir(filepath.Join(m.state, "rollbacks")); len(left) != 0 {
		t.Errorf("a dry run and a refusal left %v", left)
	}

	p = m.rollback("--yes", "--json", "--rate-limit", "0").ends(3)
	f := decoded[rollbackFigures](t, p.output())
	if f.Records.Deleted != 19 || f.Records.Restored != 9 || f.Records.Failed != 2 || len(f.Reasons) != 1 {
		t.Errorf("it came to %+v; want 19, 9 and 2 for one reason", f)
	}
	for _, row := range rows(t, l.path("undone", f.Fail)) {
		if len(row) != 3 || !strings.Contains(row[2], "changed after the migration") {
			t.Errorf("the fail file has %q", row)
		}
	}
	want := map[string]map[string]any{created: changed[created], updated: changed[updated]}
	for uuid, entity := range before {
		if uuid != updated {
			want[uuid] = entity
		}
	}
	sameContent(t, s.content(), want)

	p = m.rollback("--yes", "--force", "--json", "--rate-limit", "0").ends(0)
	sameContent(t, s.content(), before)
	if f := decoded[rollbackFigures](t, p.output()); f.Records.Deleted != 20 || f.Records.Restored != 10 {
		t.Errorf("with force: %+v; want 20 and 10 in all", f)
	}
}

func TestAStoppedRollbackResumes(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "40ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 53}), 50, "--rate-limit", "0")
	p := m.run(0)
	flags := []string{"--yes", "--json", "--rate-limit", "0", "--workers", "2"}
	p = m.rollback(flags...)
	until(t, "some are deleted", func() bool { return s.count("entity.delete") > 20 || p.hasEnded() })
	p.signal(os.Interrupt)
	p.ends(5)
	f := decoded[rollbackFigures](t, p.output())
	there := len(s.content())
	if f.Records.Left == 0 || f.Records.Left != there || f.Records.Deleted != 200-there {
		t.Errorf("it came to %+v; the target has %d records still, want as many to be left", f, there)
	}
	for _, row := range rows(t, l.path("undone", f.Fail)) {
		if !strings.HasPrefix(row[2], "not attempted") {
			t.Errorf("the fail file has %q", row)
		}
	}
	p = m.rollback(flags...).ends(0)
	if f := decoded[rollbackFigures](t, p.output()); f.Records.Deleted != 200 || f.Records.Left != 0 || len(s.content()) != 0 {
		t.Errorf("it came to %+v, %d records are there; want all deleted", f, len(s.content()))
	}
	files, _ := filepath.Glob(l.path("undone", "*"))
	if len(files) != 2 {
		t.Errorf("the files are %q, want the two rewritten", files)
	}
}

// TestRollbackOfASuccessFile is with workers of a service, and without the state
// of the migration.
func TestRollbackOfASuccessFile(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	s.seed([]string{"stranger@example.com"})
	before := s.content()
	m := l.migration(s, l.users(fakeusers.Options{Records: 50, Seed: 54}), 10, "--rate-limit", "0")
	m.run(0)
	success := filepath.Join(m.out, m.figures().Files.Success)
	undo := func(env []string, flags ...string) *process {
		return l.start("starter", env, append([]string{"rollback", "--data", success, "--state-dir", l.path("another"), "--output-dir", l.path("undone"), "--rate-limit", "0", "--yes", "--json"}, flags...)...)
	}
	refused(t, undo(s.credentials(), "--apid_uri", s.uri(), "--type-name", "other"), 1, "of a migration into")

	m.remote()
	m.worker("--state-dir", l.path("another"))
	p := undo(nil, append(serviceFlags(t), "--apid_uri", s.uri(), "--task-queue", m.queue())...).ends(0)
	sameContent(t, s.content(), before)
	if f := decoded[rollbackFigures](t, p.output()); f.Records.Deleted != 50 {
		t.Errorf("it came to %+v, want 50 deleted", f)
	}

	// A file of dataload.py: no column how, no summary, batches as they ended.
	old := l.path("success_old.csv")
	text := "batch,line,uuid,email\n"
	list := rows(t, success)
	slices.Reverse(list)
	for _, row := range list {
		text += fmt.Sprintf("%s,%s,%s,%s\n", row[0], row[1], row[2], row[3])
	}
	must(t, os.WriteFile(old, []byte(text), 0o600))
	success = old
	refused(t, undo(s.credentials(), "--apid_uri", s.uri()), 1, "--force")
	p = undo(s.credentials(), "--apid_uri", s.uri(), "--force").ends(0)
	if f := decoded[rollbackFigures](t, p.output()); f.Records.Gone != 50 {
		t.Errorf("it came to %+v, want 50 gone already", f)
	}
	sameContent(t, s.content(), before)
}

func TestRollbackOfASuccessFileLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	s.seed([]string{"stranger@example.com", "neighbour@example.com"})
	seeded := time.Now().Unix()
	before := s.content()
	uuids := map[string]string{}
	for uuid, record := range before {
		uuids[record["email"].(string)] = uuid
	}
	until(t, "the second is over, which is the precision of a success file", func() bool { return time.Now().Unix() > seeded })
	m := l.migration(s, l.users(fakeusers.Options{Records: 20, Seed: 57}), 10, "--rate-limit", "0")
	m.run(0)

	// One row has the uuid of a record of another origin, another row its email as well.
	success := filepath.Join(m.out, m.figures().Files.Success)
	list := rows(t, success)
	kept := []string{list[3][2], list[12][2]}
	list[3][2] = uuids["stranger@example.com"]
	list[12][2], list[12][3] = uuids["neighbour@example.com"], "neighbour@example.com"
	text := "batch,line,uuid,email,round,how\n"
	for _, row := range list {
		text += strings.Join(row, ",") + "\n"
	}
	must(t, os.WriteFile(success, []byte(text), 0o600))
	want := s.content()
	for uuid := range want {
		if before[uuid] == nil && !slices.Contains(kept, uuid) {
			delete(want, uuid)
		}
	}
	for _, flags := range [][]string{nil, {"--force"}} {
		p := l.start("starter", s.credentials(), append([]string{"rollback", "--data", success, "--apid_uri", s.uri(), "--state-dir", l.path("another"),
			"--output-dir", l.path("undone"), "--rate-limit", "0", "--yes", "--json"}, flags...)...)
		p.ends(3)
		sameContent(t, s.content(), want)
		if f := decoded[rollbackFigures](t, p.output()); f.Records.Deleted != 18 || f.Records.Failed != 2 {
			t.Errorf("%q: it came to %+v; want 18 deleted, 2 failed", flags, f)
		}
	}
}

func TestRollbackRefusesUnclearOptions(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	for says, flags := range map[string][]string{
		"expected one migration: ":    {},
		"found both":                  {"--migration", "x", "--data", "y"},
		"there are no migrations":     {"--migration", "x"},
		"there is no such file":       {"--data", "success_1.csv", "--apid_uri", "https://example.com"},
		"--rate-limit":                {"--migration", "x", "--rate-limit", "-1"},
		"--undo-identity":             {"--migration", "x", "--undo-identity", "missing.txt"},
		"expected no --config-key":    {"--migration", "x", "--sandbox", "--config-key", "key"},
		"expected no --client-secret": {"--migration", "x", "--sandbox", "--client-secret", "secret"},
	} {
		p := l.start("starter", nil, append([]string{"rollback", "--state-dir", l.path("state")}, flags...)...)
		if code := p.wait(); code != 1 && code != 2 || !strings.Contains(p.errors(), strings.TrimSpace(says)) {
			t.Errorf("%q: exit code %d, %s; want %q", flags, code, p.errors(), says)
		}
	}
}

func TestRollbackRefusesAMigrationThatHasNotEnded(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t, "--latency", "50ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 55}), 5, "--rate-limit", "10")
	p := m.startUntil(4)
	p.signal(os.Interrupt)
	p.ends(5)
	id := m.figures().ID // the summary is that of the stop
	calls := s.calls()
	p = m.start()
	until(t, "more calls", func() bool { return s.calls() > calls+3 })
	p.kill()
	for range 2 {
		refused(t, l.start("starter", m.env, "rollback", "--migration", id, "--state-dir", m.state, "--output-dir", l.path("undone"), "--yes"), 1, "has not ended", "rerun its command")
		must(t, os.RemoveAll(filepath.Join(m.state, "engine"))) // nor does the service know of a run then
	}
	if s.count("entity.delete") > 0 {
		t.Error("records were deleted")
	}
	// It can be gone on with: nothing marks it.
	p = m.start()
	calls = s.calls()
	until(t, "more calls", func() bool { return s.calls() > calls+3 || p.hasEnded() })
	p.signal(os.Interrupt)
	p.ends(5)
	undo := m.rollback("--yes", "--json", "--rate-limit", "0")
	undo.ends(0, 3) // what was in flight at the kill is unknown
	f := decoded[rollbackFigures](t, undo.output())
	if f.Records.Deleted == 0 || f.Records.Deleted+f.Records.Failed != f.Items {
		t.Errorf("it came to %+v", f)
	}
	refused(t, m.start(), 1, "rolled back")
}

func TestARollbackThatCannotBeginLeavesTheMigrationAsItWas(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 20, Seed: 90}), 10, "--rate-limit", "0")
	m.run(0)
	p := m.rollback("--yes", "--output-dir", filepath.Join(m.input, "below-a-file")).ends(1)
	hasAll(t, p.errors(), "cannot write to the output folder")
	if got := m.status("--latest"); got.State != "done" {
		t.Errorf("the state is %s, want done", got.State)
	}
	if left, _ := filepath.Glob(filepath.Join(m.state, "rollbacks", "*")); len(left) > 0 {
		t.Errorf("%v is left: it has user data", left)
	}
	m.rollback("--yes", "--rate-limit", "0").ends(0)
}
