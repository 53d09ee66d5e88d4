package session

import (
	"fmt"
	"path/filepath"
	"time"

	"filippo.io/age"

	"durable-dataload/activities"
	"durable-dataload/internal/config"
	"durable-dataload/internal/identitycloud"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/notify"
	"durable-dataload/workflows"
)

// Work is what a worker of this process needs.
type Work struct {
	Credentials config.Credentials
	Identities  []age.Identity // for rollbacks
	Notices     *notify.Sender // nil: it sends no notices
	LongestCall time.Duration
}

// StartWorker runs a worker for the task queue of the service in this process.
func (s *Service) StartWorker(w Work) error {
	s.activities = activities.New(s.places, func(spec migration.Spec, with func(*identitycloud.Config)) (activities.Target, error) {
		return w.Credentials.Connect(spec, with)
	}, s.process.Log)
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
