// Package fleet runs the Temporal service of docker-compose.yml without
// containers: Temporal's server and schema tool are built from their modules, and
// PostgreSQL is the one installed on this machine. The scripts, environment, health
// checks and retention are taken from the file, so that a mistake in it shows
// here. Only addresses and paths differ.
package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	"durable-dataload/internal/proof/program"
)

const (
	serverModule = "go.temporal.io/server"
	server       = "temporal-server" // as the image names them
	schemaTool   = "temporal-sql-tool"
)

// ports are what the service listens on besides its database, by the variables
// of its configuration.
var ports = []string{
	"FRONTEND_GRPC_PORT", "FRONTEND_HTTP_PORT", "FRONTEND_MEMBERSHIP_PORT", "MATCHING_GRPC_PORT", "MATCHING_MEMBERSHIP_PORT",
	"HISTORY_GRPC_PORT", "HISTORY_MEMBERSHIP_PORT", "WORKER_GRPC_PORT", "WORKER_MEMBERSHIP_PORT",
}

// Ports is how many a service needs.
var Ports = 1 + len(ports)

// ready is how long something may take until it answers for the first time.
const ready = time.Minute

// Build builds the server and its schema tool into a folder, at the version
// that go.mod names: with the dependencies of their own module, as Temporal
// releases them, since ours does not have what only they need. It must be the
// version of the images.
func Build(ctx context.Context, dir string) error {
	version, err := goList(ctx, "{{.Version}}", serverModule)
	if err != nil {
		return err
	}
	top, err := goList(ctx, "{{.Dir}}", "durable-dataload")
	if err != nil {
		return err
	}
	file, err := readCompose(top)
	if err != nil {
		return err
	}
	for name, image := range map[string]string{"temporal": "temporalio/server:", "temporal-schema": "temporalio/admin-tools:"} {
		if got, want := file.Services[name].Image, image+strings.TrimPrefix(version, "v"); got != want {
			return fmt.Errorf("the service %s of docker-compose.yml has the image %s, expected %s: go.mod has %s %s; change one of the two", name, got, want, serverModule, version)
		}
	}
	for path, name := range map[string]string{"/cmd/server": server, "/cmd/tools/sql": schemaTool} {
		if err := program.Install(ctx, dir, serverModule+path, version, name); err != nil {
			return err
		}
	}
	return nil
}

func goList(ctx context.Context, format, module string) (string, error) {
	output, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", format, module).Output()
	if err != nil {
		return "", fmt.Errorf("go list -m %s: %w; run this in the project's folder", module, err)
	}
	return strings.TrimSpace(string(output)), nil
}

// Service is a service whose processes the caller starts, and may kill and restart:
// first Database, then, after MakeSchemas, Server; after MakeNamespace it is complete.
type Service struct {
	// Address is where the server listens.
	Address string

	file      compose
	module    string // the folder of Temporal's sources
	env       []string
	script    string
	retention time.Duration
	probe     *url.URL
	database  *database
}

// New makes a service with a database in a folder that does not exist yet.
// programs is the folder that Build has filled; addresses are as many as Ports,
// on loopback. The folder that dir is in must be open to all users (mode 0711)
// where this process is root: the database does not run as root.
func New(ctx context.Context, programs, dir string, addresses []string) (*Service, error) {
	top, err := goList(ctx, "{{.Dir}}", "durable-dataload")
	if err != nil {
		return nil, err
	}
	s := &Service{Address: addresses[1]}
	if s.module, err = goList(ctx, "{{.Dir}}", serverModule); err != nil {
		return nil, err
	}
	if s.file, err = readCompose(top); err != nil {
		return nil, err
	}
	if s.database, err = newDatabase(ctx, dir, addresses[0], s.file.Services["postgres"]); err != nil {
		return nil, err
	}
	return s, s.configure(top, programs, addresses[1:])
}

