package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/session"
	"durable-dataload/internal/source"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
	"durable-dataload/internal/tilde"
)

// input is one file of the command line.
type input struct {
	stage.Input
	given string // its name in messages
	left  bool   // skipped: a result file among other files
}

// inputOptions are the options of every command that reads data files.
type inputOptions struct {
	data         []string
	encodingName string
	delimiter    string
	startAt      int64
}

func (o *inputOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.data, "data", nil, "CSV `file` to migrate, also .gz and .zst, - for standard input, or the URL of one in a bucket; a pattern in quotes for several; may be repeated; files can also follow as arguments")
	f.StringVar(&o.delimiter, "delimiter", ",", `what separates the fields of the data file: one character, \t for a tab`)
	f.StringVar(&o.encodingName, "encoding", "utf-8", "of the data file: utf-8, windows-1252, latin-1, utf-16, utf-16le or utf-16be")
	f.Int64VarP(&o.startAt, "start-at", "a", 1, "record number to begin with")
}

// complete adds the arguments to the data files, and checks how those are written.
func (o *inputOptions) complete(args []string) error {
	if o.data = append(o.data, args...); len(o.data) == 0 {
		return usage("expected a data file: --data users.csv")
	}
	if err := checkRanges([]optionRange{{"start-at", float64(o.startAt), 1, 1e15}}); err != nil {
		return err
	}
	for i, given := range o.data {
		path, err := tilde.Path(given)
		if err != nil {
			return usage("--data %w", err)
		}
		o.data[i] = path
	}
	delimiter, err := source.ParseDelimiter(o.delimiter)
	if err != nil {
		return usage("--delimiter: %w", err)
	}
	if o.delimiter = delimiter.String(); o.delimiter == "," {
		o.delimiter = "" // as the spec has it
	}
	encoding, err := stage.ParseEncoding(o.encodingName)
	if err != nil {
		return usage("--encoding: %w", err)
	}
	o.encodingName = string(encoding)
	if n := len(slices.DeleteFunc(slices.Clone(o.data), func(s string) bool { return s != stage.Stdin })); n > 1 {
		return usage("standard input (-) is given %d times; expected once", n)
	}
	return nil
}

// find returns the files that the command line means; several says that it may mean more
// than one, even if it matches one.
func (o *inputOptions) find() (inputs []input, several bool, err error) {
	var paths []string
	for _, given := range o.data {
		found, isPattern, err := matching(given)
		if err != nil {
			return nil, false, err
		}
		several = several || isPattern
		paths = append(paths, found...)
	}
	seen := map[string]bool{}
	for _, path := range paths {
		in := input{given: safetext.Name(path), Input: stage.Input{Path: path, Stdin: os.Stdin, Encoding: stage.Encoding(o.encodingName)}}
		if path == stage.Stdin {
			in.given = "standard input"
		} else if err := in.locate(); err != nil {
			return nil, false, err
		}
		if !seen[in.Path] {
			seen[in.Path] = true
			inputs = append(inputs, in)
		}
	}
	leaveResultsOut(inputs)
	return inputs, several || len(inputs) > 1, nil
}

// matching returns the files that a name means. A name that is no file and has wildcards is
// a pattern: its files are sorted.
func matching(given string) (found []string, isPattern bool, err error) {
	switch {
	case given == stage.Stdin:
		return []string{given}, false, nil
	case store.IsURL(given):
		found, isPattern, err = matchingInBucket(given)
	default:
		_, statErr := os.Stat(given)
		if isPattern = errors.Is(statErr, os.ErrNotExist) && strings.ContainsAny(given, "*?["); isPattern {
			found, err = filepath.Glob(given)
			slices.Sort(found)
		} else {
			found = []string{given}
		}
	}
	switch {
	case errors.Is(err, path.ErrBadPattern), errors.Is(err, filepath.ErrBadPattern):
		return nil, false, usage("--data %s: %w; expected a file, or a pattern with * and ?", given, err)
	case err != nil:
		return nil, false, err
	case len(found) == 0:
		return nil, false, fmt.Errorf("%s: no file matches; expected CSV files", given)
	}
	return found, isPattern, nil
}

// matchingInBucket is matching for a URL. The pattern is its last part, without a question
// mark, which begins the options of the bucket.
func matchingInBucket(given string) (found []string, isPattern bool, err error) {
	if err := checkFileURL(given); err != nil {
		return nil, false, err
	}
	folder, pattern := store.Dir(given), store.Base(given)
	if above, _, _ := strings.Cut(folder, "?"); strings.ContainsAny(above, "*[") {
		return nil, false, usage("--data %s has a pattern in the name of a folder; expected one in its last part, as s3://BUCKET/FOLDER/*.csv", given)
	}
	if !strings.ContainsAny(pattern, "*[") {
		return []string{given}, false, nil
	}
	if has, err := store.Exists(given); has || err != nil {
		return []string{given}, false, inBucket(given, err)
	}
	names, err := store.List(folder)
	if err != nil {
		return nil, false, inBucket(folder, err)
	}
	for _, name := range names {
		matches, err := path.Match(pattern, name)
		if err != nil {
			return nil, false, err
		}
		if !matches {
			continue
		}
		file := store.Join(folder, name)
		if has, err := store.Exists(file); err != nil {
			return nil, false, inBucket(file, err)
		} else if has { // a name without an object is the prefix of others
			found = append(found, file)
		}
	}
	return found, true, nil
}

