package identityplatform

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// Create sends one accounts:batchCreate.
func (a *Adapter) Create(ctx context.Context, records []target.Record) target.Answer {
	body, results, sent := batch(records)
	r := a.Send(ctx, http.MethodPost, a.accounts+":batchCreate", body)
	answer := r.Answer()
	confirmed := true
	if answer.Err == nil {
		confirmed = a.read(&answer, r, records, results, sent)
	}
	a.JudgedAnswer(ctx, r, answer)
	if !confirmed {
		a.confirm(ctx, records, answer.Results)
	}
	return answer.Of(len(records))
}

// batch is a request: the records of the first group of hashes, without those that have something in common with an earlier
// one. results has the others.
func batch(records []target.Record) (body []byte, results []target.Result, sent []int) {
	results = make([]target.Result, len(records))
	group := ""
	seen := map[string]bool{}
	body = nil
	for i, r := range records {
		var user struct{ LocalID, Email, PhoneNumber string }
		_ = json.Unmarshal(r.Body, &user) // Encode has made it
		keys := []string{"id " + user.LocalID, "email " + strings.ToLower(user.Email), "phone " + user.PhoneNumber}
		keys = slices.DeleteFunc(keys, func(key string) bool { return strings.HasSuffix(key, " ") })
		reason := ""
		switch {
		case r.Group != "" && group != "" && r.Group != group:
			reason = "another hash algorithm"
		case slices.ContainsFunc(keys, func(key string) bool { return seen[key] }):
			reason = "the same key in a call"
		}
		if reason != "" {
			results[i].Err = &target.Error{Class: target.Unwritten, Reason: reason}
			continue
		}
		group = cmp.Or(group, r.Group)
		for _, key := range keys {
			seen[key] = true
		}
		if len(sent) > 0 {
			body = append(body, ',')
		}
		body, sent = append(body, r.Body...), append(sent, i)
	}
	opening := `{` + parameters(group) + `"allowOverwrite":false,"sanityCheck":true,"users":[`
	return slices.Concat([]byte(opening), body, []byte("]}")), results, sent
}

// read reads the answer to a batch. It reports whether it is certain that records that are not listed were created.
func (a *Adapter) read(answer *target.Answer, r jsonapi.Reply, records []target.Record, results []target.Result, sent []int) (confirmed bool) {
	if r.Status != http.StatusOK {
		e, isOwn := a.judge(r)
		answer.Err, answer.NothingWritten = e, isOwn
		return true
	}
	body, _ := jsonapi.Members(r.Body)
	var failures []struct {
		Index   *int   `json:"index"`
		Message string `json:"message"`
	}
	for name := range body {
		if name != "kind" && name != "error" {
			body = nil
		}
	}
	if body == nil || !jsonapi.IsNull(body["error"]) && json.Unmarshal(body["error"], &failures) != nil {
		answer.Err = r.Failed(target.Unknown, "not an answer", "")
		return true
	}
	for _, i := range sent {
		results[i].ID = records[i].Mark
	}
	for _, f := range failures {
		index := 0 // the API leaves out what is 0
		if f.Index != nil {
			index = *f.Index
		}
		if index < 0 || index >= len(sent) || f.Message == "" || results[sent[index]].Err != nil {
			answer.Err = r.Failed(target.Unknown, "results contradict", "")
			return true
		}
		results[sent[index]] = target.Result{Err: failureOf(f.Message)}
	}
	answer.Results = results
	return len(body) > 0
}

// failureOf is the error of one record of a batch.
func failureOf(message string) *target.Error {
	e := &target.Error{Class: target.Refused, Reason: "refused", Words: message}
	text := strings.ToLower(message)
	switch {
	case strings.Contains(text, "localid belongs to an existing account"):
		e.Class, e.Reason = target.Duplicate, "id exists"
	case strings.Contains(text, "exists in other account"), strings.Contains(text, "not support importing duplicate email"): // the latter is the emulator's
		e.Class, e.Reason = target.Duplicate, "key exists"
	case strings.Contains(text, "internal"), strings.Contains(text, "try again"), strings.Contains(text, "timeout"), strings.Contains(text, "unavailable"):
		e.Class, e.Reason, e.Words = target.Unknown, "internal error", ""
	}
	return e
}

// confirm reads the records of an answer that does not name itself.
func (a *Adapter) confirm(ctx context.Context, records []target.Record, results []target.Result) {
	var ids []string
	for _, r := range results {
		if r.ID != "" {
			ids = append(ids, r.ID)
		}
	}
	found, err := a.Find(ctx, target.ByID, ids)
	there := map[string]bool{}
	for _, e := range found {
		there[e.ID] = true
	}
	for i, r := range results {
		if r.ID != "" && !there[r.ID] {
			results[i] = target.Result{Err: &target.Error{Reason: "not confirmed", Err: err}}
		}
	}
}
