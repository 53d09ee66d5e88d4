package target

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
)

func TestATagIsOneRecordsOfOneMigration(t *testing.T) {
	isUUID := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]string{}
	for _, run := range []string{"a", "b", "a\n1"} {
		for record := range int64(50) {
			tag, of := NewTag(run, record), fmt.Sprintf("%q %d", run, record)
			if !isUUID.MatchString(tag) || tag != NewTag(run, record) {
				t.Errorf("the tag of %s is %s, then %s; want one UUID of version 8", of, tag, NewTag(run, record))
			}
			if other := seen[tag]; other != "" {
				t.Errorf("%s and %s have one tag", of, other)
			}
			seen[tag] = of
		}
	}
}

func TestOnlyAClassThatIsFinalIsARefusal(t *testing.T) {
	for class := Unknown; class <= TooLarge; class++ {
		for _, fault := range []bool{false, true} {
			err := fmt.Errorf("while loading: %w", &Error{Class: class, Reason: "r", Words: "the words", Fault: fault})
			words, refused := Refusal(err)
			want := class >= Refused && !fault
			if refused != want || refused && words != "the words" || !Is(err, class) || IsFault(err) != fault {
				t.Errorf("%v, fault %t: refused with %q: %t, want %t", class, fault, words, refused, want)
			}
		}
		if strings.HasPrefix(class.String(), "class") {
			t.Errorf("the class %d has no name", class)
		}
	}
	if _, refused := Refusal(errors.New("not sent")); refused {
		t.Error("an error that is none of the target's is a refusal")
	}
}

func TestTheWordsOfAnAnswerAndItsReason(t *testing.T) {
	notSent := errors.New("the run was over")
	for _, tc := range []struct {
		err           error
		reason, words string
	}{
		{nil, "", ""},
		{notSent, "not sent", "the run was over"},
		{&Error{Reason: "http 400", Words: "bad email"}, "http 400", "bad email"},
		{&Error{Reason: "http 502", Err: errors.New("HTTP 502 Bad Gateway")}, "http 502", "HTTP 502 Bad Gateway"},
		{&Error{Reason: "timeout"}, "timeout", "timeout"},
	} {
		a := Answer{Err: tc.err}
		if a.Reason() != tc.reason || a.Words() != tc.words {
			t.Errorf("%v: reason %q, words %q; want %q, %q", tc.err, a.Reason(), a.Words(), tc.reason, tc.words)
		}
	}
	a := Answer{Results: []Result{{ID: "1"}, {Err: &Error{Reason: "lost"}}, {Err: &Error{Class: Unwritten}}, {Err: &Error{Class: Duplicate}}, {Err: &Error{Class: Throttled, Reason: "busy"}}}}
	if n, reason := a.Unknown(); n != 2 || reason != "busy" {
		t.Errorf("%d results are unknown, the last %q; want 2, busy", n, reason)
	}
}

func TestChangesAreNestedByPath(t *testing.T) {
	step := Step{Changes: []Change{{Path: "name.given", Value: json.RawMessage(`"A & <B>"`)}, {Path: "name.family", Value: json.RawMessage("null")}, {Path: "age", Value: json.RawMessage("1.50")}}}
	if got, err := step.Nested(); err != nil || string(got) != `{"age":1.50,"name":{"family":null,"given":"A & <B>"}}` {
		t.Errorf("nested: %s, %v", got, err)
	}
	for _, value := range []string{"", "{", "\"\xff\""} {
		if got, err := (Step{Changes: []Change{{Path: "a", Value: json.RawMessage(value)}}}).Nested(); err == nil {
			t.Errorf("the value %q is %s; want an error", value, got)
		}
	}
	if !(Change{Value: json.RawMessage(" []")}).IsList() || (Change{Value: json.RawMessage(`"[]"`)}).IsList() {
		t.Error("a list is not told from a text")
	}
}

func TestPasswords(t *testing.T) {
	for text, want := range map[string]string{
		``: "none", `null`: "none", `""`: "none", `"secret"`: "plain secret", `{"type":"password-bcrypt","value":"$2b$"}`: "password-bcrypt $2b$",
		`{"type":"ssha","value":"h","salt":"s"}`: "ssha h s", `{"type":"Ann Lee","value":"h"}`: "unknown h",
		`{"type":"x"}`: "error", `{"value":"h"}`: "error", `7`: "error", `[]`: "error",
	} {
		p, ok, err := ParsePassword(json.RawMessage(text))
		got := "none"
		switch {
		case err != nil:
			got = "error"
		case ok && p.Plain != "":
			got = "plain " + p.Plain
		case ok:
			got = strings.TrimSpace(p.Kind() + " " + p.Value + " " + p.Salt)
		}
		if got != want {
			t.Errorf("the password %s is %q, want %q", text, got, want)
		}
	}
}

func TestASchemaIsReadByPaths(t *testing.T) {
	s := Schema{Attributes: []Attribute{
		{Name: "email", Type: "string", Constraints: []string{"unique"}},
		{Name: "name", Type: "object", Attributes: []Attribute{{Name: "nick", Type: "string", Constraints: []string{"unique"}}}},
		{Name: "extra", Type: "object"},
		{Name: "list", Type: "plural", Attributes: []Attribute{{Name: "value", Type: "string", Constraints: []string{"unique"}}}},
	}}
	if got := strings.Join(s.Unique(), " "); got != "email name.nick" {
		t.Errorf("unique are %q", got)
	}
	for path, want := range map[string]string{"email": "string", "name.nick": "string", "name": "object", "extra.any.thing": "object", "list": "plural", "list.value": "", "name.first": "", "email.x": "", "none": ""} {
		if a, ok := s.At(path); ok != (want != "") || a.Type != want {
			t.Errorf("at %s: %q, %t; want %q", path, a.Type, ok, want)
		}
	}
}

func TestTextAtAPath(t *testing.T) {
	record := []byte(`{"a":{"b":"text","n":12345678901234567890.10,"z":null,"t":true},"x":"y"}`)
	for path, want := range map[string]string{"a.b": "text", "a.n": "12345678901234567890.10", "a.z": "", "a.t": "", "x": "y", "x.y": "", "a": "", "none": ""} {
		if got := TextAt(record, path); got != want {
			t.Errorf("at %s: %q, want %q", path, got, want)
		}
	}
	if got := TextAt([]byte("[]"), "a"); got != "" {
		t.Errorf("in a list: %q", got)
	}
}

func TestARefusalOfTheOnlyRecordIsItsResult(t *testing.T) {
	for class := Unknown; class <= TooLarge; class++ {
		for _, fault := range []bool{false, true} {
			e := &Error{Class: class, Fault: fault}
			for records, want := range map[int]bool{1: class >= Refused && class != TooLarge && !fault, 2: false} {
				a := Answer{Err: e, NothingWritten: true}.Of(records)
				if got := a.Err == nil && len(a.Results) == 1 && a.Results[0].Err == e; got != want {
					t.Errorf("%v, fault %t, of %d records: %+v; want it as a result: %t", class, fault, records, a, want)
				}
			}
		}
	}
	if a := (Answer{Err: &Error{Class: Refused}}).Of(1); a.Err == nil {
		t.Error("a refusal that may have written something is the result of the record")
	}
}
