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

	"durable-dataload/internal/config"
	"durable-dataload/internal/private"
	"durable-dataload/internal/sandbox"
)

const (
	// sandboxFaults are what the target of --sandbox does to a migration. Most
	// of them leave a batch unknown, after writing all of it, half or nothing.
	sandboxFaults = "reset-after=4,partial-502=4,http503=2,api500-after=2,truncated-json=2,hang-after=1"
	sandboxSeed   = 7

	// The sandbox keeps its address, since a migration belongs to it. The
	// first free port from here on is below those that systems give out.
	sandboxPort  = 9700
	sandboxPorts = 50
)

// localSandbox is what is kept of the sandbox of a state folder.
type localSandbox struct {
	Address  string `json:"address"`
	ClientID string `json:"client_id"`
	Secret   string `json:"secret"`
}

// openSandbox runs the sandbox of the state folder, or finds the one that
// another starter runs on it.
func openSandbox(stateDir string) (config.Credentials, func(), error) {
	dir := filepath.Join(stateDir, "sandbox")
	if err := private.MkdirAll(dir); err != nil {
		return config.Credentials{}, nil, err
	}
	lock, err := private.TryLock(filepath.Join(dir, "starter.lock"))
	shared := errors.Is(err, private.ErrLocked)
	if err != nil && !shared {
		return config.Credentials{}, nil, err
	}
	local, err := loadSandbox(filepath.Join(dir, "sandbox.json"))
	if err != nil {
		lock.Unlock()
		return config.Credentials{}, nil, err
	}
	credentials := config.Credentials{URI: "http://" + local.Address, ClientID: local.ClientID, Secret: local.Secret}
	if shared {
		return credentials, func() {}, nil
	}
	faults, err := sandbox.ParseFaults(sandboxFaults)
	if err != nil {
		lock.Unlock()
		return credentials, nil, err
	}
	server, err := sandbox.Start(sandbox.Options{
		Address: local.Address, StateDir: filepath.Join(dir, "entities"),
		ClientID: local.ClientID, ClientSecret: local.Secret, Faults: faults, Seed: sandboxSeed,
	})
	if err != nil {
		lock.Unlock()
		return credentials, nil, fmt.Errorf("%w; or give another --state-dir", err)
	}
	return credentials, func() {
		_ = server.Close()
		lock.Unlock()
	}, nil
}

// loadSandbox gives the sandbox of before, or makes up a new one.
func loadSandbox(path string) (local localSandbox, err error) {
	data, err := os.ReadFile(path)
	if err == nil {
		if err := json.Unmarshal(data, &local); err != nil {
			return local, fmt.Errorf("%s is damaged (%w); expected JSON as this program writes it; give another --state-dir", path, err)
		}
		return local, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return local, err
	}
	address, err := freeAddress()
	if err != nil {
		return local, err
	}
	local = localSandbox{Address: address, ClientID: "sandbox", Secret: rand.Text()}
	if data, err = json.Marshal(local); err != nil {
		return local, err
	}
	return local, private.WriteFile(path, data)
}

func freeAddress() (string, error) {
	for port := sandboxPort; port < sandboxPort+sandboxPorts; port++ {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if l, err := net.Listen("tcp", address); err == nil {
			return address, l.Close()
		}
	}
	return "", fmt.Errorf("no port from %d to %d is free for the sandbox; end what uses them", sandboxPort, sandboxPort+sandboxPorts-1)
}
