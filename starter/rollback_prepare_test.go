package main

import (
	"os"
	"testing"

	"durable-dataload/internal/migration"
)

// Two commands ask, one is confirmed, and then the other is not.
func TestARollbackThatIsNotConfirmedKeepsOneThatIs(t *testing.T) {
	r := rollbackOperation{folder: migration.RollbackIn(t.TempDir(), "0123456789ab")}
	must(t, r.folder.Make())
	_, err := r.folder.CreateStart(migration.Start{ID: "rollback"})
	must(t, err)
	r.dropList()
	if _, err := r.folder.Start(); err != nil {
		t.Errorf("the rollback is gone: %v", err)
	}
	unconfirmed := rollbackOperation{folder: migration.RollbackIn(t.TempDir(), "0123456789ab")}
	must(t, unconfirmed.folder.Make())
	unconfirmed.dropList()
	if _, err := os.Stat(unconfirmed.folder.Path()); !os.IsNotExist(err) {
		t.Errorf("the list is still there (%v)", err)
	}
}
