package sandbox

import (
	"bufio"
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLinesSurviveWhatRecordsHold(t *testing.T) {
	nasty := `,"entities":[ }]}` + "\n\u2028"
	c := newCall(bulkCreateEndpoint, 3, time.Now())
	c.Seq, c.TypeName, c.Keys = 1, nasty, []string{nasty}
	bodies := [][]byte{[]byte(`{"a":"],\"entities\":["}`), []byte(`{}`)}
	for i, body := range bodies {
		c.Written = append(c.Written, Written{Index: i, ID: int64(i + 1), UUID: "u", Email: nasty, Size: len(body)})
	}
	line, places, err := encodeLine(c, bodies)
	must(t, err)
	if bytes.Count(line, []byte("\n")) != 1 {
		t.Errorf("more than one line: %s", line)
	}
	for i, body := range bodies {
		if got := line[places[i] : places[i]+int64(len(body))]; !bytes.Equal(got, body) {
			t.Errorf("at place %d is %s, want %s", places[i], got, body)
		}
	}
	decoded, place, err := decodeLine(line)
	must(t, err)
	if place != places[0] || decoded.TypeName != nasty || decoded.Written[1].Email != nasty {
		t.Errorf("decoded %+v with its first record at %d, want what was encoded, and %d", decoded, place, places[0])
	}
}

// TestTornEndIsCutOff cuts the last line at many places, as a kill -9 might leave it.
func TestTornEndIsCutOff(t *testing.T) {
	server, c := start(t, Options{})
	c.create(`[{"email":"a@x.org"},{"email":"b@x.org"}]`)
	c.ok("entity.update", params{"id": "1", "attributes": `{"name":"Ann"}`})
	c.create(`[{"email":"lost1@x.org"},{"email":"lost2@x.org"}]`)
	server.Close()
	whole, err := os.ReadFile(filepath.Join(server.options.StateDir, TruthFile))
	must(t, err)
	kept := bytes.LastIndexByte(whole[:len(whole)-1], '\n') + 1
	for size := kept; size < len(whole); size += 13 {
		dir := t.TempDir()
		path := filepath.Join(dir, TruthFile)
		must(t, os.WriteFile(path, whole[:size], 0o600))
		if calls, err := ReadTruth(dir); err != nil || len(calls) != 2 {
			t.Fatalf("ReadTruth of %d bytes: %d calls, %v; want 2", size, len(calls), err)
		}
		e, err := openEntities(dir, FoldedEmails, 0)
		if err != nil {
			t.Fatalf("opened with %d of %d bytes: %v", size, len(whole), err)
		}
		if got := e.count("user"); got != 2 {
			t.Errorf("opened with %d of %d bytes: %d entities, want 2", size, len(whole), got)
		}
		if taken := e.tables["user"].withEmail("lost1@x.org"); len(taken) > 0 {
			t.Errorf("opened with %d of %d bytes: an email of the torn line is taken", size, len(whole))
		}
		call := newCall(bulkCreateEndpoint, 3, time.Now())
		call.TypeName = "user"
		if _, err := e.create(call, []candidate{newCandidate(map[string]any{"email": "c@x.org"})}, nil, func(int) bool { return false }); err != nil {
			t.Fatal(err)
		}
		must(t, e.log.close())
		now, err := os.ReadFile(path)
		must(t, err)
		if !bytes.HasPrefix(now, whole[:kept]) || bytes.Count(now, []byte("\n")) != 3 || call.Seq != 3 || call.Written[0].ID != 3 {
			t.Fatalf("after %d of %d bytes the next call is line %d, entity %d, in %q", size, len(whole), call.Seq, call.Written[0].ID, now)
		}
	}
}

func TestDamageIsNotCutOff(t *testing.T) {
	server, c := start(t, Options{})
	c.create(`[{"email":"a@x.org"}]`)
	c.ok("entity.update", params{"id": "1", "attributes": `{"name":"Ann"}`})
	c.ok("entity.delete", params{"id": "1"})
	server.Close()
	whole, err := os.ReadFile(filepath.Join(server.options.StateDir, TruthFile))
	must(t, err)
	lines := strings.SplitAfter(strings.TrimSuffix(string(whole), "\n"), "\n")
	lines[2] += "\n"
	cases := map[string]struct {
		lines []string
		want  string
	}{
		"not JSON":            {[]string{lines[0], "x" + lines[1], lines[2]}, "line 2"},
		"a line is missing":   {[]string{lines[0], lines[2]}, "its seq is 3"},
		"a line twice":        {[]string{lines[0], lines[0]}, "its seq is 1"},
		"a record is cut":     {[]string{strings.Replace(lines[0], `"email":"a@x.org"}]}`, `"email":"a"}]}`, 1), lines[1]}, "do not add up"},
		"records are missing": {[]string{lines[0][:strings.Index(lines[0], `,"entities"`)] + "}\n", lines[1]}, "does not hold them"},
		"no such entity":      {[]string{lines[0], strings.Replace(lines[1], `"id":1,"uuid"`, `"id":9,"uuid"`, 1)}, "entity 9, which does not exist"},
		"deleted twice":       {[]string{lines[0], lines[1], lines[2], strings.Replace(lines[2], `"seq":3`, `"seq":4`, 1)}, "deletes entity 1, which does not exist"},
		"ids out of order":    {[]string{strings.Replace(lines[0], `"id":1,"uuid"`, `"id":2,"uuid"`, 1)}, "creates entity 2 after entity 0"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			text := strings.Join(tc.lines, "")
			must(t, os.WriteFile(filepath.Join(dir, TruthFile), []byte(text), 0o600))
			_, err := openEntities(dir, FoldedEmails, 0)
			if err == nil || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v; want one line about damage, with %q", err, tc.want)
			}
			if now, _ := os.ReadFile(filepath.Join(dir, TruthFile)); string(now) != text {
				t.Error("the damaged file was changed")
			}
		})
	}
}

