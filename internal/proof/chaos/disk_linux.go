package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// diskSize has room for the state of an episode.
const diskSize = "256m"

// mount mounts a separate file system, in memory, at a new folder, so that it can be
// filled. It returns false if this user may not.
func mount(dir string) (bool, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return false, err
	}
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,size="+diskSize)
	if errors.Is(err, unix.EPERM) {
		return false, os.Remove(dir)
	}
	return err == nil, err
}

// unmount keeps what is there under another name, if wanted.
func unmount(dir string, keep bool) error {
	if keep {
		if err := os.CopyFS(dir+".kept", os.DirFS(dir)); err != nil {
			return err
		}
	}
	return unix.Unmount(dir, unix.MNT_DETACH)
}

func ballast(dir string) string { return filepath.Join(dir, "ballast") }

// fillDisk leaves no byte free.
func fillDisk(dir string) error {
	f, err := os.OpenFile(ballast(dir), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	for _, size := range []int{1 << 20, 1 << 12, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			return fmt.Errorf("cannot fill %s: %w", dir, err)
		}
	}
	return nil
}

func freeDisk(dir string) error { return os.Remove(ballast(dir)) }
