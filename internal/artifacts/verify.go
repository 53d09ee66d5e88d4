package artifacts

import (
	"context"
	"strconv"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/store"
)

// Differences is verify_*.csv being written: the attributes in which records of the target
// are not as expected. It holds no value of a record.
type Differences struct{ table *table }

// NewDifferences starts to write.
func NewDifferences(dir, stamp string) (*Differences, error) {
	t, err := newTable(store.Join(dir, Name("verify", stamp, "csv")), "batch", "line", "attribute", "difference")
	return &Differences{t}, err
}

// Name is the name that the file gets.
func (d *Differences) Name() string { return store.Base(d.table.Name()) }

// Add adds a difference in a record of a batch.
func (d *Differences) Add(batch int, difference migration.Difference) error {
	return d.table.write(strconv.Itoa(batch), strconv.FormatInt(difference.Line, 10), difference.Attribute, difference.What)
}

// Commit gives the file its name.
func (d *Differences) Commit(ctx context.Context) error {
	if err := d.table.flush(); err != nil {
		return err
	}
	return d.table.Commit(ctx)
}

// Discard drops the file, unless it has its name.
func (d *Differences) Discard() { d.table.Discard() }

// WriteVerify writes the summary of a verification.
func WriteVerify(dir, stamp string, s migration.VerifySummary) error {
	data, err := marshal(s)
	if err != nil {
		return err
	}
	return store.Write(store.Join(dir, Name("verify", stamp, "json")), data)
}
