package workflows

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// histories are those of real migrations, recorded by starter's
// TestRecordHistories.
func histories(t *testing.T) map[string]*historypb.History {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("..", "testdata", "histories", "*.json*"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*historypb.History{}
	for _, path := range paths {
		history, err := client.HistoryFromJSON(bytes.NewReader(unpacked(t, path)), client.HistoryJSONOptions{})
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[filepath.Base(path)] = history
	}
	return all
}

func unpacked(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, ".gz") {
		return data
	}
	packed, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if data, err = io.ReadAll(packed); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return data
}

func TestRecordedHistoriesReplay(t *testing.T) {
	replayer := worker.NewWorkflowReplayer()
	for _, w := range append(registered, LimiterWorkflow) {
		replayer.RegisterWorkflow(w)
	}
	for name, history := range histories(t) {
		started := history.Events[0].GetWorkflowExecutionStartedEventAttributes()
		err := replayer.ReplayWorkflowHistoryWithOptions(quiet, history, worker.ReplayWorkflowHistoryOptions{
			// Children are named after their parents.
			OriginalExecution: workflow.Execution{ID: started.GetWorkflowId(), RunID: started.GetOriginalExecutionRunId()},
		})
		if err != nil {
			t.Errorf("%s does not replay: %v\nsee Changing a workflow in CONTRIBUTING.md", name, err)
		}
	}
}

// TestHistoriesCoverTheWorkflows holds that the replay exercises everything.
func TestHistoriesCoverTheWorkflows(t *testing.T) {
	seen := map[string]int{}
	for _, history := range histories(t) {
		started := history.Events[0].GetWorkflowExecutionStartedEventAttributes()
		seen[started.GetWorkflowType().GetName()]++
		for _, event := range history.Events {
			switch event.GetEventType() {
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
				seen["continue as new"]++
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED:
				seen["cancel"]++
			case enumspb.EVENT_TYPE_TIMER_CANCELED:
				seen["cancel in a pause"]++
			case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
				seen["cancelled batch"]++
			case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
				seen["failed activity"]++
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
				seen["failed workflow"]++
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
				seen["signal"]++
			case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED:
				seen["update "+event.GetWorkflowExecutionUpdateAcceptedEventAttributes().GetAcceptedRequest().GetInput().GetName()]++
			case enumspb.EVENT_TYPE_TIMER_FIRED:
				seen["timer"]++
			case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
				seen[event.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName()]++
			}
		}
	}
	for _, want := range []string{
		"MigrationWorkflow", "LoadWorkflow", "RetryWorkflow", "UpdateWorkflow", "RollbackWorkflow", "VerifyWorkflow",
		"NotifyWorkflow", "ScheduledMigrationWorkflow",
		"InspectSource", "CheckTarget", "PlanBatches", "LoadBatches", "SettleBatches", "WriteRetryFile", "ResolveDuplicates", "PlanUpdates", "UpdateBatch", "CountEntities", "WriteArtifacts",
		"BeginRollback", "PlanRollback", "RollBackBatch", "VerifyRollback", "WriteRollback",
		"PlanVerify", "VerifyBatch", "WriteVerify",
		"Steer", "Forecast", "Notify", "FindFiles", "PrepareFile", "PutAway", "WriteScheduled",
		"update " + UpdatePause, "update " + UpdateResume, "update " + UpdateSet, "update " + UpdateStop, "update " + UpdateCancel, "update " + UpdateApprove,
		"continue as new", "cancel", "cancel in a pause", "timer", "signal", "failed activity", "failed workflow",
	} {
		if seen[want] == 0 {
			t.Errorf("no history has %s; record them: see starter's TestRecordHistories", want)
		}
	}
}

func TestHistoriesHoldNoUserData(t *testing.T) {
	payloads := 0
	for name := range histories(t) {
		text := unpacked(t, filepath.Join("..", "testdata", "histories", name))
		if bytes.Contains(text, []byte("@")) {
			t.Errorf("%s holds an @: an e-mail, or the name of a machine", name)
		}
		var history any
		if err := json.Unmarshal(text, &history); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		eachPayload(history, func(data []byte) {
			payloads++
			if bytes.Contains(data, []byte("@")) {
				t.Errorf("%s holds an e-mail: %s", name, data)
			}
			most := 4096
			if strings.HasPrefix(name, "scheduled-many") || strings.HasPrefix(name, "runs") {
				most *= 4 // the names of a hundred files, or a plan of 500 batches
			}
			if len(data) > most {
				t.Errorf("%s has a payload of %d bytes: %.200s…", name, len(data), data)
			}
		})
	}
	if payloads < 1000 {
		t.Errorf("%d payloads were checked, want at least 1000", payloads)
	}
}

// eachPayload visits the data of the payloads in a history.
func eachPayload(value any, visit func(data []byte)) {
	switch v := value.(type) {
	case map[string]any:
		if text, ok := v["data"].(string); ok {
			data, err := base64.StdEncoding.DecodeString(text)
			if err != nil {
				data = []byte(text)
			}
			visit(data)
		}
		for _, field := range v {
			eachPayload(field, visit)
		}
	case []any:
		for _, element := range v {
			eachPayload(element, visit)
		}
	}
}
