// Package rollback builds the list of what to undo of a migration: each record
// that it created or recovered is deleted, and each record that it updated gets
// its previous values back. A record is in one of these groups only, so the order
// does not matter: it is that of the input.
//
// The list is a CSV file with an index of package source beside it. It holds
// user data: mode 0600.
package rollback

import (
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"durable-dataload/internal/ledger"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
	"durable-dataload/internal/undo"
)

// Kind is the action for a record.
type Kind string

// The kinds of items.
const (
	Delete  Kind = "delete"
	Restore Kind = "restore" // its previous values; they are in the migration's undo files
	// Impossible items are records that the migration wrote, or may have
	// written, and that cannot be undone, for the item's reason.
	Impossible Kind = "impossible"
)

// Item is one record to undo.
type Item struct {
	Batch  int   // of the migration
	Line   int64 // of its input
	UUID   string
	Email  string // or the primary key's value if the input has no email column
	Kind   Kind
	Reason string // of an Impossible
}

// Reasons of Impossible items.
const (
	noUUID  = "the record was recovered by the target's refusal alone, so its uuid is not known; it cannot be deleted by uuid"
	unknown = "the record is in unknown state: whether the migration created it is not known; it cannot be deleted by uuid"
)

// batchSize is the number of items of one activity: some seconds at four calls a
// second.
const batchSize = 20

var columns = []string{"batch", "line", "uuid", "email", "kind", "reason"}

// Totals are the items by kind.
type Totals struct{ Deletes, Restores, Impossible int }

// Items is the number of all.
func (t Totals) Items() int { return t.Deletes + t.Restores + t.Impossible }

// Write writes the list into the folder of a rollback, replacing an earlier one.
// each yields the items in the order of their lines.
func Write(ctx context.Context, folder migration.RollbackFolder, each func(yield func(Item) error) error) (totals Totals, err error) {
	if err := folder.Make(); err != nil {
		return totals, err
	}
	file, err := store.NewWriter(folder.Items())
	if err != nil {
		return totals, err
	}
	defer file.Discard()
	w := csv.NewWriter(file)
	if err := w.Write(columns); err != nil {
		return totals, err
	}
	err = each(func(i Item) error {
		switch i.Kind {
		case Delete:
			totals.Deletes++
		case Restore:
			totals.Restores++
		default:
			totals.Impossible++
		}
		return errors.Join(ctx.Err(), w.Write([]string{strconv.Itoa(i.Batch), strconv.FormatInt(i.Line, 10), i.UUID, i.Email, string(i.Kind), i.Reason}))
	})
	if err != nil {
		return totals, err
	}
	w.Flush()
	if err := w.Error(); err != nil {
		return totals, err
	}
	if err := file.Commit(ctx); err != nil {
		return totals, err
	}
	_, err = source.Inspect(ctx, folder.Items(), source.InspectOptions{BatchSize: batchSize, Own: true, IndexPath: folder.Index()})
	return totals, err
}

// Read returns the items of a batch of the list.
func Read(items io.ReaderAt, index *source.Index, batch int) ([]Item, error) {
	b, err := index.Batch(batch)
	if err != nil {
		return nil, err
	}
	data, err := source.ReadBatch(items, b)
	if err != nil {
		return nil, fmt.Errorf("the rollback's list is damaged: %w", err)
	}
	all := make([]Item, 0, b.Records)
	for r := range source.Records(b, data) {
		fields, err := index.Header().Fields(r.Raw)
		if err != nil {
			return nil, fmt.Errorf("the rollback's list is damaged, line %d: %w", r.Line, err)
		}
		i := Item{UUID: fields[2], Email: fields[3], Kind: Kind(fields[4]), Reason: fields[5]}
		var badBatch, badLine error
		i.Batch, badBatch = strconv.Atoi(fields[0])
		i.Line, badLine = strconv.ParseInt(fields[1], 10, 64)
		if badBatch != nil || badLine != nil {
			return nil, fmt.Errorf("the rollback's list is damaged, line %d: expected two numbers", r.Line)
		}
		all = append(all, i)
	}
	return all, nil
}

