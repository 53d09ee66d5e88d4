package activities

import (
	"context"
	"errors"
	"io/fs"
	"syscall"

	"go.temporal.io/sdk/temporal"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
)

// Types of the errors that the workflows tell apart.
const (
	// Refused: this input or this target cannot be migrated. Nothing was sent.
	Refused = "Refused"
	// Damaged: a file of the migration's folder is not as this program writes it, or the
	// ledger is missing.
	Damaged = "Damaged"
	// Unreachable: the target does not answer as it should. It may pass.
	Unreachable = "Unreachable"
	// InputChanged: the input is not the file that was inspected.
	InputChanged = "InputChanged"
	// Storage: a folder cannot be read or written. It may pass.
	Storage = "Storage"
	// Stopping: this worker is stopping, or the run is over, and nothing more was sent.
	// Another worker, or this one later, can do it.
	Stopping = "Stopping"
	// DoesNotAddUp: the program found a bug of its own.
	DoesNotAddUp = "DoesNotAddUp"
)

// refused makes the error that ends a migration before anything is sent.
func refused(err error) error {
	return temporal.NewNonRetryableApplicationError(safetext.Text(err.Error()), Refused, nil)
}

// storageError gives an error of reading or writing its type. Its text names paths, never
// content.
func storageError(err error) error {
	var application *temporal.ApplicationError
	switch {
	case err == nil, errors.As(err, &application):
		return err
	case errors.Is(err, context.Canceled) && !errors.Is(err, errNotSent):
		return context.Canceled // the activity was cancelled
	case errors.Is(err, source.ErrInputChanged):
		return temporal.NewNonRetryableApplicationError(err.Error(), InputChanged, nil)
	case errors.Is(err, migration.ErrDamaged), errors.Is(err, ledger.ErrGone):
		return temporal.NewNonRetryableApplicationError(err.Error(), Damaged, nil)
	case errors.Is(err, artifacts.ErrDoesNotAddUp):
		return temporal.NewNonRetryableApplicationError(err.Error(), DoesNotAddUp, nil)
	case errors.Is(err, errNotSent):
		return temporal.NewApplicationErrorWithOptions(err.Error(), Stopping, temporal.ApplicationErrorOptions{Category: temporal.ApplicationErrorCategoryBenign})
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return temporal.NewApplicationError("the disk is full: "+err.Error()+"; free some space, nothing is lost", Storage)
	case errors.Is(err, syscall.EROFS), errors.Is(err, fs.ErrPermission):
		return temporal.NewApplicationError(err.Error()+"; make it writable, nothing is lost", Storage)
	}
	return temporal.NewApplicationError(err.Error(), Storage)
}

func isNotFound(err error) bool { return errors.Is(err, ledger.ErrNotFound) }
