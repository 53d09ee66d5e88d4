package main_test

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/client"

	"durable-dataload/internal/config"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
	"durable-dataload/internal/proof/s3server"
	"durable-dataload/internal/sandbox"
)

// The tests of this package run the three programs as a person would, and kill
// them. They wait a lot and compute little, so more of them run at a time than
// there are processors. The long ones compute more.
func atATime() int {
	if program.RunsLong() {
		return 6
	}
	return 12
}

var programs struct {
	dir string // where starter, worker and sandbox are
	tmp string // everything that the tests write, in a folder each
}

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if !isSet("test.parallel") {
		_ = flag.Set("test.parallel", strconv.Itoa(atATime()))
	}
	var err error
	if programs.tmp, err = os.MkdirTemp(program.Memory(), "durable-dataload-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.Remove(programs.tmp) }() // unless a test that failed has left its folder there
	programs.dir = filepath.Join(programs.tmp, "bin")
	defer func() { _ = os.RemoveAll(programs.dir) }()
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", programs.dir+string(filepath.Separator), "./starter", "./worker", "./sandbox")
	build.Dir = ".."
	if output, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "the programs do not build: %v\n%s", err, output)
		return 1
	}
	defer stopService()
	return m.Run()
}

func isSet(name string) (set bool) {
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == name })
	return set
}

// lab is the place of one test: its folder and its processes.
type lab struct {
	t     *testing.T
	dir   string
	stdin io.Reader // of the next program, if any

	written map[string]bool // by the test itself

	mu        sync.Mutex
	processes []*process
}

func newLab(t *testing.T) *lab {
	t.Helper()
	dir, err := os.MkdirTemp(programs.tmp, strings.NewReplacer("/", "-", " ", "-").Replace(t.Name())+"-")
	must(t, err)
	l := &lab{t: t, dir: dir, written: map[string]bool{}}
	t.Cleanup(l.close)
	return l
}

func labWithSandbox(t *testing.T, flags ...string) (*lab, *sandboxTarget) {
	t.Helper()
	l := newLab(t)
	return l, l.sandbox(flags...)
}

func (l *lab) close() {
	for _, p := range l.processes {
		p.kill()
	}
	l.checkNames()
	if !l.t.Failed() {
		_ = os.RemoveAll(l.dir)
		return
	}
	l.t.Logf("everything is kept in %s", l.dir)
	for _, p := range l.processes {
		l.t.Logf("%s: %s\n%s%s", p.name, p.cmd, lastLines(p.stdout, 10), lastLines(p.stderr, 25))
	}
}

func (l *lab) path(names ...string) string {
	return filepath.Join(append([]string{l.dir}, names...)...)
}

// process is a program that was started.
type process struct {
	t              *testing.T
	name           string
	cmd            *exec.Cmd
	stdout, stderr string // files
	done           chan struct{}
}

// start starts one of the programs, or that at an absolute path, with nothing in
// its environment that is not given here.
func (l *lab) start(which string, env []string, args ...string) *process {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	name := fmt.Sprintf("%s-%d", filepath.Base(which), len(l.processes)+1)
	p := &process{t: l.t, name: name, stdout: l.path(name + ".stdout"), stderr: l.path(name + ".stderr"), done: make(chan struct{})}
	if !filepath.IsAbs(which) {
		which = filepath.Join(programs.dir, which)
	}
	p.cmd = exec.Command(which, args...)
	p.cmd.Dir = l.dir
	p.cmd.Env = append([]string{"HOME=" + l.path("home")}, env...)
	stdout, err := os.Create(p.stdout)
	must(l.t, err)
	defer stdout.Close()
	stderr, err := os.Create(p.stderr)
	must(l.t, err)
	defer stderr.Close()
	p.cmd.Stdout, p.cmd.Stderr = stdout, stderr
	p.cmd.Stdin, l.stdin = l.stdin, nil
	program.EndWithThisProcess(p.cmd)
	must(l.t, p.cmd.Start())
	l.processes = append(l.processes, p)
	go func() {
		_ = p.cmd.Wait()
		close(p.done)
	}()
	return p
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatalf("%s does not take the signal %v: %v", p.name, s, err)
	}
}

// kill ends it as the system would when memory is short.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
}

func (p *process) hasEnded() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// wait gives the exit code. A process that does not end in time shows where it
// hangs.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.signal(syscall.SIGQUIT)
		select {
		case <-p.done:
		case <-time.After(5 * time.Second):
		}
		p.t.Fatalf("%s did not end within %s", p.name, patience)
	}
	return p.cmd.ProcessState.ExitCode()
}

// ends is exitCode, and gives the process.
func (p *process) ends(want ...int) *process {
	p.t.Helper()
	exitCode(p.t, p, want...)
	return p
}

