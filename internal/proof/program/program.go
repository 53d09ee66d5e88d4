// Package program has the common parts of the external programs that tests and
// the harness run: building them from their modules, their addresses, and ending
// them with the process that started them.
package program

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
)

// Install builds a program of a module into a folder, under a name, at a version
// of the module and with the dependencies of the module itself: ours does not
// have what only the program needs.
func Install(ctx context.Context, dir, source, version, name string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "go", "install", source+"@"+version)
	command.Dir, command.Env = dir, append(os.Environ(), "GOBIN="+dir)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s %s: go install: %w\n%s", name, version, err, output)
	}
	return os.Rename(filepath.Join(dir, path.Base(source)), filepath.Join(dir, name))
}

// nextPort separates concurrent callers.
var nextPort atomic.Int64

// FreeAddresses returns local addresses with ports below the ephemeral range, so that
// nothing takes them while nothing listens: a killed program can listen there again.
func FreeAddresses(n int) ([]string, error) {
	var addresses []string
	for range 10000 {
		if len(addresses) == n {
			return addresses, nil
		}
		address := net.JoinHostPort("127.0.0.1", strconv.FormatInt(20000+(int64(os.Getpid())*37+nextPort.Add(1))%10000, 10))
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			addresses = append(addresses, address)
		}
	}
	return nil, errors.New("no ports from 20000 to 30000 are free")
}

// ServiceFlags are the options of a starter or worker that uses the Temporal
// service at an address, with the certificate in a file as the embedded engine
// writes it; "" is a service that asks for none.
func ServiceFlags(address, clientFile string) []string {
	flags := []string{"--address", address}
	if clientFile != "" {
		flags = append(flags, "--tls-cert-path", clientFile, "--tls-key-path", clientFile, "--tls-ca-path", clientFile)
	}
	return flags
}

// Healthy asks a program's health check, and returns an error unless the answer is 200.
func Healthy(ctx context.Context, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

const longVariable = "DATALOAD_TEST_LONG"

// RunsLong reports whether long tests run too, as in continuous integration.
func RunsLong() bool { return os.Getenv(longVariable) != "" }

// Long skips such a test elsewhere.
func Long(t testing.TB) {
	t.Helper()
	if !RunsLong() {
		t.Skip("takes long; set " + longVariable + "=1 to run it")
	}
}

// memory is where Linux has a file system in memory.
const memory = "/dev/shm"

// Memory is a folder in memory, or "" where the system has none: for tests and
// harnesses that kill processes, which lose nothing of what they wrote to a file
// system. An fsync on a disk that others use can take seconds.
func Memory() string {
	probe, err := os.MkdirTemp(memory, "durable-dataload-probe-")
	if err != nil {
		return ""
	}
	_ = os.Remove(probe)
	return memory
}

// UseMemory puts the temporary folders of this process into memory, those of its
// tests too. It is called by a TestMain.
func UseMemory() {
	if dir := Memory(); dir != "" && os.Getenv("TMPDIR") == "" {
		_ = os.Setenv("TMPDIR", dir)
	}
}
