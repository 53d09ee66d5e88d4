package main_test

import (
	"context"
	"encoding/csv"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/proof/s3server"
)

// inBucket is the folder of the bucket in which migrations keep what they keep.
const inBucket = "work"

// bucket starts an S3 server of the test's own.
func (l *lab) bucket() *s3server.Server {
	l.t.Helper()
	if !s3server.Wanted() {
		l.t.Skip(s3server.NotWanted)
	}
	program, err := s3server.Install(context.Background())
	must(l.t, err)
	dir := l.path("s3")
	must(l.t, os.Mkdir(dir, 0o700))
	if s3server.Usable(dir) != nil {
		dir = l.t.TempDir() // on the disk
	}
	s, err := s3server.New(program, dir, "")
	must(l.t, err)
	l.t.Cleanup(s.Kill)
	startBucket(l.t, s)
	return s
}

func startBucket(t *testing.T, s *s3server.Server) {
	t.Helper()
	must(t, s.Start(context.Background()))
}

// on has a migration keep everything in a bucket.
func (m *migration) on(s *s3server.Server) *migration {
	m.bucket, m.out = s, s.Path(inBucket, "artifacts")
	m.env = append(m.env, s.Environment()...)
	return m
}

// TestABucketHasWhatAFolderHas: the same file, whose first calls all lose their
// answers, once with what it keeps in a folder and once in a bucket.
func TestABucketHasWhatAFolderHas(t *testing.T) {
	program.Long(t)
	t.Parallel()
	var tables []map[string]string
	l := newLab(t)
	server := l.bucket()
	for _, name := range []string{"folder", "bucket"} {
		run := newLab(t)
		s := run.sandbox()
		input := run.users(fakeusers.Options{Records: 400, Seed: 71})
		s.seed(emails(t, input)[300:310])
		time.Sleep(4 * time.Second)                                     // clocks may differ by that much, and these are not the migration's
		s.runAgain("--faults", "reset-after=100", "--heal-after", "41") // with that of before, the first round
		m := run.migration(s, input, 10, "--rate-limit", "0", "--timeout", "1", "--retry-backoff", "100ms", "--breaker", "0")
		if name == "bucket" {
			m.on(server)
		}
		m.run(3)
		m.check()
		if f := m.figures(); f.Records["recovered"] < 300 || f.Records["failed"] < 10 {
			t.Errorf("the records came to %v: this was no test", f.Records)
		}
		tables = append(tables, m.comparable())
	}
	sameArtifacts(t, tables[1], tables[0])
}

var stamp = regexp.MustCompile(`_[A-Z][a-z]{2}_\d\d_\d{4}_\d\d_\d\d_\d\d`)

// comparable gives the tables among the artifacts with what differs from run to
// run left out: their times, and the uuids.
func (m *migration) comparable() map[string]string {
	m.lab.t.Helper()
	tables := map[string]string{}
	for _, path := range m.artifacts("*.csv") {
		name := stamp.ReplaceAllString(filepath.Base(path), "")
		content := readAll(path)
		if name == "success.csv" {
			records, err := csv.NewReader(strings.NewReader(content)).ReadAll()
			must(m.lab.t, err)
			var lines []string
			for _, record := range records {
				lines = append(lines, strings.Join(slices.Delete(record, 2, 3), ","))
			}
			content = strings.Join(lines, "\n")
		}
		tables[name] += content // retry files, in their order
	}
	return tables
}

// TestAMigrationOnABucketGoesOnWhereItWasKilled: with faults, the starter killed
// in the middle twice, and the second time the machine is lost with it: its state
// folder, and the engine that it had there. All that is asked for then is asked
// for on another machine.
func TestAMigrationOnABucketGoesOnWhereItWasKilled(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l := newLab(t)
	server := l.bucket()
	s := l.sandbox("--faults", "all=0.7,find:all=0.7", "--seed", "5", "--latency", "30ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 800, Seed: 72, Awkward: true}), 10,
		"--rate-limit", "0", "--timeout", "1", "--retry-rounds", "12", "--retry-backoff", "20ms").on(server)
	for _, calls := range []int{25, 50} {
		p := m.start()
		until(t, "more is loaded", func() bool { return s.calls() >= calls || p.hasEnded() })
		if p.hasEnded() {
			t.Fatalf("it ended before it was killed: this was no test\n%s", p.errors())
		}
		p.kill()
	}
	for _, folder := range []string{"migrations", "artifacts", "inputs"} {
		if _, err := os.Stat(filepath.Join(m.state, folder)); err == nil {
			t.Errorf("the state folder has %s, which belongs in the bucket", folder)
		}
	}
	must(t, os.RemoveAll(m.state))
	m.state = l.path("elsewhere")
	killed := s.calls()
	m.run(3)
	if s.calls() <= killed {
		t.Errorf("%d calls before the last kill, and %d at the end: this was no test", killed, s.calls())
	}
	m.check()
	broken, err := check.FromLedger(m.evidence())
	must(t, err)
	for _, b := range broken {
		t.Error(b)
	}
	if found, _ := filepath.Glob(l.path("s3:*")); len(found) > 0 {
		t.Errorf("%q was made on the disk: somebody took a URL for a path", found)
	}

	m.state = l.path("nowhere yet")
	status := m.status("--latest")
	if status.State != "done" || status.ExitCode == nil || *status.ExitCode != 3 || status.Records["total"] != 800 {
		t.Errorf("the status is %+v; want it done, with 800 records", status)
	}
	hasAll(t, m.ordered("list"), "users.csv", "done")
	refused(t, m.start(), 1, "was migrated already")
}

