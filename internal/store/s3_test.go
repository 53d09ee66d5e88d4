package store

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"durable-dataload/internal/proof/s3server"
)

// TestMain can also be another process, for the test that needs several.
func TestMain(m *testing.M) {
	if folder := os.Getenv("STORE_TEST_FOLDER"); folder != "" {
		if err := contend(folder, os.Getenv("STORE_TEST_NAME")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(runTests(m))
}

// server is shared by all tests of this package; nil if none is wanted.
var server *s3server.Server

func runTests(m *testing.M) int {
	if !s3server.Wanted() {
		return m.Run()
	}
	// They wait for the client's repetitions, and compute nothing.
	flag.Parse()
	if err := flag.Set("test.parallel", "12"); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "durable-dataload-s3-")
	if err == nil {
		defer os.RemoveAll(dir)
		server, err = startServer(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer server.Kill()
	return m.Run()
}

func startServer(dir string) (*s3server.Server, error) {
	program, err := s3server.Install(context.Background())
	if err != nil {
		return nil, err
	}
	s, err := s3server.New(program, dir, "")
	if err != nil {
		return nil, err
	}
	for _, variable := range s.Environment() {
		name, value, _ := strings.Cut(variable, "=")
		if err := os.Setenv(name, value); err != nil {
			return nil, err
		}
	}
	return s, s.Start(context.Background())
}

// realS3 is a folder for this test on the server, "" if none is wanted. That is asked
// again here: go test does not see what TestMain reads from the environment, and would
// take a cached result of a run without a server for one with it.
func realS3(t *testing.T) string {
	if !s3server.Wanted() || server == nil {
		return ""
	}
	return server.URL(t.Name())
}

func needServer(t *testing.T) {
	t.Helper()
	if !s3server.Wanted() || server == nil {
		t.Skip(s3server.NotWanted)
	}
}

// contend tries to create each name that it reads, and prints the result.
func contend(folder, me string) error {
	names := bufio.NewScanner(os.Stdin)
	for names.Scan() {
		name := Join(folder, names.Text())
		if err := Create(name, allOf(me)); err == nil {
			fmt.Println("won")
			continue
		} else if !errors.Is(err, ErrExists) {
			return err
		}
		if got, err := Read(name); err != nil || !bytes.Equal(got, allOf(string(got[:min(1, len(got))]))) {
			return fmt.Errorf("%s was taken, and it has %d bytes (%v), want all of it", name, len(got), err)
		}
		fmt.Println("lost")
	}
	return names.Err()
}

func allOf(letter string) []byte { return bytes.Repeat([]byte(letter), 20_000) }

func TestCreateIsWonByOneOfManyProcesses(t *testing.T) {
	needServer(t)
	folder := server.URL(t.Name())
	const processes, names = 4, 30
	var told []io.Writer
	var said []*bufio.Scanner
	for i := range processes {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), "STORE_TEST_FOLDER="+folder, "STORE_TEST_NAME="+letter(i))
		c.Stderr = os.Stderr
		in, err := c.StdinPipe()
		must(t, err)
		out, err := c.StdoutPipe()
		must(t, err)
		must(t, c.Start())
		t.Cleanup(func() { _, _ = in.Close(), c.Wait() })
		told, said = append(told, in), append(said, bufio.NewScanner(out))
	}
	won := map[string]int{}
	for n := range names {
		for _, in := range told {
			_, err := fmt.Fprintln(in, n)
			must(t, err)
		}
		var winners []string
		for i, out := range said {
			switch out.Scan(); out.Text() {
			case "won":
				winners = append(winners, letter(i))
			case "lost":
			default:
				t.Fatalf("process %s says %q to name %d, want won or lost", letter(i), out.Text(), n)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("name %d was won by %q, want one", n, winners)
		}
		content(t, Join(folder, strconv.Itoa(n)), string(allOf(winners[0])))
		won[winners[0]]++
	}
	t.Logf("names won: %v", won)
}

func letter(i int) string { return string(rune('a' + i)) }

// front is a proxy between the store and the server.
type front struct {
	address string
	puts    atomic.Int32
}

// newFront forwards requests. before may answer a request instead of the server, and says
// whether it has; after may drop the server's answer. Both get the number of the PUT, from 1;
// other requests are forwarded.
func newFront(t *testing.T, before func(put int, w http.ResponseWriter) bool, after func(put int) (lost bool)) *front {
	t.Helper()
	f := &front{}
	proxy := server.Proxy()
	proxy.ModifyResponse = func(r *http.Response) error {
		if r.Request.Method == http.MethodPut && after(int(f.puts.Load())) {
			return errors.New("lost")
		}
		return nil
	}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && before(int(f.puts.Add(1)), w) {
			return
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	f.address = strings.TrimPrefix(s.URL, "http://")
	return f
}

func passes(int, http.ResponseWriter) bool { return false }
func arrives(int) bool                     { return false }

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>of a test</Message></Error>", code)
}

// Whatever happens to the first attempts, Create tells the winner from the others.
func TestCreateKnowsItsOwn(t *testing.T) {
	needServer(t)
	t.Parallel()
	first := func(n int) func(int) bool { return func(put int) bool { return put <= n } }
	answered := func(n, status int, code string) func(int, http.ResponseWriter) bool {
		return func(put int, w http.ResponseWriter) bool {
			if put <= n {
				refuse(w, status, code)
			}
			return put <= n
		}
	}
	for _, c := range []struct {
		name   string
		before func(int, http.ResponseWriter) bool
		after  func(int) bool
		puts   int32
	}{
		{"nothing", passes, arrives, 1},
		{"the answer is lost", passes, first(1), 2},
		{"the answer is lost twice", passes, first(2), 3},
		{"a concurrent write", answered(1, http.StatusConflict, "ConditionalRequestConflict"), arrives, 2},
		{"concurrent writes for a while", answered(5, http.StatusConflict, "ConditionalRequestConflict"), arrives, 6},
		{"the server has an error", answered(1, http.StatusInternalServerError, "InternalError"), arrives, 2},
		{"the server is busy", answered(2, http.StatusServiceUnavailable, "SlowDown"), arrives, 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFront(t, c.before, c.after)
			folder := t.Name()
			name := Join(server.Through(f.address, folder), "file")
			if err := Create(name, []byte("first")); err != nil {
				t.Errorf("Create: %v, want the file", err)
			}
			if got := f.puts.Load(); got != c.puts {
				t.Errorf("%d requests to write, want %d", got, c.puts)
			}
			straight := Join(server.URL(folder), "file")
			for _, name := range []string{name, straight} {
				if err := Create(name, []byte("second")); !errors.Is(err, ErrExists) {
					t.Errorf("Create of a second writer: %v, want %v", err, ErrExists)
				}
			}
			content(t, straight, "first")
		})
	}
}

// A second writer whose answer is lost has not created the file, though its retry is
// identical to its first attempt.
func TestALostAnswerIsNotTakenForSuccess(t *testing.T) {
	needServer(t)
	t.Parallel()
	f := newFront(t, passes, func(put int) bool { return put == 1 })
	must(t, Create(Join(server.URL(t.Name()), "file"), []byte("first")))
	if err := Create(Join(server.Through(f.address, t.Name()), "file"), []byte("first")); !errors.Is(err, ErrExists) {
		t.Errorf("%v, want %v", err, ErrExists)
	}
}

// A server that is down or refuses every request is an error within the time limit, which
// names the request and the object.
func TestAFailingServerIsReported(t *testing.T) {
	needServer(t)
	t.Parallel()
	busy := newFront(t, func(_ int, w http.ResponseWriter) bool {
		refuse(w, http.StatusServiceUnavailable, "SlowDown")
		return true
	}, arrives)
	down := httptest.NewServer(http.NotFoundHandler())
	down.Close()
	for what, c := range map[string]struct{ address, want string }{
		"busy for ever": {busy.address, "SlowDown"},
		"down":          {strings.TrimPrefix(down.URL, "http://"), "connection refused"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := Join(server.Through(c.address, "some/where"), "file")
			begun := time.Now()
			err := Create(name, nil)
			if err == nil || errors.Is(err, ErrExists) || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "some/where/file") {
				t.Errorf("Create: %v; want %q, and the name", err, c.want)
			}
			if took := time.Since(begun); took > brief {
				t.Errorf("it took %s, want at most %s", took, brief)
			} else {
				t.Logf("%s: %v", took.Round(time.Millisecond), err)
			}
		})
	}
}

