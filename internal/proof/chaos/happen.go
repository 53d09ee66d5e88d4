package main

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
)

// follow waits for the moment of an event, and has it happen.
func (e *episode) follow(ev event) {
	if !e.await(ev.when) {
		e.count.add(func(f *figures) { f.NotCome++ })
		return
	}
	if ev.explains() {
		e.mu.Lock()
		e.active++
		e.mu.Unlock()
		defer func() {
			e.mu.Lock()
			e.active--
			e.disturbed = time.Now()
			e.mu.Unlock()
		}()
	}
	e.say("%s (%d calls, %s)", ev, e.platform.creations(), time.Since(e.begun).Round(10*time.Millisecond))
	e.happen(ev)
}

// explains reports whether a process may end before its time because of it.
func (ev event) explains() bool { return ev.action != order || ev.how == orderStop }

// await waits for a moment, and says whether it came in time.
func (e *episode) await(t trigger) bool {
	begun := time.Now()
	for !e.come(t, begun) {
		if time.Since(begun) > e.eventsEnd() || !e.sleep(10*time.Millisecond) {
			return false
		}
	}
	return e.sleep(t.after)
}

func (e *episode) come(t trigger, begun time.Time) bool {
	switch t.what {
	case onCalls:
		return e.platform.creations() >= t.n
	case onClaims:
		return e.witness.Claims() >= t.n
	case onOutcomes:
		return e.witness.Outcomes() >= t.n
	case onFiles:
		found, _ := os.ReadDir(e.out)
		return len(found) >= t.n
	case onPauses:
		return e.times(isPause) >= t.n
	case onDecisions:
		return e.times(isDecision) >= t.n
	}
	return time.Since(begun) >= time.Duration(t.n)*time.Millisecond
}

// sleep waits, and reports whether the episode is still in progress.
func (e *episode) sleep(d time.Duration) bool {
	select {
	case <-e.over:
		return false
	case <-time.After(d):
		return true
	}
}

func (e *episode) happen(ev event) {
	name, _, _ := strings.Cut(ev.target, " ")
	switch ev.action {
	case kill:
		for _, target := range e.targets(ev) {
			if e.killTarget(target, ev.lasts) {
				name, _, _ := strings.Cut(target, " ")
				e.count.add(func(f *figures) { f.Kills[name]++ })
			}
		}
	case stop:
		e.stopTarget(ev)
		e.count.add(func(f *figures) { f.Stops[name]++ })
	case interrupt:
		e.mu.Lock()
		p := e.starter
		e.mu.Unlock()
		p.signal(syscall.SIGINT)
		e.count.add(func(f *figures) { f.Interrupts++ })
	case cut:
		p := e.target
		if ev.target == theEngine {
			p = e.service
		}
		n := p.cut()
		e.count.add(func(f *figures) { f.Cuts++; f.CutConnections += n })
	case refuse:
		e.target.refuse()
		e.sleep(ev.lasts)
		if err := e.target.accept(); err != nil {
			e.tell(comesToItsEnd, "the proxy cannot listen again: %v", err)
		}
		e.count.add(func(f *figures) { f.Refusals++ })
	case loseAnswers, cutCalls, delayCalls, delayAnswers, throttle, strangers:
		e.target.give(&trouble{action: ev.action, how: ev.how, calls: ev.calls, hold: ev.lasts, met: func() {
			e.count.add(func(f *figures) { f.Met[string(ev.action)]++ })
		}})
	case fill:
		e.fillDisk(ev)
	case change:
		e.changeInput(ev)
	case expire:
		e.target.expire(true)
		e.sleep(ev.lasts)
		e.target.expire(false)
		e.count.add(func(f *figures) { f.Expirations++ })
	case order:
		e.operate(ev)
	case pauseIt:
		e.pauseAndResume()
	case setRate:
		e.setRate()
	}
}

func (e *episode) find(target string) *slot {
	for _, s := range e.slots() {
		if s != nil && s.name == target {
			return s
		}
	}
	return nil
}

