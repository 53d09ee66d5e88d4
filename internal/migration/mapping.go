package migration

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"

	"durable-dataload/internal/mapping"
	"durable-dataload/internal/store"
	"durable-dataload/internal/targets"
)

// SaveMapping keeps the bytes of a mapping file, under their digest.
func (f Folder) SaveMapping(text []byte) error {
	if err := f.Make(); err != nil {
		return err
	}
	return store.Write(f.mapping(MappingDigest(text)), text)
}

// Mapping returns the mapping file with this digest, or ErrAbsent.
func (f Folder) Mapping(digest string) ([]byte, error) {
	path := f.mapping(digest)
	text, err := store.Read(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", path, ErrAbsent)
	case err != nil:
		return nil, err
	case MappingDigest(text) != digest:
		return nil, fmt.Errorf("%s is damaged; expected the mapping file with SHA-256 %.12s…, restore it from a backup", path, digest)
	}
	return text, nil
}

// DefaultMapping is the mapping of a target that applies where none is given.
func DefaultMapping(target string) (*mapping.Mapping, error) {
	if text := targets.DefaultMapping(target); text != nil {
		return mapping.Parse("the mapping of "+target, text)
	}
	return mapping.BuiltIn(), nil
}

// ReadMapping returns the mapping of a migration that was started: the built-in one,
// or the folder's copy of the file.
func (f Folder) ReadMapping(s Spec) (*mapping.Mapping, error) {
	if s.Mapping == "" {
		return DefaultMapping(s.Target.Name)
	}
	text, err := f.Mapping(s.Mapping)
	if err != nil {
		return nil, err
	}
	return mapping.Parse(store.Base(s.MappingFile), text)
}

// CheckBegun says why the migration cannot resume with the mapping or the primary key of
// these options: it has sent records with another one.
func (f Folder) CheckBegun(s Spec) error {
	before, err := f.Spec()
	if errors.Is(err, ErrAbsent) || err == nil && before.Mapping == s.Mapping && before.PrimaryKey == s.PrimaryKey {
		return nil
	}
	if err != nil {
		return err
	}
	if claimed, err := f.Claimed(); err != nil || !claimed {
		return err
	}
	if before.PrimaryKey != s.PrimaryKey {
		return refusal("this migration was started with --primary-key %s and cannot resume with %s; give the same key", before.PrimaryKey, s.PrimaryKey)
	}
	return f.OtherMapping(before, s)
}

// OtherMapping is the error that two sets of options have different mappings.
func (f Folder) OtherMapping(begun, asked Spec) error {
	advice := "leave out --mapping"
	if begun.Mapping != "" {
		advice = "give the same file; its copy is " + f.mapping(begun.Mapping)
	}
	return refusal("this migration was started with %s and cannot resume with %s; %s", begun.mapping(), asked.mapping(), advice)
}

func (s Spec) mapping() string {
	if s.Mapping == "" {
		return "the built-in mapping"
	}
	return fmt.Sprintf("the mapping %s (SHA-256 %.12s…)", store.Base(s.MappingFile), s.Mapping)
}

func (f Folder) mapping(digest string) string { return f.path("mapping-" + digest + ".yaml") }

// MappingDigest is what Spec.Mapping says of a mapping file with these bytes.
func MappingDigest(text []byte) string {
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
