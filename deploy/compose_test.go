package deploy_test

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// compose is what docker-compose.yml uses of the Compose specification, in the
// types that this gives it. A key that is not here is either a mistake or, once
// looked up in the specification, to be added.
type compose struct {
	Name       string
	Services   map[string]service
	Volumes    map[string]*struct{}
	Secrets    map[string]struct{ File string }
	Extensions map[string]any `yaml:",inline"` // x-…
}

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile, Target string }
	Profiles    []string
	DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	Restart     string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	SecurityOpt []string `yaml:"security_opt"`
	Tmpfs       []string
	Environment map[string]string
	Secrets     []string
	Entrypoint  []string
	Command     []string
	Volumes     []volume
	Ports       []string
	Logging     struct {
		Driver  string
		Options map[string]string
	}
	StopGracePeriod string `yaml:"stop_grace_period"`
	Healthcheck     *struct {
		Test        []string
		Interval    string
		Timeout     string
		Retries     int
		StartPeriod string `yaml:"start_period"`
	}
}

// volume is either source:target:ro or the long form.
type volume struct {
	Type, Source, Target string
	Bind                 struct {
		CreateHostPath string `yaml:"create_host_path"`
	}
}

func (v *volume) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.ScalarNode {
		type plain volume
		return node.Decode((*plain)(v))
	}
	parts := strings.Split(node.Value, ":")
	*v = volume{Type: "volume", Source: parts[0], Target: parts[1]}
	if strings.HasPrefix(v.Source, ".") {
		v.Type = "bind"
	}
	return nil
}

func readCompose(t *testing.T) compose {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(readFile(t, "docker-compose.yml"))))
	decoder.KnownFields(true)
	var c compose
	if err := decoder.Decode(&c); err != nil {
		t.Fatalf("docker-compose.yml: %v", err)
	}
	return c
}

// The programs that are built here, by their service.
var built = []string{"worker", "starter", "sandbox"}

func TestComposeIsWhole(t *testing.T) {
	c := readCompose(t)
	for name := range c.Extensions {
		if !strings.HasPrefix(name, "x-") {
			t.Errorf("%s is no key of the Compose specification", name)
		}
	}
	usedVolumes, usedSecrets := map[string]bool{}, map[string]bool{}
	for name, s := range c.Services {
		if built := slices.Contains(built, name); built != (s.Image == "") || built != (s.Build.Target == name) {
			t.Errorf("%s: image %q, target %q; want a target of our Dockerfile for our programs and an image for others", name, s.Image, s.Build.Target)
		}
		if s.Image != "" && !pinned.MatchString(s.Image) {
			t.Errorf("%s has the image %s; want a tag with a whole version, as 1.2.3", name, s.Image)
		}
		for _, port := range s.Ports {
			if !strings.HasPrefix(port, "127.0.0.1:") {
				t.Errorf("%s publishes %s; want 127.0.0.1:… : nothing here asks for a password", name, port)
			}
		}
		for _, secret := range s.Secrets {
			usedSecrets[secret] = true
			if c.Secrets[secret].File == "" {
				t.Errorf("%s takes the secret %s, which is not declared with a file", name, secret)
			}
		}
		for _, v := range s.Volumes {
			if v.Type == "volume" {
				usedVolumes[v.Source] = true
				if _, ok := c.Volumes[v.Source]; !ok {
					t.Errorf("%s mounts the volume %s, which is not declared", name, v.Source)
				}
			}
		}
		for on, d := range s.DependsOn {
			checkDependency(t, c, name, on, d.Condition)
		}
		for key, value := range s.Environment {
			if regexp.MustCompile(`PASSWORD|PWD|SECRET|API_KEY`).MatchString(key) && !strings.HasPrefix(value, "/run/secrets/") && key != "GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION" {
				t.Errorf("%s has %s in its environment; want a file of /run/secrets", name, key)
			}
		}
		if s.StopGracePeriod != "" {
			if _, err := time.ParseDuration(s.StopGracePeriod); err != nil {
				t.Errorf("%s: stop_grace_period: %v", name, err)
			}
		}
	}
	for volume := range c.Volumes {
		if !usedVolumes[volume] {
			t.Errorf("the volume %s is declared, and nothing mounts it", volume)
		}
	}
	for secret := range c.Secrets {
		if !usedSecrets[secret] {
			t.Errorf("the secret %s is declared, and nothing takes it", secret)
		}
	}
}

