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
)

// The folders beside the files of a schedule that they are moved to.
const (
	DoneFolder   = "done"
	FailedFolder = "failed"
)

// FindInput asks for the files of a schedule.
type FindInput struct {
	Schedule migration.Schedule `json:"schedule"`
	After    string             `json:"after,omitempty"` // path; the files up to it were looked at
	Limit    int                `json:"limit"`
}

// Found are the files of a schedule, by path, with those that cannot be taken.
type Found struct {
	Files []migration.FoundFile `json:"files"`
	More  bool                  `json:"more,omitempty"` // there are, after these
}

// FindFiles looks for the files of a schedule. Left out are names that say that
// a file is not for reading yet (see isUnready), result files, what is in the
// folders done and failed, and what is no regular file. It fails with Refused
// where no file could be migrated: for a mapping file that was changed, an output
// folder that cannot be written, credentials that are for another target.
func (a *Activities) FindFiles(ctx context.Context, in FindInput) (Found, error) {
	_, done := restartable(ctx)
	defer done()
	options := in.Schedule.Options
	if err := artifacts.CheckFolder(options.OutputDir); err != nil {
		return Found{}, refused(err)
	}
	if options.Mapping != "" {
		if _, err := readMapping(options); err != nil {
			return Found{}, refused(fmt.Errorf("%w; that of a schedule is to delete it and to create it again", err))
		}
	}
	if _, err := a.connect(options, nil); err != nil {
		return Found{}, refused(err)
	}
	paths, err := matching(in.Schedule.Patterns, in.After)
	if err != nil {
		return Found{}, refused(err)
	}
	found := Found{Files: []migration.FoundFile{}}
	for _, path := range paths {
		f, err := look(path)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, errNoFile) {
			continue
		}
		if err != nil {
			f = migration.FoundFile{Path: path, Problem: safetext.Text(err.Error())} // the next one may be well
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

// matching gives the paths after one, sorted, each once.
func matching(patterns []string, after string) (paths []string, err error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil {
			return nil, fmt.Errorf("%s: %w; expected a file, or a pattern with * and ?", pattern, err)
		}
		paths = append(paths, found...)
	}
	// In the order in which they are told: what is no UTF-8 reaches the workflow as U+FFFD.
	told := func(path string) string { return string([]rune(path)) }
	slices.SortFunc(paths, func(a, b string) int { return cmp.Or(strings.Compare(told(a), told(b)), strings.Compare(a, b)) })
	return slices.DeleteFunc(slices.Compact(paths), func(path string) bool {
		return told(path) <= after || leftOut(path)
	}), nil
}

// isUnready says whether a name is one that programs give to files that they
// have not finished: hidden, a partial transfer, an editor's copy.
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

// look says how a file is just now.
func look(path string) (migration.FoundFile, error) {
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

// Prepared is the migration of a file; or, where there is none to run, what is
// to be said of the file instead.
type Prepared struct {
	Spec    migration.Spec           `json:"spec"`
	Instead *migration.ScheduledFile `json:"instead,omitempty"`
	// Staged is the path of the plain copy of a file that needs one.
	Staged string `json:"staged,omitempty"`
}

// PrepareFile finds out which migration a file means: a new one, one that was
// cut off, or one that is done. It is the same one, by its workflow id, that a
// person gets for this file with the same options.
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
		errors.As(err, &unread) && unread.Path == in.File.Path: // what is wrong is this file's, not that of the next one
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
	return &migration.ScheduledFile{Result: migration.FileGrowing, Reason: "it is still being written; the next run looks again"}
}

func prepareFile(ctx context.Context, in PrepareInput) (p Prepared, err error) {
	plain := migration.Input{Path: in.File.Path, Shown: safetext.Name(in.File.Path)}
	raw := stage.Input{Path: in.File.Path, Encoding: stage.Encoding(in.Schedule.Encoding)}
	inputs := migration.Inputs(in.Schedule.StateDir)
	// Workers on other machines see what is in a bucket, and not this file.
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
	// What was read is the file that was found, if that is still as it was.
	if now, err := look(in.File.Path); err != nil || !now.Same(in.File) {
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

// PutAway moves a file into a folder beside it, in one step that either happens
// or does not, and gives its new path. It takes the place of nothing: where the
// name is taken, a number is added. A file that is not the one that was found
// any more stays: then the path is "".
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
	now, err := look(file.Path)
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
		// Whoever makes the empty file owns the name, and may rename onto it.
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

// moveTo renames a file onto a name that is ours. What has come in the place of
// the file since it was looked at goes back.
func moveTo(file migration.FoundFile, to string) (string, error) {
	if err := durablefs.Rename(file.Path, to); err != nil {
		return "", errors.Join(err, durablefs.Remove(to))
	}
	moved, err := look(to)
	if err != nil || isAsFound(moved, file) {
		return to, err
	}
	if err := os.Link(to, file.Path); err != nil {
		return "", fmt.Errorf("%s was replaced twice while it was put away: the file %s was not migrated; move it back", file.Path, to)
	}
	return "", durablefs.Remove(to)
}

// isAsFound says whether a file under another name is the one that was found.
func isAsFound(f, found migration.FoundFile) bool {
	f.Path = found.Path
	return f.Same(found)
}

// movedBefore finds a file that an attempt before this one has moved.
func movedBefore(file migration.FoundFile, dir string) (string, error) {
	for n := 1; ; n++ {
		to := numbered(dir, filepath.Base(file.Path), n)
		there, err := look(to)
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
	const most = 255 // bytes that a file system takes
	number := fmt.Sprintf("-%d", n)
	if over := len(stem) + len(number) + len(extensions) - most; over > 0 && over < len(stem) {
		stem = strings.ToValidUTF8(stem[:len(stem)-over], "")
	}
	return filepath.Join(dir, stem+number+extensions)
}

// WriteScheduledInput is what a run of a schedule came to.
type WriteScheduledInput struct {
	Schedule  migration.Schedule  `json:"schedule"`
	Scheduled migration.Scheduled `json:"scheduled"`
}

// WriteScheduled writes scheduled_*.json and gives its name. Its datetime is
// the run's start, or the next that is free.
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
		return name, ended(ctx, err)
	}
}

// isOf says whether an earlier attempt of the same run has written this file.
func isOf(path, workflowID string) bool {
	var before migration.Scheduled
	data, err := os.ReadFile(path)
	return err == nil && json.Unmarshal(data, &before) == nil && before.WorkflowID == workflowID
}
