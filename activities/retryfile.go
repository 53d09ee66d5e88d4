package activities

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/ledger"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// RetryFileInput asks for the retry file that a round will load.
type RetryFileInput struct {
	Run   `json:"run"`
	Round int       `json:"round"` // 1…
	Now   time.Time `json:"now"`   // of the workflow: in the file's name, the first time
}

// WriteRetryFile writes the records that a round will load into retry_<datetime>.csv,
// raw, with the input's header, and lists their batches: the records that are unknown
// after the earlier rounds and may be sent again (see ledger.Record.MayBeSent). If there
// are none it writes nothing; WriteArtifacts writes what stays unknown. The earlier rounds
// must be over.
func (a *Activities) WriteRetryFile(ctx context.Context, in RetryFileInput) (migration.RetryFile, error) {
	return onRun(ctx, a.migration, in.Run, (*migrationRun).writeRetryFile, in)
}

func (m *migrationRun) writeRetryFile(ctx context.Context, in RetryFileInput) (migration.RetryFile, error) {
	file, err := m.retryFile(ctx, in.Round, in.Now)
	if err != nil || file.Records == 0 {
		return file, err
	}
	return file, m.writeRetryRecords(ctx, file)
}

// retryFile returns the name and the list of a retry round: those that an earlier attempt
// has fixed, or new ones.
func (m *migrationRun) retryFile(ctx context.Context, round int, now time.Time) (migration.RetryFile, error) {
	file, err := m.of.RetryFile(round)
	if !errors.Is(err, migration.ErrAbsent) {
		return file, err
	}
	file = migration.RetryFile{Round: round}
	if store.IsURL(m.folder.Path()) {
		file.List = fmt.Sprintf("round-%d-%s.list", round, rand.Text())
	}
	list, err := store.NewWriter(m.of.RoundList(file))
	if err != nil {
		return file, err
	}
	defer list.Discard()
	err = m.eachInRound(ctx, round, func(b batchInRound) error {
		file.Aside += b.aside
		if !slices.Contains(b.in, true) {
			return nil
		}
		file.Batches++
		for _, in := range b.in {
			if in {
				file.Records++
			}
		}
		return addToRoundList(list, b.number)
	})
	if err != nil || file.Records == 0 {
		return migration.RetryFile{Round: round, Aside: file.Aside}, err
	}
	return m.beginRound(ctx, file, list, now)
}

// beginRound fixes a retry round with its list, unless another attempt has, and returns
// what is fixed.
func (m *migrationRun) beginRound(ctx context.Context, file migration.RetryFile, list *store.Writer, now time.Time) (_ migration.RetryFile, err error) {
	if err := list.Commit(ctx); err != nil {
		return file, err
	}
	owner, err := m.folder.Owner()
	if err != nil {
		return file, err
	}
	if file.Name, err = artifacts.ReserveRetryName(m.spec.OutputDir, owner, fmt.Sprintf("round %d", file.Round), now); err != nil {
		return file, err
	}
	return m.of.CreateRetryFile(file)
}

func (m *migrationRun) writeRetryRecords(ctx context.Context, file migration.RetryFile) error {
	w, err := artifacts.NewRetryWriter(m.spec.OutputDir, file.Name, m.index.Header())
	if err != nil {
		return err
	}
	defer w.Discard()
	err = m.eachInRound(ctx, file.Round, func(b batchInRound) error {
		if !slices.Contains(b.in, true) {
			return nil
		}
		_, records, err := m.batchRecords(b.number)
		if err != nil {
			return err
		}
		for i, r := range records {
			if b.in[i] {
				if err := w.Add(r.Raw); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return w.Commit(ctx, file.Records)
}

// batchInRound is what the next round takes of a batch.
type batchInRound struct {
	number int
	in     []bool // its records that the next round loads
	aside  int    // records that the round left unknown, and that no later one loads
}

// eachInRound visits the batches of the round before a retry round, in order.
func (m *migrationRun) eachInRound(ctx context.Context, round int, visit func(batchInRound) error) error {
	length, err := m.roundLength(round - 1)
	if err != nil {
		return err
	}
	return store.ForEachOrdered(ctx, m.folder.Path(), length, func(ctx context.Context, n int) (b batchInRound, err error) {
		if b.number, err = m.roundBatch(round-1, n+1); err != nil {
			return b, err
		}
		batch, records, err := m.after(ctx, round-1, b.number)
		if err != nil {
			return b, err
		}
		keyless, err := m.keyless(batch)
		for i, r := range records {
			b.in = append(b.in, r.MayBeSent(keyless(i)))
			if r.Outcome == ledger.Unknown && !b.in[i] && r.Round == round-1 {
				b.aside++
			}
		}
		return b, err
	}, visit)
}

// A round list names the batches of a retry round, in order: a number of four
// bytes each, little-endian, so that any position is one read.
const roundListEntry = 4

type roundList struct{ file *os.File }

// roundList opens the list of a round, once: it does not change.
func (m *migrationRun) roundList(round int) (*roundList, error) {
	m.listing.Lock()
	defer m.listing.Unlock()
	if list, ok := m.lists[round]; ok {
		return list, nil
	}
	file, err := m.of.RetryFile(round)
	if err != nil {
		return nil, err
	}
	f, err := store.Open(m.of.RoundList(file))
	if err != nil {
		return nil, err
	}
	if m.lists == nil {
		m.lists = map[int]*roundList{}
	}
	m.lists[round] = &roundList{f}
	return m.lists[round], nil
}

func (l *roundList) batch(position int) (int, error) {
	var entry [roundListEntry]byte
	if _, err := l.file.ReadAt(entry[:], int64(position-1)*roundListEntry); err != nil {
		return 0, fmt.Errorf("%s, entry %d: %w", l.file.Name(), position, err)
	}
	return int(binary.LittleEndian.Uint32(entry[:])), nil
}

func (l *roundList) close() { _ = l.file.Close() }

func addToRoundList(w *store.Writer, batch int) error {
	_, err := w.Write(binary.LittleEndian.AppendUint32(nil, uint32(batch)))
	return err
}

// roundBatch is the batch at a position (from 1) of a round.
func (m *migrationRun) roundBatch(round, position int) (int, error) {
	if round == 0 {
		return position, nil
	}
	list, err := m.roundList(round)
	if err != nil {
		return 0, err
	}
	return list.batch(position)
}

// roundLength is the number of batches of a round.
func (m *migrationRun) roundLength(round int) (int, error) {
	if round == 0 {
		return m.index.Batches(), nil
	}
	r, err := m.of.RetryFile(round)
	return r.Batches, err
}