func (p *process) errors() string { return readAll(p.stderr) }
func (p *process) output() string { return readAll(p.stdout) }

func readAll(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func lastLines(path string, n int) string {
	lines := strings.SplitAfter(readAll(path), "\n")
	return filepath.Base(path) + ":\n" + strings.Join(lines[max(0, len(lines)-n-1):], "") + "\n"
}

// patience bounds every wait for a condition. It is far longer than any wait takes,
// since the machine may be busy: a test that passes never comes near it.
const patience = 4 * time.Minute

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !holds() {
		if time.Now().After(end) {
			t.Fatalf("after %s it is not so: %s", patience, what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// sandboxTarget is a sandbox, in a process of its own at an address of its own.
type sandboxTarget struct {
	lab        *lab
	address    string
	dir        string
	id, secret string
	process    *process
	before     int64 // the last call that was not the migration's
	counted    truthCounter
}

func (l *lab) sandbox(flags ...string) *sandboxTarget {
	l.t.Helper()
	s := &sandboxTarget{lab: l, address: freeAddress(l.t), dir: l.path("sandbox"), id: "lab-client", secret: "lab-secret-7Qx0vT4mKw9sZ2"}
	s.run(flags...)
	return s
}

// run starts it, the first time or again.
func (s *sandboxTarget) run(flags ...string) {
	s.lab.t.Helper()
	s.process = s.lab.start("sandbox", s.credentials(), append([]string{"--address", s.address, "--state-dir", s.dir}, flags...)...)
	until(s.lab.t, "the sandbox listens", func() bool {
		if s.process.hasEnded() {
			s.lab.t.Fatalf("the sandbox ended: %s", s.process.errors())
		}
		conn, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// runAgain ends it and starts it with other flags.
func (s *sandboxTarget) runAgain(flags ...string) {
	s.lab.t.Helper()
	s.process.kill()
	s.run(flags...)
}

func (s *sandboxTarget) uri() string   { return "http://" + s.address }
func (s *sandboxTarget) truth() string { return filepath.Join(s.dir, "truth.jsonl") }

// credentials is the environment of those who may call it.
func (s *sandboxTarget) credentials() []string {
	return []string{"CAPTURE_CLIENT_ID=" + s.id, "CAPTURE_CLIENT_SECRET=" + s.secret}
}

// calls is how many bulkCreate calls it has written down.
func (s *sandboxTarget) calls() int { return s.counted.count(s.truth()) }

func (s *sandboxTarget) wantCalls(want int) {
	s.lab.t.Helper()
	if n := s.calls(); n != want {
		s.lab.t.Errorf("%d calls were made; want %d", n, want)
	}
}

// truthCounter counts without reading twice.
type truthCounter struct {
	mu     sync.Mutex
	offset int64
	n      int
}

func (c *truthCounter) count(path string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	f, err := os.Open(path)
	if err != nil {
		return c.n
	}
	defer f.Close()
	_, _ = f.Seek(c.offset, io.SeekStart)
	data, _ := io.ReadAll(f)
	end := bytes.LastIndexByte(data, '\n') + 1
	c.offset += int64(end)
	c.n += bytes.Count(data[:end], []byte(`"endpoint":"entity.bulkCreate"`))
	return c.n
}

// seed makes users that exist before the migration.
func (s *sandboxTarget) seed(emails []string) {
	s.lab.t.Helper()
	users := make([]map[string]string, len(emails))
	for i, email := range emails {
		users[i] = map[string]string{"email": email, "displayName": "was here before"}
	}
	content, err := json.Marshal(users)
	must(s.lab.t, err)
	body := s.post("/entity.bulkCreate", url.Values{"type_name": {"user"}, "all_attributes": {string(content)}})
	if !bytes.Contains(body, []byte(`"stat":"ok"`)) || bytes.Contains(body, []byte(`"stat":"error"`)) {
		s.lab.t.Fatalf("the users before the migration were not made: %.300s", body)
	}
	s.before = s.lastCall()
}

// post makes a call as somebody else would, and gives the answer.
func (s *sandboxTarget) post(endpoint string, form url.Values) []byte {
	s.lab.t.Helper()
	request, err := http.NewRequest(http.MethodPost, s.uri()+endpoint, strings.NewReader(form.Encode()))
	must(s.lab.t, err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(s.id, s.secret)
	response, err := http.DefaultClient.Do(request)
	must(s.lab.t, err)
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return body
}

func (s *sandboxTarget) lastCall() int64 {
	s.lab.t.Helper()
	_, last, err := check.Calls(s.truth(), "entity.bulkCreate")
	must(s.lab.t, err)
	return last
}

func freeAddress(t *testing.T) string {
	t.Helper()
	addresses, err := program.FreeAddresses(1)
	must(t, err)
	return addresses[0]
}

// users writes a file of invented users.
func (l *lab) users(o fakeusers.Options) string {
	l.t.Helper()
	path := l.path("users.csv")
	f, err := os.Create(path)
	must(l.t, err)
	defer f.Close()
	must(l.t, fakeusers.Write(f, o))
	return path
}

// emails gives the first column of a file of invented users.
func emails(t *testing.T, path string) []string {
	t.Helper()
	var column []string
	for _, record := range rows(t, path) {
		column = append(column, record[0])
	}
	return column
}

// rows gives the records of a CSV file, without the header.
func rows(t *testing.T, path string) [][]string {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	defer f.Close()
	reader := csv.NewReader(f)
	reader.FieldsPerRecord, reader.LazyQuotes = -1, true
	records, err := reader.ReadAll()
	must(t, err)
	return records[1:]
}

// migration is one command, which can be given again and again.
type migration struct {
	lab    *lab
	target *sandboxTarget
	input  string
	state  string
	out    string
	batch  int
	flags  []string
	env    []string
	bucket *s3server.Server // nil: what it keeps is in its folders
}

// migration is a command into a target, with an embedded engine unless the
// flags say otherwise.
func (l *lab) migration(s *sandboxTarget, input string, batch int, flags ...string) *migration {
	return &migration{
		lab: l, target: s, input: input, state: l.path("state"), out: l.path("out"), batch: batch,
		flags: append([]string{"--batch-size", strconv.Itoa(batch)}, flags...), env: s.credentials(),
	}
}

func (m *migration) arguments() []string {
	args := append([]string{"--data", m.input, "--apid_uri", m.target.uri()}, m.locations()...)
	if m.bucket == nil {
		args = append(args, "--output-dir", m.out)
	}
	return append(args, m.flags...)
}

// locations are the options that say where it is kept.
func (m *migration) locations() []string {
	if m.bucket != nil {
		return []string{"--state-dir", m.state, "--work-url", m.bucket.URL(inBucket)}
	}
	return []string{"--state-dir", m.state}
}

// kept is the folder of what it keeps.
func (m *migration) kept() string {
	if m.bucket != nil {
		return m.bucket.Path(inBucket)
	}
	return m.state
}

func (m *migration) start() *process {
	m.lab.t.Helper()
	return m.lab.start("starter", m.env, m.arguments()...)
}

// startUntil is start, and returns when the target has had so many calls.
func (m *migration) startUntil(calls int) *process {
	m.lab.t.Helper()
	p := m.start()
	until(m.lab.t, fmt.Sprintf("%d calls", calls), func() bool { return m.target.calls() >= calls || p.hasEnded() })
	return p
}

// run gives the command, which has to end with one of these exit codes.
func (m *migration) run(want ...int) *process {
	m.lab.t.Helper()
	return m.start().ends(want...)
}

// summary is the path of the one summary that there is.
func (m *migration) summary() string {
	m.lab.t.Helper()
	found := m.artifacts("summary_*.json")
	if len(found) != 1 {
		m.lab.t.Fatalf("%d summaries in %s, want one: %q", len(found), m.out, found)
	}
	return found[0]
}

func (m *migration) artifacts(pattern string) []string {
	m.lab.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.out, pattern))
	must(m.lab.t, err)
	// A migration that has not come to its end holds its datetime with a hidden file.
	found = slices.DeleteFunc(found, func(path string) bool { return strings.HasPrefix(filepath.Base(path), ".reserved_") })
	slices.Sort(found)
	return found
}

// ledger is the folder of the one migration's ledger.
func (m *migration) ledger() string {
	m.lab.t.Helper()
	found, err := filepath.Glob(filepath.Join(m.kept(), "migrations", "*", "ledger"))
	if err != nil || len(found) != 1 {
		m.lab.t.Fatalf("expected one ledger in %s, found %q (%v)", m.kept(), found, err)
	}
	return found[0]
}

func (m *migration) evidence() check.Migration {
	m.lab.t.Helper()
	return check.Migration{
		Input: m.input, Summary: m.summary(), Truth: m.target.truth(), Before: m.target.before,
		Ledger: m.ledger(), Undo: filepath.Join(filepath.Dir(m.ledger()), "undo"), BatchSize: m.batch,
	}
}

// check runs the independent checker over everything.
func (m *migration) check() {
	m.lab.t.Helper()
	verify(m.lab.t, m.evidence())
}

func verify(t *testing.T, m check.Migration) {
	t.Helper()
	broken, err := check.Check(m)
	if err != nil {
		t.Fatalf("nothing to check: %v", err)
	}
	for _, b := range broken {
		t.Error(b)
	}
}

// figures are the parts of a summary that tests ask for.
type figures struct {
	Records map[string]int
	Rounds  []struct {
		Round, Batches, Calls, Created, Duplicate, Failed, Unknown int
	}
	Files struct {
		Success, Fail         string
		FailRecords           string `json:"fail_records"`
		Retry                 []string
		Unresolved, Remaining *string
		UpdateSuccess         *string `json:"update_success"`
		UpdateFail            *string `json:"update_fail"`
	}
	ID       string `json:"workflow_id"`
	Data     string `json:"data_file"`
	SHA256   string `json:"data_sha256"`
	URI      string `json:"apid_uri"`
	Entities *int   `json:"entities_after"`
}

func (m *migration) figures() figures {
	m.lab.t.Helper()
	return decoded[figures](m.lab.t, readAll(m.summary()))
}

// wantRecords compares the summary with the numbers of records that are wanted.
func (m *migration) wantRecords(want map[string]int) {
	m.lab.t.Helper()
	got := m.figures().Records
	for disposition, n := range want {
		if got[disposition] != n {
			m.lab.t.Errorf("the records came to %v; want %d %s", got, n, disposition)
		}
	}
}

// snapshot gives the bytes of all artifacts, by name.
func (m *migration) snapshot() map[string]string {
	m.lab.t.Helper()
	content := map[string]string{}
	for _, path := range m.artifacts("*") {
		content[filepath.Base(path)] = readAll(path)
	}
	return content
}

func sameArtifacts(t *testing.T, got, want map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s has changed: %d bytes, before %d", name, len(got[name]), len(want[name]))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			t.Errorf("%s has appeared", name)
		}
	}
}

// exitCode waits for a process, which has to end with one of these exit codes.
func exitCode(t *testing.T, p *process, want ...int) {
	t.Helper()
	if got := p.wait(); !slices.Contains(want, got) {
		t.Fatalf("%s ended with exit code %d, want %v\n%s", p.name, got, want, lastLines(p.stderr, 10))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// decoded is the value of a JSON text.
func decoded[T any](t *testing.T, text string) (value T) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return value
}

func hasAll(t *testing.T, text string, words ...string) {
	t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

// service is the Temporal service of the tests that use one by its address: in
// this process, for all of them.
var service struct {
	once   sync.Once
	engine *engine.Engine
	err    error
}

func serviceOf(t *testing.T) engine.Address {
	t.Helper()
	service.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		service.engine, service.err = engine.Start(ctx, filepath.Join(programs.tmp, "service"), nil, 0)
	})
	if service.err != nil {
		t.Fatal(service.err)
	}
	return service.engine.Address()
}

// serviceFlags lead a program to that service.
func serviceFlags(t *testing.T, more ...string) []string {
	t.Helper()
	return append(program.ServiceFlags(serviceOf(t).Frontend, engine.ClientFile(filepath.Join(programs.tmp, "service"))), more...)
}

// dial is a client of an engine.
func dial(t *testing.T, address engine.Address) client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	options, err := address.ClientOptions()
	must(t, err)
	c, err := config.Dial(ctx, options, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func stopService() {
	if service.engine != nil {
		service.engine.Stop()
		_ = os.RemoveAll(filepath.Join(programs.tmp, "service"))
	}
}

// remote makes a migration use the service of this process, with a task queue
// of its own.
func (m *migration) remote() *migration {
	m.lab.t.Helper()
	m.flags = append(m.flags, serviceFlags(m.lab.t, "--task-queue", m.queue())...)
	return m
}

// shared makes a migration use the service of this process, with a worker in the
// starter: it need not start an engine of its own.
func (m *migration) shared() *migration {
	m.lab.t.Helper()
	m.remote()
	m.flags = append(m.flags, "--with-worker")
	return m
}

func (m *migration) queue() string { return filepath.Base(m.lab.dir) }

// worker starts a lone worker for a remote migration.
func (m *migration) worker(flags ...string) *process {
	m.lab.t.Helper()
	return m.lab.start("worker", m.target.credentials(), append(append(serviceFlags(m.lab.t, "--task-queue", m.queue()), m.locations()...), flags...)...)
}

// copyTestdata puts the repository's testdata into the folder that the
// programs run in.
func (l *lab) copyTestdata() {
	l.t.Helper()
	must(l.t, os.CopyFS(l.path("testdata"), os.DirFS(filepath.Join("..", "testdata"))))
}

// emails gives those of all users that were ever written.
func (s *sandboxTarget) emails() (all []string) {
	s.lab.t.Helper()
	calls, err := sandbox.ReadTruth(s.dir)
	must(s.lab.t, err)
	for _, call := range calls {
		for _, w := range call.Written {
			all = append(all, w.Email)
		}
	}
	return all
}
