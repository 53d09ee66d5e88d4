package main_test

import (
	"compress/gzip"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	migrations "durable-dataload/internal/migration"
	"durable-dataload/internal/proof/program"
)

// exports is a command that exports from a sandbox, which can be given again and again.
type exports struct {
	*migration
}

func (l *lab) export(s *sandboxTarget) exports {
	return exports{&migration{lab: l, target: s, state: l.path("state"), env: s.credentials()}}
}

func (x exports) start(output string, flags ...string) *process {
	x.lab.t.Helper()
	args := append([]string{"export", "--output", output, "--apid_uri", x.target.uri(), "--rate-limit", "0"}, x.locations()...)
	return x.lab.start("starter", x.env, append(args, flags...)...)
}

// populate makes users, a1@example.com and so on.
func (s *sandboxTarget) populate(from, to int) {
	s.lab.t.Helper()
	for first := from; first <= to; first += 100 {
		var users []map[string]any
		for i := first; i < min(first+100, to+1); i++ {
			user := map[string]any{
				"email": fmt.Sprintf("a%d@example.com", i), "givenName": fmt.Sprintf("Secret-Name-%d", i), "created": "2015-12-15 07:36:25",
				"password": map[string]string{"type": "password-bcrypt", "value": hashOfHorse},
			}
			switch i % 3 {
			case 0:
				user["primaryAddress"], user["birthday"] = map[string]string{"city": "Köln, \"am\"\nRhein"}, "1999-12-31"
			case 1:
				user["clients"], user["optIn"] = []map[string]string{{"clientId": "c1"}, {"clientId": "c2"}}, map[string]bool{"status": true}
			}
			users = append(users, user)
		}
		content, err := json.Marshal(users)
		must(s.lab.t, err)
		body := string(s.post("/entity.bulkCreate", url.Values{"type_name": {"user"}, "all_attributes": {string(content)}}))
		if !strings.Contains(body, `"stat":"ok"`) || strings.Contains(body, `"stat":"error"`) {
			s.lab.t.Fatalf("the users were not made: %.300s", body)
		}
	}
	s.before = s.lastCall()
}

// uuidsByEmail are those of the users that the sandbox has.
func (s *sandboxTarget) uuidsByEmail() map[string]string {
	all := map[string]string{}
	for uuid, user := range s.content() {
		all[user["email"].(string)] = uuid
	}
	return all
}

// exportedUsers are the rows of an export by uuid, with its columns by name.
func exportedUsers(t *testing.T, path string) map[string]map[string]string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	var reader io.Reader = f
	if filepath.Ext(path) == ".gz" {
		reader, err = gzip.NewReader(f)
		must(t, err)
	}
	rows, err := csv.NewReader(reader).ReadAll()
	must(t, err)
	all := map[string]map[string]string{}
	for _, row := range rows[1:] {
		user := map[string]string{}
		for i, name := range rows[0] {
			user[name] = row[i]
		}
		if all[user["uuid"]] != nil {
			t.Errorf("%s is in the file twice", user["uuid"])
		}
		all[user["uuid"]] = user
	}
	return all
}

