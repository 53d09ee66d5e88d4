// Package machine detects that a state folder is a copy, or belongs to another machine: two engines
// on one database corrupt it, and with two ledgers of one migration batches are sent twice.
package machine

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// name is the file that identifies a state folder.
const name = "machine.json"

// mark is its content. Copies of a file, and files from a backup, have another inode.
type mark struct {
	Inode uint64 `json:"inode"` // of the file itself
	identity
}

// identity identifies a machine. In a container, ID is often missing, or that of its image; Boot
// is then that of the host.
type identity struct {
	ID   string `json:"machine"` // hashed; "" if the machine has none
	Boot string `json:"boot"`    // "" if it is not known
	Host string `json:"host"`    // for messages
}

// isSame reports whether both are of one machine, as far as is known.
func (i identity) isSame(other identity) bool {
	return i.ID == "" || other.ID == "" || i.ID == other.ID || i.Boot != "" && i.Boot == other.Boot
}

// Claim marks a state folder as that of this machine, or returns an error if it is not: the folder
// was copied, restored from a backup, or is used by another machine. It does not detect this if
// neither machine has an id (see machine-id(5)) and the folder is shared, nor for a machine that was
// cloned with its disk.
func Claim(dir string) error { return claim(dir, this()) }

func claim(dir string, here identity) error {
	path := filepath.Join(dir, name)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return write(path, here)
	}
	if err != nil {
		return err
	}
	var m mark
	if err := json.Unmarshal(data, &m); err != nil {
		return refusal(dir, path, "it is damaged: "+err.Error())
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	switch {
	case !m.isSame(here):
		return refusal(dir, path, fmt.Sprintf("it belongs to the machine %q, and this is %q", m.Host, here.Host))
	case inode(info) != m.Inode:
		return refusal(dir, path, "it is a copy, or was restored from a backup")
	}
	return nil
}

func refusal(dir, path, why string) error {
	return fmt.Errorf("the state folder %s is not used: %s; if no other program uses it or the folder that it was copied from, remove %s and rerun the command (docs/state.md, \"A folder that is restored\")", dir, why, path)
}

// write writes the mark atomically. Of several processes that start together, one succeeds.
func write(path string, here identity) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+name+".tmp-") // mode 0600
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }()
	info, err := f.Stat() // a link has the same inode
	if err != nil {
		return errors.Join(err, f.Close())
	}
	data, err := json.MarshalIndent(mark{inode(info), here}, "", " ")
	if err != nil {
		return errors.Join(err, f.Close())
	}
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); !errors.Is(err, os.ErrExist) {
		return err
	}
	return claim(filepath.Dir(path), here)
}

func inode(info os.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// this returns the identity of this machine.
func this() identity {
	var i identity
	for _, path := range []string{"/etc/machine-id", "/var/lib/dbus/machine-id"} {
		if id := line(path); i.ID == "" && id != "" {
			// machine-id(5) says that the id itself must not be exposed.
			sum := sha256.Sum256([]byte("durable-dataload\n" + id))
			i.ID = hex.EncodeToString(sum[:8])
		}
	}
	i.Boot = line("/proc/sys/kernel/random/boot_id")
	i.Host, _ = os.Hostname()
	return i
}

func line(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
