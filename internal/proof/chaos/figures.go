package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

	"durable-dataload/internal/migration"
	"durable-dataload/internal/proof/check"
)

// figures count what happened, over all episodes.
type figures struct {
	mu sync.Mutex

	Seed     uint64  `json:"seed"`
	Minutes  float64 `json:"minutes"`
	Episodes int     `json:"episodes"`
	Broken   int     `json:"broken"` // what the checker found

	Kills          map[string]int `json:"kills"` // by process
	Stops          map[string]int `json:"stops"`
	WokenSettled   int            `json:"woken_after_settled"` // workers that woke when their batches had been settled
	WokenAfter     int            `json:"woken_after_end"`     // and when the migration was over
	Interrupts     int            `json:"interrupts"`
	Cuts           int            `json:"cuts"`
	CutConnections int            `json:"cut_connections"`
	Refusals       int            `json:"refusals"`
	Met            map[string]int `json:"calls_met"` // calls that met trouble of the proxy, by its kind
	DiskFills      int            `json:"disk_fills"`
	DiskSkipped    int            `json:"disk_fills_skipped"`
	Changes        int            `json:"changed_inputs"`
	Orders         map[string]int `json:"orders"`         // that were carried out, by name
	OrdersRefused  int            `json:"orders_refused"` // or came when nothing ran
	Decisions      int            `json:"decisions"`      // that were waited for
	Opened         int            `json:"breaker_opened"`
	Expirations    int            `json:"credentials_refused"`
	Scheduled      int            `json:"scheduled"`       // files that a schedule migrated, on a fleet
	NotCome        int            `json:"events_not_come"` // the migration was over before

	Commands  int `json:"commands"`       // how often the command was run
	Between   int `json:"checks_between"` // of migrations that were stopped
	Calls     int `json:"calls"`          // that create records
	Records   int `json:"records"`
	Created   int `json:"created"`
	Recovered int `json:"recovered"`
	Failed    int `json:"failed"`
	Lost      int `json:"lost"` // in no file
	Rounds    int `json:"rounds"`
	Unknown   int `json:"unknown_found"` // after round 0
	Resolved  int `json:"unknown_resolved"`
	Left      int `json:"unknown_left"` // at the end, with a reason

	MetRecords map[string]int `json:"records_met"` // records of calls, by the fault of the sandbox that met them
	In         map[string]int `json:"records_in"`  // records of migrations into targets of some kind
	Others     map[string]int `json:"others"`      // actions of other users, by kind
	LookedBack map[string]int `json:"looked_back"` // verifications and rollbacks at the end
}

func newFigures(seed uint64) *figures {
	return &figures{Seed: seed, Kills: map[string]int{}, Stops: map[string]int{}, Met: map[string]int{}, Orders: map[string]int{},
		MetRecords: map[string]int{}, In: map[string]int{}, Others: map[string]int{}, LookedBack: map[string]int{}}
}

func (f *figures) add(change func(*figures)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// take adds a migration that is done.
func (f *figures) take(s migration.Summary, w *world, t check.Tally, commands, calls int) {
	f.add(func(f *figures) {
		f.Commands += commands
		f.Calls += calls
		f.Records += s.Records.Total
		f.Created += s.Records.Created
		f.Recovered += s.Records.Recovered
		f.Failed += s.Records.Failed
		f.Left += s.Records.Unknown
		f.Lost += s.Records.Total - s.Records.Created - s.Records.Recovered - s.Records.Failed - s.Records.Unknown
		for name, n := range t.Met {
			f.MetRecords[name] += n
		}
		for _, name := range w.kinds() {
			f.In[name] += s.Records.Total
		}
		for name, n := range map[string]int{
			"strangers": t.Strangers, "of them namesakes": t.Namesakes, "namesakes taken for ours": t.Taken, "own accounts changed by users": t.Changed,
			"records without a key": t.Keyless, "keyless accounts made twice by gateways": t.Repeated, "records in a wrong order": t.Misplaced,
		} {
			f.Others[name] += n
		}
		f.Rounds += len(s.Rounds)
		if len(s.Rounds) > 0 {
			f.Unknown += s.Rounds[0].Unknown
			f.Resolved += s.Rounds[0].Unknown - s.Records.Unknown
		}
	})
}

func (f *figures) print(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	byName := func(m map[string]int) string {
		var parts []string
		sum := 0
		for _, name := range slices.Sorted(maps.Keys(m)) {
			parts = append(parts, fmt.Sprintf("%s %d", name, m[name]))
			sum += m[name]
		}
		if sum == 0 {
			return "0"
		}
		return fmt.Sprintf("%d (%s)", sum, strings.Join(parts, ", "))
	}
	fmt.Fprintf(w, `
seed %d, %.1f minutes
  episodes          %d, in %d commands; checked %d times in between, after a stop
  kills             %s
  stops             %s; %d woke after their batches were settled, %d after the end
  interrupts        %d
  connections cut   %d times, %d connections; refused %d times
  calls in trouble  %s
  disk fills        %d, %d skipped
  changed inputs    %d
  orders            %s, and %d that could not be carried out; %d decisions waited for; %d files migrated by a schedule
  breaker opened    %d times; credentials refused %d times
  events not come   %d, the migration was over before
  records           %d in %d calls and %d rounds: %d created, %d recovered, %d failed as they must, %d unknown with a reason, %d lost
  unknown           %d found after round 0, %d resolved
  records met       %s
  records into      %s
  others            %s
  looked back       %s
  broken            %d
`, f.Seed, f.Minutes, f.Episodes, f.Commands, f.Between, byName(f.Kills), byName(f.Stops), f.WokenSettled, f.WokenAfter, f.Interrupts,
		f.Cuts, f.CutConnections, f.Refusals, byName(f.Met), f.DiskFills, f.DiskSkipped, f.Changes,
		byName(f.Orders), f.OrdersRefused, f.Decisions, f.Scheduled, f.Opened, f.Expirations, f.NotCome,
		f.Records, f.Calls, f.Rounds, f.Created, f.Recovered, f.Failed, f.Left, f.Lost, f.Unknown, f.Resolved,
		byName(f.MetRecords), byName(f.In), byName(f.Others), byName(f.LookedBack), f.Broken)
}