// TestAKilledExportHasEachUserOnce: users sign up, change and leave while the starter is killed again and again, and the index
// of the target lags.
func TestAKilledExportHasEachUserOnce(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.sandbox()
	s.populate(1, 300)
	uuids := s.uuidsByEmail()
	s.runAgain("--latency", "40ms", "--find-lag", "1s")
	until(t, "the index has the users", func() bool {
		last := s.post("/entity.count", url.Values{"type_name": {"user"}, "filter": {"email = 'a300@example.com'"}})
		return strings.Contains(string(last), `"total_count":1`)
	})
	x := l.export(s)
	output := l.path("out", "users.csv")
	flags := []string{"--page-size", "10", "--lag", "3s"}
	pages := func() int {
		found, err := filepath.Glob(filepath.Join(x.state, "exports", "*", "pages", "*", "*.json"))
		must(t, err)
		return len(found)
	}
	for kill, after := range []int{4, 12, 20, 33, 36} {
		p := x.start(output, flags...)
		until(t, fmt.Sprintf("%d pages", after), func() bool { return pages() >= after || p.hasEnded() })
		if p.hasEnded() {
			t.Fatalf("it ended before it was killed: %s", p.errors())
		}
		p.kill()
		if _, err := os.Stat(output); err == nil {
			t.Fatal("the file has its name before it is complete")
		}
		switch kill {
		case 0:
			s.edit(uuids["a2@example.com"], `{"givenName":"Secret-Changed-2"}`)
			s.remove(uuids["a3@example.com"])
			s.remove(uuids["a250@example.com"])
		case 1:
			s.populate(301, 305)
		case 3:
			s.edit(uuids["a7@example.com"], `{"givenName":"Secret-Changed-7"}`)
			s.remove(uuids["a8@example.com"])
		}
	}
	p := x.start(output, append(flags, "--json")...).ends(0)
	users, want := exportedUsers(t, output), s.uuidsByEmail()
	if len(users) != 302 || len(want) != 302 {
		t.Errorf("%d users are in the file, %d in the sandbox, want 302", len(users), len(want))
	}
	for email, uuid := range want {
		name := "Secret-Name-" + strings.TrimSuffix(strings.TrimPrefix(email, "a"), "@example.com")
		switch email {
		case "a2@example.com":
			name = "Secret-Changed-2"
		case "a7@example.com":
			name = "Secret-Changed-7"
		}
		if u := users[uuid]; u["email"] != email || u["givenName"] != name || !strings.HasPrefix(u["password"], `{"type":"password-bcrypt"`) {
			t.Errorf("the user %s is exported as %q, want the name %s", email, u, name)
		}
	}
	summary := decoded[struct{ Records, Listed, Unlisted int }](t, p.output())
	if summary.Records != 302 || summary.Unlisted != 0 || readAll(output+".json") != p.output() {
		t.Errorf("the summary is %s", p.output())
	}
	// 31 pages of all users twice; 31 of changes, since all are new; a page more for each kill.
	if n := s.count("entity.find"); n > 3*32+5+10 {
		t.Errorf("%d searches were made, want few more than 93 pages", n)
	}
	for _, path := range []string{output, output + ".json"} {
		info, err := os.Stat(path)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", path, info.Mode())
		}
	}
	ownerOnly(t, filepath.Join(x.state, "exports"))
	if left, err := os.ReadDir(filepath.Dir(output)); err != nil || len(left) != 2 {
		t.Errorf("in the folder are %v, %v; want the file and its summary", left, err)
	}

	e := x.traces("engine", "logs")
	e.mustHold(t, "ExportWorkflow", "ReadExportPages")
	secrets := map[string]string{}
	for email, uuid := range want {
		secrets[email], secrets[uuid] = "an email", "a uuid"
	}
	for _, name := range []string{"Secret-Name", "Secret-Changed", "qmnzZJOar2gYkq6tUszWWOJX48YPvKSdIX9G"} {
		secrets[name] = "a value"
	}
	e.mustNotHold(t, secrets)

	refusedAgain := x.start(output, flags...).ends(0)
	hasAll(t, refusedAgain.errors(), "was exported already")
	refused(t, x.start(output, "--filter", "email is null"), 1, "was begun as an export with another")
}

