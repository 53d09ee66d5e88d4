package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/proof/program"
)

// start runs an engine until the test ends.
func start(t *testing.T, dir string) *Engine {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	e, err := Start(ctx, dir, nil, 0)
	must(t, err)
	t.Cleanup(e.Stop)
	return e
}

// works holds that a client of an engine gets in.
func works(t *testing.T, address Address) {
	t.Helper()
	options, err := address.ClientOptions()
	must(t, err)
	if err := call(t, options); err != nil {
		t.Errorf("a client with the folder's certificate: %v", err)
	}
}

func call(t *testing.T, options client.Options) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: Namespace})
	return err
}

// preface is what a client of HTTP/2 sends first: the magic and empty settings.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// answered is what a port answers to a client of HTTP/2, over TLS if there are
// settings.
func answered(t *testing.T, address string, settings *tls.Config) []byte {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 5*time.Second)
	must(t, err)
	defer func() { _ = conn.Close() }()
	if settings != nil {
		conn = tls.Client(conn, settings)
	}
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	_, _ = io.WriteString(conn, preface)
	got := make([]byte, 9)
	n, err := io.ReadFull(conn, got)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s neither answers nor hangs up", address)
	}
	return got[:n]
}

// isSettings says whether a server of HTTP/2 has begun to talk.
func isSettings(answer []byte) bool { return len(answer) == 9 && answer[3] == 4 }

func TestEveryPortOfTheServiceAsksForACertificateOfTheFolder(t *testing.T) {
	dir := t.TempDir()
	e := start(t, dir)
	works(t, e.Address())
	other := t.TempDir()
	if _, _, err := certificates(other); err != nil {
		t.Fatal(err)
	}
	ours, err := clientTLS(dir)
	must(t, err)
	theirs, err := clientTLS(other)
	must(t, err)
	theirs.InsecureSkipVerify = true
	theirs.RootCAs = nil
	services := 0
	for _, port := range listening(t) {
		address := net.JoinHostPort(loopback, port)
		if "http://"+address == e.Address().UI {
			continue // TestTheWebUIOfAnEngine
		}
		services++
		if !isSettings(answered(t, address, ours)) {
			t.Errorf("%s does not talk to a client with a certificate: the test proves nothing", address)
		}
		for name, settings := range map[string]*tls.Config{
			"plain":                     nil,
			"without a certificate":     {InsecureSkipVerify: true, NextProtos: []string{"h2"}},
			"with one of another":       theirs,
			"without, and TLS 1.2":      {InsecureSkipVerify: true, NextProtos: []string{"h2"}, MaxVersion: tls.VersionTLS12},
			"with the authority's name": {InsecureSkipVerify: true, NextProtos: []string{"h2"}, Certificates: []tls.Certificate{selfSigned(t)}},
		} {
			if answer := answered(t, address, settings); isSettings(answer) {
				t.Errorf("%s talks to a client %s", address, name)
			}
		}
	}
	if services != 4 {
		t.Errorf("%d ports besides the Web UI; want those of the four services", services)
	}
	if err := call(t, client.Options{HostPort: e.Address().Frontend, Namespace: Namespace}); err == nil {
		t.Error("a client without a certificate gets in")
	}
}

// selfSigned is a certificate of an authority with our authority's name.
func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	text, err := newAuthority()
	must(t, err)
	pair, err := tls.X509KeyPair(text, text)
	must(t, err)
	return pair
}

// listening gives the ports that this process listens on. All of them have to be
// on loopback.
func listening(t *testing.T) (ports []string) {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	if err != nil || len(links) == 0 {
		t.Skip("this system does not tell which ports a process listens on")
	}
	mine := map[string]bool{}
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && strings.HasPrefix(to, "socket:[") {
			mine[strings.TrimSuffix(strings.TrimPrefix(to, "socket:["), "]")] = true
		}
	}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(table)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			const listen = "0A"
			f := strings.Fields(line)
			if len(f) < 10 || f[3] != listen || !mine[f[9]] {
				continue
			}
			host, port, _ := strings.Cut(f[1], ":")
			if host != "0100007F" {
				t.Errorf("port %s listens on %s; want loopback only", port, host)
			}
			var number int
			if _, err := fmt.Sscanf(port, "%X", &number); err != nil {
				t.Fatal(err)
			}
			ports = append(ports, fmt.Sprint(number))
		}
	}
	return ports
}

