package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/mapping"
	"durable-dataload/internal/source"
)

// readMappingFile reads a mapping file, "" being the built-in mapping, and gives its text too.
func readMappingFile(path string) (*mapping.Mapping, []byte, error) {
	if path == "" {
		return mapping.BuiltIn(), nil, nil
	}
	text, err := durablefs.ReadFile(path, mapping.MaxSize)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, fmt.Errorf("%s: there is no such file; expected a mapping file; starter mapping init writes one", path)
	}
	if err != nil {
		return nil, nil, err
	}
	m, err := mapping.Parse(filepath.Base(path), text)
	return m, text, err
}

// checkMapping refuses a mapping that does not fit the input's header, before anything is started. The inspection
// reports what is wrong with the input itself.
func (m *migrateOperation) checkMapping(ctx context.Context) error {
	if m.c.o.mapping == "" {
		return nil
	}
	delimiter, err := source.ParseDelimiter(m.c.o.delimiter)
	if err != nil {
		return err
	}
	header, _, err := source.Head(ctx, m.file.near(), 0, source.InspectOptions{Delimiter: delimiter})
	if err != nil {
		return nil //nolint:nilerr // the inspection reports it
	}
	_, err = m.c.mapping.Compile(header.Names)
	return err
}
