// Package undo stores the previous values of records that a delta migration
// changes, so that a rollback can restore them.
//
// There is one file per batch, <folder>/<batch / 1000>/<batch>.json, and another
// one, <batch>-<round>.json, if a retry round found further duplicates of the
// batch. It is written durably before the first update of those records, and
// never changed: with several writers the first one wins. It is JSON:
//
//	{"format": 1, "batch": 12, "round": 0,
//	 "changes": [{"line": 34, "uuid": "…", "paths": ["givenName", "primaryAddress.city"]}],
//	 "values":  [{"before": {"givenName": "Ann", "primaryAddress.city": null}, "after": {"givenName": "Anne", …}}],
//	 "sealed":  "-----BEGIN AGE ENCRYPTED FILE-----…"}
//
// changes lists the records and attributes that are about to be changed. values
// has for each of them, in the same order, by path, the value in the target and
// the value that the update sets: an attribute that has neither value any more
// was changed by someone else since. With a recipient, values is absent, and
// sealed is the same JSON encrypted with age (https://age-encryption.org/v1,
// ASCII armour); changes stays readable, since the updates need it.
//
// The files hold user data: mode 0600.
package undo

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/store"
)

// ErrExists means that the file of Write exists already.
var ErrExists = store.ErrExists

// ErrSealed means that the values are encrypted for another key.
var ErrSealed = errors.New("the previous values are encrypted, and none of the identities opens them")

// Change lists the attributes of a record that are about to be changed.
type Change struct {
	Line  int64    `json:"line"` // of the input
	UUID  string   `json:"uuid"`
	Paths []string `json:"paths"`
}

// Value has the previous and the new values of a record, by path.
type Value struct {
	Before map[string]json.RawMessage `json:"before"`
	After  map[string]json.RawMessage `json:"after"`
}

// Entry is a change with its values.
type Entry struct {
	Change
	Value
}

// File is one file, with its values still encoded.
type File struct {
	Batch   int
	Round   int
	Changes []Change

	path   string
	values []Value
	sealed string
}

// Files are the files of a batch, in the order of their rounds. The first that has a
// line is binding.
type Files []File

const format = 1

type content struct {
	Format  int      `json:"format"`
	Batch   int      `json:"batch"`
	Round   int      `json:"round"`
	Changes []Change `json:"changes"`
	Values  []Value  `json:"values,omitempty"`
	Sealed  string   `json:"sealed,omitempty"`
}

// ParseRecipient reads a public key, age1…, as age-keygen prints it. "" means none.
func ParseRecipient(text string) (age.Recipient, error) {
	if text == "" {
		return nil, nil
	}
	recipients, err := age.ParseRecipients(strings.NewReader(text))
	if err != nil || len(recipients) != 1 {
		return nil, fmt.Errorf("expected one public key of age, age1…, as printed by age-keygen")
	}
	return recipients[0], nil
}

// ReadIdentities reads a file with private keys, as age-keygen writes it. ""
// means none. The error contains nothing of the file.
func ReadIdentities(path string) ([]age.Identity, error) {
	if path == "" {
		return nil, nil
	}
	f, err := durablefs.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	identities, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("%s contains no private key of age; expected AGE-SECRET-KEY-1…, as printed by age-keygen", path)
	}
	return identities, nil
}

// Write writes the file of a batch. If recipient is nil it is not encrypted. It
// returns ErrExists if the file has been written before.
func Write(folder string, batch, round int, entries []Entry, recipient age.Recipient) error {
	c := content{Format: format, Batch: batch, Round: round, Changes: []Change{}}
	for _, e := range entries {
		c.Changes = append(c.Changes, e.Change)
		c.Values = append(c.Values, e.Value)
	}
	if recipient != nil {
		values, err := json.Marshal(c.Values)
		if err != nil {
			return err
		}
		if c.Sealed, err = seal(values, recipient); err != nil {
			return fmt.Errorf("cannot encrypt the previous values: %w", err)
		}
		c.Values = nil
	}
	data, err := json.Marshal(c)
	if err != nil {
		return err
	}
	dir := folderOf(folder, batch)
	if err := store.MkdirAll(dir); err != nil {
		return err
	}
	return store.Create(store.Join(dir, name(batch, round)), data)
}

