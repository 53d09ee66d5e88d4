package validate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"durable-dataload/internal/evidence"
	"durable-dataload/internal/target"
)

// Target is the platform. All of its calls only read.
type Target interface {
	Check(ctx context.Context) error
	Schema(ctx context.Context) (target.Schema, error)
}

// Meter measures the duration of calls and the difference of the clocks. Its method Saw is a hook: see
// target.Hooks.Answered.
type Meter struct {
	clock evidence.DateClock

	mu       sync.Mutex
	callTime time.Duration
}

// Saw records an answer.
func (m *Meter) Saw(date, sent, received time.Time) {
	m.clock.Saw(date, sent, received)
	m.mu.Lock()
	defer m.mu.Unlock()
	if took := received.Sub(sent); m.callTime == 0 || took < m.callTime { // the first call also opened the connection
		m.callTime = took
	}
}

// CallTime is the duration of the fastest call, 0 if there was none with a date.
func (m *Meter) CallTime() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.callTime
}

// tolerance is the accepted difference of the clocks. The limit of the platform for signed calls is not documented.
const tolerance = 5 * time.Second

// ahead is the least amount by which the target's clock is ahead of ours (or behind, if negative); 0 within the tolerance.
func (m *Meter) ahead() time.Duration {
	skew := m.clock.Skew()
	switch {
	case skew == nil:
		return 0
	case skew.Low > tolerance:
		return skew.Low
	case skew.High < -tolerance:
		return skew.High
	}
	return 0
}

// Probed is the result of Probe.
type Probed struct {
	Schema     *target.Schema // nil if it is not known
	Findings   []Finding
	NotChecked []string
}

// Probe makes two harmless calls to verify address, credentials and entity type and to read the schema, and compares the
// clocks. Faults are findings; its error is that of ctx.
func Probe(ctx context.Context, t Target, meter *Meter) (Probed, error) {
	var p Probed
	if err := t.Check(ctx); err != nil {
		if ctx.Err() != nil {
			return p, context.Cause(ctx)
		}
		severity := Error
		if target.Is(err, target.Throttled) {
			severity = Warning // it is temporary
		}
		p.add(severity, KindTarget, err.Error())
		return p, nil
	}
	if off := meter.ahead().Round(time.Second); off != 0 {
		way := "behind"
		if off < 0 {
			way, off = "ahead of", -off
		}
		p.add(Warning, KindClock, fmt.Sprintf("this machine's clock is about %s %s the target's; set it, or synchronize it by NTP; signed calls may be refused", off, way))
	}
	schema, err := ReadSchema(ctx, t)
	switch {
	case ctx.Err() != nil:
		return p, context.Cause(ctx)
	case err != nil:
		p.add(Warning, KindTarget, err.Error())
	default:
		p.Schema = schema
	}
	// Permission to count does not imply permission to create.
	p.NotChecked = append(p.NotChecked, "whether the client may create records: only creating one would tell")
	return p, nil
}

// ReadSchema reads the schema of the entity type. Its error says what follows from it.
func ReadSchema(ctx context.Context, t Target) (*target.Schema, error) {
	schema, err := t.Schema(ctx)
	switch {
	case err == nil:
		return &schema, nil
	case target.Is(err, target.Forbidden):
		return nil, fmt.Errorf("the API client may not read the schema (%w), so attributes are not checked against it; use a client that may", err)
	}
	return nil, fmt.Errorf("the schema cannot be read (%w), so attributes are not checked against it; try again", err)
}

func (p *Probed) add(severity Severity, kind Kind, message string) {
	p.Findings = append(p.Findings, Finding{Severity: severity, Kind: kind, Message: message})
}
