package program

import (
	"os"
	"testing"
)

const longVariable = "DATALOAD_TEST_LONG"

// RunsLong reports whether long tests run too, as in continuous integration.
func RunsLong() bool { return os.Getenv(longVariable) != "" }

// Long skips such a test elsewhere.
func Long(t testing.TB) {
	t.Helper()
	if !RunsLong() {
		t.Skip("takes long; set " + longVariable + "=1 to run it")
	}
}
