package main

import (
	"context"
	"math"
	"slices"
	"time"

	"durable-dataload/internal/catalogue"
	"durable-dataload/internal/engine"
	"durable-dataload/internal/migration"
	"durable-dataload/internal/session"
	"durable-dataload/internal/terminal"
	"durable-dataload/workflows"
)

// poller polls the status of one migration.
type poller struct {
	place    *place
	known    catalogue.Migration
	view     *view
	progress workflows.Progress // of the last poll
	linkTo   string             // see link
	linked   time.Time

	calls, batches, updates terminal.Meter
}

func newPoller(p *place, k catalogue.Migration, screen *terminal.Screen) *poller {
	l := &poller{place: p, known: k}
	if p.Service != nil {
		l.view = newView(p.Service, k.ID, p.stateDir, screen)
	}
	return l
}

// pollAgain returns the status after a refresh of the migration.
func (l *poller) pollAgain(ctx context.Context) (status, error) {
	if s := l.place.Service; s != nil && !s.HasEngine() {
		l.place.Disconnected()
	}
	if err := l.place.Refresh(ctx, &l.known); err != nil {
		return status{}, err
	}
	return l.poll(ctx), nil
}

// poll returns the status of the migration as the last refresh found it.
func (l *poller) poll(ctx context.Context) status {
	p := l.place
	s := statusOf(l.known)
	if p.Service != nil && l.known.Run != "" {
		s.WebUI = l.link()
	}
	if s.State != catalogue.Running || p.Service == nil {
		l.addEnd(ctx, &s)
		return s
	}
	asking, cancel := context.WithTimeout(ctx, session.AnswerTimeout)
	defer cancel()
	progress, ids, err := l.view.poll(asking)
	if err != nil {
		l.calls, l.batches, l.updates = terminal.Meter{}, terminal.Meter{}, terminal.Meter{}
		s.Trouble, s.Unpolled = p.Service.Silence(ctx, l.known.ID, err)
		s.addTally(ctx, l.known)
		return s
	}
	l.progress = progress
	s.Trouble, l.view.gate = reported(slices.Concat(l.known.Pending, l.view.pending(asking, ids[1:])))
	s.addProgress(progress)
	if !counts(progress) {
		s.addTally(ctx, l.known)
	}
	gate := gateIn(progress, l.view.gate)
	s.addPace(progress, gate, l.known.Spec.Limits)
	l.measure(&s, progress)
	if s.Paused != "" || s.Decision != "" || s.Pace.Closed != "" || quiet(progress, gate, time.Now()) > 0 {
		s.Pace.CallsASecond, s.SecondsLeft = 0, 0 // measured before that
	}
	return s
}

// link is the migration's page in the Web UI. It is renewed only when half of its life
// has passed, so that it can be copied from a screen that is redrawn.
func (l *poller) link() string {
	if time.Since(l.linked) > engine.LinkLife/2 {
		l.linkTo, l.linked = l.place.Service.LinkToRun(l.known.ID, l.known.Run), time.Now()
	}
	return l.linkTo
}

// measure adds the rates from this poll and those before.
func (l *poller) measure(s *status, p workflows.Progress) {
	now := time.Now()
	l.calls.Add(now, callsOf(p))
	s.Pace.CallsASecond = math.Round(100*l.calls.PerSecond()) / 100
	left, rate := p.Batches-p.BatchesDone, 0.0
	if p.Phase == workflows.PhaseUpdating {
		l.updates.Add(now, p.Updates.Records())
		left, rate = p.ToUpdate-p.Updates.Records(), l.updates.PerSecond()
	} else {
		l.batches.Add(now, p.BatchesDone)
		rate = l.batches.PerSecond()
	}
	if rate > 0 {
		s.SecondsLeft = math.Round(float64(left) / rate)
	}
}

// addEnd adds the result of a migration that does not run.
func (l *poller) addEnd(ctx context.Context, s *status) {
	l.place.addCounts(ctx, l.known, s)
	code := migration.ExitStopped // records remain, as far as is known
	switch s.State {
	case catalogue.Failed:
		code = migration.ExitCannotRun
	case catalogue.CutOff:
	default:
		if s.Records.Total > 0 || !s.FinishedAt.IsZero() {
			code = s.Records.ExitCode()
		}
	}
	s.ExitCode = &code
	l.place.addReason(ctx, l.known, s)
}
