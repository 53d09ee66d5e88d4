package deploy_test

import (
	"errors"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// object is what our manifests use of Kubernetes' types, by their names there.
type object struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name   string
		Labels map[string]string
	}
	Data map[string]string // of a ConfigMap
	Spec struct {
		Replicas         int
		BackoffLimit     int `yaml:"backoffLimit"`
		PodFailurePolicy struct {
			Rules []struct {
				Action      string
				OnExitCodes struct {
					ContainerName string `yaml:"containerName"`
					Operator      string
					Values        []int
				} `yaml:"onExitCodes"`
			}
		} `yaml:"podFailurePolicy"`
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		}
		Template struct {
			Metadata struct{ Labels map[string]string }
			Spec     pod
		}
	}
}

type resources struct {
	Requests, Limits map[string]string
}

type pod struct {
	AutomountServiceAccountToken  *bool  `yaml:"automountServiceAccountToken"`
	RestartPolicy                 string `yaml:"restartPolicy"`
	TerminationGracePeriodSeconds int    `yaml:"terminationGracePeriodSeconds"`
	SecurityContext               struct {
		RunAsNonRoot        bool              `yaml:"runAsNonRoot"`
		RunAsUser           int               `yaml:"runAsUser"`
		RunAsGroup          int               `yaml:"runAsGroup"`
		FSGroup             int               `yaml:"fsGroup"`
		FSGroupChangePolicy string            `yaml:"fsGroupChangePolicy"`
		SeccompProfile      map[string]string `yaml:"seccompProfile"`
	} `yaml:"securityContext"`
	Containers []container
	Volumes    []struct {
		Name     string
		EmptyDir *struct {
			SizeLimit string `yaml:"sizeLimit"`
		} `yaml:"emptyDir"`
		Secret struct {
			SecretName  string `yaml:"secretName"`
			DefaultMode int    `yaml:"defaultMode"`
		}
	}
}

type container struct {
	Name, Image string
	Args        []string
	EnvFrom     []struct {
		ConfigMapRef struct{ Name string } `yaml:"configMapRef"`
		SecretRef    struct {
			Name     string
			Optional bool
		} `yaml:"secretRef"`
	} `yaml:"envFrom"`
	Ports []struct {
		Name          string
		ContainerPort int `yaml:"containerPort"`
	}
	LivenessProbe   probe `yaml:"livenessProbe"`
	ReadinessProbe  probe `yaml:"readinessProbe"`
	Resources       resources
	SecurityContext struct {
		AllowPrivilegeEscalation *bool `yaml:"allowPrivilegeEscalation"`
		ReadOnlyRootFilesystem   bool  `yaml:"readOnlyRootFilesystem"`
		Capabilities             struct{ Drop []string }
	} `yaml:"securityContext"`
	VolumeMounts []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

type probe struct {
	HTTPGet          struct{ Path, Port string } `yaml:"httpGet"`
	PeriodSeconds    int                         `yaml:"periodSeconds"`
	FailureThreshold int                         `yaml:"failureThreshold"`
}

// readManifests gives the objects of deploy/kubernetes by kind and name.
func readManifests(t *testing.T) map[string]object {
	t.Helper()
	objects := map[string]object{}
	paths, err := filepath.Glob("kubernetes/*.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no manifests (%v)", err)
	}
	for _, path := range paths {
		decoder := yaml.NewDecoder(strings.NewReader(readFile(t, filepath.Join("deploy", path))))
		decoder.KnownFields(true)
		for {
			var o object
			err := decoder.Decode(&o)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			objects[o.Kind+" "+o.Metadata.Name] = o
		}
	}
	return objects
}

