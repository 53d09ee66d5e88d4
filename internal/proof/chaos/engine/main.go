// Command engine runs the embedded Temporal service in a process of its own,
// so that the chaos harness can kill it and start it again on the same
// database. Its argument is the folder of the database. It prints its address and
// the file with the certificate of its clients.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"durable-dataload/internal/engine"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "engine: "+err.Error())
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("expected the folder of the database, found %d arguments", len(args))
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	e, err := engine.Start(ctx, args[0], nil, 0)
	if err != nil {
		return err
	}
	defer e.Stop()
	fmt.Println(e.Address().Frontend)
	fmt.Println(engine.ClientFile(args[0]))
	<-signals
	return nil
}