// TestFilesOfABucketAreMigrated: what is to be loaded is in the bucket itself.
func TestFilesOfABucketAreMigrated(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	server := l.bucket()
	s := l.sandbox()
	input := l.users(fakeusers.Options{Records: 120, Seed: 73})
	must(t, os.Mkdir(server.Path("incoming"), 0o700))
	must(t, os.WriteFile(server.Path("incoming", "users.csv"), []byte(readAll(input)), 0o600))
	must(t, os.WriteFile(server.Path("incoming", "notes.txt"), []byte("not a table"), 0o600))
	m := l.migration(s, server.URL("incoming/*.csv"), 20, "--rate-limit", "0").on(server)
	p := m.run(0)
	hasAll(t, p.output(), "s3://bucket/work/artifacts/success_")
	m.input = input // the same bytes
	m.check()

	m.input = server.URL("incoming/none.csv")
	refused(t, m.start(), 1, "incoming/none.csv")
	s.wantCalls(6)
}

// TestADeltaMigrationOnABucketIsVerifiedAndUndone: what the records were before
// is in the bucket too.
func TestADeltaMigrationOnABucketIsVerifiedAndUndone(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	server := l.bucket()
	s := l.sandbox()
	input := l.users(fakeusers.Options{Records: 90, Seed: 74})
	s.seed(emails(t, input)[:30])
	before := s.content()
	m := l.migration(s, input, 20, "-m", "--rate-limit", "0").on(server)
	m.run(0)
	m.check()
	m.wantRecords(map[string]int{"created": 60, "updated": 30})

	m.state = l.path("elsewhere")
	p := m.verify("--latest", "--rate-limit", "0", "--json").ends(0)
	if f := decoded[verifyFigures](t, p.output()); f.Found.Equal != 90 {
		t.Errorf("verify finds %+v; want 90 as they should be", f.Found)
	}
	p = m.rollback("--yes", "--json", "--rate-limit", "0").ends(0)
	if f := decoded[rollbackFigures](t, p.output()); f.Records.Deleted != 60 || f.Records.Restored != 30 {
		t.Errorf("the rollback came to %+v; want 60 deleted and 30 restored", f.Records)
	}
	sameContent(t, s.content(), before)
}

// TestTheStoreDiesUnderAMigration: the S3 server is killed in the middle, for
// longer than its clients repeat what they ask for.
func TestTheStoreDiesUnderAMigration(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l := newLab(t)
	server := l.bucket()
	s := l.sandbox("--latency", "30ms")
	m := l.migration(s, l.users(fakeusers.Options{Records: 600, Seed: 75}), 5, "--rate-limit", "0", "--workers", "4", "--retry-backoff", "100ms").on(server)
	p := m.start()
	until(t, "a third is loaded", func() bool { return s.calls() >= 40 || p.hasEnded() })
	server.Kill()
	time.Sleep(8 * time.Second)
	if p.hasEnded() {
		t.Errorf("it has ended while its store was gone: %s", lastLines(p.stderr, 5))
	}
	startBucket(t, server)
	p.ends(0)
	m.check()
	if f := m.figures(); f.Records["created"]+f.Records["recovered"] != 600 {
		t.Errorf("the records came to %v; want all created or recovered", f.Records)
	}
}

// TestABucketThatCannotBeUsedIsSaid: before anything is begun.
func TestABucketThatCannotBeUsedIsSaid(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	server := l.bucket()
	s := l.sandbox()
	m := l.migration(s, l.users(fakeusers.Options{Records: 5, Seed: 76}), 5).on(server)
	for _, c := range []struct {
		name      string
		env       []string
		meanwhile func()
		words     []string
	}{
		// Without an address of a cloud's machine to ask, nothing is waited for.
		{"without credentials", []string{"AWS_EC2_METADATA_DISABLED=true"}, nil, []string{"credentials", "s3://bucket/work", "docs/object-storage.md"}},
		{"with wrong ones", []string{"AWS_ACCESS_KEY_ID=other-key", "AWS_SECRET_ACCESS_KEY=other-secret-value"}, nil, []string{"credentials", "s3://bucket/work"}},
		{"of a server that is down", server.Environment(), server.Kill, []string{"connection refused", server.Address}},
	} {
		if c.meanwhile != nil {
			c.meanwhile()
		}
		m.env = append(s.credentials(), c.env...)
		begun := time.Now()
		p := m.start()
		refused(t, p, 1, c.words...)
		if strings.Contains(p.errors(), "other-secret-value") {
			t.Errorf("%s: the error has the secret in it", c.name)
		}
		t.Logf("%s (%s): %s", c.name, time.Since(begun).Round(100*time.Millisecond), p.errors())
	}
	s.wantCalls(0)
}

// Two engines would each send at the full pace. One that was killed is taken over.
func TestAWorkURLBelongsToOneEngine(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	server := l.bucket()
	s := l.sandbox()
	m := l.migration(s, l.users(fakeusers.Options{Records: 100, Seed: 77}), 5, "--rate-limit", "2", "--retry-backoff", "100ms").on(server)
	m.startUntil(3).kill()
	p := m.startUntil(6) // in another process than the one that has claimed the URL
	m.state = l.path("elsewhere")
	refused(t, m.start(), 1, "belongs to another Temporal service", "owner.json", filepath.Base(m.state))
	p.kill()
	m.start().ends(0)
	m.check()
}
