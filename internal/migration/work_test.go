package migration

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"durable-dataload/internal/store"
)

func anOwner(service string, pid int) Owner {
	return Owner{Service: service, Name: "the engine of " + service, Since: time.Now(), Engine: "/" + service, PID: pid}
}

func TestAnOwnerThatResumesIsRecordedWithItsProcess(t *testing.T) {
	work, dead := t.TempDir(), func(Owner) bool { return true }
	claim := func(o Owner, want int) {
		t.Helper()
		must(t, ClaimWork(t.Context(), work, o, dead))
		if held, err := load[Owner](ownerFile(work)); err != nil || held.Service != o.Service || held.PID != want {
			t.Fatalf("the owner is %+v, %v; want %s in process %d", held, err, o.Service, want)
		}
	}
	claim(anOwner("x", 1), 1)
	claim(anOwner("x", os.Getpid()), os.Getpid())
	claim(anOwner("x", 2), os.Getpid()) // attached to an engine whose process records itself
	claim(anOwner("y", 3), 3)
	claim(anOwner("x", 4), 4)
}

// Who takes over asks again after it has said so: the owner may have been started meanwhile.
func TestAnOwnerThatResumesIsNotRemoved(t *testing.T) {
	work := t.TempDir()
	must(t, ClaimWork(t.Context(), work, anOwner("x", 1), nil))
	x := anOwner("x", os.Getpid())
	asked := 0
	err := ClaimWork(t.Context(), work, anOwner("y", 3), func(Owner) bool {
		if asked++; asked == 1 {
			must(t, ClaimWork(t.Context(), work, x, nil))
		}
		return asked == 1
	})
	if err == nil || !strings.Contains(err.Error(), "belongs to another Temporal service") {
		t.Errorf("the error is %v, want that it belongs to another one", err)
	}
	must(t, ClaimWork(t.Context(), work, x, nil))
}

// A takeover that was killed on its way ends neither by itself nor unseen.
func TestATakeoverThatDoesNotEndIsReported(t *testing.T) {
	for service, pid := range map[string]int{"x": os.Getpid(), "y": 3} {
		synctest.Test(t, func(t *testing.T) {
			work := t.TempDir()
			must(t, ClaimWork(t.Context(), work, anOwner("x", 1), nil))
			held, err := load[Owner](ownerFile(work))
			must(t, err)
			must(t, store.Create(held.endedFile(work), nil))
			claim := func(ctx context.Context) error {
				return ClaimWork(ctx, work, anOwner(service, pid), func(Owner) bool { return true })
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := claim(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: the error is %v, want the end of the context", service, err)
			}
			err = claim(t.Context())
			if err == nil || !strings.Contains(err.Error(), ownerFile(work)) || !strings.Contains(err.Error(), filepath.Base(held.endedFile(work))) {
				t.Errorf("%s: the error is %v, want both files", service, err)
			}
		})
	}
}