// TestAnExportIsShownAndSteered: by the commands that show and steer migrations.
func TestAnExportIsShownAndSteered(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.sandbox()
	s.populate(1, 200)
	x := l.export(s)
	output := l.path("users.csv")
	command := func(code int, words ...string) *process {
		t.Helper()
		return l.start("starter", nil, append(words, x.locations()...)...).ends(code)
	}
	type row struct {
		ID, Kind, File, State, Phase, Paused, Ending, Reason string
		Export                                               *struct{ Pages, Records, Expected int }
		Pace                                                 *struct{ Limit float64 }
		Events                                               []struct{ Who, Name, New string }
		ExitCode                                             *int `json:"exit_code"`
	}
	shown := func() row {
		t.Helper()
		return decoded[row](t, command(0, "status", "--latest", "--json").output())
	}
	exists := func() bool {
		return l.start("starter", nil, append([]string{"status", "--latest"}, x.locations()...)...).wait() == 0
	}
	slowly := []string{"--rate-limit", "3", "--page-size", "5", "--lag", "0"}
	p := x.start(output, slowly...)
	until(t, "it is there", func() bool { return exists() || p.hasEnded() })
	until(t, "pages are shown", func() bool {
		r := shown()
		return r.Export != nil && r.Export.Pages >= 10 || p.hasEnded()
	})
	r := shown()
	if r.Kind != "export" || r.File != "users.csv" || r.State != "running" || r.Phase != "reading records" || r.Export.Records != 5*r.Export.Pages || r.Export.Expected != 200 || r.Pace.Limit != 3 {
		t.Errorf("the status is %+v, %+v", r, r.Export)
	}
	hasAll(t, command(0, "status", r.ID).output(), "(user) → users.csv; started", "running: reading records ", "/200 on ", "; 3 allowed")
	hasAll(t, command(0, "list").output(), r.ID, "reading records", "200")

	refused(t, l.start("starter", nil, append([]string{"set", r.ID, "workers=4"}, x.locations()...)...), 1, `a running export has no setting "workers"; expected one of rate, rate-plan`)
	refused(t, l.start("starter", nil, append([]string{"approve", r.ID}, x.locations()...)...), 1, "is an export, which has no canary")
	refused(t, l.start("starter", x.env, append([]string{"verify", r.ID}, x.locations()...)...), 1, "is an export, which changes nothing in a target, so there is nothing to verify")
	refused(t, l.start("starter", x.env, append([]string{"verify", "--latest"}, x.locations()...)...), 1, "no migration was found")
	hasAll(t, command(0, "pause", "users.csv", "--reason", "noon").output(), "paused; calls in flight end")
	finds := s.count("entity.find")
	if r = shown(); !strings.Contains(r.Paused, ": noon") {
		t.Errorf("the status is %+v, want it paused", r)
	}
	hasAll(t, command(0, "list").output(), "paused")
	until(t, "the pause is shown", func() bool { return strings.Contains(p.errors(), "resume with: starter resume "+r.ID) || p.hasEnded() })
	hasAll(t, command(0, "set", r.ID, "rate=0").output(), "rate: 3 → 0")
	if n := s.count("entity.find"); n != finds {
		t.Errorf("%d calls began after the pause", n-finds)
	}
	p.kill()
	p = x.start(output, slowly...) // it is paused when it is resumed
	until(t, "it is found to be paused", func() bool { return strings.Contains(p.errors(), "resume with: starter resume ") || p.hasEnded() })
	hasAll(t, command(0, "set", r.ID, "rate=3").output(), "rate: 0 → 3")
	hasAll(t, command(0, "resume", r.ID).output(), "resumed")
	hasAll(t, command(0, "stop", r.ID).errors(), "Stopped before the file was complete. Rerun the command to resume.")
	p.ends(5)
	if r = shown(); r.State != "stopped" || *r.ExitCode != 5 || len(r.Events) != 5 || r.Events[0].Name != "paused" || r.Events[4].Name != "stop" {
		t.Errorf("the status is %+v", r)
	}
	refused(t, l.start("starter", nil, append([]string{"pause", r.ID}, x.locations()...)...), 1, "no process runs the engine", "rerun the command")

	x.start(output, "--page-size", "50", "--lag", "0").ends(0)
	if r = shown(); r.State != "done" || *r.ExitCode != 0 || r.Export.Records != 200 || len(exportedUsers(t, output)) != 200 {
		t.Errorf("the status is %+v", r)
	}
	hasAll(t, command(0, "status", r.ID).output(), "done, at ", "200 records exported. As of ")

	// Cancelled for good: nothing of what was read stays.
	p = x.start(l.path("other.csv"), slowly...)
	until(t, "pages are shown", func() bool {
		r = shown()
		return r.File == "other.csv" && r.Export != nil && r.Export.Pages > 1 || p.hasEnded()
	})
	hasAll(t, command(0, "cancel", "--latest").errors(), "Cancelled for good")
	p.ends(5)
	hasAll(t, p.errors(), "Cancelled for good", "Give another --output")
	if r = shown(); r.File != "other.csv" || r.State != "cancelled" {
		t.Errorf("the status is %+v", r)
	}
	if left, err := filepath.Glob(filepath.Join(x.state, "exports", "*", "pages")); err != nil || len(left) != 0 {
		t.Errorf("pages are left: %v, %v", left, err)
	}
	refused(t, x.start(l.path("other.csv"), slowly...), 1, "was cancelled for good; expected another --output")

	// One that could not run says why, and can be cancelled.
	x.start(l.path("wrong.csv"), "--filter", "nobody = 1", "--lag", "0").ends(1)
	if r = shown(); r.State != "failed" || !strings.Contains(r.Reason, "refuses the filter") || *r.ExitCode != 1 {
		t.Errorf("the status is %+v", r)
	}
	hasAll(t, command(0, "cancel", r.ID).errors(), "Cancelled for good")
	refused(t, l.start("starter", nil, append([]string{"cancel", r.ID}, x.locations()...)...), 1, "cancelled, for good")
	if r = shown(); r.State != "cancelled" || len(r.Events) != 1 {
		t.Errorf("the status is %+v", r)
	}
}