func TestManifestsNameWhatIsThere(t *testing.T) {
	objects := readManifests(t)
	versions := map[string]bool{}
	for name, o := range objects {
		if o.Kind != "Deployment" && o.Kind != "Job" {
			continue
		}
		spec := o.Spec.Template.Spec
		for key, value := range o.Spec.Selector.MatchLabels {
			if o.Spec.Template.Metadata.Labels[key] != value {
				t.Errorf("%s selects %s=%s, which its pods do not have", name, key, value)
			}
		}
		volumes := map[string]bool{}
		for _, v := range spec.Volumes {
			volumes[v.Name] = true
			if secret := v.Secret.SecretName; secret != "" && !strings.Contains(readFile(t, "deploy/kubernetes/worker.yaml"), "kubectl create secret generic "+secret+" --from-file=client_secret=") {
				t.Errorf("%s mounts the secret %s; want the command that makes it at the top", name, secret)
			}
		}
		c := spec.Containers[0]
		for _, m := range c.VolumeMounts {
			if !volumes[m.Name] {
				t.Errorf("%s mounts %s, which is no volume of its pod", name, m.Name)
			}
		}
		version := c.Image[strings.LastIndex(c.Image, ":")+1:]
		versions[version] = true
		if !regexp.MustCompile(`^v\d+\.\d+\.\d+$`).MatchString(version) || !strings.Contains(c.Image, "/durable-dataload-"+c.Name+":") {
			t.Errorf("%s has the image %s; want durable-dataload-%s with a version", name, c.Image, c.Name)
		}
		if bucket := c.EnvFrom[1].SecretRef; !bucket.Optional || !strings.Contains(readFile(t, "deploy/kubernetes/worker.yaml"), "kubectl create secret generic "+bucket.Name+" --from-env-file=") {
			t.Errorf("%s takes the secret %+v; want an optional one, and the command that makes it at the top", name, bucket)
		}
		configuration := objects["ConfigMap "+c.EnvFrom[0].ConfigMapRef.Name]
		checkArguments(t, "deploy/kubernetes", c.Name, c.Args)
		checkVariables(t, "deploy/kubernetes", "starter", configuration.Data) // which reads XDG_STATE_HOME too
		security := spec.SecurityContext
		if !security.RunAsNonRoot || security.RunAsUser != 65532 || !c.SecurityContext.ReadOnlyRootFilesystem ||
			c.SecurityContext.AllowPrivilegeEscalation == nil || *c.SecurityContext.AllowPrivilegeEscalation ||
			!slices.Equal(c.SecurityContext.Capabilities.Drop, []string{"ALL"}) || spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			t.Errorf("%s: want the user of the images, a read-only root, and no privilege", name)
		}
		if spec.TerminationGracePeriodSeconds < 120 {
			t.Errorf("%s has %d s to stop; want more than a call takes", name, spec.TerminationGracePeriodSeconds)
		}
	}
	if len(versions) != 1 {
		t.Errorf("the manifests have the versions %v, want one", versions)
	}
}

func TestProbesAskWhereTheWorkerAnswers(t *testing.T) {
	c := readManifests(t)["Deployment durable-dataload-worker"].Spec.Template.Spec.Containers[0]
	if len(c.Ports) != 1 || !slices.Contains(c.Args, "--metrics-address=:9464") || c.Ports[0].ContainerPort != 9464 {
		t.Errorf("the worker listens by %q and shows %v; want one port, that of --metrics-address", c.Args, c.Ports)
	}
	if c.LivenessProbe.HTTPGet.Path != "/healthz" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
		t.Errorf("the probes ask %s and %s; want /healthz and /readyz", c.LivenessProbe.HTTPGet.Path, c.ReadinessProbe.HTTPGet.Path)
	}
	for _, p := range []probe{c.LivenessProbe, c.ReadinessProbe} {
		if p.HTTPGet.Port != c.Ports[0].Name {
			t.Errorf("the probe of %s asks the port %q, want %q", p.HTTPGet.Path, p.HTTPGet.Port, c.Ports[0].Name)
		}
	}
	serving := readFile(t, "internal/telemetry/serve.go")
	for _, path := range []string{"/healthz", "/readyz"} {
		if !strings.Contains(serving, path+`"`) {
			t.Errorf("nothing serves %s", path)
		}
	}
}

// A systemd unit names a flag or two as well.
func TestTheUnitStartsTheWorkerAsItIs(t *testing.T) {
	unit := readFile(t, "deploy/systemd/durable-dataload-worker.service")
	command := regexp.MustCompile(`(?m)^ExecStart=/usr/lib/durable-dataload/worker (.*)$`).FindStringSubmatch(unit)
	if command == nil {
		t.Fatal("the unit does not start /usr/lib/durable-dataload/worker")
	}
	checkArguments(t, "the unit", "worker", strings.Fields(command[1]))
	if packaged := readFile(t, ".goreleaser.yaml"); !strings.Contains(packaged, "bindir: /usr/lib/durable-dataload\n") || !strings.Contains(packaged, "src: deploy/systemd/durable-dataload-worker.service\n") {
		t.Error("the Debian package does not have the unit, or not the worker where the unit looks for it")
	}
}
