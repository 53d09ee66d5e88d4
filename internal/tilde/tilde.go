// Package tilde expands a leading ~ to the home folder, like a shell. Shells do that for
// --option ~/x, but most of them not for --option=~/x, nor in environment variables.
package tilde

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"
)

// Path returns a path with a leading ~ replaced by the home folder. An existing file with such a
// name, as editors create, is meant literally; ~user/… is refused.
func Path(path string) (string, error) {
	if !strings.HasPrefix(path, "~") {
		return path, nil
	}
	user, rest, isFolder := strings.Cut(path, string(filepath.Separator))
	if user != "~" {
		if _, err := os.Lstat(path); err == nil || !isFolder {
			return path, nil
		}
		return "", fmt.Errorf("%s: the home folder of another user is not looked up; expected a whole path, or ~/… for your own", path)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("%s: cannot find your home folder (%w); give the whole path", path, err)
	}
	return filepath.Join(home, rest), nil
}

// Var adds an option that takes a path.
func Var(f *pflag.FlagSet, to *string, name, usage string) { f.Var((*value)(to), name, usage) }

// VarP is Var with a shorthand.
func VarP(f *pflag.FlagSet, to *string, name, letter, usage string) {
	f.VarP((*value)(to), name, letter, usage)
}

type value string

func (v *value) String() string { return string(*v) }
func (v *value) Type() string   { return "string" }
func (v *value) Set(text string) error {
	path, err := Path(text)
	*v = value(path)
	return err
}
