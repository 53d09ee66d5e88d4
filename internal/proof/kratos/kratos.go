// Package kratos runs a real Ory Kratos for tests, over a database in a file. It is built from its module, in a module of
// its own.
package kratos

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/proof/program"
)

// Version is that of github.com/ory/kratos in kratos.mod.
const Version = "v1.3.1"

const name = "Ory Kratos"

var (
	//go:embed kratos.mod
	module []byte
	//go:embed kratos.yml
	config string
	//go:embed schema.json
	schema []byte
)

// Install returns the path of the program, which it builds if necessary in the user's cache folder: two to three minutes on
// two cores, once. Where the modules, or a C compiler, cannot be had, the error is a *program.Unavailable.
func Install(ctx context.Context) (string, error) {
	file := fmt.Sprintf("kratos-%s-%x", Version, sha256.Sum256(module))[:len("kratos-"+Version)+9] // another module is another program
	return program.Cached(file, func(dir string) error {
		if _, err := exec.LookPath("cc"); err != nil {
			return &program.Unavailable{What: name, Why: "its SQLite needs a C compiler, and there is no cc"}
		}
		if err := os.WriteFile(filepath.Join(dir, "go.mod"), module, 0o600); err != nil {
			return err
		}
		// -mod=mod completes go.mod and go.sum; what is downloaded is verified by the checksum database.
		env := []string{"GOFLAGS=-mod=mod -trimpath", "GOWORK=off", "CGO_ENABLED=1"}
		if err := program.Output(ctx, dir, env, "go", "list", "-deps", "-tags", "sqlite", "github.com/ory/kratos"); err != nil {
			return &program.Unavailable{What: name, Why: err.Error()}
		}
		return program.Output(ctx, dir, env, "go", "build", "-tags", "sqlite", "-ldflags", "-s -w", "-o", file, "github.com/ory/kratos")
	})
}

// Server is a server with an empty database. It can be killed and started again.
type Server struct {
	// Admin and Public are the addresses of its two APIs, also when it is started again.
	Admin, Public string

	program, dir string
	process      *program.Process
}

// New makes a server, and its database, in a folder. It is not started.
func New(ctx context.Context, path, dir string) (*Server, error) {
	free, err := program.FreeAddresses(2)
	if err != nil {
		return nil, err
	}
	s := &Server{Admin: "http://" + free[0], Public: "http://" + free[1], program: path, dir: dir}
	if err := durablefs.MkdirAll(dir); err != nil {
		return nil, err
	}
	for name, content := range map[string][]byte{
		"schema.json": schema, "kratos.yml": []byte(strings.ReplaceAll(config, "SCHEMA", s.path("schema.json"))),
	} {
		if err := os.WriteFile(s.path(name), content, 0o600); err != nil {
			return nil, err
		}
	}
	return s, program.Output(ctx, dir, s.environment(), path, "migrate", "sql", "-c", s.path("kratos.yml"), "-e", "--yes")
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }

func (s *Server) environment() []string {
	env := []string{"HOME=" + s.dir, "DSN=sqlite://" + s.path("kratos.sqlite") + "?_fk=true"}
	for api, address := range map[string]string{"ADMIN": s.Admin, "PUBLIC": s.Public} {
		u, err := url.Parse(address)
		if err != nil {
			panic(err) // it was made by New
		}
		env = append(env, fmt.Sprintf("SERVE_%s_PORT=%s", api, u.Port()), fmt.Sprintf("SERVE_%s_BASE_URL=%s/", api, address))
	}
	return env
}

// Start starts the server, the first time or again, and waits until it answers.
func (s *Server) Start(ctx context.Context) (err error) {
	s.process, err = program.Start(ctx, name, s.Command(), s.health())
	return err
}

// Command is the server as a command, for a caller that starts and kills it by other means than Start and Kill.
func (s *Server) Command() *exec.Cmd {
	cmd := exec.Command(s.program, "serve", "-c", s.path("kratos.yml"), "--sqa-opt-out", "--dev")
	cmd.Dir, cmd.Env = s.dir, append(os.Environ(), s.environment()...)
	return cmd
}

// Answers waits until the server answers.
func (s *Server) Answers(ctx context.Context) error { return program.Answers(ctx, name, s.health()) }

func (s *Server) health() string { return s.Admin + "/health/ready" }

// Kill ends the server that Start has started, as the system would when memory is short. Acknowledged writes survive it.
// Without one it does nothing.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.Kill()
	}
}
