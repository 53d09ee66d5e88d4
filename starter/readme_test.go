package main_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	migrations "durable-dataload/internal/migration"
	"durable-dataload/internal/proof/kratos"
	"durable-dataload/internal/proof/program"
)

// TestTheReadmeLeadsOutOfOnePlatformAndIntoAnother runs the README's second example after the first one: what the sandbox has
// is exported, and loaded into the Ory Kratos that a command serves.
func TestTheReadmeLeadsOutOfOnePlatformAndIntoAnother(t *testing.T) {
	t.Parallel()
	wantsKratos(t)
	l := newLab(t)
	l.copyTestdata()
	build := exec.Command("go", "build", "-o", l.path("serve"), "./internal/proof/kratos/serve")
	build.Dir = ".."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	free, err := program.FreeAddresses(2)
	must(t, err)
	server := &kratos.Server{Admin: "http://" + free[0]}
	cache, err := os.UserCacheDir() // has the Kratos that was built
	must(t, err)
	port := func(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }
	serve := l.start(l.path("serve"), []string{"XDG_CACHE_HOME=" + cache, "PATH=" + os.Getenv("PATH")}, "--admin-port", port(free[0]), "--public-port", port(free[1]))
	until(t, "Kratos serves", func() bool { return strings.Contains(serve.output(), "its admin API is at "+server.Admin) })

	readme, err := os.ReadFile("../README.md")
	must(t, err)
	example := regexp.MustCompile("(?s)\n(go run ./starter export --sandbox .*?)```").FindSubmatch(readme)
	if example == nil {
		t.Fatal("the README has no second example")
	}
	kratosThere := regexp.MustCompile(`http://127\.0\.0\.1:\d+`)
	script := "starter --data testdata/users.csv --sandbox --output-dir first || [ $? = 3 ]\n" + kratosThere.ReplaceAllString(string(example[1]), server.Admin)
	must(t, os.WriteFile(l.path("script"), []byte(strings.ReplaceAll(script, "go run ./starter", "starter")), 0o600))
	bin, err := filepath.Abs(programs.dir)
	must(t, err)
	l.start("/bin/sh", []string{"XDG_STATE_HOME=" + l.path("states"), "PATH=" + bin + ":" + os.Getenv("PATH")}, "-e", l.path("script")).ends(migrations.ExitFailed)

	there, moved := summaryIn(t, l.path("first")), summaryIn(t, l.path())
	if n := there.Records.Created + there.Records.Recovered; n == 0 || moved.Records.Total != n {
		t.Errorf("%d records were exported of the %d that were loaded", moved.Records.Total, n)
	}
	if r := moved.Records; r.Created+r.Recovered == 0 || r.Created+r.Recovered+r.Failed != r.Total {
		t.Errorf("the dispositions are %+v; want records that were created, and others that failed", r)
	}
	e := &elsewhere{lab: l}
	e.isInKratos(server, moved.Records.Created+moved.Records.Recovered)
	serve.signal(os.Interrupt)
	serve.ends(0)
}

// summaryIn reads the one summary of a folder.
func summaryIn(t *testing.T, dir string) (s migrations.Summary) {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "summary_*.json"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the summaries are %q, %v; want one", found, err)
	}
	data, err := os.ReadFile(found[0])
	must(t, err)
	must(t, json.Unmarshal(data, &s))
	return s
}
