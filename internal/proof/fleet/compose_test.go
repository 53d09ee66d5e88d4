package fleet

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var addresses = []string{
	"127.0.0.1:1000", "127.0.0.1:1001", "127.0.0.1:1002", "127.0.0.1:1003", "127.0.0.1:1004",
	"127.0.0.1:1005", "127.0.0.1:1006", "127.0.0.1:1007", "127.0.0.1:1008", "127.0.0.1:1009",
}

// What docker-compose.yml says can be done on this machine: nothing is left
// that only its containers have.
func TestTheServerStartsAsTheFileSays(t *testing.T) {
	top, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	file, err := readCompose(top)
	if err != nil {
		t.Fatal(err)
	}
	s := &Service{file: file, database: &database{dir: "/here/postgres", host: "127.0.0.1", port: "1000"}}
	if err := s.configure(top, "/here/bin", addresses[1:]); err != nil {
		t.Fatal(err)
	}
	if want := 30 * 24 * time.Hour; s.retention != want {
		t.Errorf("the namespace keeps what has ended for %s, want %s", s.retention, want)
	}
	if want := "http://127.0.0.1:1002/api/v1/system-info"; s.probe.String() != want {
		t.Errorf("the health check asks %s, want %s", s.probe, want)
	}
	server := s.Server()
	for _, want := range []string{
		"DB=postgres12", "DB_PORT=1000", "POSTGRES_SEEDS=127.0.0.1", "BIND_ON_IP=127.0.0.1", "FRONTEND_GRPC_PORT=1001", "WORKER_MEMBERSHIP_PORT=1009",
		"DYNAMIC_CONFIG_FILE_PATH=" + filepath.Join(top, "deploy/compose/dynamicconfig.yaml"),
	} {
		if !slices.Contains(server.Env, want) {
			t.Errorf("the environment is %q, want %s in it", server.Env, want)
		}
	}
	for _, text := range append(slices.Clone(server.Env[1:]), server.Args...) {
		if strings.Contains(text, "/run/") || strings.Contains(text, "/etc/temporal") || strings.Contains(text, "$$") {
			t.Errorf("%q names what is only in a container", text)
		}
	}
	if len(addresses) != Ports {
		t.Errorf("a service takes %d ports, the test gives %d", Ports, len(addresses))
	}
}

func TestWhatCannotBeDoneHereIsSaid(t *testing.T) {
	good := composed{Image: "image:1", Entrypoint: []string{"sh", "-eu", "-c"}, Command: []string{`cat "$$A" /there/secret`}}
	script, err := good.script(map[string]string{"/there/secret": "/here/secret"})
	if want := `cat "$A" /here/secret`; err != nil || script != want {
		t.Errorf("%q, %v; want %q", script, err, want)
	}
	if _, err := good.script(map[string]string{"/there/other": "/here"}); err == nil || !strings.Contains(err.Error(), "/there/other") {
		t.Errorf("a path that the script does not use: %v; want it named", err)
	}
	other := good
	other.Entrypoint = []string{"bash"}
	if _, err := other.script(nil); err == nil || !strings.Contains(err.Error(), "expected sh -eu -c") {
		t.Errorf("another shell: %v; want what was expected", err)
	}
	if _, err := good.onThisMachine("/etc/x.yaml", "/top"); err == nil || !strings.Contains(err.Error(), "mounts nothing there") {
		t.Errorf("a file that is not mounted: %v; want that said", err)
	}
	if value, err := good.onThisMachine("warn", "/top"); err != nil || value != "warn" {
		t.Errorf("%q, %v; want a value that is no path as it is", value, err)
	}
}

func TestTheNewestPostgreSQLIsTaken(t *testing.T) {
	if a, b := major("/usr/lib/postgresql/9/bin/initdb"), major("/usr/lib/postgresql/17/bin/initdb"); a != 9 || b != 17 {
		t.Errorf("%d and %d, want 9 and 17", a, b)
	}
}