var pinned = regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9]+)?$`)

// checkDependency finds waits that cannot end, or that mean nothing.
func checkDependency(t *testing.T, c compose, name, on, condition string) {
	t.Helper()
	dependency, ok := c.Services[on]
	if !ok {
		t.Errorf("%s depends on %s, which is no service", name, on)
		return
	}
	switch condition {
	case "service_healthy":
		if dependency.Healthcheck == nil || len(dependency.Healthcheck.Test) < 2 || dependency.Healthcheck.Test[0] != "CMD" {
			t.Errorf("%s waits until %s is healthy, which has no health check with a command", name, on)
		}
	case "service_completed_successfully":
		if strings.HasPrefix(dependency.Restart, "unless") || dependency.Restart == "always" {
			t.Errorf("%s waits until %s has ended, which restarts for ever", name, on)
		}
	default:
		t.Errorf("%s waits for %s with the condition %q; want service_healthy or service_completed_successfully", name, on, condition)
	}
	for _, profile := range dependency.Profiles {
		if !slices.Contains(c.Services[name].Profiles, profile) {
			t.Errorf("%s depends on %s of the profile %s, which it does not belong to itself", name, on, profile)
		}
	}
}

func TestComposeStartsOurProgramsAsTheyAre(t *testing.T) {
	c := readCompose(t)
	for _, name := range built {
		s := c.Services[name]
		checkArguments(t, "docker-compose.yml", name, s.Command)
		checkVariables(t, "docker-compose.yml", name, s.Environment)
		if !strings.HasPrefix(s.User, "${DATALOAD_USER:?") || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) {
			t.Errorf("%s: user %q, read_only %v, cap_drop %v; want the user's own id, true, ALL", name, s.User, s.ReadOnly, s.CapDrop)
		}
		if !strings.Contains(readFile(t, s.Build.Dockerfile), "\nFROM base AS "+s.Build.Target+"\n") {
			t.Errorf("%s has no target %s", s.Build.Dockerfile, s.Build.Target)
		}
	}
	worker, starter := c.Services["worker"], c.Services["starter"]
	if len(worker.Ports) > 0 {
		t.Errorf("the worker publishes %v: two of them could not", worker.Ports)
	}
	if !slices.Equal(worker.Volumes, starter.Volumes) {
		t.Errorf("the worker mounts %v, the starter %v; want the same: a migration's paths are the same for both", worker.Volumes, starter.Volumes)
	}
	mounted := map[string]bool{}
	for _, v := range worker.Volumes {
		mounted[v.Target] = true
	}
	for _, where := range []string{`\nWORKDIR (/data)\n`, `XDG_STATE_HOME=(\S+)\n`} {
		if match := regexp.MustCompile(where).FindStringSubmatch(readFile(t, "deploy/Dockerfile")); match == nil || !mounted[match[1]] {
			t.Errorf("docker-compose.yml mounts %v; want what %q of the Dockerfile means", mounted, where)
		}
	}
	// The starter's --timeout is 10 s by default, and a minute is not rare.
	if grace, _ := time.ParseDuration(worker.StopGracePeriod); grace < 2*time.Minute {
		t.Errorf("the worker has %s to stop; want more than a call takes", worker.StopGracePeriod)
	}
	if len(starter.Secrets) > 0 || starter.Environment["CAPTURE_CLIENT_ID"] != "" {
		t.Error("the starter has credentials of the target, which only workers need")
	}
	for profile, names := range map[string][]string{"run": {"starter"}, "sandbox": {"sandbox"}, "monitoring": {"prometheus", "grafana"}} {
		for _, name := range names {
			if !slices.Equal(c.Services[name].Profiles, []string{profile}) {
				t.Errorf("%s has the profiles %v, want %s", name, c.Services[name].Profiles, profile)
			}
		}
	}
}

// The files that are mounted are made by the user (./data, ./secrets), and the
// header says how, or they are in the repository.
func TestComposeMountsWhatIsThere(t *testing.T) {
	c := readCompose(t)
	header, _, _ := strings.Cut(readFile(t, "docker-compose.yml"), "\nname:")
	ignored := readFile(t, ".gitignore")
	byUser := func(path string) {
		folder := strings.Split(strings.TrimPrefix(path, "./"), "/")[0]
		if !strings.Contains(header, "mkdir -m 700 -p secrets data\n") || !strings.Contains(ignored, "\n/"+folder+"/\n") {
			t.Errorf("%s is made by the user; want its mkdir at the top of docker-compose.yml and /%s/ in .gitignore", path, folder)
		}
	}
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			switch {
			case v.Type != "bind":
			case v.Source == "./data":
				byUser(v.Source)
				if v.Bind.CreateHostPath != "false" {
					t.Errorf("%s: Docker would make %s as root", name, v.Source)
				}
			default:
				if _, err := os.Stat(filepath.Join(top, v.Source)); err != nil {
					t.Errorf("%s mounts a file that is not there: %v", name, err)
				}
			}
		}
	}
	for name, secret := range c.Secrets {
		byUser(secret.File)
		if !strings.Contains(header, "> "+strings.TrimPrefix(secret.File, "./")+"\n") {
			t.Errorf("the top of docker-compose.yml does not say how to make %s of the secret %s", secret.File, name)
		}
	}
	// What the file takes from .env is what its top puts there.
	for _, match := range regexp.MustCompile(`\$\{([A-Z_]+)(:\?)?`).FindAllStringSubmatch(readFile(t, "docker-compose.yml"), -1) {
		if match[2] == "" || !strings.Contains(header, match[1]+"=%s") {
			t.Errorf("%s: want it required (:?) and in the .env of the header", match[1])
		}
	}
}

// The workers are found by the name of their service and the port that they
// listen on.
func TestPrometheusScrapesTheWorkers(t *testing.T) {
	var scraped struct {
		ScrapeConfigs []struct {
			Job string `yaml:"job_name"`
			DNS []struct {
				Names []string
				Port  int
			} `yaml:"dns_sd_configs"`
		} `yaml:"scrape_configs"`
	}
	must(t, yaml.Unmarshal([]byte(readFile(t, "deploy/compose/prometheus.yml")), &scraped))
	c := scraped.ScrapeConfigs[0]
	if !slices.Equal(c.DNS[0].Names, []string{"worker"}) || c.DNS[0].Port != 9464 || !slices.Contains(readCompose(t).Services["worker"].Command, "--metrics-address=:9464") {
		t.Errorf("Prometheus scrapes %v:%d; want the workers, at their --metrics-address", c.DNS[0].Names, c.DNS[0].Port)
	}
	if alerts := readFile(t, "deploy/prometheus/alerts.yml"); !strings.Contains(alerts, c.Job) {
		t.Errorf("the alerts do not look for the job %s", c.Job)
	}
}

func TestImagesAreSmallAndWithoutRoot(t *testing.T) {
	dockerfile := readFile(t, "deploy/Dockerfile")
	for _, match := range regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(dockerfile, -1) {
		if from := match[1]; from != "scratch" && !pinned.MatchString(from) && !strings.Contains(dockerfile, " AS "+from+"\n") {
			t.Errorf("the Dockerfile begins with %s; want a whole version, or a stage of its own", from)
		}
	}
	if want := "golang:" + goVersion(t) + "-"; !strings.Contains(dockerfile, "FROM "+want) {
		t.Errorf("the Dockerfile does not build with %s…, the Go of go.mod", want)
	}
	for _, want := range []string{"\nENV CGO_ENABLED=0\n", "\nUSER 65532:65532\n", "\nFROM scratch AS base\n"} {
		if !strings.Contains(dockerfile, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	// What is not ours to give away does not reach the builder.
	ignore := strings.Split(readFile(t, ".dockerignore"), "\n")
	if !slices.Contains(ignore, "*") {
		t.Error(".dockerignore does not begin with everything")
	}
	for _, line := range ignore {
		folder, allowed := strings.CutPrefix(line, "!")
		if !allowed {
			continue
		}
		if _, err := os.Stat(filepath.Join(top, folder)); err != nil {
			t.Errorf(".dockerignore lets in what is not there: %v", err)
		}
	}
}

func goVersion(t *testing.T) string {
	t.Helper()
	return regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(readFile(t, "go.mod"))[1]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
