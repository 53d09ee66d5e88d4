package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"durable-dataload/internal/config"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/sandbox"
)

const (
	// sandboxFaults are the faults of the target of --sandbox. Most of them leave
	// a batch unknown, after all of it, half or nothing was written.
	sandboxFaults = "reset-after=4,partial-502=4,http503=2,api500-after=2,truncated-json=2,hang-after=1"
	sandboxSeed   = 8

	// The sandbox keeps its address: it is part of the identity of a migration. The
	// ports from here on are below those that systems assign.
	sandboxPort  = 9700
	sandboxPorts = 50

	// sandboxStart is how long a sandbox may take until it has an address.
	sandboxStart = 10 * time.Second
)

// localSandbox is sandbox.json: how to reach the sandbox of a state folder.
type localSandbox struct {
	Address  string `json:"address"`
	ClientID string `json:"client_id"`
	Secret   string `json:"secret"`
}

// openTarget runs the sandbox if that is the target, and takes its credentials.
// Another target needs nothing.
func (o *targetOptions) openTarget(stateDir string) (closeTarget func(), err error) {
	if !o.sandbox {
		return func() {}, nil
	}
	o.credentials, closeTarget, err = openSandbox(stateDir)
	return closeTarget, err
}

// openSandbox runs the sandbox of the state folder, or uses that of another process, and runs it from the end of that on.
func openSandbox(stateDir string) (credentials config.Credentials, closeSandbox func(), err error) {
	dir, file := sandboxDir(stateDir), sandboxFile(stateDir)
	if err := durablefs.MkdirAll(dir); err != nil {
		return credentials, nil, err
	}
	lock, err := lockSandbox(stateDir)
	for end := time.Now().Add(sandboxStart); errors.Is(err, durablefs.ErrLocked); lock, err = lockSandbox(stateDir) {
		local, err := readSandbox(file)
		if err == nil {
			return local.credentials(), inheritSandbox(stateDir), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || time.Now().After(end) {
			return credentials, nil, err
		}
		time.Sleep(20 * time.Millisecond) // its first process takes an address
	}
	if err != nil {
		return credentials, nil, err
	}
	local, server, err := startSandbox(dir, file)
	if err != nil {
		lock.Unlock()
		return credentials, nil, err
	}
	return local.credentials(), func() {
		_ = server.Close()
		lock.Unlock()
	}, nil
}

// inheritSandbox runs the sandbox as soon as no other process does, until closeSandbox.
func inheritSandbox(stateDir string) (closeSandbox func()) {
	closed, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			if lock, err := lockSandbox(stateDir); err == nil {
				if _, server, err := startSandbox(sandboxDir(stateDir), sandboxFile(stateDir)); err == nil {
					<-closed
					_ = server.Close()
					lock.Unlock()
					return
				}
				lock.Unlock()
			}
			select {
			case <-closed:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	return func() {
		close(closed)
		<-ended
	}
}

func (l localSandbox) credentials() config.Credentials {
	return config.Credentials{URI: "http://" + l.Address, ClientID: l.ClientID, Secret: l.Secret}
}

// startSandbox starts the existing sandbox at its address, or a new one at the first
// free address.
func startSandbox(dir, file string) (localSandbox, *sandbox.Server, error) {
	faults, err := sandbox.ParseFaults(sandboxFaults)
	if err != nil {
		return localSandbox{}, nil, err
	}
	start := func(l localSandbox) (*sandbox.Server, error) {
		return sandbox.Start(sandbox.Options{
			Address: l.Address, StateDir: sandboxRecords(dir),
			ClientID: l.ClientID, ClientSecret: l.Secret, Faults: faults, Seed: sandboxSeed,
		})
	}
	local, err := readSandbox(file)
	if err == nil {
		server, err := start(local)
		if err != nil {
			err = fmt.Errorf("%w; it may be the sandbox of another state folder: wait for it, or give another --state-dir, with a sandbox of its own", err)
		}
		return local, server, err
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return local, nil, err
	}
	local = localSandbox{ClientID: "sandbox", Secret: rand.Text()}
	for port := sandboxPort; port < sandboxPort+sandboxPorts; port++ {
		local.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		var server *sandbox.Server
		if server, err = start(local); err != nil {
			continue
		}
		data, err := json.Marshal(local)
		if err == nil {
			err = durablefs.WriteFile(file, data)
		}
		if err != nil {
			_ = server.Close()
		}
		return local, server, err
	}
	return local, nil, fmt.Errorf("the sandbox found no port from %d to %d: %w", sandboxPort, sandboxPort+sandboxPorts-1, err)
}

func sandboxDir(stateDir string) string { return filepath.Join(stateDir, "sandbox") }

func sandboxFile(stateDir string) string { return filepath.Join(sandboxDir(stateDir), "sandbox.json") }

// sandboxRecords is the folder with the records of a sandbox.
func sandboxRecords(dir string) string { return filepath.Join(dir, "entities") }

// lockSandbox takes the sandbox of a state folder, unless a process runs it.
func lockSandbox(stateDir string) (*durablefs.Lock, error) {
	return durablefs.TryLock(filepath.Join(sandboxDir(stateDir), "starter.lock"))
}

// isSandbox reports whether a target is the sandbox of the state folder.
func (l locations) isSandbox(t migration.Target) bool {
	local, err := readSandbox(sandboxFile(l.stateDir))
	return err == nil && t.URI == local.credentials().URI
}

func readSandbox(file string) (local localSandbox, err error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return local, err
	}
	if err := json.Unmarshal(data, &local); err != nil {
		return local, fmt.Errorf("%s is damaged (%w); expected JSON as this program writes it; give another --state-dir", file, err)
	}
	return local, nil
}
