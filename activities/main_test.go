package activities

import (
	"os"
	"testing"

	"durable-dataload/internal/proof/program"
)

// The ledger is fsynced thousands of times in these tests.
func TestMain(m *testing.M) {
	program.UseMemory()
	os.Exit(m.Run())
}
