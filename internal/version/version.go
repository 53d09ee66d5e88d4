// Package version identifies the program, for --version and for bug reports.
package version

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// stamped is set in builds outside a repository, with
// -ldflags "-X durable-dataload/internal/version.stamped=v1.2.3"
// (deploy/Dockerfile). In other builds Go records the tag and the revision.
var stamped string

// String returns one line, such as
//
//	worker v1.2.3 (revision 0123abc of 2026-11-30, modified), go1.26.8 linux/amd64
//
// Without a tag the version is Go's pseudo-version, or (devel) in a build
// without a repository.
func String(program string) string {
	return describe(program, stamped, buildInfo())
}

// Build returns the version alone.
func Build() string {
	return build(stamped, buildInfo())
}

func buildInfo() *debug.BuildInfo {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info
	}
	return &debug.BuildInfo{}
}

func build(stamped string, info *debug.BuildInfo) string {
	return cmp.Or(stamped, info.Main.Version, "(devel)")
}

func describe(program, stamped string, info *debug.BuildInfo) string {
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	revision := ""
	if r := settings["vcs.revision"]; r != "" {
		revision = " (revision " + r
		if day, _, ok := strings.Cut(settings["vcs.time"], "T"); ok {
			revision += " of " + day
		}
		if settings["vcs.modified"] == "true" {
			revision += ", modified"
		}
		revision += ")"
	}
	return fmt.Sprintf("%s %s%s, %s %s/%s", program, build(stamped, info), revision,
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