// slots are all of them; nil for what this episode does not have.
func (e *episode) slots() []*slot {
	return append([]*slot{e.server, e.engine, e.database, e.store}, e.workers...)
}

func (e *episode) targets(ev event) []string {
	if ev.target != everything {
		return []string{ev.target}
	}
	all := []string{theStarter, theEngine}
	for _, w := range e.workers {
		all = append(all, w.name)
	}
	return all
}

func (e *episode) killTarget(target string, pause time.Duration) bool {
	if target == theTarget {
		ran := e.server.kill(pause)
		if err := e.platform.ready(); err != nil {
			e.tell(comesToItsEnd, "%v", err)
		}
		return ran
	}
	if target != theStarter {
		return e.find(target).kill(pause)
	}
	e.mu.Lock()
	p := e.starter
	e.pause = pause
	e.mu.Unlock()
	return p.kill()
}

// stopTarget suspends a process and resumes it after a time, or when others have
// settled its batches, or at the end.
func (e *episode) stopTarget(ev event) {
	if ev.target == theStarter {
		e.mu.Lock()
		p := e.starter
		e.mu.Unlock()
		e.stopFor(p, ev.lasts)
		return
	}
	s := e.find(ev.target)
	s.mu.Lock()
	p := s.p
	s.asleep = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.asleep = s.asleep && s.p != p
		s.mu.Unlock()
	}()
	if ev.until == "" || !e.anotherWorks() {
		e.stopFor(p, ev.lasts)
		return
	}
	p.signal(syscall.SIGSTOP)
	open := e.openClaims(p)
	e.mu.Lock()
	e.sleepers = append(e.sleepers, p)
	e.mu.Unlock()
	for begun := time.Now(); time.Since(begun) < longestSleep && !p.hasEnded(); {
		if ev.until == untilSettled && settled(open) {
			e.count.add(func(f *figures) { f.WokenSettled++ })
			break
		}
		if !e.sleep(20 * time.Millisecond) {
			e.count.add(func(f *figures) { f.WokenAfter++ })
			return // wake does it
		}
	}
	p.signal(syscall.SIGCONT)
}

func (e *episode) stopFor(p *process, d time.Duration) {
	p.signal(syscall.SIGSTOP)
	e.sleep(d)
	p.signal(syscall.SIGCONT)
}

// anotherWorks reports whether a worker is awake: at least one must be.
func (e *episode) anotherWorks() bool {
	for _, w := range e.workers {
		w.mu.Lock()
		asleep := w.asleep
		w.mu.Unlock()
		if !asleep {
			return true
		}
	}
	return false
}

// claimed returns the batches that each process has claimed, by the names of
// their outcomes.
func (e *episode) claimed() map[int][]string {
	paths, _ := filepath.Glob(filepath.Join(e.work, "migrations", "*", "ledger", "*", "*", "*.claim"))
	claimed := map[int][]string{}
	for _, path := range paths {
		var claim struct{ Process int }
		if json.Unmarshal([]byte(read(path)), &claim) == nil {
			claimed[claim.Process] = append(claimed[claim.Process], strings.TrimSuffix(path, ".claim")+".outcomes")
		}
	}
	return claimed
}

// openClaims returns the batches that a process has claimed and that are undecided.
func (e *episode) openClaims(p *process) []string {
	open := e.claimed()[p.cmd.Process.Pid]
	if settled(open) {
		return nil
	}
	return open
}

func settled(outcomes []string) bool {
	for _, path := range outcomes {
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			return false
		}
	}
	return true
}

func (e *episode) fillDisk(ev event) {
	if !e.hasDisk {
		e.say("this user may not mount a file system: the disk is not filled")
		e.count.add(func(f *figures) { f.DiskSkipped++ })
		return
	}
	e.filling.Lock()
	defer e.filling.Unlock()
	err := fillDisk(e.state)
	e.sleep(ev.lasts)
	if err := errors.Join(err, freeDisk(e.state)); err != nil {
		e.tell(comesToItsEnd, "the disk cannot be filled: %v", err)
	}
	e.count.add(func(f *figures) { f.DiskFills++ })
}

