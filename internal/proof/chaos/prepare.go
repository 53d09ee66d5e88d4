package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"durable-dataload/internal/fakeusers"
	"durable-dataload/internal/proof/check"
	"durable-dataload/internal/proof/program"
)

// prepare makes the input and starts everything but the starter.
func (e *episode) prepare(ctx context.Context) (err error) {
	e.over = make(chan struct{})
	e.input, e.original, e.state, e.out = e.path("users.csv"), e.path("original.csv"), e.path("state"), e.path("out")
	e.work, e.queue = e.state, filepath.Base(e.dir)
	if e.plan.bucket {
		if err := e.startStore(ctx); err != nil {
			return err
		}
	}
	e.witness = check.NewWitness(e.work)
	made, err := e.writeInput()
	if err != nil {
		return err
	}
	if e.has(fill) {
		if e.hasDisk, err = mount(e.state); err != nil {
			return err
		}
	}
	addresses, err := program.FreeAddresses(3)
	if err != nil {
		return err
	}
	if err := e.startTarget(ctx, addresses[0], addresses[1]); err != nil {
		return err
	}
	if err := e.seedUsers(made); err != nil {
		return err
	}
	if e.plan.workers > 0 {
		if err := e.startService(ctx, addresses[2]); err != nil {
			return err
		}
	}
	if e.scheduled {
		if err := e.migrateBySchedule(ctx); err != nil {
			return err
		}
	}
	if e.limit == 0 {
		e.limit = e.longest()
	}
	return nil
}

// writeInput writes the input, and a copy that nothing changes.
func (e *episode) writeInput() ([]byte, error) {
	var content bytes.Buffer
	if err := fakeusers.Write(&content, e.plan.input); err != nil {
		return nil, err
	}
	made := e.withoutKeys(content.Bytes())
	for _, path := range []string{e.input, e.original} {
		if err := os.WriteFile(path, made, 0o600); err != nil {
			return nil, err
		}
	}
	return made, nil
}

// startTarget starts the target at one address, behind a proxy at another.
func (e *episode) startTarget(ctx context.Context, front, address string) (err error) {
	if e.into != nil {
		e.platform, address, err = newObserved(ctx, e)
	} else {
		e.platform = newSandboxPlatform(e, address)
	}
	if err == nil {
		e.target, err = newProxy(front, serveCalls(e.platform))
	}
	if err != nil {
		return err
	}
	e.target.to(address)
	e.server = e.slot(theTarget, e.platform.start)
	if err := e.server.begin(); err != nil {
		return err
	}
	return e.platform.ready()
}

// longest is how long the migration may take.
func (e *episode) longest() time.Duration {
	perCall := e.latency.Seconds() + 0.1
	if e.rate > 0 {
		perCall = max(perCall, 1/e.rate)
	}
	// Faults that hit the one call of an open breaker make it pause for up to a minute.
	limit := e.eventsEnd() + 2*time.Minute + time.Duration(3*float64(e.batches())*perCall*float64(time.Second))
	if e.leavesUnknown() {
		limit *= 3 // each round looks them up again, for some minutes where that may help
	}
	return limit
}

// startService starts a separate engine behind a proxy, and the workers.
func (e *episode) startService(ctx context.Context, address string) (err error) {
	if e.service, err = newProxy(address, serveBytes); err != nil {
		return err
	}
	if e.fleet {
		err = e.startFleet(ctx)
	} else {
		err = e.startEngine()
	}
	if err != nil {
		return err
	}
	for i := range e.plan.workers {
		w := e.slot(fmt.Sprintf("%s %d", aWorker, i+1), func(name string) (*process, error) {
			return e.launch(name, "worker", e.platform.environment(), append(e.serviceFlags(), e.workerFlags()...)...)
		})
		e.workers = append(e.workers, w)
		if err := w.begin(); err != nil {
			return err
		}
	}
	return nil
}

func (e *episode) startEngine() error {
	e.engine = e.slot(theEngine, func(name string) (*process, error) {
		p, err := e.launch(name, "engine", nil, e.path("engine"))
		if err != nil {
			return nil, err
		}
		for end := time.Now().Add(time.Minute); !p.hasEnded() && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if lines := strings.Split(read(p.stdout), "\n"); len(lines) > 2 {
				e.clientFile = lines[1]
				e.service.to(lines[0])
				break
			}
		}
		return p, nil
	})
	return e.engine.begin()
}

// seedUsers makes the users that exist before, and finds out how many records
// must fail.
func (e *episode) seedUsers(content []byte) error {
	reader := csv.NewReader(bytes.NewReader(content))
	reader.FieldsPerRecord, reader.LazyQuotes = -1, true
	rows, err := reader.ReadAll()
	if err != nil {
		return err
	}
	rows = rows[1:]
	flaws := e.plan.input.Flaws()
	bad := func(i int) bool {
		number := int64(i + 1)
		return number == flaws.TooFew || number == flaws.TooMany || number == flaws.BadBirthday
	}
	existing := map[string]bool{}
	var users []map[string]string
	if e.plan.before > 0 {
		for i := 7; i < len(rows); i += e.plan.before {
			if bad(i) || rows[i][0] == "" {
				continue // it fails for another reason, or cannot be identified
			}
			existing[e.key(strings.ToUpper(rows[i][0]))] = true
			users = append(users, map[string]string{"email": strings.ToUpper(rows[i][0]), "displayName": "was here before"})
		}
	}
	taken := map[string]bool{}
	for i, row := range rows {
		key := e.key(row[0])
		isTaken := key != "" && e.emails != "shared" && (existing[key] || taken[key])
		if bad(i) || isTaken || key == "" && e.into != nil && e.into.asksForKey {
			e.wantFailed++
			continue
		}
		taken[key] = true
	}
	if len(users) == 0 {
		return nil
	}
	if err := e.platform.seed(users); err != nil {
		return fmt.Errorf("the users that are to exist before were not made: %w", err)
	}
	if _, e.before, err = check.Calls(e.path(truthLog), "entity.bulkCreate"); err != nil {
		return err
	}
	time.Sleep(clockTolerance)
	return nil
}
