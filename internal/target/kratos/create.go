package kratos

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// Create sends one batch.
func (a *Adapter) Create(ctx context.Context, records []target.Record) target.Answer {
	together, sent := batch(records)
	r := a.Send(ctx, http.MethodPatch, "/admin/identities", together)
	answer := r.Answer()
	if answer.Err == nil {
		a.read(&answer, r, records, sent)
	}
	a.JudgedAnswer(ctx, r, answer)
	if answer.Err == nil {
		a.confirm(ctx, answer.Results)
	}
	return answer.Of(len(records))
}

// batch is a request, and which of the records it has: Kratos takes fewer with passwords in plain text.
func batch(records []target.Record) (body []byte, sent []int) {
	body, plain := []byte(opening), 0
	for i, r := range records {
		if r.Group == plainGroup {
			if plain++; plain > maxPlain {
				continue
			}
		}
		if len(sent) > 0 {
			body = append(body, ',')
		}
		body, sent = append(body, r.Body...), append(sent, i)
	}
	return append(body, closing...), sent
}

// read reads the answer to a batch.
func (a *Adapter) read(answer *target.Answer, r jsonapi.Reply, records []target.Record, sent []int) {
	if r.Status != http.StatusOK {
		e, isOwn := a.judge(r)
		if e.Class == target.NotFound { // there is nothing that a batch could not find
			e = r.Failed(target.Unknown, "", e.Words)
			e.Fault = true
			isOwn = false
		}
		answer.Err, answer.NothingWritten = e, isOwn
		return
	}
	var body struct {
		Identities []struct {
			Action   string   `json:"action"`
			Identity string   `json:"identity"`
			PatchID  string   `json:"patch_id"`
			Error    *failure `json:"error"`
		} `json:"identities"`
	}
	reason := ""
	switch err := json.Unmarshal(r.Body, &body); {
	case err != nil:
		reason = "not json"
	case len(body.Identities) < len(sent):
		reason = "too few results"
	case len(body.Identities) > len(sent):
		reason = "too many results"
	}
	if reason != "" {
		answer.Err = r.Failed(target.Unknown, reason, "")
		return
	}
	answer.Results = make([]target.Result, len(records))
	for i := range answer.Results {
		answer.Results[i].Err = &target.Error{Class: target.Unwritten, Reason: "too many passwords in plain text"}
	}
	ids := map[string]int{}
	for n, entry := range body.Identities {
		result := &answer.Results[sent[n]]
		isMine := strings.EqualFold(entry.PatchID, records[sent[n]].Mark)
		switch {
		case !isMine:
			*result = target.Result{Err: &target.Error{Reason: "results contradict"}}
		case entry.Action == "create" && target.IsUUID(entry.Identity):
			*result = target.Result{ID: entry.Identity}
			ids[entry.Identity]++
		case entry.Action == "error" && entry.Error != nil && entry.Error.Code != nil:
			*result = target.Result{Err: entry.Error.result()}
		default:
			*result = target.Result{Err: &target.Error{Reason: "no result for a record"}}
		}
	}
	for i, result := range answer.Results {
		if ids[result.ID] > 1 {
			answer.Results[i] = target.Result{Err: &target.Error{Reason: "id twice"}}
		}
	}
}

// result is the error of one record of a batch.
func (f failure) result() *target.Error {
	e := &target.Error{Class: target.Unknown, Reason: "code " + strconv.Itoa(*f.Code), Words: f.words()}
	switch {
	case *f.Code == http.StatusConflict:
		e.Class = target.Duplicate
	case *f.Code >= 400 && *f.Code <= 499:
		e.Class = target.Refused
	}
	return e
}

// confirm reads the records that an answer calls created, unless all are. Where none of them is there, they were rolled back
// with a duplicate; a read that shows some of one transaction tells nothing of the others.
func (a *Adapter) confirm(ctx context.Context, results []target.Result) {
	var ids []string
	failed := false
	for _, r := range results {
		if r.ID != "" {
			ids = append(ids, r.ID)
		} else {
			failed = failed || r.Err.Class != target.Unwritten
		}
	}
	if !failed || len(ids) == 0 {
		return
	}
	found, err := a.Find(ctx, target.ByID, ids)
	there := map[string]bool{}
	for _, e := range found {
		there[e.ID] = true
	}
	for i, r := range results {
		switch {
		case r.ID == "":
		case err != nil:
			results[i] = target.Result{Err: &target.Error{Reason: "not confirmed", Err: err}}
		case there[r.ID]:
		case len(there) > 0:
			results[i] = target.Result{Err: &target.Error{Reason: "not confirmed"}}
		default:
			results[i] = target.Result{Err: &target.Error{Class: target.Unwritten, Reason: "rolled back"}}
		}
	}
}