func TestTheWebUIOfAnEngine(t *testing.T) {
	dir := t.TempDir()
	e := start(t, dir)
	// As another process of the owner has it.
	address, err := Running(t.Context(), dir)
	must(t, err)
	jar, err := cookiejar.New(nil)
	must(t, err)
	browser := &http.Client{Jar: jar}
	get := func(c *http.Client, url string) (int, string) {
		t.Helper()
		r, err := c.Get(url)
		must(t, err)
		defer func() { _ = r.Body.Close() }()
		text, err := io.ReadAll(r.Body)
		must(t, err)
		return r.StatusCode, string(text)
	}
	const cluster, history = "/api/v1/cluster-info", "/api/v1/namespaces/default/workflows/x/run/y/history.json"
	link := address.Link(cluster)
	if code, text := get(browser, link); code != http.StatusOK || !strings.Contains(text, "serverVersion") {
		t.Errorf("by a link of another process: %d %.200s; want what the service tells", code, text)
	}
	if code, _ := get(browser, e.Address().UI+history); code != http.StatusOK {
		t.Errorf("the raw history with the cookie: %d", code)
	}
	for _, path := range []string{cluster, history, "/", "/namespaces/default/workflows", "/api/v1/settings"} {
		code, text := get(http.DefaultClient, e.Address().UI+path)
		if code != http.StatusUnauthorized || text != refusal {
			t.Errorf("%s without the cookie: %d %.200s; want the page that says how to get in, and nothing else", path, code, text)
		}
	}
	if code, _ := get(http.DefaultClient, link); code != http.StatusUnauthorized {
		t.Errorf("the link for a second time: %d; want no way in", code)
	}
	command := func(headers ...string) int {
		t.Helper()
		r, err := http.NewRequest(http.MethodPost, address.UI+"/api/v1/namespaces/default/workflows/x/terminate", strings.NewReader("{}"))
		must(t, err)
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		response, err := browser.Do(r)
		must(t, err)
		_ = response.Body.Close()
		return response.StatusCode
	}
	var token string
	for _, c := range jar.Cookies(mustParse(t, address.UI)) {
		if c.Name == "_csrf" {
			token = c.Value
		}
	}
	if code := command("X-Csrf-Token", token); code != http.StatusNotFound {
		t.Errorf("a command of our own page: %d; want it to reach the service, which knows no such workflow", code)
	}
	for name, headers := range map[string][]string{
		"no token":                   nil,
		"an Authorization header":    {"Authorization", "Bearer x"},
		"a page of another origin":   {"X-Csrf-Token", token, "Origin", "http://evil.example"},
		"a form of another site":     {"X-Csrf-Token", token, "Sec-Fetch-Site", "cross-site"},
		"a script from another port": {"X-Csrf-Token", token, "Sec-Fetch-Site", "same-site"},
	} {
		if code := command(headers...); code != http.StatusForbidden && code != http.StatusBadRequest {
			t.Errorf("a command with %s: %d; want it refused", name, code)
		}
	}
	old := address.Link("")
	e.Stop()
	e = start(t, dir)
	if code, _ := get(browser, e.Address().UI+cluster); code != http.StatusUnauthorized {
		t.Errorf("after a restart the old cookie gives %d; want no way in", code)
	}
	if code, _ := get(http.DefaultClient, strings.Replace(old, address.UI, e.Address().UI, 1)); code != http.StatusUnauthorized {
		t.Errorf("after a restart a link of the old start gives %d; want no way in", code)
	}
}

