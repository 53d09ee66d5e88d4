package deploy_test

import (
	"compress/gzip"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	proof "durable-dataload/internal/proof/program"
)

// The Debian package calls the starter durable-dataload, and so do its manual and completions.
func TestTheManualOfThePackageHasItsName(t *testing.T) {
	proof.Long(t)
	dir := t.TempDir()
	command := exec.Command("bash", "deploy/manual", dir)
	command.Dir = top
	command.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=0")
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("deploy/manual: %v\n%s", err, output)
	}
	for _, page := range []string{"durable-dataload", "durable-dataload-status", "durable-dataload-schedule-create"} {
		file, err := os.Open(filepath.Join(dir, "man", page+".1.gz"))
		must(t, err)
		unpacked, err := gzip.NewReader(file)
		must(t, err)
		text, err := io.ReadAll(unpacked)
		must(t, err)
		must(t, file.Close())
		if !strings.Contains(string(text), page) || strings.Contains(string(text), "starter") {
			t.Errorf("the page %s does not have its own name, or that of the starter", page)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish"} {
		text, err := os.ReadFile(filepath.Join(dir, shell))
		must(t, err)
		if !strings.Contains(string(text), "durable-dataload") || strings.Contains(string(text), "starter") {
			t.Errorf("the completion for %s does not have the name of the package's program, or that of the starter", shell)
		}
	}
	if output, err := exec.Command("bash", "-n", filepath.Join(dir, "bash")).CombinedOutput(); err != nil {
		t.Errorf("the completion for bash: %v\n%s", err, output)
	}
}
