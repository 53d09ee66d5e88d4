// Command serve runs a real Ory Kratos on this machine, with an empty database, to try a migration on:
//
//	go run ./internal/proof/kratos/serve
//
// It builds the server the first time, for which it needs a C compiler and some minutes. Its admin API is at
// http://127.0.0.1:4434. It ends with Ctrl-C, and its users with it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"

	"durable-dataload/internal/proof/kratos"
)

func main() {
	if err := run(os.Args[1:]); err != nil && !errors.Is(err, pflag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "serve: "+err.Error())
		os.Exit(1)
	}
}

func run(args []string) error {
	f := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	admin := f.Uint16("admin-port", 4434, "port of the admin API")
	public := f.Uint16("public-port", 4433, "port of the public API")
	if err := f.Parse(args); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintln(os.Stderr, "Building Ory Kratos "+kratos.Version+", unless it was built before …")
	program, err := kratos.Install(ctx)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "kratos-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	server, err := kratos.New(ctx, program, dir)
	if err != nil {
		return err
	}
	server.Admin, server.Public = fmt.Sprintf("http://127.0.0.1:%d", *admin), fmt.Sprintf("http://127.0.0.1:%d", *public)
	if err := server.Start(ctx); err != nil {
		return err
	}
	defer server.Kill()
	fmt.Printf("Ory Kratos %s: its admin API is at %s. Ctrl-C ends it, and its users with it.\n", kratos.Version, server.Admin)
	<-ctx.Done()
	return nil
}