// TestKilledServerKeepsWhatItAnswered kills a server process under load, again and again, and looks for every record
// that was answered.
func TestKilledServerKeepsWhatItAnswered(t *testing.T) {
	stateDir := t.TempDir()
	answered := map[string]string{} // uuid by email
	for round := range 3 {
		load := loadUntilKilled(t, stateDir, round)
		if len(load) == 0 {
			t.Fatal("nothing was answered before the kill")
		}
		maps.Copy(answered, load)

		server, c := start(t, Options{StateDir: stateDir})
		for email, uuid := range answered {
			entity := c.ok("entity", params{"uuid": uuid})["result"].(map[string]any)
			if entity["email"] != email || entity["uuid"] != uuid || entity["touched"] != true {
				t.Fatalf("round %d: %s was answered with %s and touched; the entity is %v", round, email, uuid, entity)
			}
		}
		// The truth log and the database have the same entities.
		written := map[string]bool{}
		for _, call := range truth(t, stateDir) {
			if call.Endpoint == bulkCreateEndpoint {
				for _, w := range call.Written {
					if written[w.UUID] {
						t.Errorf("round %d: %s was written twice", round, w.UUID)
					}
					written[w.UUID] = true
				}
			}
		}
		found := map[string]bool{}
		for _, result := range c.ok("entity.find", params{"max_results": "10000", "attributes": `["uuid"]`})["results"].([]any) {
			found[result.(map[string]any)["uuid"].(string)] = true
		}
		if !maps.Equal(written, found) {
			t.Errorf("round %d: the truth log has %d entities, find gives %d", round, len(written), len(found))
		}
		server.Close()
	}
}

// loadUntilKilled runs a server process, writes to it from several clients, kills it in the midst of that, and gives
// the entities whose creation and change were both answered.
func loadUntilKilled(t *testing.T, stateDir string, round int) map[string]string {
	t.Helper()
	process := exec.Command(os.Args[0])
	process.Env = append(os.Environ(), "SANDBOX_TEST_STATE_DIR="+stateDir)
	process.Stderr = os.Stderr
	output, err := process.StdoutPipe()
	must(t, err)
	must(t, process.Start())
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		process.Process.Kill()
		t.Fatalf("the server process gave no address: %v", err)
	}
	c := client{t, strings.TrimSpace(address)}

	var mu sync.Mutex
	answered := map[string]string{}
	var calls atomic.Int64
	var wg sync.WaitGroup
	for worker := range 4 {
		wg.Go(func() {
			for n := 0; ; n++ {
				emails := []string{}
				for i := range 10 {
					emails = append(emails, fmt.Sprintf("r%d-w%d-%d-%d@x.org", round, worker, n, i))
				}
				records := `[{"email":"` + strings.Join(emails, `"},{"email":"`) + `"}]`
				_, _, body, err := c.send(bulkCreateEndpoint, params{"type_name": "user", "all_attributes": records})
				if err != nil {
					return
				}
				uuids := between(body, `"uuid_results":["`, `"]`)
				for i, uuid := range strings.Split(uuids, `","`) {
					if i > 1 { // two a batch are enough
						break
					}
					if _, _, _, err := c.send("entity.update", params{"type_name": "user", "uuid": uuid, "attributes": `{"touched":true}`}); err != nil {
						return
					}
					mu.Lock()
					answered[emails[i]] = uuid
					mu.Unlock()
				}
				calls.Add(1)
			}
		})
	}
	waitFor(t, "calls are answered", func() bool { return calls.Load() >= 25 })
	process.Process.Kill()
	process.Wait()
	wg.Wait()
	return answered
}

func between(text, before, after string) string {
	_, text, _ = strings.Cut(text, before)
	text, _, _ = strings.Cut(text, after)
	return text
}

func TestGroupsKeepTheirOrder(t *testing.T) {
	dir := t.TempDir()
	e, err := openEntities(dir, FoldedEmails, 0)
	must(t, err)
	var wg sync.WaitGroup
	for writer := range 8 {
		wg.Go(func() {
			for n := range 50 {
				call := newCall(bulkCreateEndpoint, int64(writer*1000+n), time.Now())
				call.TypeName = "user"
				candidates := []candidate{newCandidate(map[string]any{"n": strings.Repeat("x", n)}), newCandidate(map[string]any{"w": writer})}
				outcomes, err := e.create(call, candidates, nil, func(int) bool { return false })
				if err != nil {
					t.Error(err)
					return
				}
				for _, outcome := range outcomes {
					found, apiErr := e.view("user", address{uuid: outcome.uuid})
					if apiErr != nil || found.id != outcome.id {
						t.Errorf("entity %d: %v, %v", outcome.id, found, apiErr)
					}
				}
			}
		})
	}
	wg.Wait()
	must(t, e.log.close())
	calls := truth(t, dir)
	var ids []int64
	for _, call := range calls {
		for _, w := range call.Written {
			ids = append(ids, w.ID)
		}
	}
	if len(calls) != 400 || len(ids) != 800 || !slices.IsSorted(ids) {
		t.Errorf("%d calls with %d entities, sorted: %v; want 400 with 800 in order", len(calls), len(ids), slices.IsSorted(ids))
	}
}