func TestExportsSinceAnotherAndTheirRoundTrip(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.sandbox("--entity-types", "user,copy")
	s.populate(1, 30)
	uuids := s.uuidsByEmail()
	x := l.export(s)
	p := x.start(l.path("users.csv.gz"), "--lag", "0").ends(0)
	hasAll(t, p.output(), "30 records exported.", l.path("users.csv.gz"))
	users := exportedUsers(t, l.path("users.csv.gz"))
	u := users[uuids["a3@example.com"]]
	if len(users) != 30 || u["primaryAddress.city"] != "Köln, \"am\"\nRhein" || u["clients"] != "" || u["birthday"] != "1999-12-31" {
		t.Errorf("%d users, one of them %q", len(users), u)
	}
	if u = users[uuids["a4@example.com"]]; u["clients"] != `[{"clientId":"c1"},{"clientId":"c2"}]` || u["optIn.status"] != "true" || u["id"] != "6" { // two ids are those of another user's clients
		t.Errorf("a user is exported as %q", u)
	}

	s.edit(uuids["a3@example.com"], `{"givenName":"changed"}`)
	s.remove(uuids["a5@example.com"])
	s.populate(31, 31)
	p = x.start(l.path("changes.csv"), "--since", "users.csv.gz", "--lag", "0").ends(0)
	hasAll(t, p.output(), "2 records changed since users.csv.gz; 1 deleted.", l.path("changes.csv.deleted"))
	if changed := exportedUsers(t, l.path("changes.csv")); len(changed) != 2 || changed[uuids["a3@example.com"]]["givenName"] != "changed" {
		t.Errorf("changed are %q", changed)
	}
	if got, want := readAll(l.path("changes.csv.deleted")), "uuid,email\n"+uuids["a5@example.com"]+",a5@example.com\n"; got != want {
		t.Errorf("deleted are %q, want %q", got, want)
	}

	// Into another entity type, and then what has changed.
	mapping := l.path("mapping.yaml")
	p = l.start("starter", s.credentials(), "mapping", "init", "--data", l.path("users.csv.gz"), "--apid_uri", s.uri(), "--type-name", "copy").ends(0)
	must(t, os.WriteFile(mapping, []byte(p.output()), 0o600))
	for _, file := range []string{"users.csv.gz", "changes.csv"} {
		l.start("starter", s.credentials(), "--data", l.path(file), "--mapping", mapping, "--type-name", "copy", "-m", "--rate-limit", "0",
			"--apid_uri", s.uri(), "--state-dir", x.state, "--output-dir", l.path("loaded")).ends(0)
	}
	x.start(l.path("copy.csv"), "--type-name", "copy", "--lag", "0").ends(0)
	copies := map[string]map[string]string{}
	for _, u := range exportedUsers(t, l.path("copy.csv")) {
		copies[u["email"]] = u
	}
	for uuid, want := range s.contentOf("user") {
		got := copies[want["email"].(string)]
		original := users[uuid]
		if original == nil || uuid == uuids["a3@example.com"] {
			original = exportedUsers(t, l.path("changes.csv"))[uuid]
		}
		for name, value := range original {
			if !slices.Contains([]string{"uuid", "id", "lastUpdated"}, name) && got[name] != value {
				t.Errorf("%s of %s is %q in the copy, want %q", name, want["email"], got[name], value)
			}
		}
	}
	if len(copies) != 31 {
		t.Errorf("the copy has %d users, want 31: one was deleted, and nobody deletes it there", len(copies))
	}

	// Into Kratos, as far as that goes without one.
	x.start(l.path("kratos.csv"), "--lag", "0", "--attributes", "email,givenName,familyName,emailVerified,password,created,lastUpdated").ends(0)
	p = l.start("starter", nil, "--data", l.path("kratos.csv"), "--target", "kratos", "--dry-run", "--state-dir", x.state, "--output-dir", l.path("dry"))
	p.ends(0)
	written, err := filepath.Glob(l.path("dry", "dry_run_*.jsonl"))
	if err != nil || len(written) != 1 || strings.Count(readAll(written[0]), `"traits":{"email":"a`) != 30 {
		t.Errorf("the dry run wrote %q, %v: %.300s", written, err, p.output())
	}
}

