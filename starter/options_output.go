package main

import (
	"github.com/spf13/pflag"

	"durable-dataload/internal/config"
	"durable-dataload/internal/store"
	"durable-dataload/internal/tilde"
)

// outputOptions say where results come.
type outputOptions struct {
	outputDir string
	json      bool
}

func (o *outputOptions) addFlags(f *pflag.FlagSet) {
	tilde.Var(f, &o.outputDir, "output-dir", "folder for the result files, or the URL of one; default: this folder, and with --work-url the folder artifacts there")
	f.BoolVar(&o.json, "json", false, "print the summary as JSON on stdout")
}

// complete normalizes the output folder.
func (o *outputOptions) complete(workURL string) (err error) {
	switch {
	case store.IsURL(o.outputDir):
		o.outputDir, err = checkURL("output-dir", o.outputDir, "its path")
	case o.outputDir == "" && workURL != "":
		o.outputDir = store.Join(workURL, "artifacts")
	default:
		o.outputDir, err = config.Absolute("output-dir", o.outputDir)
	}
	return err
}
