package undo

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
)

var entries = []Entry{
	{Change{34, "uuid-1", []string{"givenName", "primaryAddress.city"}}, Value{
		Before: map[string]json.RawMessage{"givenName": json.RawMessage(`"Ann"`), "primaryAddress.city": json.RawMessage("null")},
		After:  map[string]json.RawMessage{"givenName": json.RawMessage(`"Anne"`), "primaryAddress.city": json.RawMessage(`"Ghent"`)},
	}},
	{Change{36, "uuid-2", []string{"clients"}}, Value{
		Before: map[string]json.RawMessage{"clients": json.RawMessage(`[{"id":1,"n":1.50}]`)},
		After:  map[string]json.RawMessage{"clients": json.RawMessage(`[]`)},
	}},
}

func read(t *testing.T, folder string, batch int) []File {
	t.Helper()
	files, err := Read(folder, batch)
	must(t, err)
	return files
}

func TestFilesAreReadBack(t *testing.T) {
	key, err := age.GenerateX25519Identity()
	must(t, err)
	other, err := age.GenerateX25519Identity()
	must(t, err)
	recipient, err := ParseRecipient(key.Recipient().String())
	must(t, err)
	for name, to := range map[string]age.Recipient{"plain": nil, "encrypted": recipient} {
		folder := filepath.Join(t.TempDir(), "undo")
		must(t, Write(folder, 1012, 0, entries, to))
		path := filepath.Join(folder, "00001", "00001012.json")
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
			t.Fatalf("%s: %v, %v; want the file with mode 0600", name, info, err)
		}
		files := read(t, folder, 1012)
		if len(files) != 1 || files[0].Batch != 1012 || files[0].Round != 0 || !reflect.DeepEqual(files[0].Changes, []Change{entries[0].Change, entries[1].Change}) {
			t.Fatalf("%s: %+v, want one file with the two changes", name, files)
		}
		got, err := files[0].Entries(other, key)
		if err != nil || !reflect.DeepEqual(got, entries) {
			t.Errorf("%s: %+v, %v; want %+v", name, got, err, entries)
		}
		data, err := os.ReadFile(path)
		must(t, err)
		if readable := strings.Contains(string(data), "Anne") || strings.Contains(string(data), "Ghent"); readable != (to == nil) {
			t.Errorf("%s: the values are readable: %v\n%s", name, readable, data)
		}
		if to == nil {
			continue
		}
		for _, identities := range [][]age.Identity{nil, {other}} {
			if _, err := files[0].Entries(identities...); !errors.Is(err, ErrSealed) {
				t.Errorf("with %d wrong keys: %v, want %v", len(identities), err, ErrSealed)
			}
		}
	}
}

func TestTheFirstFileIsKept(t *testing.T) {
	folder := t.TempDir()
	must(t, Write(folder, 7, 0, entries, nil))
	if err := Write(folder, 7, 0, entries[:1], nil); !errors.Is(err, ErrExists) {
		t.Errorf("the second: %v, want %v", err, ErrExists)
	}
	if files := read(t, folder, 7); len(files) != 1 || len(files[0].Changes) != 2 {
		t.Errorf("%+v, want the first one", files)
	}
}

func TestEachRoundHasAFileOfItsOwn(t *testing.T) {
	folder := t.TempDir()
	if files, err := Read(folder, 7); err != nil || len(files) != 0 {
		t.Errorf("of none: %+v, %v", files, err)
	}
	must(t, Write(folder, 7, 10, entries[:1], nil))
	must(t, Write(folder, 7, 9, nil, nil))
	must(t, Write(folder, 7, 0, entries[1:], nil))
	must(t, Write(folder, 70, 0, entries, nil))
	must(t, Write(folder, 2007, 0, entries, nil))
	var rounds []int
	for _, f := range read(t, folder, 7) {
		rounds = append(rounds, f.Round)
		if e, err := f.Entries(); err != nil || len(e) != len(f.Changes) {
			t.Errorf("round %d: %v, %v", f.Round, e, err)
		}
	}
	if !slices.Equal(rounds, []int{0, 9, 10}) {
		t.Errorf("rounds %v, want 0, 9, 10", rounds)
	}
	if batches, err := Batches(folder); err != nil || !slices.Equal(batches, []int{7, 70, 2007}) {
		t.Errorf("batches %v, %v; want 7, 70, 2007", batches, err)
	}
	if batches, err := Batches(filepath.Join(folder, "missing")); err != nil || batches != nil {
		t.Errorf("of no folder: %v, %v", batches, err)
	}
}

func TestInvalidRecipientsAreRefused(t *testing.T) {
	if r, err := ParseRecipient(""); r != nil || err != nil {
		t.Errorf("%v, %v; want none", r, err)
	}
	key, err := age.GenerateX25519Identity()
	must(t, err)
	for _, bad := range []string{"age1", "nobody", key.String(), key.Recipient().String() + "\n" + key.Recipient().String()} {
		_, err := ParseRecipient(bad)
		if err == nil || strings.Contains(err.Error(), "SECRET") {
			t.Errorf("%.20s…: %v, want an error that does not repeat it", bad, err)
		}
	}
}

func TestADamagedFileIsNamed(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON": `{`, "another format": `{"format":2}`, "values are missing": `{"format":1,"batch":7,"changes":[{"line":1}]}`,
		"not encrypted": `{"format":1,"batch":7,"sealed":"x"}`,
	} {
		folder := t.TempDir()
		must(t, Write(folder, 7, 0, entries, nil))
		path := filepath.Join(folder, "00000", "00000007.json")
		must(t, os.WriteFile(path, []byte(text), 0o600))
		files, err := Read(folder, 7)
		if err == nil {
			key, _ := age.GenerateX25519Identity()
			_, err = files[0].Entries(key)
		}
		if err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names the file", name, err)
		}
	}
}

func TestIdentitiesAreReadFromAFile(t *testing.T) {
	if none, err := ReadIdentities(""); none != nil || err != nil {
		t.Errorf("%v, %v; want none", none, err)
	}
	key, err := age.GenerateX25519Identity()
	must(t, err)
	path := filepath.Join(t.TempDir(), "key.txt")
	if _, err := ReadIdentities(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want that there is no such file", err)
	}
	for text, want := range map[string]int{"# public key: age1…\n" + key.String() + "\n": 1, key.String()[:40] + "\n": 0, "": 0} {
		must(t, os.WriteFile(path, []byte(text), 0o600))
		got, err := ReadIdentities(path)
		if len(got) != want || want == 0 == (err == nil) || err != nil && strings.Contains(err.Error(), "SECRET-KEY-1"+key.String()[16:20]) {
			t.Errorf("%d keys, %v; want %d, and no error that repeats the file", len(got), err, want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
