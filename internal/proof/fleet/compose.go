package fleet

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// secretFile is where the containers have the password of the database.
const secretFile = "/run/secrets/postgres_password"

// compose is what is used here of docker-compose.yml. That the file is right
// as a whole is held by the tests of deploy.
type compose struct {
	Services map[string]composed
}

type composed struct {
	Image       string
	Environment map[string]string
	Entrypoint  []string
	Command     []string
	Volumes     []yaml.Node
	Healthcheck struct{ Test []string }
}

func readCompose(top string) (file compose, err error) {
	path := filepath.Join(top, "docker-compose.yml")
	content, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(content, &file)
	}
	if err != nil {
		return file, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// script is the script of a service, for the shell of this machine: with these
// paths in the place of those in the container.
func (c composed) script(here map[string]string) (string, error) {
	if strings.Join(c.Entrypoint, " ") != "sh -eu -c" || len(c.Command) != 1 {
		return "", fmt.Errorf("%s in docker-compose.yml starts with %q and %d commands; expected sh -eu -c and one script", c.Image, c.Entrypoint, len(c.Command))
	}
	script := strings.ReplaceAll(c.Command[0], "$$", "$")
	for there, path := range here {
		if !strings.Contains(script, there) {
			return "", fmt.Errorf("the script of %s in docker-compose.yml does not use %s", c.Image, there)
		}
		script = strings.ReplaceAll(script, there, path)
	}
	return script, nil
}

var inContainer = regexp.MustCompile(`^/(etc|run)/`)

// onThisMachine returns a value of the environment, and for the path of a file
// that the service mounts the file itself.
func (c composed) onThisMachine(value, top string) (string, error) {
	if !inContainer.MatchString(value) {
		return value, nil
	}
	for _, volume := range c.Volumes {
		source, target, _ := strings.Cut(volume.Value, ":")
		if strings.TrimSuffix(target, ":ro") == value {
			return filepath.Join(top, source), nil
		}
	}
	return "", fmt.Errorf("%s in docker-compose.yml has the file %s in its environment, and mounts nothing there", c.Image, value)
}
