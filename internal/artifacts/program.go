package artifacts

import (
	"runtime/debug"
	"strings"
)

// Program identifies this program in the report: its version, the revision of its source if
// the build has recorded it, and its toolchain.
func Program() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	return programOf(info)
}

func programOf(info *debug.BuildInfo) string {
	parts := []string{strings.TrimSpace(info.Main.Path + " " + strings.Trim(info.Main.Version, "()"))}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		if settings["vcs.modified"] == "true" {
			revision += " with changes"
		}
		parts = append(parts, "revision "+revision)
	}
	parts = append(parts, info.GoVersion)
	for _, d := range info.Deps {
		if d.Path == "go.temporal.io/sdk" {
			parts = append(parts, "Temporal SDK "+d.Version)
		}
	}
	return strings.Join(parts, ", ")
}
