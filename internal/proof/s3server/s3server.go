// Package s3server runs a real S3 server for tests: Versity's gateway, over a
// plain folder. The object KEY of its bucket is the file bucket/KEY of the folder,
// so that a failing test can be inspected by reading files.
//
// The folder must be on a file system with extended user attributes, such as
// ext4, XFS, Btrfs, overlays of these, and, from Linux 6.6 on, tmpfs (see
// Usable). The gateway can also keep the metadata of objects in separate files,
// which works on every file system; this is not used, because an object and its
// metadata would not change together: a read during a replacement would return a
// wrong checksum, which no real store does.
package s3server

import (
	"context"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/proof/program"
)

// Version is that of github.com/versity/versitygw.
const Version = "v1.8.0"

const (
	source = "github.com/versity/versitygw/cmd/versitygw"
	bucket = "bucket"
	region = "us-east-1"
	health = "/health"

	accessKey = "invented-access-key"
)

// SecretKey is the key of test servers, on loopback. It represents a secret: no program
// may reveal it.
const SecretKey = "invented-secret-key"

// Wanted reports whether the environment asks for the tests that need a server:
// DATALOAD_TEST_S3=1. If set, a server that is not available is a failure;
// otherwise NotWanted is the reason for skipping.
func Wanted() bool { return os.Getenv("DATALOAD_TEST_S3") == "1" }

// NotWanted is why a test is skipped.
const NotWanted = "needs an S3 server; set DATALOAD_TEST_S3=1 to have one built and started"

// Install returns the path of the program, which it builds if necessary in the user's
// cache folder. The first build on a machine takes about a minute.
func Install(ctx context.Context) (string, error) {
	name := "versitygw-" + Version
	return program.Cached(name, func(dir string) error { return program.Install(ctx, dir, source, Version, name) })
}

// Server is a server with a bucket. It can be killed and started again.
type Server struct {
	// Address is where it listens, also when it is started again.
	Address string

	program, dir string
	process      *program.Process
}

// New makes a server, and its bucket, over a folder, which is made if it is not
// there. address is a free one on this machine; where it is empty one is chosen.
// The server is not started.
func New(path, dir, address string) (*Server, error) {
	if address == "" {
		free, err := program.FreeAddresses(1)
		if err != nil {
			return nil, err
		}
		address = free[0]
	}
	s := &Server{Address: address, program: path, dir: dir}
	if err := durablefs.MkdirAll(s.Path()); err != nil {
		return nil, err
	}
	return s, Usable(dir)
}

// URL is the name of a folder of the bucket, for package store.
func (s *Server) URL(folder string) string { return s.Through(s.Address, folder) }

// Through is the same by way of a proxy at another address.
func (s *Server) Through(address, folder string) string {
	return "s3://" + strings.TrimSuffix(bucket+"/"+folder, "/") + "?endpoint=http://" + address + "&region=" + region
}

// Proxy passes requests on to the server. Callers wrap it in what delays, counts or breaks them.
func (s *Server) Proxy() *httputil.ReverseProxy {
	return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: s.Address})
		r.Out.Host = r.In.Host // is signed
	}}
}

// Path is the file of an object, or the folder of those whose keys begin so.
func (s *Server) Path(key ...string) string {
	return filepath.Join(append([]string{s.dir, bucket}, key...)...)
}

// Environment has the credentials, for a program that uses the bucket.
func (s *Server) Environment() []string {
	return []string{"AWS_ACCESS_KEY_ID=" + accessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey}
}

// Command is the command of the server, for callers that start it themselves.
// Acknowledged writes survive a kill, but not a crash of the machine, since it does not
// fsync.
func (s *Server) Command() *exec.Cmd {
	c := exec.Command(s.program, "--port", s.Address, "--region", region, "--health", health, "--quiet", "--keep-alive",
		"posix", "--dir-perms", "0700", "--file-perms", "0600", s.dir)
	c.Env = []string{"HOME=" + s.dir, "ROOT_ACCESS_KEY_ID=" + accessKey, "ROOT_SECRET_ACCESS_KEY=" + SecretKey}
	return c
}

// Answers waits until the server answers.
func (s *Server) Answers(ctx context.Context) error {
	return program.Answers(ctx, name, s.health())
}

const name = "the S3 server"

func (s *Server) health() string { return "http://" + s.Address + health }

// Start starts the server, the first time or again, and waits until it answers.
func (s *Server) Start(ctx context.Context) (err error) {
	s.process, err = program.Start(ctx, name, s.Command(), s.health())
	return err
}

// Kill ends the server that Start has started, as the system would when memory is
// short. Without one it does nothing.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.Kill()
	}
}