// configure takes from the file what the server is started with.
func (s *Service) configure(top, programs string, addresses []string) (err error) {
	temporal := s.file.Services["temporal"]
	s.env = []string{"PATH=" + programs + ":" + os.Getenv("PATH")}
	here := map[string]string{"POSTGRES_SEEDS": s.database.host, "DB_PORT": s.database.port, "BIND_ON_IP": s.database.host}
	for i, name := range ports {
		_, port, err := net.SplitHostPort(addresses[i])
		if err != nil {
			return err
		}
		here[name] = port
	}
	for name, value := range temporal.Environment {
		if _, other := here[name]; !other {
			if value, err = temporal.onThisMachine(value, top); err != nil {
				return err
			}
			here[name] = value
		}
	}
	for name, value := range here {
		s.env = append(s.env, name+"="+value)
	}
	if s.script, err = temporal.script(map[string]string{secretFile: s.database.passwordFile(), "/etc/temporal/entrypoint.sh": server + " start"}); err != nil {
		return err
	}
	test := temporal.Healthcheck.Test
	if len(test) == 0 {
		return errors.New("temporal in docker-compose.yml has no health check; expected one that ends with a URL")
	}
	if s.probe, err = url.Parse(test[len(test)-1]); err != nil {
		return fmt.Errorf("the health check of temporal in docker-compose.yml ends with no URL: %w", err)
	}
	s.probe.Host = addresses[1]
	retention := regexp.MustCompile(`--retention (\S+)`).FindStringSubmatch(strings.Join(s.file.Services["temporal-namespace"].Command, "\n"))
	if retention == nil {
		return errors.New("temporal-namespace in docker-compose.yml makes no namespace with a --retention")
	}
	s.retention, err = time.ParseDuration(retention[1])
	return err
}

// Database is the command of the database. It ends in order by an interrupt.
func (s *Service) Database() *exec.Cmd { return s.database.server() }

// Data is the folder with all that the database keeps.
func (s *Service) Data() string { return s.database.data() }

// MakeSchemas waits for the database and does what the schema job does. Then it
// disables compression of values, so that a search in the files of the database finds
// them.
func (s *Service) MakeSchemas(ctx context.Context) error {
	if err := s.database.answers(ctx); err != nil {
		return err
	}
	job := s.file.Services["temporal-schema"]
	script, err := job.script(map[string]string{secretFile: s.database.passwordFile(), "/etc/temporal/schema": filepath.Join(s.module, "schema")})
	if err != nil {
		return err
	}
	command := exec.CommandContext(ctx, "sh", "-eu", "-c", script)
	command.Env = []string{
		s.env[0], "SQL_HOST=" + s.database.host, "SQL_PORT=" + s.database.port,
		"SQL_PLUGIN=" + job.Environment["SQL_PLUGIN"], "SQL_USER=" + job.Environment["SQL_USER"],
	}
	if err := run(command); err != nil {
		return fmt.Errorf("the script of temporal-schema in docker-compose.yml fails: %w", err)
	}
	for _, name := range []string{"temporal", "temporal_visibility"} {
		if err := s.database.do(ctx, name, storeAsTheyAre); err != nil {
			return err
		}
	}
	return nil
}

const storeAsTheyAre = `DO $$ DECLARE c record; BEGIN
	FOR c IN SELECT attrelid::regclass AS t, attname AS a FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
		WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND attnum > 0 AND attstorage = 'x' AND NOT attisdropped
	LOOP EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STORAGE EXTERNAL', c.t, c.a); END LOOP; END $$`

// Server is the command of the server. What is sent to its process reaches the
// server: the shell becomes it.
func (s *Service) Server() *exec.Cmd {
	c := exec.Command("sh", "-eu", "-c", s.script)
	c.Env = s.env
	return c
}

// Answers waits until the server passes its health check.
func (s *Service) Answers(ctx context.Context) error {
	return until(ctx, "the health check of temporal", func(ctx context.Context) error { return program.Healthy(ctx, s.probe.String()) })
}

// MakeNamespace does what the namespace job does, with the retention that is in
// its script, and ends, as it, when the whole service knows the namespace. (The
// temporal tool itself cannot be installed as a module.)
func (s *Service) MakeNamespace(ctx context.Context) error {
	options := client.Options{HostPort: s.Address}
	namespaces, err := client.NewNamespaceClient(options)
	if err != nil {
		return err
	}
	defer namespaces.Close()
	err = namespaces.Register(ctx, &workflowservice.RegisterNamespaceRequest{
		Namespace: client.DefaultNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(s.retention),
	})
	var exists *serviceerror.NamespaceAlreadyExists
	if err != nil && !errors.As(err, &exists) {
		return err
	}
	c, err := client.DialContext(ctx, options)
	if err != nil {
		return err
	}
	defer c.Close()
	return until(ctx, "a list of the namespace's workflows", func(ctx context.Context) error {
		_, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1})
		return err
	})
}

// until tries something until it works.
func until(ctx context.Context, what string, try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, ready)
	defer cancel()
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited %s for %s: %w", ready, what, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
