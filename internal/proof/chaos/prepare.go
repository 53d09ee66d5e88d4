package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
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
	e.truth.path = e.path("sandbox/truth.jsonl")
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
	if err := e.startTarget(addresses[0], addresses[1]); err != nil {
		return err
	}
	if err := e.seedUsers("http://"+addresses[1], made); err != nil {
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

// startTarget starts the sandbox at one address, behind a proxy at another.
func (e *episode) startTarget(front, address string) (err error) {
	if e.target, err = newProxy(front, serveCalls); err != nil {
		return err
	}
	e.target.to(address)
	e.sandbox = e.slot(theSandbox, func(name string) (*process, error) {
		args := []string{
			"--address", address, "--state-dir", e.path("sandbox"), "--latency", e.latency.String(), "--find-lag", e.findLag.String(),
			"--faults", e.faults, "--seed", strconv.FormatInt(e.seed, 10), "--heal-after", strconv.Itoa(e.batches() + e.batches()/3),
		}
		return e.launch(name, "sandbox", credentials(), append(args, e.world.flags()...)...)
	})
	return e.sandbox.begin()
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

func credentials() []string {
	return []string{"CAPTURE_CLIENT_ID=" + clientID, "CAPTURE_CLIENT_SECRET=" + clientSecret}
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
			return e.launch(name, "worker", credentials(), append(e.serviceFlags(), e.workerFlags()...)...)
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
func (e *episode) seedUsers(address string, content []byte) error {
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
	if e.plan.before {
		for i := 7; i < len(rows); i += 97 {
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
		if bad(i) || isTaken {
			e.wantFailed++
			continue
		}
		taken[key] = true
	}
	if len(users) == 0 {
		return nil
	}
	form, err := json.Marshal(users)
	if err != nil {
		return err
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if err = seed(address, string(form)); err == nil || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("the users that are to exist before were not made: %w", err)
	}
	if _, e.before, err = check.Calls(e.truth.path, "entity.bulkCreate"); err != nil {
		return err
	}
	time.Sleep(clockTolerance)
	return nil
}

// seed makes users without a fault in the way: a call that meets one is made
// again, since nothing else runs yet.
func seed(address, users string) error {
	form := url.Values{"type_name": {"user"}, "all_attributes": {users}}
	request, err := http.NewRequest(http.MethodPost, address+"/entity.bulkCreate", strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(clientID, clientSecret)
	response, err := (&http.Client{Timeout: 5 * time.Second}).Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err == nil && !bytes.Contains(body, []byte(`"stat":"ok"`)) {
		err = fmt.Errorf("the sandbox answers %.200s", body)
	}
	return err
}