// TestUsersMoveOutOfTheIdentityCloudAndIntoKratos is docs/export.md: all users, and on the day of the cutover what has changed.
func TestUsersMoveOutOfTheIdentityCloudAndIntoKratos(t *testing.T) {
	t.Parallel()
	installed := wantsKratos(t)
	l, s := labWithSandbox(t)
	server := l.kratos(installed)
	s.populate(1, 40)
	uuids := s.uuidsByEmail()
	x := l.export(s)
	into := &elsewhere{lab: l, flags: []string{"--target", "kratos", "--target-url", server.Admin}}

	x.start(l.path("users.csv"), "--lag", "0", "--attributes", "email,givenName,familyName,emailVerified,password,created,lastUpdated").ends(0)
	loaded := into.load(migrations.ExitDone, l.path("users.csv"), "loaded")
	into.expect(loaded, migrations.Counts{Total: 40, Created: 40})
	into.starter(migrations.ExitDone, "verify", loaded.WorkflowID, "--all", "--rate-limit", "0", "--output-dir", l.path("verified"))
	s.edit(uuids["a2@example.com"], `{"givenName":"Changed"}`)
	s.remove(uuids["a3@example.com"])
	s.populate(41, 42)
	x.start(l.path("changes.csv"), "--lag", "0", "--since", l.path("users.csv")).ends(0)
	into.expect(into.load(migrations.ExitDone, l.path("changes.csv"), "changed", "-m"), migrations.Counts{Total: 3, Created: 2, Updated: 1})

	into.isInKratos(server, 42) // who was deleted is listed, and not deleted there
	for _, email := range []string{"a1@example.com", "a2@example.com", "a42@example.com"} {
		into.signsIn(server, email, "correct horse", true)
	}
	var found []struct {
		Traits struct{ Name struct{ First string } }
		Admin  struct{ UUID string } `json:"metadata_admin"`
	}
	sendJSON(t, http.MethodGet, server.Admin+"/admin/identities?credentials_identifier=a2@example.com", "", "", &found)
	if len(found) != 1 || found[0].Traits.Name.First != "Changed" || found[0].Admin.UUID != uuids["a2@example.com"] {
		t.Errorf("the changed user is %+v, want the new name and the old uuid", found)
	}
}

func TestExportSaysFirstWhatTheClientMayNotSee(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	s := l.sandbox()
	s.populate(1, 12)
	s.runAgain("--hide", "password", "--latency", "100ms")
	x := l.export(s)
	p := x.start(l.path("users.csv"), "--page-size", "2", "--lag", "0")
	until(t, "it says so", func() bool { return strings.Contains(p.errors(), "shows no password hash") || p.hasEnded() })
	p.signal(os.Interrupt)
	p.ends(5)
	hasAll(t, p.errors(), "The target shows no password hash in password to this API client", "Rerun the command to resume")
	x.start(l.path("users.csv"), "--page-size", "2", "--lag", "0").ends(0)
	if users := exportedUsers(t, l.path("users.csv")); len(users) != 12 || users[s.uuidsByEmail()["a1@example.com"]]["password"] != "" {
		t.Errorf("the users are %q", users)
	}
}