// changeInput damages the input. It is put back when the migration has
// noticed, or is done.
func (e *episode) changeInput(ev event) {
	content, err := os.ReadFile(e.original)
	if err != nil {
		e.tell(comesToItsEnd, "%v", err)
		return
	}
	e.mu.Lock()
	e.changed, e.callsThen = true, -1
	e.mu.Unlock()
	switch ev.how {
	case "cut-off":
		err = os.Truncate(e.input, int64(len(content)/2))
	case "longer":
		err = os.WriteFile(e.input, append(content, "\none@more.example.com\n"...), 0o600)
	case "gone":
		err = os.Remove(e.input)
	case "a-byte":
		content[len(content)*3/4] ^= 1
		err = os.WriteFile(e.input, content, 0o600)
	}
	if ev.how != "a-byte" { // of which only its batch is refused
		// Counted when it is changed for certain: on a busy machine that takes its time.
		calls := e.platform.creations()
		e.mu.Lock()
		e.callsThen = calls
		e.mu.Unlock()
	}
	if err != nil {
		e.tell(comesToItsEnd, "%v", err)
	}
	e.count.add(func(f *figures) { f.Changes++ })
}

func (e *episode) isChanged() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// restoreAdvice holds that a migration whose input has changed has stopped as it
// must: it said so, sent nothing of it, and does not begin with what is there
// now. Then the input is as it was again.
func (e *episode) restoreAdvice(ctx context.Context, p *process) bool {
	e.mu.Lock()
	callsThen := e.callsThen
	e.mu.Unlock()
	calls, text := e.platform.creations(), p.errors()
	// What had been read before may be sent still: each worker keeps as many batches in memory.
	read := 2 * e.flight
	if e.rate == 0 {
		read = 3 * e.flight // batches that follow at once are read meanwhile
	}
	read *= max(1, len(e.workers)) // an embedded engine has the one in its starter
	if callsThen >= 0 && calls > callsThen+read {
		e.tell(check.InputChanged, "%d calls were made after the input had changed; at most %d can have been begun before", calls-callsThen, read)
	}
	// Where nothing remains but what is unknown it is that which the exit code says.
	if p.code() != migration.ExitStopped && p.code() != migration.ExitUnknown || !restoreAdvice.MatchString(text) || !strings.Contains(text, filepath.Base(e.input)) {
		e.tell(check.InputChanged, "%s ended with exit code %d, expected %d, the file's name and what to do: %s", p.name, p.code(), migration.ExitStopped, lastLines(text, 5))
	}
	// Where all was loaded that could be, another file is another migration.
	if p.code() != migration.ExitUnknown {
		again, err := e.command()
		if err != nil {
			e.tell(comesToItsEnd, "%v", err)
			return false
		}
		if !again.endsIn(time.Minute) {
			e.hang(again)
			return false
		}
		if again.code() != migration.ExitCannotRun {
			e.tell(check.InputChanged, "with the changed input %s ended with exit code %d, expected %d: %s", again.name, again.code(), migration.ExitCannotRun, lastLines(again.errors(), 5))
		}
		if now := e.platform.creations(); now != calls {
			e.tell(check.InputChanged, "%d calls were made with the changed input", now-calls)
		}
	}
	if err := e.restoreInput(); err != nil {
		e.tell(comesToItsEnd, "%v", err)
		return false
	}
	return ctx.Err() == nil
}

// restoreInput makes the input what it was.
func (e *episode) restoreInput() error {
	if !e.isChanged() {
		return nil
	}
	content, err := os.ReadFile(e.original)
	if err != nil {
		return err
	}
	e.mu.Lock()
	e.changed, e.disturbed = false, time.Now()
	e.mu.Unlock()
	return os.WriteFile(e.input, content, 0o600)
}

// hangs makes an episode that cannot end: a self-test.
func (e *episode) hangs() {
	e.limit = 5 * time.Second
	e.events = []event{{when: trigger{what: onCalls, n: 1}, action: stop, target: theTarget, lasts: time.Hour}}
}
