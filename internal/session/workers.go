package session

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/notify"
	"durable-dataload/workflows"
)

// workers is the folder of the processes that run a worker for one task queue of
// an embedded engine, with a locked file each. The lock is what counts: the
// system releases it however the process ends, so neither a killed process nor
// another one that got its id is taken for a worker.
type workers string

// workersOf is the folder for a task queue in a state folder.
func workersOf(stateDir, taskQueue string) workers {
	sum := sha256.Sum256([]byte(taskQueue))
	return workers(filepath.Join(stateDir, "workers", hex.EncodeToString(sum[:8])))
}

// enter adds this process. It is a worker until it is unmarked, or ends.
func (w workers) enter() (*durablefs.Lock, error) {
	if err := durablefs.MkdirAll(string(w)); err != nil {
		return nil, err
	}
	mutex, err := w.exclude()
	if err != nil {
		return nil, err
	}
	defer mutex.Unlock()
	// The name is random: processes of two containers may have the same id.
	mark, err := durablefs.TryLock(filepath.Join(string(w), rand.Text()+workerFile))
	if err != nil {
		return nil, err
	}
	_, err = mark.File().WriteString(strconv.Itoa(os.Getpid()))
	return mark, err
}

const workerFile = ".pid"

// exclude keeps other processes out while files are added, read or removed.
func (w workers) exclude() (*durablefs.Lock, error) {
	return durablefs.TakeLock(filepath.Join(string(w), "lock"))
}

// other returns the process id of a worker other than the one with the mark, 0 if
// there is none. With release the mark is released if there is another worker: of
// two processes that release at once, one stays.
func (w workers) other(mark *durablefs.Lock, release bool) (pid int, err error) {
	if _, err := os.Stat(string(w)); errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	mutex, err := w.exclude()
	if err != nil {
		return 0, err
	}
	defer mutex.Unlock()
	if pid, err = w.find(mark); err == nil && pid != 0 && release {
		unmark(mark)
	}
	return pid, err
}

// find is other without the exclusion. It removes the files of killed processes.
func (w workers) find(mark *durablefs.Lock) (pid int, err error) {
	files, err := os.ReadDir(string(w))
	if err != nil {
		return 0, err
	}
	for _, f := range files {
		path := filepath.Join(string(w), f.Name())
		if !strings.HasSuffix(path, workerFile) || mark != nil && path == mark.File().Name() {
			continue
		}
		dead, err := durablefs.TryLock(path)
		if err == nil {
			err = os.Remove(path)
			dead.Unlock()
		} else if errors.Is(err, durablefs.ErrLocked) {
			var text []byte
			if text, err = os.ReadFile(path); err == nil {
				pid, err = strconv.Atoi(string(text))
			}
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) { // it was unmarked meanwhile
			return 0, err
		}
	}
	return pid, nil
}

// unmark says that a process is no worker any more; a nil mark is of none.
func unmark(mark *durablefs.Lock) {
	if mark != nil {
		_ = os.Remove(mark.File().Name())
		mark.Unlock()
	}
}

// Work is what a worker of this process needs.
type Work struct {
	Credentials config.Credentials
	Identities  []age.Identity // for rollbacks
	Notices     *notify.Sender // nil: it sends no notices
	LongestCall time.Duration
}

// StartWorker runs a worker for the task queue of the service in this process.
func (s *Service) StartWorker(ctx context.Context, w Work) error {
	s.activities = activities.New(s.workLocations, w.Credentials.Connect, s.Limiters(ctx), s.process.Log)
	s.activities.OpenUndo(w.Identities)
	s.activities.NotifyWith(w.Notices)
	if w.Notices != nil && s.IsEmbedded() {
		s.notices = workflows.NewNoticeWorker(s.Client, s.activities)
		if err := s.notices.Start(); err != nil {
			return err
		}
	}
	if t := s.process.Telemetry; t != nil {
		s.activities.Observe(t)
		t.Watch(s.activities.Statuses)
	}
	if s.IsEmbedded() {
		var err error
		s.workers = workersOf(filepath.Dir(s.engineDir), s.TaskQueue)
		if s.mark, err = s.workers.enter(); err != nil {
			return fmt.Errorf("cannot use the state folder: %w", err)
		}
	}
	s.worker = workflows.NewWorker(s.Client, s.TaskQueue, s.activities, w.LongestCall, s.engine != nil)
	if err := s.worker.Start(); err != nil {
		return err
	}
	if t := s.process.Telemetry; t != nil {
		t.Working(s.Client, s.TaskQueue, config.WorkerIdentity())
	}
	return nil
}