// OfMigration returns what a migration has done, from its ledger and its undo
// files. The migration must not be running.
func OfMigration(ctx context.Context, folder migration.Folder) func(yield func(Item) error) error {
	return func(yield func(Item) error) error {
		m, err := openMigration(folder)
		if err != nil {
			return err
		}
		defer m.input.close()
		return store.ForEachOrdered(ctx, folder.Path(), m.index.Batches(), func(ctx context.Context, n int) ([]Item, error) {
			return m.ofBatch(ctx, n+1)
		}, func(items []Item) error {
			for _, i := range items {
				if err := yield(i); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

type ofMigration struct {
	*input
	folder  migration.Folder
	ledger  *ledger.Ledger
	rounds  int // the number of the last one
	records *mapping.Encoder
}

func openMigration(folder migration.Folder) (*ofMigration, error) {
	spec, err := folder.Spec()
	if err != nil {
		return nil, err
	}
	in, err := openInput(folder.Index(), folder.Staged())
	if err != nil {
		return nil, err
	}
	m := &ofMigration{input: in, folder: folder, ledger: ledger.New(ledger.NewFolder(folder.Ledger()))}
	if m.rounds, err = folder.LastRound(); err != nil {
		in.close()
		return nil, err
	}
	rules, err := folder.ReadMapping(spec)
	if err == nil {
		m.records, err = spec.Encoder(in.index.Header(), rules)
	}
	if err != nil {
		in.close()
		return nil, err
	}
	return m, nil
}

func (m *ofMigration) ofBatch(ctx context.Context, batch int) (items []Item, err error) {
	b, err := m.index.Batch(batch)
	if err != nil {
		return nil, err
	}
	known, err := m.ledger.After(ctx, m.rounds, batch, b.Records)
	if err != nil {
		return nil, err
	}
	// A killed worker may have made its call without recording the outcome.
	_, err = m.ledger.ClaimOf(ctx, ledger.Key{Batch: batch})
	claimed := err == nil
	if err != nil && !errors.Is(err, ledger.ErrNotFound) {
		return nil, err
	}
	files, err := undo.Read(m.folder.Undo(), batch)
	if err != nil {
		return nil, err
	}
	data, err := source.ReadCopy(m.data, b)
	if err != nil {
		return nil, err
	}
	position, updated := 0, files.Changes()
	for r := range source.Records(b, data) {
		k := known[position]
		position++
		i := Item{Batch: batch, Line: r.Line, UUID: k.UUID, Email: m.records.Label(r.Raw)}
		update, isUpdated := updated[r.Line]
		switch {
		case isUpdated: // or was about to be: an unchanged record is found unchanged
			i.Kind, i.UUID = Restore, update.UUID
		case (k.Outcome == ledger.Created || k.Outcome == ledger.Recovered) && k.UUID != "":
			i.Kind = Delete
		case k.Outcome == ledger.Recovered:
			i.Kind, i.Reason = Impossible, noUUID
		case k.Outcome == ledger.Unknown, k.Outcome == ledger.None && claimed:
			i.Kind, i.Reason = Impossible, unknown
		default:
			continue // the migration has not touched it
		}
		items = append(items, i)
	}
	return items, nil
}

// OfSuccessFile returns the created and recovered records of a file success_*.csv.
// A file of dataload.py has no column how: all its records count as created. The
// error names the file and the line.
func OfSuccessFile(ctx context.Context, path string) func(yield func(Item) error) error {
	return func(yield func(Item) error) error {
		items, err := readSuccessFile(ctx, path)
		if err != nil {
			return err
		}
		for _, i := range items {
			if err := yield(i); err != nil {
				return err
			}
		}
		return nil
	}
}

func readSuccessFile(ctx context.Context, path string) ([]Item, error) {
	name := store.Base(path)
	var refusal error
	refused := func(f *source.Refusal) {
		if refusal == nil {
			refusal = f
		}
	}
	r, err := source.OpenReader(ctx, path, source.ReaderOptions{Refused: refused})
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	if r.Header() == nil {
		return nil, refusal
	}
	at := map[string]int{"how": -1}
	for i, column := range r.Header().Names {
		at[column] = i
	}
	for _, column := range []string{"batch", "line", "uuid", "email"} {
		if _, ok := at[column]; !ok {
			return nil, fmt.Errorf("%s has no column %s; expected a file success_*.csv with batch, line, uuid, email", name, column)
		}
	}
	var items []Item
	err = source.ForEachBlock(ctx, r, func() func(*source.Block, struct{}) struct{} {
		return func(*source.Block, struct{}) struct{} { return struct{}{} }
	}, func(b *source.Block, _ struct{}) error {
		for _, record := range b.Records(refused) {
			i, err := readSuccess(r.Header(), at, record)
			if err != nil {
				return fmt.Errorf("%s, line %d: %w; give the unchanged file of the migration", name, record.Line, err)
			}
			items = append(items, i)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	// dataload.py writes the batches in the order in which they ended.
	slices.SortStableFunc(items, func(a, b Item) int { return cmp.Compare(a.Line, b.Line) })
	for i := 1; i < len(items); i++ {
		if items[i].Line == items[i-1].Line {
			return nil, fmt.Errorf("%s has two outcomes for line %d; expected each line once; give each success file separately", name, items[i].Line)
		}
	}
	return items, nil
}

func readSuccess(h *source.Header, at map[string]int, record source.Record) (Item, error) {
	fields, err := h.Fields(record.Raw)
	if err != nil {
		return Item{}, err
	}
	i := Item{UUID: strings.TrimSpace(fields[at["uuid"]]), Email: fields[at["email"]], Kind: Delete}
	if i.Batch, err = strconv.Atoi(fields[at["batch"]]); err != nil {
		return i, errors.New("the column batch is not a number")
	}
	if i.Line, err = strconv.ParseInt(fields[at["line"]], 10, 64); err != nil || i.Line < 1 {
		return i, errors.New("the column line is not a line number")
	}
	if how := at["how"]; how >= 0 && fields[how] != "created" && fields[how] != "recovered" {
		return i, errors.New("the column how is neither created nor recovered")
	}
	if i.UUID == "" {
		i.Kind, i.Reason = Impossible, noUUID
	}
	return i, nil
}

// input is a file with its index.
type input struct {
	index *source.Index
	data  store.RandomReader
}

func openInput(index, data string) (*input, error) {
	x, err := source.OpenIndex(index)
	if err != nil {
		return nil, err
	}
	f, err := store.OpenRandom(data)
	if err != nil {
		_ = x.Close()
		return nil, err
	}
	return &input{x, f}, nil
}

func (in *input) close() {
	_ = in.index.Close()
	_ = in.data.Close()
}
