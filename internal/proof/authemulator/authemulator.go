// Package authemulator runs Google's emulator of Firebase Authentication, which is that of Identity Platform, for tests. It
// keeps users in memory.
package authemulator

import (
	"context"
	_ "embed"
	"net"
	"os"
	"os/exec"
	"path/filepath"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/proof/program"
)

// Version is that of the npm package firebase-tools.
const Version = "15.34.2"

// Project is the only project. Names with demo- never lead to a real one.
const Project = "demo-dataload"

//go:embed emulator.js
var script []byte

// Install returns the folder of the emulator, which it downloads if necessary into the user's cache folder: 250 MB, less
// than a minute, once. Where there is no Node.js, or no npm registry, the error is a *program.Unavailable.
func Install(ctx context.Context) (string, error) {
	name := "firebase-tools-" + Version
	return program.Cached(name, func(dir string) error {
		for _, tool := range []string{"node", "npm"} {
			if _, err := exec.LookPath(tool); err != nil {
				return &program.Unavailable{What: "Google's Auth emulator", Why: "it needs Node.js 20 or later, and there is no " + tool}
			}
		}
		dir = filepath.Join(dir, name)
		if err := durablefs.MkdirAll(dir); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true}`), 0o600); err != nil {
			return err
		}
		err := program.Output(ctx, dir, nil, "npm", "install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund",
			"--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", "firebase-tools@"+Version)
		if err != nil {
			return &program.Unavailable{What: "Google's Auth emulator", Why: err.Error()}
		}
		return nil
	})
}

// Server is a running emulator.
type Server struct {
	// Address is that of the API, as a base URL.
	Address string

	process *program.Process
}

// Start starts an emulator without users, from the folder that Install returned, and waits until it answers. dir is for its
// own files.
func Start(ctx context.Context, installed, dir string) (*Server, error) {
	free, err := program.FreeAddresses(1)
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(free[0])
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "emulator.js")
	if err := os.WriteFile(path, script, 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command("node", path, installed, port, Project)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "HOME="+dir)
	s := &Server{Address: "http://" + free[0] + "/identitytoolkit.googleapis.com"}
	s.process, err = program.Start(ctx, "Google's Auth emulator", cmd, "http://"+free[0]+"/")
	return s, err
}

// Kill ends the emulator. Its users are gone.
func (s *Server) Kill() { s.process.Kill() }
