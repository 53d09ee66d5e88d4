package main

import (
	"io"
	"log/slog"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/telemetry"
	"durable-dataload/internal/terminal"
)

// process is what a command works with while it runs.
type process struct {
	screen    *terminal.Screen
	log       *slog.Logger
	telemetry *telemetry.Telemetry // nil: no metrics and no traces
	stop      <-chan struct{}      // closed at the first Ctrl-C
}

// command is what the options of a migration come to.
type command struct {
	process
	o           options
	inputs      []input
	several     bool // inputs were asked for, even if there is one
	mapping     *mapping.Mapping
	mappingText []byte         // nil with the built-in mapping
	notices     *notify.Sender // nil: this process sends no notices
}

// command finds and reads what complete options name.
func (o options) command(stdout, stderr io.Writer, getenv func(string) string) (c *command, err error) {
	c = &command{o: o}
	if c.notices, err = o.notify.Sender(getenv, o.insecureHTTP); err != nil {
		return nil, err
	}
	if c.mapping, c.mappingText, err = readMappingFile(o.mapping); err != nil {
		return nil, err
	}
	if c.inputs, c.several, err = o.find(); err != nil {
		return nil, err
	}
	c.screen = terminal.New(stdout, stderr, terminal.Options{JSON: o.json})
	return c, nil
}