func TestExportRefusesUnclearOptions(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	s.populate(1, 1)
	must(t, os.WriteFile(l.path("there.csv"), nil, 0o600))
	x := l.export(s)
	for _, c := range []struct {
		code  int
		says  string
		flags []string
	}{
		{1, "there.csv exists already", []string{"--output", "there.csv"}},
		{2, "names a folder", []string{"--output", "folder/"}},
		{2, "names no file in the bucket", []string{"--output", "s3://bucket"}},
		{2, "its users cannot be exported", []string{"--output", "a.csv", "--target", "kratos", "--target-url", "http://127.0.0.1:1"}},
		{2, "control character", []string{"--output", "a.csv", "--filter", "a\nb"}},
		{2, "empty name", []string{"--output", "a.csv", "--attributes", "email,,uuid"}},
		{2, "--page-size is -1", []string{"--output", "a.csv", "--page-size", "-1"}},
		{2, "name one file", []string{"--output", "a.csv", "--since", "./a.csv"}},
		{1, "cannot write to the folder of --output", []string{"--output", "/proc/nowhere/a.csv"}},
		{1, "knows no finished export into this file", []string{"--output", "a.csv", "--since", "there.csv"}},
		{1, "did you mean givenName", []string{"--output", "b.csv", "--attributes", "givenNam"}},
		{1, "the target refuses the filter (api 200)", []string{"--output", "c.csv", "--filter", "nobody = 1"}},
	} {
		args := append([]string{"export", "--state-dir", x.state}, c.flags...)
		if !slices.Contains(c.flags, "--target") {
			args = append(args, "--apid_uri", s.uri())
		}
		p := l.start("starter", x.env, args...)
		if code := p.wait(); code != c.code || !strings.Contains(p.errors(), c.says) || strings.Count(strings.TrimSpace(p.errors()), "\n") > 4 {
			t.Errorf("%q: exit code %d, %s; want %d, %q", c.flags, code, p.errors(), c.code, c.says)
		}
	}
	p := l.start("starter", x.env, "export", "--state-dir", x.state, "--apid_uri", s.uri())
	refused(t, p, 2, "expected a file to write")
}

// TestAnExportByWorkersOfAService: one of two workers dies in the middle, and the other resumes at its last page.
func TestAnExportByWorkersOfAService(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	s.populate(1, 120)
	s.runAgain("--latency", "50ms")
	x := l.export(s)
	workers := []*process{x.worker(), x.worker()}
	finds := s.count("entity.find")
	p := x.start(l.path("users.csv"), serviceFlags(t, "--task-queue", x.queue(), "--page-size", "3", "--lag", "0")...)
	for i, worker := range workers {
		until(t, "some pages", func() bool { return s.count("entity.find") > finds+5+12*i || p.hasEnded() })
		worker.kill()
		if i == 1 {
			x.worker()
		}
	}
	p.ends(0)
	if users := exportedUsers(t, l.path("users.csv")); len(users) != 120 {
		t.Errorf("the file has %d users, want 120", len(users))
	}
}

func TestAnExportIntoABucket(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l := newLab(t)
	server := l.bucket()
	s := l.sandbox()
	s.populate(1, 60)
	s.runAgain("--latency", "50ms")
	x := l.export(s)
	x.migration.on(server)
	output := server.URL("exports/users.csv.gz")
	p := x.start(output, "--page-size", "5", "--lag", "0")
	finds := s.count("entity.find")
	until(t, "some pages", func() bool { return s.count("entity.find") > finds+4 || p.hasEnded() })
	p.kill()
	x.start(output, "--page-size", "5", "--lag", "0").ends(0)
	if users := exportedUsers(t, server.Path("exports", "users.csv.gz")); len(users) != 60 {
		t.Errorf("the file has %d users, want 60", len(users))
	}
}
