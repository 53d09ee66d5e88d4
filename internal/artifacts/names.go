package artifacts

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/store"
)

// Stamp is the datetime in the names of artifacts, in the form of dataload.py
// ("Nov_22_2026_13_05_00"), in UTC.
func Stamp(t time.Time) string { return t.UTC().Format(stampFormat) }

const stampFormat = "Jan_02_2006_15_04_05"

// Name is the name of an artifact.
func Name(kind, stamp, extension string) string { return kind + "_" + stamp + "." + extension }

// kinds are the artifacts that carry the datetime of the migration, the rollback, the verification or the dry run.
var kinds = []struct{ kind, extension string }{
	{"success", "csv"}, {"fail", "csv"}, {"fail_records", "csv"}, {"update_success", "csv"}, {"update_fail", "csv"},
	{"rollback_success", "csv"}, {"rollback_fail", "csv"}, {"verify", "csv"}, {"verify", "json"}, {"remaining", "csv"}, {"summary", "json"}, {"report", "html"},
	{"dry_run", "jsonl"}, {"dry_run_fail", "csv"},
}

// otherKinds have a datetime of their own: those of a round, and of a run of a schedule.
var otherKinds = []struct{ kind, extension string }{{"retry", "csv"}, {"scheduled", "json"}}

// IsArtifact reports whether a file has the name of an artifact.
func IsArtifact(name string) bool {
	for _, k := range slices.Concat(kinds, otherKinds) {
		rest, ok := strings.CutPrefix(name, k.kind+"_")
		if stamp, found := strings.CutSuffix(rest, "."+k.extension); ok && found {
			if _, err := time.Parse(stampFormat, stamp); err == nil {
				return true
			}
		}
	}
	return false
}

// ReserveStamp finds a datetime, from t on, under which outputDir has no artifact with the
// migration's datetime, and reserves it: exclusively, durably, and in outputDir itself, so that
// other state folders and other machines see it. owner is the folder
// that reserves (see migration.RunFolder.Owner), what the purpose: the same call gives the same
// datetime. Release ends the reservation.
func ReserveStamp(outputDir, owner, what string, t time.Time) (string, error) {
	return reserve(outputDir, "", owner+" "+what, t, func(stamp string) (bool, error) {
		for _, k := range kinds {
			if taken, err := store.Exists(store.Join(outputDir, Name(k.kind, stamp, k.extension))); taken || err != nil {
				return false, err
			}
		}
		return true, nil
	})
}

// ReserveRetryName does the same for one retry file and gives its name.
func ReserveRetryName(outputDir, owner, what string, t time.Time) (string, error) {
	stamp, err := reserve(outputDir, "retry_", owner+" "+what, t, func(stamp string) (bool, error) {
		taken, err := store.Exists(store.Join(outputDir, Name("retry", stamp, "csv")))
		return !taken, err
	})
	return Name("retry", stamp, "csv"), err
}

// Release ends the reservations of owner in a folder. Call it once the artifacts are there: they
// hold the names from then on.
func Release(outputDir, owner string) error {
	files, err := store.List(outputDir)
	if err != nil {
		return err
	}
	for _, file := range files {
		if !strings.HasPrefix(file, reservation) {
			continue
		}
		path := store.Join(outputDir, file)
		by, err := store.Read(path)
		if errors.Is(err, os.ErrNotExist) || err == nil && !strings.HasPrefix(string(by), owner+" ") {
			continue
		}
		if err != nil {
			return err
		}
		if err := store.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// reservation is the prefix of the file that reserves a datetime. It is hidden, since it is not a
// result. A migration that never finishes blocks that one second.
const reservation = ".reserved_"

func reserve(outputDir, kind, by string, t time.Time, isFree func(stamp string) (bool, error)) (string, error) {
	for ; ; t = t.Add(time.Second) {
		stamp := Stamp(t)
		file := store.Join(outputDir, reservation+kind+stamp)
		ours, err := take(file, by)
		if err != nil {
			return "", err
		}
		if !ours {
			continue
		}
		// Only now: an earlier owner has its artifacts there before it releases the name.
		free, err := isFree(stamp)
		if free || err != nil {
			return stamp, err
		}
		if err := store.Remove(file); err != nil {
			return "", err
		}
	}
}

// take creates the file of a reservation, and says whether it is ours, from this attempt or an
// earlier one.
func take(file, by string) (ours bool, err error) {
	if err := store.Create(file, []byte(by)); !errors.Is(err, store.ErrExists) {
		return err == nil, err
	}
	found, err := store.Read(file)
	if errors.Is(err, os.ErrNotExist) {
		return false, nil // released just now: its second is taken
	}
	return err == nil && string(found) == by, err
}

// CheckFolder makes the output folder if it is missing, and says whether files
// can be written there.
func CheckFolder(dir string) error {
	if err := store.Prove(dir); err != nil {
		return fmt.Errorf("cannot write to the output folder %s: %w; make it writable or give another one with --output-dir", dir, err)
	}
	return nil
}

// Drop removes an artifact that newer ones have replaced. That it is gone already is no error.
func Drop(outputDir, name string) error { return store.Remove(store.Join(outputDir, name)) }
