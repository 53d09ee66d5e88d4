package fleet

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// database is a PostgreSQL with a separate folder, on loopback.
type database struct {
	programs, dir string
	host, port    string
	user          string
	as            *syscall.Credential // nil: as this process
	ready         []string            // the health check's command
}

// newDatabase makes a database in a folder that does not exist yet, as its
// image does with this environment. It is not started.
func newDatabase(ctx context.Context, dir, address string, service composed) (*database, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d := &database{dir: dir, host: host, port: port, user: service.Environment["POSTGRES_USER"]}
	test := service.Healthcheck.Test
	if len(test) < 2 || test[0] != "CMD" || d.user == "" {
		return nil, fmt.Errorf("postgres in docker-compose.yml has the health check %q and the user %q; expected CMD with a command, and a user", test, d.user)
	}
	d.ready = append(slices.Clone(test[1:]), "--port="+port)
	if d.programs, err = findPostgres(ctx); err != nil {
		return nil, err
	}
	if err := errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(d.passwordFile(), []byte(rand.Text()), 0o600)); err != nil {
		return nil, err
	}
	if err := d.giveAway(); err != nil {
		return nil, err
	}
	arguments := []string{"--pgdata", d.data(), "--username", d.user, "--pwfile", d.passwordFile(), "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale"}
	arguments = append(arguments, strings.Fields(service.Environment["POSTGRES_INITDB_ARGS"])...)
	return d, run(d.command(ctx, "initdb", arguments...))
}

func (d *database) data() string         { return filepath.Join(d.dir, "data") }
func (d *database) passwordFile() string { return filepath.Join(d.dir, "password") }

// giveAway makes the folder that of a user without privileges, where this
// process is root: PostgreSQL does not run as root.
func (d *database) giveAway() error {
	if os.Getuid() != 0 {
		return nil
	}
	owner, err := user.Lookup("postgres")
	if err != nil {
		return fmt.Errorf("PostgreSQL does not run as root, and the user of Debian's package is not there: %w", err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	gid, err := strconv.Atoi(owner.Gid)
	if err != nil {
		return err
	}
	d.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return errors.Join(os.Chown(d.dir, uid, gid), os.Chown(d.passwordFile(), uid, gid))
}

// command is one of PostgreSQL's programs, as the owner of the folder.
func (d *database) command(ctx context.Context, name string, arguments ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, filepath.Join(d.programs, name), arguments...)
	c.Dir, c.Env = d.dir, []string{"PATH=" + os.Getenv("PATH")}
	if d.as != nil {
		c.SysProcAttr = &syscall.SysProcAttr{Credential: d.as}
	}
	return c
}

// server is the database itself. It does not end with a context.
func (d *database) server() *exec.Cmd {
	return d.command(context.Background(), "postgres", "-D", d.data(), "-p", d.port, "-c", "listen_addresses="+d.host, "-c", "unix_socket_directories=")
}

func (d *database) answers(ctx context.Context) error {
	return until(ctx, "the health check of postgres", func(ctx context.Context) error {
		return run(d.command(ctx, d.ready[0], d.ready[1:]...))
	})
}

// do has a statement carried out.
func (d *database) do(ctx context.Context, name, statement string) error {
	password, err := os.ReadFile(d.passwordFile())
	if err != nil {
		return err
	}
	c := d.command(ctx, "psql", "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--host="+d.host, "--port="+d.port, "--username="+d.user, "--dbname="+name, "--command="+statement)
	c.Env = append(c.Env, "PGPASSWORD="+string(password))
	return run(c)
}

// run runs a command; its error includes the output.
func run(c *exec.Cmd) error {
	if output, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(c.Path), err, output)
	}
	return nil
}

// findPostgres returns the folder of PostgreSQL's programs: the newest of
// Debian's, or where the PATH has them. Where there are none, and this is root
// on a Debian, they are installed.
func findPostgres(ctx context.Context) (string, error) {
	if dir, ok := postgresHere(); ok {
		return dir, nil
	}
	if _, err := exec.LookPath("apt-get"); err == nil && os.Getuid() == 0 {
		for _, arguments := range [][]string{{"update"}, {"install", "--yes", "--no-install-recommends", "postgresql"}} {
			c := exec.CommandContext(ctx, "apt-get", arguments...)
			c.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
			if err := run(c); err != nil {
				return "", err
			}
		}
	}
	if dir, ok := postgresHere(); ok {
		return dir, nil
	}
	return "", errors.New("PostgreSQL's initdb is neither in /usr/lib/postgresql nor in the PATH; install it (Debian: apt-get install postgresql)")
}

func postgresHere() (string, bool) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	slices.SortFunc(found, func(a, b string) int { return major(a) - major(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), true
	}
	path, err := exec.LookPath("initdb")
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	return filepath.Dir(path), err == nil
}

// major is the version in /usr/lib/postgresql/17/bin/initdb.
func major(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}
