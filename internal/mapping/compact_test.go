package mapping

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzCompact holds compact to json.Compact.
func FuzzCompact(f *testing.F) {
	for _, s := range []string{
		`{"type": "password-bcrypt", "value": "$2b$10$x"}`, ` [ { "a" : [ ] , "b" : { } } , -1 , 0 , true , false , null ] `, `"ü"`, `[1,2,]`, `{"a":1,}`, `{,}`, `[,1]`,
		`{"a" "b"}`, `{"a":}`, `{1:2}`, `01`, `-`, `-0`, `1.5`, `1e3`, `"\n"`, "\"\x01\"", `"a`, `truest`, `[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]`, ``, ` `, `[1 2]`, `{"a":1}x`, `[1}`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, ok := compact([]byte("before"), s)
		var want bytes.Buffer
		if err := json.Compact(&want, []byte(s)); ok && (err != nil || string(got) != "before"+want.String()) {
			t.Errorf("%q: %q; json.Compact has %q, %v", s, got, want.String(), err)
		}
	})
}

func TestCompactKnowsWhatFilesHave(t *testing.T) {
	for _, s := range []string{`{"type": "x", "value": "y"}`, ` [ { "a" : [ ] , "b" : { } } , -1 , 0 , true , null ]`, `""`} {
		if _, ok := compact(nil, s); !ok {
			t.Errorf("%s is left to json.Compact", s)
		}
	}
}
