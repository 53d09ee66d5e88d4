package main

import (
	"io"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/notify"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
)

// command is what is made of the options of a migration.
type command struct {
	session.Process
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
	c.Screen = terminal.New(stdout, stderr, terminal.Options{JSON: o.json})
	return c, nil
}
