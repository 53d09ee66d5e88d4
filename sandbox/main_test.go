package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain can also be the program itself, for the test that sends it signals.
func TestMain(m *testing.M) {
	if os.Getenv("SANDBOX_TEST_RUN_MAIN") != "" {
		main()
	}
	os.Exit(m.Run())
}

func TestOneLineSaysWhatIsWrong(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	owned := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	owner := make(chan int)
	listening, output := io.Pipe()
	go func() {
		owner <- run(ctx, []string{"--address", "127.0.0.1:0", "--state-dir", owned, "--client-id", "i", "--client-secret", "s"}, noEnv, output, io.Discard)
	}()
	if _, err := bufio.NewReader(listening).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	defer func() {
		stop()
		if code := <-owner; code != exitOK {
			t.Errorf("the owner ended with %d, want 0", code)
		}
	}()

	good := []string{"--address", "127.0.0.1:0", "--state-dir", t.TempDir(), "--client-id", "i", "--client-secret", "s"}
	cases := []struct {
		name string
		args []string
		code int
		want string
	}{
		{"port in use", append(good, "--address", taken.Addr().String()), 1, "in use by another program"},
		{"state folder in use", append(good, "--state-dir", owned), 1, "belongs to a sandbox that is running"},
		{"no credentials", good[:4], 2, "--client-id and --client-secret"},
		{"no state folder", good[4:], 2, "--state-dir"},
		{"no such fault", append(good, "--faults", "http999=1"), 2, `no fault "http999"`},
		{"not a number", append(good, "--limit", "x"), 2, "--limit"},
		{"no such flag", append(good, "--nope"), 2, "--nope"},
		{"an argument", append(good, "x"), 2, `unexpected argument "x"`},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			ended, end := context.WithCancel(context.Background())
			end() // should it start after all, it ends at once
			code := run(ended, tc.args, noEnv, &stdout, &stderr)
			text := stderr.String()
			if code != tc.code || !strings.Contains(text, tc.want) || strings.Count(text, "\n") != 1 || stdout.Len() > 0 {
				t.Errorf("exit code %d, stderr %q, stdout %q; want %d and one line with %q", code, text, stdout.String(), tc.code, tc.want)
			}
		})
	}
}

func noEnv(string) string { return "" }

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	if code := run(context.Background(), []string{"--help"}, os.Getenv, &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Errorf("exit code %d, stderr %q; want 0 and nothing", code, stderr.String())
	}
	for _, want := range []string{"--state-dir", "--heal-after", "truncated-json", "find:"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("the help does not mention %s", want)
		}
	}
}

func TestSignalsEndItCleanly(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		process := exec.Command(os.Args[0], "--address", "127.0.0.1:0", "--state-dir", t.TempDir(), "--faults", "hang=100", "--seed", "5")
		process.Env = append(os.Environ(), "SANDBOX_TEST_RUN_MAIN=1", "CAPTURE_CLIENT_ID=i", "CAPTURE_CLIENT_SECRET=s")
		var stderr bytes.Buffer
		process.Stderr = &stderr
		output, err := process.StdoutPipe()
		must(t, err)
		must(t, process.Start())
		killer := time.AfterFunc(30*time.Second, func() { process.Process.Kill() })
		line, err := bufio.NewReader(output).ReadString('\n')
		if err != nil {
			t.Fatalf("no line: %v; stderr %q", err, stderr.String())
		}
		_, address, ok := strings.Cut(line, "listens on ")
		address, _, _ = strings.Cut(address, ",")
		if !ok {
			t.Fatalf("the line is %q; want one with the address", line)
		}
		request, err := http.NewRequest(http.MethodPost, address+"/entity.count", strings.NewReader("type_name=user"))
		must(t, err)
		request.SetBasicAuth("i", "s")
		response, err := http.DefaultClient.Do(request)
		must(t, err)
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if !strings.Contains(string(body), `"stat":"ok"`) {
			t.Errorf("entity.count: %s", body)
		}
		must(t, process.Process.Signal(signal))
		if err := process.Wait(); err != nil || stderr.Len() > 0 {
			t.Errorf("after %v: %v, stderr %q; want exit code 0 and nothing", signal, err, stderr.String())
		}
		killer.Stop()
	}
}

func TestTheSecretMayComeFromAFile(t *testing.T) {
	dir := t.TempDir()
	file, empty := filepath.Join(dir, "secret"), filepath.Join(dir, "empty")
	for path, content := range map[string]string{file: "from-file\n", empty: "\n"} {
		must(t, os.WriteFile(path, []byte(content), 0o600))
	}
	inEnvironment := func(name string) string { return map[string]string{"CAPTURE_CLIENT_SECRET": "from-env"}[name] }
	for _, c := range []struct {
		args []string
		want string // the secret, or what the error says
	}{
		{[]string{"--client-secret-file", file}, "from-file"},
		{[]string{"--client-secret-file", file, "--client-secret", "s"}, "expected one of them"},
		{[]string{"--client-secret-file", empty}, "is empty"},
		{[]string{"--client-secret-file", filepath.Join(dir, "no")}, "no such file"},
		{nil, "from-env"},
	} {
		o, err := parseOptions(append(c.args, "--client-id", "i", "--state-dir", dir), inEnvironment, io.Discard)
		if err != nil && !strings.Contains(err.Error(), c.want) || err == nil && o.ClientSecret != c.want {
			t.Errorf("%q: secret %q, error %v; want %q", c.args, o.ClientSecret, err, c.want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