// Another user of the machine has the ports, and no file.
func TestAnotherUserCanReadNoKey(t *testing.T) {
	dir, err := os.MkdirTemp("", "engine")
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	start(t, dir)
	entries, err := os.ReadDir(dir)
	must(t, err)
	for _, entry := range entries {
		info, err := entry.Info()
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %v; want it for its owner only", entry.Name(), info.Mode())
		}
	}
	if os.Getuid() != 0 {
		return
	}
	// Even where the folder lets them in.
	must(t, os.Chmod(dir, 0o755))
	for _, name := range []string{authorityFile, clientFile, filepath.Base(addressFile(dir)), filepath.Base(database(dir, "*"))} {
		paths, err := filepath.Glob(filepath.Join(dir, name))
		if err != nil || len(paths) == 0 {
			t.Fatalf("no %s: %v", name, err)
		}
		cat := exec.Command("cat", paths...)
		cat.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cat.Output(); err == nil || len(out) != 0 {
			t.Errorf("another user reads %s: %d bytes, %v", name, len(out), err)
		}
	}
}

// In a shared folder another user could create a name first, and keep it for ever.
func TestNothingInASharedTmpBlocksAStart(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", filepath.Join(dir, "not", "there"))
	works(t, start(t, filepath.Join(dir, "engine")).Address())
}

func TestTheCertificatesStayAndAreMadeAnew(t *testing.T) {
	dir := t.TempDir()
	authority, clients := filepath.Join(dir, authorityFile), ClientFile(dir)
	restart := func() {
		t.Helper()
		server, client, err := certificates(dir)
		must(t, err)
		shake(t, server, client)
	}
	read := func(path string) []byte {
		t.Helper()
		text, err := os.ReadFile(path)
		must(t, err)
		return text
	}
	restart()
	first, firstClient := read(authority), read(clients)
	restart()
	if !bytes.Equal(read(authority), first) || !bytes.Equal(read(clients), firstClient) {
		t.Error("a restart has changed them; clients that were there before are shut out")
	}
	if err := os.Remove(clients); err != nil { // a crash between the two
		t.Fatal(err)
	}
	restart()
	if !bytes.Equal(read(authority), first) {
		t.Error("the authority has changed with the certificate of the clients")
	}
	if err := os.Remove(authority); err != nil { // somebody may have read it
		t.Fatal(err)
	}
	stolen := read(clients)
	restart()
	if bytes.Equal(read(clients), stolen) {
		t.Error("the clients have the certificate of the authority that was removed")
	}
	server, _, err := certificates(dir)
	must(t, err)
	must(t, os.WriteFile(clients, stolen, 0o600))
	old, err := clientTLS(dir)
	must(t, err)
	old.InsecureSkipVerify = true
	if err := handshake(server, old); err == nil {
		t.Error("a certificate of the authority that was removed is accepted")
	}
}

// shake holds that two sides accept each other, in a hundred years too.
func shake(t *testing.T, server, client *tls.Config) {
	t.Helper()
	for _, now := range []time.Time{time.Now(), time.Now().AddDate(100, 0, 0), time.Now().AddDate(-20, 0, 0)} {
		server, client := server.Clone(), client.Clone()
		server.Time = func() time.Time { return now }
		client.Time = server.Time
		if err := handshake(server, client); err != nil {
			t.Errorf("at %s: %v", now.Format(time.DateOnly), err)
		}
	}
}

func handshake(server, client *tls.Config) error {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	ended := make(chan error, 1)
	go func() {
		conn := tls.Client(b, client)
		err := conn.Handshake()
		_, _ = io.Copy(io.Discard, conn) // the alert
		ended <- err
	}()
	s := tls.Server(a, server)
	err := s.Handshake()
	_ = s.Close()
	_ = a.Close()
	return errors.Join(err, <-ended)
}

