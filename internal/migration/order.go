package migration

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"durable-dataload/internal/store"
)

// An order is a file in the work location with what its owner has ordered. Temporal carries the
// same to the workers, but write access to Temporal does not prove ownership: a worker reads
// and writes only what an order names. An order is named by the digest of its content and
// never changes.

// Order orders a migration with these options. Call it before the workflow is started with
// them.
func (f Folder) Order(s Spec) error { return order(f.Path(), s) }

// IsOrdered reports whether a migration was ordered with exactly these options.
func (f Folder) IsOrdered(s Spec) (bool, error) { return isOrdered(f.Path(), s) }

// Order orders a schedule.
func (s Schedule) Order() error {
	name, _, err := encodeOrder(s.orders(), s)
	if err != nil {
		return err
	}
	if err := store.MkdirAll(s.orders()); err != nil {
		return err
	}
	if err := store.Remove(lastRunOf(name)); err != nil { // of an equal one that was deleted
		return err
	}
	return order(s.orders(), s)
}

// IsOrdered reports whether exactly this schedule was ordered.
func (s Schedule) IsOrdered() (bool, error) { return isOrdered(s.orders(), s) }

// DropOrder revokes the order of a schedule: its runs are refused from then on.
func (s Schedule) DropOrder() error {
	name, _, err := encodeOrder(s.orders(), s)
	if err != nil {
		return err
	}
	return errors.Join(store.Remove(name), store.Remove(lastRunOf(name)))
}

// DropOrderAfterRun has the run in progress revoke the order at its end, see RunEnded.
func (s Schedule) DropOrderAfterRun() error {
	name, _, err := encodeOrder(s.orders(), s)
	if err != nil {
		return err
	}
	return store.Write(lastRunOf(name), nil)
}

// RunEnded revokes the order if the run that has ended was the last one.
func (s Schedule) RunEnded() error {
	name, _, err := encodeOrder(s.orders(), s)
	if err != nil {
		return err
	}
	if last, err := store.Exists(lastRunOf(name)); !last {
		return err
	}
	return s.DropOrder()
}

// lastRunOf is beside the order of a schedule that was deleted while a run was in progress.
func lastRunOf(order string) string { return strings.TrimSuffix(order, ".json") + ".last" }

func (s Schedule) orders() string { return store.Join(s.StateDir, "schedules") }

// ScheduleNames are the ids of the schedules that a work location has ordered, sorted.
func ScheduleNames(work string) (names []string, err error) {
	dir := Schedule{StateDir: work}.orders()
	files, err := store.List(dir)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		if s, err := load[Schedule](store.Join(dir, file)); err == nil && s.ID != "" {
			names = append(names, s.ID)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}

func order(dir string, value any) error {
	name, data, err := encodeOrder(dir, value)
	if err != nil {
		return err
	}
	if err := store.MkdirAll(dir); err != nil {
		return err
	}
	return store.Write(name, data)
}

func isOrdered(dir string, value any) (bool, error) {
	name, _, err := encodeOrder(dir, value)
	if err != nil {
		return false, err
	}
	return store.Exists(name)
}

func encodeOrder(dir string, value any) (name string, data []byte, err error) {
	if data, err = json.Marshal(value); err != nil {
		return "", nil, err
	}
	sum := sha256.Sum256(data)
	return store.Join(dir, "order-"+hex.EncodeToString(sum[:])+".json"), data, nil
}
