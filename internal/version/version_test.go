package version

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestStringDescribesTheBuild(t *testing.T) {
	built := ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
	settings := func(pairs ...string) (list []debug.BuildSetting) {
		for i := 0; i < len(pairs); i += 2 {
			list = append(list, debug.BuildSetting{Key: pairs[i], Value: pairs[i+1]})
		}
		return list
	}
	for _, c := range []struct {
		name, stamped string
		info          debug.BuildInfo
		want          string
	}{
		{"nothing", "", debug.BuildInfo{}, "worker (devel)" + built},
		{"a tag", "", debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}, Settings: settings("vcs.revision", "0123abc", "vcs.time", "2026-11-30T04:55:00Z", "vcs.modified", "false")},
			"worker v1.2.3 (revision 0123abc of 2026-11-30)" + built},
		{"a changed tree", "", debug.BuildInfo{Main: debug.Module{Version: "v1.2.3+dirty"}, Settings: settings("vcs.revision", "0123abc", "vcs.modified", "true")},
			"worker v1.2.3+dirty (revision 0123abc, modified)" + built},
		{"a stamp", "v1.2.4", debug.BuildInfo{Main: debug.Module{Version: "(devel)"}}, "worker v1.2.4" + built},
	} {
		if got := describe("worker", c.stamped, &c.info); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
