//go:build !linux

package main

import "errors"

var errNoDisk = errors.New("a disk can be filled on Linux only")

// mount returns false: this system cannot mount a separate file system.
func mount(string) (bool, error) { return false, nil }

func unmount(string, bool) error { return errNoDisk }
func fillDisk(string) error      { return errNoDisk }
func freeDisk(string) error      { return errNoDisk }
