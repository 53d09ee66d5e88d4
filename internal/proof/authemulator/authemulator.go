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
	folder := "firebase-tools-" + Version
	return program.Cached(folder, func(dir string) error {
		for _, tool := range []string{"node", "npm"} {
			if _, err := exec.LookPath(tool); err != nil {
				return &program.Unavailable{What: name, Why: "it needs Node.js 20 or later, and there is no " + tool}
			}
		}
		dir = filepath.Join(dir, folder)
		if err := durablefs.MkdirAll(dir); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"private":true}`), 0o600); err != nil {
			return err
		}
		err := program.Output(ctx, dir, nil, "npm", "install", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund",
			"--fetch-retries=2", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=5000", "firebase-tools@"+Version)
		if err != nil {
			return &program.Unavailable{What: name, Why: err.Error()}
		}
		return nil
	})
}

const name = "Google's Auth emulator"

// Path is that of the API, in its address.
const Path = "/identitytoolkit.googleapis.com"

// Server is an emulator without users.
type Server struct {
	// Address is that of the API, as a base URL.
	Address string

	installed, dir, host string
	process              *program.Process
}

// New makes an emulator of the folder that Install returned. It is not started. dir is for its own files.
func New(installed, dir string) (*Server, error) {
	free, err := program.FreeAddresses(1)
	if err != nil {
		return nil, err
	}
	s := &Server{Address: "http://" + free[0] + Path, installed: installed, dir: dir, host: free[0]}
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, err
	}
	return s, os.WriteFile(s.script(), script, 0o600)
}

func (s *Server) script() string { return filepath.Join(s.dir, "emulator.js") }

// Start makes an emulator, starts it, and waits until it answers.
func Start(ctx context.Context, installed, dir string) (*Server, error) {
	s, err := New(installed, dir)
	if err != nil {
		return nil, err
	}
	s.process, err = program.Start(ctx, name, s.Command(), s.health())
	return s, err
}

// Command is the emulator as a command, for a caller that starts it by other means than Start.
func (s *Server) Command() *exec.Cmd {
	_, port, _ := net.SplitHostPort(s.host) // New has made it
	cmd := exec.Command("node", s.script(), s.installed, port, Project)
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), "HOME="+s.dir)
	return cmd
}

// Answers waits until the emulator answers.
func (s *Server) Answers(ctx context.Context) error { return program.Answers(ctx, name, s.health()) }

func (s *Server) health() string { return "http://" + s.host + "/" }

// Kill ends the emulator that Start has started. Its users are gone.
func (s *Server) Kill() { s.process.Kill() }
