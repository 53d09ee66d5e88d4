package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"durable-dataload/internal/artifacts"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/safetext"
	"durable-dataload/internal/source"
	"durable-dataload/internal/stage"
	"durable-dataload/internal/store"
	"durable-dataload/internal/target"
)

// The folders beside the files of a schedule to which they are moved.
const (
	DoneFolder   = "done"
	FailedFolder = "failed"
)

// FindInput asks for the files of a schedule.
type FindInput struct {
	Schedule migration.Schedule `json:"schedule"`
	After    string             `json:"after,omitempty"` // path; the files up to it were found before
	Limit    int                `json:"limit"`
}

// Found are the files of a schedule, by path, including those that cannot be migrated.
type Found struct {
	Files []migration.FoundFile `json:"files"`
	More  bool                  `json:"more,omitempty"` // there are, after these
}

// FindFiles finds the files of a schedule. It ignores names of unfinished files (see
// isUnready), result files, the folders done and failed, and what is not a regular file.
// It fails with Refused where no file could be migrated: the mapping file was changed, the
// output folder cannot be written, the credentials are for another target.
func (a *Activities) FindFiles(ctx context.Context, in FindInput) (Found, error) {
	_, done := restartable(ctx)
	defer done()
	options := in.Schedule.Options
	if err := artifacts.CheckFolder(options.OutputDir); err != nil {
		return Found{}, refused(err)
	}
	if options.Mapping != "" {
		if _, err := readMapping(options); err != nil {
			return Found{}, refused(fmt.Errorf("%w; for a schedule, delete it and create it again", err))
		}
	}
	if _, err := a.connect(options, target.Hooks{}); err != nil {
		return Found{}, refused(err)
	}
	paths, err := matching(in.Schedule.Patterns, in.After)
	if err != nil {
		return Found{}, refused(err)
	}
	found := Found{Files: []migration.FoundFile{}}
	for _, path := range paths {
		f, err := stat(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoFile) {
			continue
		}
		if err != nil {
			f = migration.FoundFile{Path: path, Problem: safetext.Text(err.Error())}
		}
		if !utf8.ValidString(path) {
			f.Problem = fmt.Sprintf("the name %q is not UTF-8; expected one that can be written as text; rename the file", filepath.Base(path))
		}
		if len(found.Files) == in.Limit {
			found.More = true
			break
		}
		found.Files = append(found.Files, f)
	}
	return found, nil
}

// matching returns the paths after one, sorted, each once.
func matching(patterns []string, after string) (paths []string, err error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; expected a file, or a pattern with * and ?", pattern, err)
		}
		paths = append(paths, found...)
	}
	// In the order that the workflow sees: it gets invalid UTF-8 as U+FFFD.
	seen := func(path string) string { return string([]rune(path)) }
	slices.SortFunc(paths, func(a, b string) int { return cmp.Or(strings.Compare(seen(a), seen(b)), strings.Compare(a, b)) })
	return slices.DeleteFunc(slices.Compact(paths), func(path string) bool {
		return seen(path) <= after || leftOut(path)
	}), nil
}

// isUnready reports whether programs give such names to unfinished files: hidden, a partial
// transfer, an editor's copy.
func isUnready(name string) bool {
	for _, end := range []string{".part", ".partial", ".filepart", ".tmp", ".crdownload", "~"} {
		if strings.HasSuffix(strings.ToLower(name), end) {
			return true
		}
	}
	return strings.HasPrefix(name, ".")
}

func isPutAway(path string) bool {
	folder := filepath.Base(filepath.Dir(path))
	return folder == DoneFolder || folder == FailedFolder
}

var errNoFile = errors.New("not a regular file")