// Read returns the files of a batch, in the order of their rounds; none is not an
// error.
func Read(folder string, batch int) (Files, error) {
	dir := folderOf(folder, batch)
	names, err := store.List(dir)
	if err != nil {
		return nil, err
	}
	var files Files
	for _, n := range names {
		if of, ok := parseName(n); !ok || of != batch {
			continue
		}
		f, err := readFile(store.Join(dir, n))
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	slices.SortFunc(files, func(a, b File) int { return a.Round - b.Round })
	return files, nil
}

// Batches returns the batches that have files, in order.
func Batches(folder string) ([]int, error) {
	dirs, err := store.List(folder)
	if err != nil {
		return nil, err
	}
	var batches []int
	for _, d := range dirs {
		names, err := store.List(store.Join(folder, d))
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if batch, ok := parseName(n); ok {
				batches = append(batches, batch)
			}
		}
	}
	slices.Sort(batches)
	return slices.Compact(batches), nil
}

// Changes returns the changes of a batch by line.
func (f Files) Changes() map[int64]Change {
	byLine := map[int64]Change{}
	for _, file := range slices.Backward(f) {
		for _, c := range file.Changes {
			byLine[c.Line] = c
		}
	}
	return byLine
}

// Entries returns the changes of a batch with their values, by line (see File.Entries).
func (f Files) Entries(identities ...age.Identity) (map[int64]Entry, error) {
	byLine := map[int64]Entry{}
	for _, file := range slices.Backward(f) {
		entries, err := file.Entries(identities...)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			byLine[e.Line] = e
		}
	}
	return byLine, nil
}

// Entries decodes the values of a file. age identities are needed only if it is
// encrypted.
func (f File) Entries(identities ...age.Identity) ([]Entry, error) {
	values := f.values
	if f.sealed != "" {
		data, err := open(f.sealed, identities)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.path, err)
		}
		if err := json.Unmarshal(data, &values); err != nil {
			return nil, damaged(f.path, err)
		}
	}
	if len(values) != len(f.Changes) {
		return nil, damaged(f.path, fmt.Errorf("%d values for %d changes", len(values), len(f.Changes)))
	}
	entries := make([]Entry, len(values))
	for i := range values {
		entries[i] = Entry{f.Changes[i], values[i]}
	}
	return entries, nil
}

func readFile(path string) (File, error) {
	data, err := store.Read(path)
	if err != nil {
		return File{}, err
	}
	var c content
	if err := json.Unmarshal(data, &c); err != nil {
		return File{}, damaged(path, err)
	}
	if c.Format != format {
		return File{}, fmt.Errorf("%s has the format %d, expected %d: use the version that wrote it", path, c.Format, format)
	}
	return File{Batch: c.Batch, Round: c.Round, Changes: c.Changes, path: path, values: c.Values, sealed: c.Sealed}, nil
}

func damaged(path string, err error) error {
	return fmt.Errorf("%s is damaged; expected JSON of this program; restore it from a backup: %w", path, err)
}

func folderOf(folder string, batch int) string {
	return store.Join(folder, fmt.Sprintf("%05d", batch/1000))
}

func name(batch, round int) string {
	if round == 0 {
		return fmt.Sprintf("%08d.json", batch)
	}
	return fmt.Sprintf("%08d-%d.json", batch, round)
}

// parseName gives the batch in the name of a file.
func parseName(file string) (batch int, ok bool) {
	stem, ok := strings.CutSuffix(file, ".json")
	if !ok {
		return 0, false
	}
	first, round, later := strings.Cut(stem, "-")
	batch, err := strconv.Atoi(first)
	if err == nil && later {
		_, err = strconv.Atoi(round)
	}
	return batch, err == nil
}

func seal(data []byte, recipient age.Recipient) (string, error) {
	var b bytes.Buffer
	armored := armor.NewWriter(&b)
	w, err := age.Encrypt(armored, recipient)
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = armored.Close()
	}
	return b.String(), err
}

func open(sealed string, identities []age.Identity) ([]byte, error) {
	if len(identities) == 0 {
		return nil, ErrSealed
	}
	r, err := age.Decrypt(armor.NewReader(strings.NewReader(sealed)), identities...)
	var mismatch *age.NoIdentityMatchError
	if errors.As(err, &mismatch) {
		return nil, ErrSealed
	}
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}
