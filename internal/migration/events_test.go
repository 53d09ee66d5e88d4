package migration

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestATruncatedLineLosesOnlyItsOwnEvent(t *testing.T) {
	f := RunFolder(t.TempDir()).Migration()
	at := time.Date(2026, 11, 22, 13, 5, 0, 0, time.UTC)
	begun, ended := Event{At: at, Kind: EventBegun}, Event{At: at.Add(time.Hour), Kind: EventEnded}
	changed := Event{At: at.Add(time.Minute), Kind: EventChanged, Who: "anna@desk", Reason: strings.Repeat("because ", 20_000)}
	write := func(e Event) {
		t.Helper()
		if err := f.AppendEvent(e); err != nil {
			t.Fatal(err)
		}
	}
	write(begun)
	write(ended)
	data, err := os.ReadFile(f.events() + ".jsonl")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(f.events()+".jsonl", data[:len(data)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, e := range []Event{changed, ended, ended} { // the last is of an activity that was run again
		write(e)
	}
	got, err := f.Events()
	if err != nil {
		t.Fatal(err)
	}
	want := []Event{begun, changed, ended}
	if len(got) != len(want) {
		t.Fatalf("%d events, want %d: only the line that was cut is lost, however long the others are", len(got), len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("event %d is %.200v, want %.200v", i, got[i], want[i])
		}
	}
}
