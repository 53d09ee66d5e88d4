package artifacts

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"durable-dataload/internal/private"
	"durable-dataload/internal/store"
)

// Stamp is the datetime in the names of artifacts, as dataload.py writes it
// ("Nov_22_2026_13_05_00"), in UTC.
func Stamp(t time.Time) string { return t.UTC().Format(stampFormat) }

const stampFormat = "Jan_02_2006_15_04_05"

// Name is the name of an artifact.
func Name(kind, stamp, extension string) string { return kind + "_" + stamp + "." + extension }

// kinds are all artifacts that carry the migration's own datetime.
var kinds = []struct{ kind, extension string }{
	{"success", "csv"}, {"fail", "csv"}, {"fail_records", "csv"}, {"update_success", "csv"}, {"update_fail", "csv"},
	{"rollback_success", "csv"}, {"rollback_fail", "csv"}, {"verify", "csv"}, {"verify", "json"}, {"remaining", "csv"}, {"summary", "json"}, {"report", "html"},
}

// otherKinds have a datetime of their own: those of a round, of a dry run, and
// of a run of a schedule.
var otherKinds = []struct{ kind, extension string }{{"retry", "csv"}, {"dry_run", "jsonl"}, {"dry_run_fail", "csv"}, {"scheduled", "json"}}

// IsArtifact says whether a file has the name of an artifact.
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

// ReserveStamp finds a datetime, from t on, under which outputDir has no
// artifact of the migration's yet and no other migration of this state folder
// will write one. Reservations are kept in the folder reservations.
func ReserveStamp(outputDir, reservations string, t time.Time) (string, error) {
	return reserve(reservations, t, func(stamp string) (string, bool, error) {
		for _, k := range kinds {
			if taken, err := store.Exists(store.Join(outputDir, Name(k.kind, stamp, k.extension))); taken || err != nil {
				return "", false, err
			}
		}
		return reservationName(outputDir, stamp), true, nil
	})
}

// ReserveRetryName does the same for one retry file and gives its name.
func ReserveRetryName(outputDir, reservations string, t time.Time) (string, error) {
	stamp, err := reserve(reservations, t, func(stamp string) (string, bool, error) {
		taken, err := store.Exists(store.Join(outputDir, Name("retry", stamp, "csv")))
		return reservationName(outputDir, "retry_"+stamp), !taken, err
	})
	return Name("retry", stamp, "csv"), err
}

func reserve(folder string, t time.Time, free func(stamp string) (reservation string, ok bool, err error)) (string, error) {
	if err := store.MkdirAll(folder); err != nil {
		return "", err
	}
	for {
		stamp := Stamp(t)
		reservation, ok, err := free(stamp)
		if err != nil {
			return "", err
		}
		if ok {
			err := store.Create(store.Join(folder, reservation), nil)
			if err == nil {
				return stamp, nil
			}
			if !errors.Is(err, store.ErrExists) {
				return "", err
			}
		}
		t = t.Add(time.Second)
	}
}

// CheckFolder makes the output folder if it is missing, and says whether files
// can be written there.
func CheckFolder(dir string) error {
	if store.IsURL(dir) {
		if err := store.Prove(dir); err != nil {
			return fmt.Errorf("cannot use the output folder %s: %w; give another one with --output-dir", dir, err)
		}
		return nil
	}
	if err := private.MkdirAll(dir); err != nil {
		return fmt.Errorf("cannot make the output folder %s: %w; give another one with --output-dir", dir, err)
	}
	probe, err := private.NewWriter(filepath.Join(dir, "probe"))
	if err != nil {
		return fmt.Errorf("cannot write to the output folder %s: %w; make it writable or give another one with --output-dir", dir, err)
	}
	probe.Discard()
	return nil
}

// Drop removes an artifact that newer ones have replaced. That it is gone
// already is no error.
func Drop(outputDir, name string) error { return store.Remove(store.Join(outputDir, name)) }