// stat is the present state of a file.
func stat(path string) (migration.FoundFile, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return migration.FoundFile{}, err
	}
	if !info.Mode().IsRegular() {
		return migration.FoundFile{}, errNoFile
	}
	return migration.FoundFile{Path: path, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// PrepareInput asks for the migration of a file.
type PrepareInput struct {
	Schedule migration.Schedule  `json:"schedule"`
	File     migration.FoundFile `json:"file"`
}

// Prepared is the migration of a file; or, if there is none to run, what is reported of
// the file instead.
type Prepared struct {
	Spec    migration.Spec           `json:"spec"`
	Instead *migration.ScheduledFile `json:"instead,omitempty"`
	// Staged is the path of the plain copy of a file that needs one.
	Staged string `json:"staged,omitempty"`
}

// PrepareFile finds out which migration a file means: a new one, an interrupted one, or
// one that is done. It has the workflow id that the starter gives this file with the same
// options.
func (a *Activities) PrepareFile(ctx context.Context, in PrepareInput) (Prepared, error) {
	ctx, done := restartable(ctx)
	defer done()
	p, err := prepareFile(ctx, in)
	if err == nil {
		err = p.Spec.Folder.Order(p.Spec)
	}
	var wrong *stage.Error
	var unread *fs.PathError
	var cannot *migration.RefusedError
	var before *migration.DoneError
	switch {
	case errors.As(err, &before):
		c := before.Summary.Records
		p.Instead = &migration.ScheduledFile{Result: migration.FileKnown, WorkflowID: before.Summary.WorkflowID, Records: &c,
			Reason: fmt.Sprintf("its content was migrated already, %s UTC", before.Summary.FinishedAt.Format(time.DateTime))}
	case errors.As(err, &wrong), errors.As(err, &cannot), errors.Is(err, migration.ErrDamaged),
		errors.As(err, &unread) && unread.Path == in.File.Path: // it is about this file, not about the next one
		p.Instead = &migration.ScheduledFile{Result: migration.FileRefused, Reason: err.Error()}
	case errors.Is(err, migration.ErrInputGrows):
		p.Instead = growing()
	case err != nil:
		return p, ended(ctx, err)
	}
	if p.Instead != nil {
		p.Instead.File = in.File.Path
	}
	return p, nil
}

func growing() *migration.ScheduledFile {
	return &migration.ScheduledFile{Result: migration.FileGrowing, Reason: "it is still being written; the next run checks it again"}
}

func prepareFile(ctx context.Context, in PrepareInput) (p Prepared, err error) {
	plain := migration.Input{Path: in.File.Path, Shown: safetext.Name(in.File.Path)}
	raw := stage.Input{Path: in.File.Path, Encoding: stage.Encoding(in.Schedule.Encoding)}
	inputs := migration.Inputs(in.Schedule.StateDir)
	// Workers on other machines see a bucket, and not this file.
	bring := store.IsURL(inputs) && !stage.Needs(raw)
	if stage.Needs(raw) {
		staged, err := stage.File(ctx, inputs, raw, nil)
		if errors.Is(err, os.ErrNotExist) {
			return p, migration.ErrInputGrows
		}
		if err != nil {
			return p, err
		}
		p.Staged = staged.Path
		plain.Path, plain.Name, plain.Origin, plain.SHA256 = staged.Path, staged.Name, in.File.Path, staged.SHA256
	} else if plain.SHA256, _, err = source.Digest(ctx, in.File.Path); errors.Is(err, os.ErrNotExist) {
		return p, migration.ErrInputGrows
	} else if err != nil {
		return p, err
	}
	if bring {
		plain.Path, plain.Name, plain.Origin = stage.Path(inputs, plain.SHA256), filepath.Base(in.File.Path), in.File.Path
	}
	// What was read is what was found only if the file has not changed.
	if now, err := stat(in.File.Path); err != nil || !now.Same(in.File) {
		return p, migration.ErrInputGrows
	}
	p.Spec, _, err = migration.Identify(in.Schedule.Options, plain, in.Schedule.StateDir, false)
	if err != nil || !bring {
		return p, err
	}
	p.Staged = plain.Path
	return p, migration.BringInput(ctx, in.Schedule.StateDir, raw, plain.SHA256, in.File.Size, nil)
}

// PutAwayInput is a file whose migration has ended.
type PutAwayInput struct {
	Schedule migration.Schedule  `json:"schedule"`
	File     migration.FoundFile `json:"file"`
	Folder   string              `json:"folder,omitempty"` // DoneFolder, FailedFolder, or "": the file stays
	Staged   string              `json:"staged,omitempty"` // the plain copy of it, if there is one
}

// PutAway moves a file into a folder beside it, atomically, and returns its new path. It
// overwrites nothing: if the name is taken, a number is added. A file that was changed or
// replaced since it was found stays: then the path is "".
func (a *Activities) PutAway(ctx context.Context, in PutAwayInput) (path string, err error) {
	ctx, done := restartable(ctx)
	defer done()
	if in.Staged != "" {
		if err := migration.DropInput(in.Schedule.StateDir, in.Staged); err != nil {
			return "", ended(ctx, err)
		}
	}
	if in.Folder == "" {
		return "", nil
	}
	path, err = putAway(in.File, in.Folder)
	return path, ended(ctx, err)
}

func putAway(file migration.FoundFile, folder string) (string, error) {
	dir := filepath.Join(filepath.Dir(file.Path), folder)
	if err := durablefs.MkdirAll(dir); err != nil {
		return "", err
	}
	now, err := stat(file.Path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return movedBefore(file, dir)
	case errors.Is(err, errNoFile) || err == nil && !now.Same(file):
		return "", nil
	case err != nil:
		return "", err
	}
	for n := 1; ; n++ {
		to := numbered(dir, filepath.Base(file.Path), n)
		// The creator of the empty file owns the name, and may rename onto it.
		err := durablefs.Create(to, nil)
		if errors.Is(err, durablefs.ErrExists) {
			continue
		}
		if err != nil {
			return "", err
		}
		return moveTo(file, to)
	}
}

// moveTo renames a file onto a name that is ours. A file that has replaced it meanwhile is
// moved back.
func moveTo(file migration.FoundFile, to string) (string, error) {
	if err := durablefs.Rename(file.Path, to); err != nil {
		return "", errors.Join(err, durablefs.Remove(to))
	}
	moved, err := stat(to)
	if err != nil || isAsFound(moved, file) {
		return to, err
	}
	if err := os.Link(to, file.Path); err != nil {
		return "", fmt.Errorf("%s was replaced twice while it was put away: the file %s was not migrated; move it back", file.Path, to)
	}
	return "", durablefs.Remove(to)
}

// isAsFound reports whether a file under another name is the one that was found.
func isAsFound(f, found migration.FoundFile) bool {
	f.Path = found.Path
	return f.Same(found)
}

// movedBefore finds a file that an earlier attempt has moved.
func movedBefore(file migration.FoundFile, dir string) (string, error) {
	for n := 1; ; n++ {
		to := numbered(dir, filepath.Base(file.Path), n)
		there, err := stat(to)
		if errors.Is(err, os.ErrNotExist) {
			return "", nil
		}
		if err == nil && isAsFound(there, file) {
			return to, nil
		}
	}
}

// numbered is the nth name for a file in a folder: users.csv, users-2.csv.
func numbered(dir, name string, n int) string {
	if n == 1 {
		return filepath.Join(dir, name)
	}
	stem, extensions, _ := strings.Cut(name, ".")
	if extensions != "" {
		extensions = "." + extensions
	}
	const most = 255 // bytes of a name in a file system
	number := fmt.Sprintf("-%d", n)
	if over := len(stem) + len(number) + len(extensions) - most; over > 0 && over < len(stem) {
		stem = strings.ToValidUTF8(stem[:len(stem)-over], "")
	}
	return filepath.Join(dir, stem+number+extensions)
}

// WriteScheduledInput is the result of a run of a schedule.
type WriteScheduledInput struct {
	Schedule  migration.Schedule  `json:"schedule"`
	Scheduled migration.Scheduled `json:"scheduled"`
}

// WriteScheduled writes scheduled_*.json and returns its name. Its datetime is the run's
// start, or the next that is free. It is the end of the run.
func (a *Activities) WriteScheduled(ctx context.Context, in WriteScheduledInput) (name string, err error) {
	ctx, done := restartable(ctx)
	defer done()
	data, err := json.MarshalIndent(in.Scheduled, "", " ")
	if err != nil {
		return "", err
	}
	data = append(data, '\n')
	for at := in.Scheduled.StartedAt; ; at = at.Add(time.Second) {
		name = artifacts.Name("scheduled", artifacts.Stamp(at), "json")
		path := filepath.Join(in.Schedule.Options.OutputDir, name)
		err := durablefs.Create(path, data)
		if errors.Is(err, durablefs.ErrExists) {
			if !isOf(path, in.Scheduled.WorkflowID) {
				continue
			}
			err = durablefs.WriteFile(path, data)
		}
		if err == nil {
			err = in.Schedule.RunEnded()
		}
		return name, ended(ctx, err)
	}
}

// isOf reports whether an earlier attempt of the same run has written this file.
func isOf(path, workflowID string) bool {
	var before migration.Scheduled
	data, err := os.ReadFile(path)
	return err == nil && json.Unmarshal(data, &before) == nil && before.WorkflowID == workflowID
}
