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

// StateDir gives the state folder that was given, absolute, or that of the user:
// where programs keep state that should survive a restart (XDG Base Directory
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

// Absolute gives the path of an option as workers are told it. That goes through JSON, so it has
// to be UTF-8.
func Absolute(flag, path string) (string, error) {
	path, err := filepath.Abs(path)
	if err == nil && !utf8.ValidString(path) {
		err = fmt.Errorf("--%s is %q, which is not UTF-8; expected a path that can be written as text; rename the folder or the file, or give another", flag, path)
	}
	return path, err
}

// WorkURL gives the URL of the folder in a bucket that migrations keep their work
// in, in its one form: the one that was given, or that of the environment. It is
// "" where they keep it in the state folder.
func WorkURL(given string, getenv func(string) string) (string, error) {
	given = cmp.Or(given, getenv(WorkVariable))
	if given == "" {
		return "", nil
	}
	return CheckURL("work-url", given, "--state-dir")
}

// CheckURL gives the URL of a folder of a bucket in its one form. local is what is
// given for a folder of this machine instead.
func CheckURL(flag, url, local string) (string, error) {
	if !store.IsURL(url) {
		return "", fmt.Errorf("--%s is %q; expected the URL of a folder of a bucket, as s3://BUCKET/FOLDER; a folder of this machine is given by %s", flag, url, local)
	}
	if err := store.Check(url); err != nil {
		return "", fmt.Errorf("--%s: %w; what is on this machine is given by %s", flag, err, local)
	}
	return store.Join(url), nil
}
