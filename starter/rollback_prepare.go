package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"durable-dataload/internal/figures"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/rollback"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/store"
)

// items are what there is to undo.
func (r *rollbackOperation) items(ctx context.Context) func(func(rollback.Item) error) error {
	if !r.Folder.IsZero() {
		return rollback.OfMigration(ctx, r.Folder)
	}
	return rollback.OfSuccessFile(ctx, r.o.success)
}

// Prepare lists what a new rollback is to undo, asks for a confirmation, and begins
// the rollback.
//
// The migration may be resumed before the answer is given. So it is marked after the
// answer, which rules that out, and listed once more.
func (r *rollbackOperation) Prepare(ctx context.Context) error {
	if r.begun {
		return nil
	}
	if err := r.refuseRunning(ctx); err != nil {
		return err
	}
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err != nil {
		return err
	}
	if totals.Items() == 0 {
		r.dropList()
		r.Screen.Say("There is nothing to undo: " + r.rollback.Source + " has created and updated nothing.")
		return session.ErrNothingToDo
	}
	if !r.o.yes {
		if err := r.ask(totals); err != nil {
			r.dropList()
			return err
		}
	}
	if !r.Folder.IsZero() {
		if err := r.Folder.MarkRolledBack(migration.RolledBack{Rollback: r.rollback.ID}); err != nil {
			return err
		}
		if err := r.listAgain(ctx, totals); err != nil {
			return errors.Join(err, r.Folder.DropRolledBack())
		}
	}
	start, err := reserveStart(r.rollback.ID, r.rollback.OutputDir, "rollback", r.folder.Owner)
	if err != nil {
		return err
	}
	if err := r.folder.SaveOptions(r.rollback); err != nil {
		return err
	}
	_, err = r.folder.CreateStart(start)
	return err
}

// listAgain lists once more, of a migration that cannot be resumed any more, and
// refuses a list other than the one that was confirmed.
func (r *rollbackOperation) listAgain(ctx context.Context, asked rollback.Totals) error {
	if err := r.refuseRunning(ctx); err != nil {
		return err
	}
	totals, err := rollback.Write(ctx, r.folder, r.items(ctx))
	if err == nil && totals != asked {
		err = fmt.Errorf("the migration was resumed meanwhile: %s were confirmed, and %s would be undone; rerun the command", figures.Count(asked.Items(), "record"), figures.Number(totals.Items()))
	}
	return err
}

// refuseRunning refuses the rollback of a migration that runs.
func (r *rollbackOperation) refuseRunning(ctx context.Context) error {
	if r.Folder.IsZero() {
		return nil
	}
	return r.RefuseRunning(ctx, r.ID)
}

// dropList removes the list of a rollback that has not begun: it is user data.
func (r *rollbackOperation) dropList() { _ = store.RemoveAll(r.rollback.Folder.Path()) }

// ask asks on the terminal, until the first Ctrl-C.
func (r *rollbackOperation) ask(totals rollback.Totals) error {
	answered := make(chan error, 1)
	go func() { answered <- confirm(os.Stdin, r.Screen.Stderr, totals, r.rollback) }()
	select {
	case err := <-answered:
		return err
	case <-r.Stop:
		return errors.New("stopped; nothing was changed")
	}
}

// confirm asks for the number of records to undo; nil means that it was given.
func confirm(in io.Reader, out io.Writer, totals rollback.Totals, r migration.Rollback) error {
	what := "Delete " + figures.Count(totals.Deletes, "record")
	if totals.Restores > 0 {
		what += fmt.Sprintf(" and restore %s", figures.Number(totals.Restores))
	}
	expected := totals.Deletes + totals.Restores
	fmt.Fprintf(out, "Rollback of %s:\n%s from %s (%s)? Deleted records are gone for good. Type the number of records, %s, to continue: ", safetext.Name(r.Source), what, r.Target.Host(), r.Target.EntityType, figures.Number(expected))
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	answer = strings.TrimSpace(answer)
	if answer != figures.Number(expected) && answer != strings.ReplaceAll(figures.Number(expected), ",", "") {
		return usage("nothing was changed: expected the number %d as the answer", expected)
	}
	return nil
}
