package main

import (
	"cmp"
	"fmt"

	"github.com/spf13/pflag"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/config"
	"durable-dataload/internal/store"
	"durable-dataload/internal/tilde"
)

// home is where things are kept: the state folder, of this machine, has the
// embedded engine, the sandbox and the log, and the work place has what
// migrations keep. That is the state folder too, or a folder of a bucket.
type home struct {
	stateDir string // absolute
	workURL  string // "": migrations keep their work in the state folder
}

// addHomeFlags adds the options that say where things are kept.
func (h *home) addHomeFlags(f *pflag.FlagSet, stateDir string) {
	h.addStateDirFlag(f, stateDir)
	f.StringVar(&h.workURL, "work-url", "", "folder of a bucket in which migrations keep their work, instead of the state folder: s3://bucket/dataload ("+config.WorkVariable+", docs/object-storage.md)")
}

// addStateDirFlag is addHomeFlags for who knows no migration.
func (h *home) addStateDirFlag(f *pflag.FlagSet, usage string) {
	tilde.Var(f, &h.stateDir, "state-dir", usage+"; default: the user's state folder")
}

// work is the work place.
func (h home) work() string { return cmp.Or(h.workURL, h.stateDir) }

// text says where migrations keep their work.
func (h home) text() string {
	if h.workURL != "" {
		return "the work place " + h.workURL
	}
	return "the state folder " + h.stateDir
}

// places are the work places whose migrations a worker in this process takes.
func (h home) places() []string {
	if h.workURL != "" {
		return []string{h.stateDir, h.workURL}
	}
	return []string{h.stateDir}
}

func (h *home) complete(getenv func(string) string) error {
	if err := h.completeStateDir(getenv); err != nil {
		return err
	}
	var err error
	if h.workURL, err = config.WorkURL(h.workURL, getenv); err != nil {
		return usage("%w", err)
	}
	return nil
}

// completeStateDir makes the state folder that was given absolute, or takes that
// of the user.
func (h *home) completeStateDir(getenv func(string) string) (err error) {
	h.stateDir, err = config.StateDir(h.stateDir, getenv)
	return err
}

// checkURL is config.CheckURL, with the error of a wrong command line.
func checkURL(flag, url, local string) (string, error) {
	url, err := config.CheckURL(flag, url, local)
	if err != nil {
		return "", usage("%w", err)
	}
	return url, nil
}

// prove shows that the work place can be used, before anything is begun. That of
// a state folder shows itself when its log is opened.
func (h home) prove() error {
	if h.workURL == "" {
		return nil
	}
	if err := store.Prove(h.workURL); err != nil {
		return fmt.Errorf("cannot keep the work of migrations in %s: %w; %s", h.workURL, err, store.Advice(err))
	}
	return nil
}

// prove tries the work place out, and the folder of the results where that is in a
// bucket of its own.
func (o *runOptions) prove() error {
	if err := o.home.prove(); err != nil || !store.IsURL(o.outputDir) || o.workURL != "" && store.Dir(o.outputDir) == o.workURL {
		return err
	}
	if err := artifacts.CheckFolder(o.outputDir); err != nil {
		return fmt.Errorf("%w; %s", err, store.Advice(err))
	}
	return nil
}