func TestKeysThatCannotBeTrustedAreRefusedWithTheRemedy(t *testing.T) {
	for _, name := range []string{authorityFile, clientFile} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if _, _, err := certificates(dir); err != nil {
			t.Fatal(err)
		}
		must(t, os.Chmod(path, 0o640))
		if _, _, err := certificates(dir); err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("%s that others can read: %v; want it refused, with the remedy", name, err)
		}
		must(t, os.Chmod(path, 0o600))
		must(t, os.WriteFile(path, []byte("no certificate"), 0o600))
		if _, _, err := certificates(dir); err == nil || !strings.Contains(err.Error(), "remove it") {
			t.Errorf("%s that is damaged: %v; want it refused, with the remedy", name, err)
		}
		must(t, os.Remove(path))
		if _, _, err := certificates(dir); err != nil {
			t.Errorf("after the remedy: %v", err)
		}
	}
}

func TestAReservedPortIsGivenToNobodyElse(t *testing.T) {
	ports, release, err := reservePorts(4)
	must(t, err)
	defer release()
	var others []net.Listener
	defer func() {
		for _, l := range others {
			_ = l.Close()
		}
	}()
	for range 500 {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, "0"))
		must(t, err)
		others = append(others, l)
		for _, port := range ports {
			if l.Addr().(*net.TCPAddr).Port == port {
				t.Fatalf("port %d was given to another listener", port)
			}
		}
	}
	for _, port := range ports {
		l, err := net.Listen("tcp", net.JoinHostPort(loopback, fmt.Sprint(port)))
		if err != nil {
			t.Fatalf("the service cannot listen on its port: %v", err)
		}
		others = append(others, l)
	}
}

func TestAnAddressOfSomebodyElseIsNoEngine(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	if _, _, err := certificates(dir); err != nil {
		t.Fatal(err)
	}
	server, _, err := certificates(other)
	must(t, err)
	l, err := tls.Listen("tcp", net.JoinHostPort(loopback, "0"), server)
	must(t, err)
	defer func() { _ = l.Close() }()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(io.Discard, c) }()
		}
	}()
	must(t, (Address{Frontend: l.Addr().String(), PID: os.Getpid(), dir: dir}).write())
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if _, err := Running(ctx, dir); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%v; want it to say that what listens there is not the engine", err)
	}
}

func mustParse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	must(t, err)
	return u
}

// The databases of these tests are fsynced often.
func TestMain(m *testing.M) {
	if dir := os.Getenv("ENGINE_TO_KILL"); dir != "" {
		fmt.Println(startAndWait(dir))
		os.Exit(1)
	}
	program.UseMemory()
	os.Exit(m.Run())
}

func TestTheDatabaseLiesInTheFolderWhateverThatIsCalled(t *testing.T) {
	names := []string{"Q#1", "a?mode=memory", "50%41", "two words", `it's "quoted"`, "Müller", "new\nline", "\xff\xfe", "[a-z]*", "a&b=c;d:e", `back\slash`}
	if !program.RunsLong() {
		names = []string{strings.Join(names, "")} // one after the other they take long
	}
	for _, name := range names {
		t.Run(strings.ToValidUTF8(name, "_"), func(t *testing.T) {
			parent := t.TempDir()
			dir := filepath.Join(parent, name)
			for range 2 { // the second start finds the database of the first one
				e := start(t, dir)
				if left := e.Left(); len(left) > 0 {
					t.Errorf("the databases of other versions are %q; want none", left)
				}
				e.Stop()
			}
			databases := 0
			err := filepath.WalkDir(parent, func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				if filepath.Dir(path) != dir {
					t.Errorf("%q lies outside the folder %q", path, dir)
				}
				if strings.HasPrefix(d.Name(), "temporal-") {
					databases++
				}
				info, err := d.Info()
				if err == nil && info.Mode().Perm()&0o077 != 0 {
					t.Errorf("%q has the mode %v; want it for its owner only", path, info.Mode())
				}
				return err
			})
			if err != nil || databases == 0 {
				t.Errorf("there are %d databases in the folder, %v", databases, err)
			}
			if _, err := os.Stat("Q"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a file named Q was made: %v", err)
			}
		})
	}
}

