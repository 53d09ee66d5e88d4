package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/tilde"
)

// clientsFile is the file in which dataload.py and capture-api look up the
// credentials of API clients:
//
//	defaults:
//	  default_client: demo
//	clusters:
//	  dev:
//	    apid_uri: https://dev.example.com
//	clients:
//	  demo:
//	    cluster: dev
//	    client_id: …
//	    client_secret: …
//
// Its meaning is that of janrain-python-api 0.5.0 (janrain/capture/config.py),
// except that values are taken literally (an id of digits is text), and that a
// client with an unknown cluster is an error only if it is selected.
type clientsFile struct {
	path string
	root setting
}

// setting is a value of the file: text, or settings by their names. The zero
// value is null, or a list, which has no meaning here.
type setting struct {
	text  string
	named map[string]setting
}

func (s *setting) UnmarshalYAML(n *yaml.Node) error {
	switch n.Kind {
	case yaml.ScalarNode:
		s.text = n.Value
	case yaml.MappingNode:
		return n.Decode(&s.named)
	}
	return nil
}

// clientsFilePath is the path of the file: JANRAIN_CONFIG, or .janrain-capture in
// the user's home folder.
func clientsFilePath(getenv func(string) string) (string, error) {
	if path := getenv("JANRAIN_CONFIG"); path != "" {
		return tilde.Path(path)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("cannot find the user's folder, where .janrain-capture should be (%w); name the file in JANRAIN_CONFIG", err)
	}
	return filepath.Join(home, ".janrain-capture"), nil
}

// maxClientsFile is the maximum size of the file, in bytes.
const maxClientsFile = 1 << 20

var lineOfError = regexp.MustCompile(`line \d+`)

// readClientsFile reads the file. warning is not "" if others can read it too.
func readClientsFile(path string) (f clientsFile, warning string, err error) {
	data, err := durablefs.ReadFile(path, maxClientsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return f, "", fmt.Errorf("%s: there is no such file; expected the file with the API clients there, or its path in JANRAIN_CONFIG", path)
	}
	if err != nil {
		return f, "", fmt.Errorf("cannot read the file with the API clients: %w", err)
	}
	f.path = path
	if err := yaml.Unmarshal(data, &f.root); err != nil {
		// The parser's message may repeat a secret.
		where := lineOfError.FindString(err.Error())
		if where == "" {
			where = "some line"
		}
		return f, "", fmt.Errorf("%s: %s is not valid YAML; expected clients, each with client_id and client_secret", path, where)
	}
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o077 != 0 {
		warning = fmt.Sprintf("%s contains secrets and is readable by other users of this machine (mode %#o); close it: chmod 600 %s", path, info.Mode().Perm(), path)
	}
	return f, warning, nil
}

// at is the setting at a path with dots.
func (f clientsFile) at(path string) (setting, bool) {
	s := f.root
	for name := range strings.SplitSeq(path, ".") {
		inner, ok := s.named[name]
		if !ok {
			return setting{}, false
		}
		s = inner
	}
	return s, true
}

// apiClient has the settings of an API client, or of a cluster. uri may be missing.
type apiClient struct{ uri, id, secret string }

// defaultClient is the client that defaults.default_client names.
func (f clientsFile) defaultClient() (apiClient, error) {
	name, _ := f.at("defaults.default_client")
	if name.text == "" {
		return apiClient{}, fmt.Errorf("%s: defaults.default_client is missing; name a client there, or give --config-key", f.path)
	}
	return f.client(name.text)
}

// client is the one with a key: its path in the file, or the name alone of one
// of the clients, else of one of the clusters.
func (f clientsFile) client(key string) (apiClient, error) {
	paths := []string{key}
	if !strings.Contains(key, ".") {
		paths = append(paths, "clients."+key, "clusters."+key)
	}
	for _, path := range paths {
		if s, ok := f.at(path); ok {
			return f.read(path, s)
		}
	}
	return apiClient{}, fmt.Errorf("%s: there is no %s; give --config-key the path or the name of a client in this file", f.path, strings.Join(paths, ", "))
}

// read reads the client at a path. Its cluster provides missing settings.
func (f clientsFile) read(path string, s setting) (apiClient, error) {
	var cluster setting
	name, hasCluster := s.named["cluster"]
	if section, _, _ := strings.Cut(path, "."); section == "clients" && hasCluster {
		var ok bool
		if cluster, ok = f.at("clusters." + name.text); !ok {
			return apiClient{}, fmt.Errorf("%s: the cluster of %s is not among the clusters; add clusters.%s, or correct %s.cluster", f.path, path, name.text, path)
		}
	}
	value := func(name string) string {
		if own, ok := s.named[name]; ok {
			return own.text
		}
		return cluster.named[name].text
	}
	c := apiClient{uri: value("apid_uri"), id: value("client_id"), secret: value("client_secret")}
	for _, required := range []struct{ name, value string }{{"client_id", c.id}, {"client_secret", c.secret}} {
		if required.value == "" {
			return apiClient{}, fmt.Errorf("%s: %s.%s is missing or is not text; add it", f.path, path, required.name)
		}
	}
	return c, nil
}
