package program

import "os"

// memory is where Linux has a file system in memory.
const memory = "/dev/shm"

// Memory is a folder in memory, or "" where the system has none: for tests and
// harnesses that kill processes, which lose nothing of what they wrote to a file
// system. An fsync on a disk that others use can take seconds.
func Memory() string {
	probe, err := os.MkdirTemp(memory, "durable-dataload-probe-")
	if err != nil {
		return ""
	}
	_ = os.Remove(probe)
	return memory
}

// UseMemory puts the temporary folders of this process into memory, those of its
// tests too. It is called by a TestMain.
func UseMemory() {
	if dir := Memory(); dir != "" && os.Getenv("TMPDIR") == "" {
		_ = os.Setenv("TMPDIR", dir)
	}
}