func checkFileURL(url string) error {
	if _, err := checkURL("data", url, "its path"); err != nil {
		return err
	}
	if store.Join(url) == store.Dir(url) {
		return usage("--data %s names no file in the bucket; expected s3://BUCKET/FOLDER/users.csv", url)
	}
	return nil
}

// inBucket adds to an error what was expected, and what to do.
func inBucket(url string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: there is no such file, or no such bucket; expected a CSV file", url)
	}
	return fmt.Errorf("--data: %w; %s", err, store.Advice(err)) // the store names what it is about
}

func (in *input) locate() (err error) {
	if store.IsURL(in.Path) {
		if err := checkFileURL(in.Path); err != nil {
			return err
		}
		_, err := store.Stat(in.Path)
		return inBucket(in.Path, err)
	}
	if in.Path, err = filepath.Abs(in.Path); err != nil {
		return err
	}
	info, err := os.Stat(in.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: there is no such file; expected a CSV file", safetext.Name(in.Path))
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s is not a file; expected a CSV file on a disk, which can be read again, or - for standard input", safetext.Name(in.Path))
	}
	return nil
}

// leaveResultsOut skips the result files of earlier migrations that a pattern has
// matched. If all are result files, they are meant.
func leaveResultsOut(inputs []input) {
	isResult := func(in input) bool { return artifacts.IsArtifact(store.Base(in.Path)) }
	if !slices.ContainsFunc(inputs, func(in input) bool { return !isResult(in) }) {
		return
	}
	for i, in := range inputs {
		inputs[i].left = isResult(in)
	}
}

// dataFile is the plain file of one migration.
type dataFile struct {
	path         string // absolute, or a URL
	here         string // a file of this machine with the same content; empty where there is none
	shown        string // its name in messages
	name, origin string // those of the spec; empty for a file that is read in place
	sha256       string // of a staged file; empty if it is not known yet
	size         int64  // of here
}

// inputName is the name in the workflow id.
func (f dataFile) inputName() string {
	if f.name != "" {
		return f.name
	}
	return store.Base(f.path)
}

// near is the path from which this process reads the file.
func (f dataFile) near() string { return cmp.Or(f.here, f.path) }

// input is the file as the input of a migration.
func (f dataFile) input() migration.Input {
	return migration.Input{Path: f.path, Name: f.name, Origin: f.origin, SHA256: f.sha256, Shown: f.shown}
}

// plainFile returns the plain file of an input: the input itself, or a staged copy if it
// has to be unpacked or converted, or if it is on this machine and the work location is in a
// bucket, where other workers do not have it. A file that is plain already is copied when
// its migration begins, see bring. A Ctrl-C ends it.
func plainFile(ctx context.Context, p session.Process, l locations, in input) (dataFile, error) {
	ctx, cancel := p.UntilStopped(ctx)
	defer cancel()
	inputs := migration.Inputs(l.work())
	if stage.Needs(in.Input) {
		staged, err := stage.File(ctx, inputs, in.Input, p.Screen.ReadProgress("reading "+in.given))
		p.Screen.Clear()
		if err != nil {
			return dataFile{}, err
		}
		f := dataFile{path: staged.Path, shown: in.given, name: staged.Name, origin: safetext.UTF8(in.Path), sha256: staged.SHA256}
		if in.Path == stage.Stdin {
			f.origin = ""
		}
		return f, nil
	}
	f := dataFile{path: in.Path, shown: in.given}
	if l.workURL == "" || store.IsURL(in.Path) {
		return f, nil
	}
	var err error
	if f.sha256, f.size, err = source.Digest(ctx, in.Path); err != nil {
		return dataFile{}, err
	}
	f.path, f.here, f.name, f.origin = stage.Path(inputs, f.sha256), in.Path, in.Name(), in.Path
	return f, nil
}

// bring copies a plain file of this machine into the work location, unless it is there
// already. A Ctrl-C ends it.
func (m *migrateOperation) bring(ctx context.Context) error {
	f := m.file
	if f.here == "" {
		return nil
	}
	ctx, cancel := m.UntilStopped(ctx)
	defer cancel()
	err := migration.BringInput(ctx, m.c.o.work(), stage.Input{Path: f.here}, f.sha256, f.size, m.Screen.ReadProgress("reading "+f.shown))
	m.Screen.Clear()
	if errors.Is(err, migration.ErrInputGrows) {
		err = fmt.Errorf("%s: %w; expected a finished file; wait until it is complete", f.shown, err)
	}
	return err
}

// drop removes a staged file unless a migration needs it.
func (f dataFile) drop(l locations) error {
	if f.name == "" {
		return nil
	}
	return migration.DropInput(l.work(), f.path)
}
