package main

import (
	"os"
	"testing"

	"durable-dataload/internal/config"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/targets"
)

func TestTheCommandThatLoadsFailedRecordsHasWhatTheyNeed(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	normal, err := config.StateDir("", os.Getenv)
	must(t, err)
	l := locations{stateDir: normal}
	for _, c := range []struct {
		spec migration.Spec
		want string
	}{
		{
			migration.Spec{Target: migration.Target{URI: "http://a.example", EntityType: "user", Auth: "basic", InsecureHTTP: true}, PrimaryKey: "email"},
			"starter --data 'fail records.csv' --apid_uri http://a.example --insecure-http",
		},
		{
			migration.Spec{Target: migration.Target{URI: "https://a.example", EntityType: "user", Auth: "basic"}, PrimaryKey: "email"},
			"starter --data 'fail records.csv' --apid_uri https://a.example",
		},
		{
			migration.Spec{
				Target: migration.Target{URI: "https://a.example", EntityType: "member", Auth: "signature"}, PrimaryKey: "nick",
				Delimiter: "\t", MappingFile: "/maps/m.yaml", Delta: true,
			},
			"starter --data 'fail records.csv' --apid_uri https://a.example --type-name member --auth signature --delimiter '\t' --mapping /maps/m.yaml --primary-key nick --delta-migration",
		},
		{
			migration.Spec{Target: migration.Target{Name: targets.Kratos, URI: "http://127.0.0.1:4434", EntityType: "default"}, PrimaryKey: "traits.email", Delimiter: ";"},
			"starter --data 'fail records.csv' --target kratos --target-url http://127.0.0.1:4434 --delimiter ';'",
		},
		{
			migration.Spec{Target: migration.Target{Name: targets.IdentityPlatform, URI: targets.DefaultURL(targets.IdentityPlatform), EntityType: "demo"}, PrimaryKey: "email"},
			"starter --data 'fail records.csv' --target identity-platform --target-project demo",
		},
	} {
		if got := l.loads("fail records.csv", ended{spec: c.spec}); got != c.want {
			t.Errorf("%+v:\n%s, want\n%s", c.spec.Target, got, c.want)
		}
	}
	elsewhere := locations{stateDir: t.TempDir(), workURL: "s3://bucket/work"}
	credentials, closeSandbox, err := openSandbox(elsewhere.stateDir)
	must(t, err)
	closeSandbox()
	e := ended{spec: migration.Spec{Target: migration.Target{URI: credentials.URI, EntityType: "user", Auth: "basic"}, PrimaryKey: "email"}}
	if got, want := elsewhere.loads("x.csv", e), "starter --data x.csv --sandbox --state-dir "+elsewhere.stateDir+" --work-url s3://bucket/work"; got != want {
		t.Errorf("into the sandbox of another state folder:\n%s, want\n%s", got, want)
	}
}

func TestTwoVerificationsOfOneSecondHaveTwoFolders(t *testing.T) {
	o := verifyOptions{}
	o.stateDir = t.TempDir()
	v := verifyOperation{o: &o}
	v.Folder = migration.In(o.stateDir, "key")
	const stamp = "Nov_30_2026_07_26_27"
	first, err := v.newFolder(stamp)
	must(t, err)
	must(t, first.SaveOptions(migration.Verification{}))
	if second, err := v.newFolder(stamp); err != nil || second.Path() == first.Path() {
		t.Errorf("the second one has %s, as the first one, %v", second.Path(), err)
	}
}
