package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"durable-dataload/internal/durablefs"
)

func TestSandboxResetRemovesTheRecords(t *testing.T) {
	state := t.TempDir()
	if code, stdout, stderr := starter("sandbox", "reset", "--state-dir", state); code != 0 || !strings.Contains(stdout, "has no sandbox") {
		t.Errorf("without a sandbox: code %d, %q, %q", code, stdout, stderr)
	}
	_, closeSandbox, err := openSandbox(state)
	must(t, err)
	entities := filepath.Join(state, "sandbox", "entities")
	if code, _, stderr := starter("sandbox", "reset", "--state-dir", state); code != 1 || !strings.Contains(stderr, "a process runs the sandbox") {
		t.Errorf("while it runs: code %d, %q; want 1 and why", code, stderr)
	}
	closeSandbox()
	must(t, durablefs.MkdirAll(entities))
	must(t, os.WriteFile(filepath.Join(entities, "x"), nil, 0o600))
	before, err := readSandbox(filepath.Join(state, "sandbox", "sandbox.json"))
	must(t, err)
	if code, stdout, stderr := starter("sandbox", "reset", "--state-dir", state); code != 0 || stdout != "The sandbox is empty.\n" {
		t.Errorf("code %d, %q, %q", code, stdout, stderr)
	}
	if _, err := os.Stat(entities); !os.IsNotExist(err) {
		t.Errorf("the records are still there: %v", err)
	}
	if after, err := readSandbox(filepath.Join(state, "sandbox", "sandbox.json")); err != nil || after != before {
		t.Errorf("its address is %+v, %v; want that of before", after, err)
	}
}

func TestTwoCommandsMayBeTheFirstOfASandbox(t *testing.T) {
	state := t.TempDir()
	must(t, durablefs.MkdirAll(sandboxDir(state)))
	starting, err := lockSandbox(state) // by another process, which has no address yet
	must(t, err)
	defer starting.Unlock()
	started := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		started <- durablefs.WriteFile(sandboxFile(state), []byte(`{"address":"127.0.0.1:9700"}`))
	}()
	found, closeSandbox, err := openSandbox(state)
	must(t, err)
	closeSandbox()
	if found.URI != "http://127.0.0.1:9700" {
		t.Errorf("%q; want the sandbox of the other process", found.URI)
	}
	must(t, <-started)
}

func TestTheSandboxOutlivesTheCommandThatStartedIt(t *testing.T) {
	state := t.TempDir()
	_, closeFirst, err := openSandbox(state)
	must(t, err)
	second, closeSecond, err := openSandbox(state)
	must(t, err)
	closeFirst()
	address := strings.TrimPrefix(second.URI, "http://")
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the sandbox is gone with the command that started it: %v", err)
		}
	}
	closeSecond()
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("it still runs when nobody uses it")
	}
	_, closeThird, err := openSandbox(state)
	must(t, err)
	closeThird()
}
