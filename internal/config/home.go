package config

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"

	"durable-dataload/internal/store"
	"durable-dataload/internal/tilde"
)

// WorkVariable is the environment variable that --work-url defaults to.
const WorkVariable = "DATALOAD_WORK_URL"

// StateDir returns the absolute path of the given state folder, or of the user's:
// the folder for state that should survive a restart (XDG Base Directory
// Specification).
func StateDir(given string, getenv func(string) string) (string, error) {
	if given != "" {
		return Absolute("state-dir", given)
	}
	base, err := tilde.Path(getenv("XDG_STATE_HOME"))
	if err != nil {
		return "", err
	}
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("cannot find the user's folder (%w); give --state-dir", err)
		}
		base = filepath.Join(home, ".local", "state")
	}
	return Absolute("state-dir", filepath.Join(base, "durable-dataload"))
}

// Absolute returns the path of an option for workers. It is passed in JSON, so it must be UTF-8.
func Absolute(flag, path string) (string, error) {
	path, err := filepath.Abs(path)
	if err == nil && !utf8.ValidString(path) {
		err = fmt.Errorf("--%s is %q, which is not UTF-8; expected a path that can be written as text; rename the folder or the file, or give another", flag, path)
	}
	return path, err
}

// WorkURL returns the normalized URL of the folder in a bucket in which migrations
// keep their work: the given one, or that of the environment. It is "" if they use
// the state folder.
func WorkURL(given string, getenv func(string) string) (string, error) {
	given = cmp.Or(given, getenv(WorkVariable))
	if given == "" {
		return "", nil
	}
	return CheckURL("work-url", given, "--state-dir")
}

// CheckURL returns the normalized URL of a folder in a bucket. local is the option
// for a local folder instead.
func CheckURL(flag, url, local string) (string, error) {
	if !store.IsURL(url) {
		return "", fmt.Errorf("--%s is %q; expected the URL of a folder of a bucket, as s3://BUCKET/FOLDER; a folder of this machine is given by %s", flag, url, local)
	}
	if err := store.Check(url); err != nil {
		return "", fmt.Errorf("--%s: %w; what is on this machine is given by %s", flag, err, local)
	}
	return store.Join(url), nil
}
