package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
)

// dataFile is the plain file of one migration.
type dataFile struct {
	path         string // absolute, or a URL
	here         string // a file of this machine with the same content; empty where there is none
	shown        string // its name in messages
	name, origin string // those of the spec; empty for a file that is read in place
	sha256       string // of a staged file; empty if it is not known yet
	size         int64  // of here
}

// inputName is the name in the workflow id.
func (f dataFile) inputName() string {
	if f.name != "" {
		return f.name
	}
	return store.Base(f.path)
}

// near is the path from which this process reads the file.
func (f dataFile) near() string { return cmp.Or(f.here, f.path) }

// input is the file as the input of a migration.
func (f dataFile) input() migration.Input {
	return migration.Input{Path: f.path, Name: f.name, Origin: f.origin, SHA256: f.sha256, Shown: f.shown}
}

// plainFile returns the plain file of an input: the input itself, or a staged copy if it
// has to be unpacked or converted, or if it is on this machine and the work location is in a
// bucket, where other workers do not have it. A file that is plain already is copied when
// its migration begins, see bring. A Ctrl-C ends it.
func plainFile(ctx context.Context, p session.Process, l locations, in input) (dataFile, error) {
	ctx, cancel := p.UntilStopped(ctx)
	defer cancel()
	inputs := migration.Inputs(l.work())
	if stage.Needs(in.Input) {
		staged, err := stage.File(ctx, inputs, in.Input, p.Screen.ReadProgress("reading "+in.given))
		p.Screen.Clear()
		if err != nil {
			return dataFile{}, err
		}
		f := dataFile{path: staged.Path, shown: safetext.Name(in.Path), name: staged.Name, origin: safetext.UTF8(in.Path), sha256: staged.SHA256}
		if in.Path == stage.Stdin {
			f.shown, f.origin = in.given, ""
		}
		return f, nil
	}
	f := dataFile{path: in.Path, shown: safetext.Name(in.Path)}
	if l.workURL == "" || store.IsURL(in.Path) {
		return f, nil
	}
	var err error
	if f.sha256, f.size, err = source.Digest(ctx, in.Path); err != nil {
		return dataFile{}, err
	}
	f.path, f.here, f.name, f.origin = stage.Path(inputs, f.sha256), in.Path, in.Name(), in.Path
	return f, nil
}

// bring copies a plain file of this machine into the work location, unless it is there
// already. A Ctrl-C ends it.
func (m *migrateOperation) bring(ctx context.Context) error {
	f := m.file
	if f.here == "" {
		return nil
	}
	ctx, cancel := m.UntilStopped(ctx)
	defer cancel()
	err := migration.BringInput(ctx, m.c.o.work(), stage.Input{Path: f.here}, f.sha256, f.size, m.Screen.ReadProgress("reading "+f.shown))
	m.Screen.Clear()
	if errors.Is(err, migration.ErrInputGrows) {
		err = fmt.Errorf("%s: %w; expected a finished file; wait until it is complete", f.shown, err)
	}
	return err
}

// drop removes a staged file unless a migration needs it.
func (f dataFile) drop(l locations) error {
	if f.name == "" {
		return nil
	}
	return migration.DropInput(l.work(), f.path)
}
