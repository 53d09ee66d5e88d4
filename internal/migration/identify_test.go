package migration

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestIdentifyFindsTheMigrationOfAFile(t *testing.T) {
	state := t.TempDir()
	options := Spec{Target: Target{URI: "https://a.example", EntityType: "user"}, StartAt: 1, BatchSize: 100, OutputDir: "/out"}
	in := Input{Path: "/data/users.csv", SHA256: "abc", Shown: "users.csv"}
	spec, kept, err := Identify(options, in, state, false)
	if err != nil || kept != nil || spec.ID != WorkflowID("users.csv", Key("abc", options.Target, 1, 1)) || spec.Folder != In(state, Key("abc", options.Target, 1, 1)) {
		t.Fatalf("%+v, %q, %v; want a new migration", spec, kept, err)
	}
	folder := spec.Folder

	// It was started: under its first name, with the options that cannot be changed.
	begin(t, folder, spec)
	renamed, changed := in, options
	renamed.Path, changed.BatchSize, changed.OutputDir = "/data/copy.csv", 50, "/elsewhere"
	again, kept, err := Identify(changed, renamed, state, false)
	if err != nil || again.ID != spec.ID || again.BatchSize != 100 || again.OutputDir != "/out" || len(kept) != 2 || again.DataFile != "/data/copy.csv" {
		t.Errorf("%+v, %q, %v; want it to resume as it was started", again, kept, err)
	}

	// Options with which it cannot resume.
	other, semicolon := in, options
	other.SHA256, semicolon.Delimiter = "abd", ";"
	for name, c := range map[string]struct {
		options Spec
		in      Input
		word    string
	}{
		"another content": {options, other, "has changed since its migration " + spec.ID},
		"a delimiter":     {semicolon, in, "--delimiter ','"},
	} {
		_, _, err := Identify(c.options, c.in, state, false)
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), c.word) {
			t.Errorf("%s: %v; want a RefusedError with %q", name, err, c.word)
		}
	}
	if _, _, err := Identify(options, other, state, true); err != nil {
		t.Errorf("%v; want another content to be asked for", err)
	}

	// It is done, and asked for once more.
	must(t, errors.Join(folder.SaveSummary(Summary{WorkflowID: spec.ID, Records: Counts{Total: 1, Created: 1}}), folder.Finish(false)))
	var done *DoneError
	if _, _, err := Identify(options, renamed, state, false); !errors.As(err, &done) || done.Spec.ID != spec.ID || done.Start.Stamp != "stamp" || done.Summary.Records.Created != 1 {
		t.Errorf("%v, %+v; want it done", err, done)
	}
	if _, _, err := Identify(options, other, state, false); err != nil {
		t.Errorf("%v; want another content of the same file to be new, now that the one before is done", err)
	}
	second, _, err := Identify(options, in, state, true)
	if err != nil || second.Folder.Path() != spec.Folder.Path()+"-2" {
		t.Fatalf("%s, %v; want a second time", second.Folder, err)
	}
	begin(t, second.Folder, second)
	if cutOff, _, err := Identify(options, in, state, false); err != nil || cutOff.ID != second.ID {
		t.Errorf("%s, %v; want %s, which was cut off, without being asked for again", cutOff.ID, err, second.ID)
	}

	must(t, second.Folder.MarkRolledBack(RolledBack{Rollback: "rollback-x", Done: true}))
	var refused *RefusedError
	if _, _, err := Identify(options, in, state, false); !errors.As(err, &refused) || !strings.Contains(err.Error(), "rolled back (rollback-x)") {
		t.Errorf("%v; want it refused: it was rolled back", err)
	}
}

func TestADamagedFolderDoesNotAffectOtherInputs(t *testing.T) {
	options := Spec{Target: Target{URI: "https://a.example", EntityType: "user"}, StartAt: 1, BatchSize: 100}
	for _, unreadable := range []string{"spec.json", "summary.json"} {
		for kind, damage := range map[string]func(path string) error{
			"a folder":   func(path string) error { return os.Mkdir(path, 0o700) },
			"half of it": func(path string) error { return os.WriteFile(path, []byte(`{"id": "mig`), 0o600) },
			"nothing":    func(path string) error { return os.WriteFile(path, nil, 0o600) },
		} {
			t.Run(unreadable+" is "+kind, func(t *testing.T) {
				state := t.TempDir()
				staged := Input{Path: filepath.Join(state, "abc.csv"), SHA256: "abc", Name: "users.csv", Origin: "/data/users.csv", Shown: "users.csv"}
				must(t, os.WriteFile(staged.Path, nil, 0o600))
				spec, _, err := Identify(options, staged, state, false)
				must(t, err)
				begin(t, spec.Folder, spec)
				path := filepath.Join(spec.Folder.Path(), unreadable)
				_ = os.Remove(path)
				must(t, damage(path))
				another := Input{Path: "/data/others.csv", SHA256: "abe", Shown: "others.csv"}
				if _, _, err := Identify(options, another, state, false); err != nil {
					t.Errorf("another input: %v; want it identified", err)
				}
				// It may need its input.
				if err := DropInput(state, staged.Path); err != nil {
					t.Errorf("an input that may be needed: %v", err)
				}
				if _, err := os.Stat(staged.Path); err != nil {
					t.Errorf("%v; want the input kept", err)
				}
				// Its own file: it may be cut off.
				changed := staged
				changed.SHA256 = "abd"
				if _, _, err := Identify(options, changed, state, false); unreadable == "summary.json" && err == nil {
					t.Error("the same file with another content begins beside one that may be cut off")
				}
			})
		}
	}
}

func begin(t *testing.T, folder Folder, spec Spec) {
	t.Helper()
	_, err := folder.CreateStart(Start{ID: spec.ID, StartedAt: time.Now(), Stamp: "stamp"})
	must(t, errors.Join(err, folder.SaveSpec(spec)))
}

func TestAMigrationWithoutItsLedgerIsRefused(t *testing.T) {
	state := t.TempDir()
	options := Spec{Target: Target{URI: "https://a.example", EntityType: "user"}, StartAt: 1, BatchSize: 100}
	in := Input{Path: "/data/users.csv", SHA256: "abc", Shown: "users.csv"}
	spec, _, err := Identify(options, in, state, false)
	must(t, err)
	folder := spec.Folder
	begin(t, folder, spec)
	if claimed, err := folder.Claimed(); claimed || err != nil {
		t.Errorf("claimed: %t, %v; want a ledger without an entry", claimed, err)
	}
	must(t, os.RemoveAll(folder.Ledger()))
	for _, again := range []bool{false, true} {
		_, _, err := Identify(options, in, state, again)
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), folder.Ledger()) || !strings.Contains(err.Error(), "restore it from a backup") || !strings.Contains(err.Error(), "move the folder "+spec.Folder.Path()+" away") {
			t.Errorf("again %t: %v; want it refused, with what can be done", again, err)
		}
	}
	must(t, os.Rename(spec.Folder.Path(), filepath.Join(state, "away")))
	if _, _, err := Identify(options, in, state, false); err != nil {
		t.Errorf("moved away: %v; want a new migration", err)
	}
}