// TestAStoreWithoutConditionalWritesIsRefused: it says that it does not implement them.
func TestAStoreWithoutConditionalWritesIsRefused(t *testing.T) {
	needServer(t)
	t.Parallel()
	f := newFront(t, func(_ int, w http.ResponseWriter) bool {
		refuse(w, http.StatusNotImplemented, "NotImplemented")
		return true
	}, arrives)
	folder := server.Through(f.address, t.Name())
	for what, err := range map[string]error{"Create": Create(Join(folder, "file"), nil), "Prove": Prove(folder)} {
		if err == nil || !strings.Contains(err.Error(), "refuses conditional writes (If-None-Match: *)") {
			t.Errorf("%s: %v; want that the store refuses conditional writes", what, err)
		}
	}
}

// An object survives a kill of the server, under the same name.
func TestObjectsSurviveAKilledServer(t *testing.T) {
	needServer(t)
	t.Parallel()
	program, err := s3server.Install(t.Context())
	must(t, err)
	own, err := s3server.New(program, t.TempDir(), "")
	must(t, err)
	must(t, own.Start(t.Context()))
	t.Cleanup(own.Kill)
	name := own.URL("a/file")
	must(t, Create(name, []byte("first")))
	if got, err := os.ReadFile(own.Path("a", "file")); err != nil || string(got) != "first" {
		t.Errorf("the object is the file %q, %v; want first", got, err)
	}
	if info, err := os.Stat(own.Path("a", "file")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file is %v, %v; want it for its owner only", info.Mode(), err)
	}
	own.Kill()
	if _, err := Read(name); err == nil {
		t.Error("a server that was killed answers")
	}
	back := make(chan error, 1)
	go func() { back <- own.Start(context.WithoutCancel(t.Context())) }()
	if err := Create(name, []byte("second")); err != nil && !errors.Is(err, ErrExists) && !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Create while it comes back: %v, want %v or a refused connection", err, ErrExists)
	}
	must(t, <-back)
	if err := Create(name, []byte("third")); !errors.Is(err, ErrExists) {
		t.Errorf("Create after it was killed: %v, want %v", err, ErrExists)
	}
	content(t, name, "first")
}
