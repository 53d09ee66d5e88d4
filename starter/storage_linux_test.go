package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/program"
)

// disk is a file system of its own, in memory. Permission bits do not stop the
// superuser, who runs the tests in many places; a disk that is read-only or
// full does.
type disk struct {
	t    *testing.T
	path string
}

func (l *lab) disk(name, size string) *disk {
	l.t.Helper()
	d := &disk{l.t, l.path(name)}
	must(l.t, os.Mkdir(d.path, 0o700))
	err := unix.Mount("tmpfs", d.path, "tmpfs", 0, "mode=0700,size="+size)
	if errors.Is(err, unix.EPERM) {
		l.t.Skip("this user may not mount a file system, which a disk that is full or read-only needs")
	}
	must(l.t, err)
	l.t.Cleanup(func() {
		// Before the lab's own end, and after its processes.
		for _, p := range l.processes {
			p.kill()
		}
		_ = os.Remove(filepath.Join(d.path, "ballast"))
		if l.t.Failed() {
			_ = os.CopyFS(d.path+".kept", os.DirFS(d.path))
		}
		if err := unix.Unmount(d.path, unix.MNT_DETACH); err != nil {
			l.t.Errorf("cannot unmount %s: %v", d.path, err)
		}
	})
	return d
}

func (d *disk) makeReadOnly(readOnly bool) {
	d.t.Helper()
	flags := uintptr(unix.MS_REMOUNT)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	// It is busy as long as a file is open for writing.
	until(d.t, "the disk can be remounted", func() bool {
		err := unix.Mount("tmpfs", d.path, "tmpfs", flags, "")
		if err != nil && !errors.Is(err, unix.EBUSY) {
			d.t.Fatal(err)
		}
		return err == nil
	})
}

// fill leaves no byte free.
func (d *disk) fill() {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.path, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	must(d.t, err)
	defer f.Close()
	for _, size := range []int{1 << 16, 1} {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, unix.ENOSPC) {
			d.t.Fatal(err)
		}
	}
}

func (d *disk) free() {
	d.t.Helper()
	must(d.t, os.Remove(filepath.Join(d.path, "ballast")))
}

func TestAnOutputFolderThatCannotBeWrittenIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 50, Seed: 51}), 10, "--rate-limit", "0")
	d := l.disk("out", "1m")
	d.makeReadOnly(true)
	refused(t, m.start(), 1, d.path, "read-only file system", "--output-dir")
	s.wantCalls(0)
	d.makeReadOnly(false)
	m.run(0)
	m.check()
}

func TestAFileInTheWayOfTheOutputFolderIsRefusedAtOnce(t *testing.T) {
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 50, Seed: 51}), 10, "--rate-limit", "0")
	must(t, os.WriteFile(m.out, nil, 0o600))
	refused(t, m.start(), 1, m.out, "--output-dir")
	s.wantCalls(0)
}

func TestAnOutputFolderThatBecomesReadOnlyKeepsTheState(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t, "--faults", "reset-after=15", "--seed", "2")
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 52}), 10, "--rate-limit", "20", "--retry-backoff", "100ms")
	d := l.disk("out", "4m")
	p := m.startUntil(5)
	d.makeReadOnly(true)
	p.ends(1)
	oneError(t, p, "read-only file system")
	hasAll(t, p.errors(), "Trouble, retrying: ")
	d.makeReadOnly(false)
	calls := s.calls()
	m.run(0)
	m.check()
	t.Logf("%d calls before, %d after", calls, s.calls()-calls)
}

func TestAFullOutputDiskIsWaitedFor(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 200, Seed: 53}), 10, "--rate-limit", "10")
	d := l.disk("out", "2m")
	p := m.startUntil(3)
	d.fill()
	until(t, "it says that the disk is full", func() bool { return strings.Contains(p.errors(), "the disk is full") || p.hasEnded() })
	d.free()
	p.ends(0)
	m.check()
}

func TestAFullStateDiskIsSaidAndWaitedFor(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 54}), 5, "--rate-limit", "10")
	d := l.disk("state", "16m")
	p := m.startUntil(5)
	d.fill()
	until(t, "it says that the disk is full", func() bool { return strings.Contains(p.errors(), "no space left on device") || p.hasEnded() })
	calls := s.calls()
	d.free()
	p.ends(0)
	m.check()
	t.Logf("%d calls until the disk was full, %d in all", calls, s.calls())
}

func TestAStarterKilledOnAFullStateDiskGoesOn(t *testing.T) {
	program.Long(t)
	t.Parallel()
	l, s := labWithSandbox(t)
	m := l.migration(s, l.users(fakeusers.Options{Records: 300, Seed: 55}), 5, "--rate-limit", "10")
	d := l.disk("state", "16m")
	p := m.startUntil(5)
	d.fill()
	last, since := s.calls(), time.Now()
	until(t, "no call is made any more", func() bool {
		if now := s.calls(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 2*time.Second
	})
	p.kill()
	p = m.run(1)
	oneError(t, p, "")
	s.wantCalls(last)
	d.free()
	m.run(0)
	m.check()
}
