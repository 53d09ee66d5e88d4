package main_test

import (
	"os/exec"
	"strings"
	"testing"
)

func TestTheWorkerDoesNotLinkTheEngine(t *testing.T) {
	t.Parallel()
	list := func(program string) string {
		command := exec.Command("go", "list", "-deps", program)
		command.Dir = ".."
		output, err := command.Output()
		must(t, err)
		return string(output)
	}
	worker, starter := list("./worker"), list("./starter")
	for _, heavy := range []string{"durable-dataload/internal/engine\n", "durable-dataload/internal/sandbox\n", "go.temporal.io/server/", "github.com/temporalio/ui-server/", "sqlite"} {
		if strings.Contains(worker, heavy) {
			t.Errorf("worker links %s", heavy)
		}
		if !strings.Contains(starter, heavy) {
			t.Errorf("starter does not link %s: what this test looks for has another name now", heavy)
		}
	}
}