func TestTheDatabaseHasAWriteAheadLog(t *testing.T) {
	dir := t.TempDir()
	start(t, dir).Stop()
	files, err := filepath.Glob(database(dir, "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%q, %v; want one database", files, err)
	}
	data, err := os.ReadFile(files[0])
	must(t, err)
	// https://www.sqlite.org/fileformat2.html, section 1.3.3: 2 is a write-ahead log, 1 a rollback journal.
	if len(data) < 20 || data[18] != 2 || data[19] != 2 {
		t.Errorf("the file format's write and read versions are %v; want 2 and 2", data[18:20])
	}
}

// startAndWait starts an engine and a workflow in it, says so, and waits to be killed.
func startAndWait(dir string) error {
	ctx := context.Background()
	e, err := Start(ctx, dir, nil, 0)
	if err != nil {
		return err
	}
	options, err := e.Address().ClientOptions()
	if err != nil {
		return err
	}
	c, err := client.Dial(options)
	if err != nil {
		return err
	}
	if _, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "kept", TaskQueue: "nobody"}, "Nothing"); err != nil {
		return err
	}
	fmt.Println("started")
	select {}
}

func TestAKillDuringOrAfterTheFirstStartLosesNothing(t *testing.T) {
	for ms := range 4 {
		dir := t.TempDir()
		killed(t, dir, func(io.Reader) { // while the database is created
			for all := 0; all == 0; time.Sleep(100 * time.Microsecond) {
				databases, err := filepath.Glob(database(dir, "*") + "*")
				must(t, err)
				all = len(databases)
			}
			time.Sleep(time.Duration(ms) * 3 * time.Millisecond)
		})
		killed(t, dir, func(said io.Reader) { // when it has acknowledged a workflow
			if line, err := bufio.NewReader(said).ReadString('\n'); line != "started\n" {
				t.Fatalf("the engine said %q, %v; want that it has started", line, err)
			}
		})
		options, err := start(t, dir).Address().ClientOptions()
		must(t, err)
		c, err := client.DialContext(t.Context(), options)
		must(t, err)
		d, err := c.DescribeWorkflowExecution(t.Context(), "kept", "")
		must(t, err)
		if got := d.GetWorkflowExecutionInfo().GetStatus(); got != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			t.Errorf("the workflow is %s; want it running, as it was acknowledged", got)
		}
		c.Close()
	}
}

// killed kills a process that starts an engine after a wait, which gets its output.
func killed(t *testing.T, dir string, wait func(io.Reader)) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "ENGINE_TO_KILL="+dir)
	program.EndWithThisProcess(child)
	said, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	wait(said)
	must(t, child.Process.Kill())
	_ = child.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A process that has stopped its engine may be alive: its work is not given away.
func TestOnlyAnEngineThatWasNotStoppedNamesItsProcess(t *testing.T) {
	dir := t.TempDir()
	must(t, durablefs.MkdirAll(dir))
	const killed = 4_000_000
	must(t, (Address{Frontend: "127.0.0.1:1", PID: killed, dir: dir}).write())
	e := start(t, dir)
	if got := e.Before(); got != killed {
		t.Errorf("after a kill: process %d, want %d", got, killed)
	}
	e.Stop()
	if got := start(t, dir).Before(); got != 0 {
		t.Errorf("after a stop: process %d, want none", got)
	}
}

func TestTheWebUIListensWhereItDidTheLastTime(t *testing.T) {
	dir := t.TempDir()
	first, err := listenForUI(dir, 0)
	must(t, err)
	address := first.Addr().String()
	if _, err := listenForUI(t.TempDir(), first.Addr().(*net.TCPAddr).Port); err == nil || !strings.Contains(err.Error(), "--ui-port") {
		t.Errorf("a port in use that was asked for: %v, want an error that names the option", err)
	}
	other, err := listenForUI(dir, 0)
	must(t, err)
	if other.Addr().String() == address {
		t.Errorf("two listen on %s", address)
	}
	last := other.Addr().String()
	must(t, other.Close())
	must(t, first.Close())
	again, err := listenForUI(dir, 0)
	must(t, err)
	defer again.Close()
	if got := again.Addr().String(); got != last {
		t.Errorf("it listens on %s, want %s as the last time", got, last)
	}
}
