package target

import (
	"encoding/json"
	"reflect"
	"testing"
)

// One attribute with a detail in an unknown form must not hide the schema.
func TestAnAttributeIsReadInAnyForm(t *testing.T) {
	yes, no := true, false
	for text, want := range map[string]Attribute{
		`{"length":256,"case-sensitive":false,"constraints":["unique"],"features":["query"]}`: {Length: 256, CaseSensitive: &no, Constraints: []string{"unique"}},
		`{"length":null,"case-sensitive":null,"constraints":null,"attr_defs":null}`:           {},
		`{"length":"256","case-sensitive":"True","constraints":"unique"}`:                     {Length: 256, CaseSensitive: &yes},
		`{"length":256.0,"case-sensitive":0,"constraints":[{"unique":true},"required"]}`:      {Length: 256, Constraints: []string{"required"}},
		`{"length":-1,"case-sensitive":"no"}`:                                                 {},
		`{"length":1e30}`:                                                                     {},
		`{"length":"much"}`:                                                                   {},
		`{"length":[],"attr_defs":[{"name":"city","length":"7"}]}`:                            {Attributes: []Attribute{{Name: "city", Length: 7}}},
	} {
		var got Attribute
		if err := json.Unmarshal([]byte(text), &got); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{`"email"`, `{"name":1}`, `{"attr_defs":{}}`} {
		if err := json.Unmarshal([]byte(text), new(Attribute)); err == nil {
			t.Errorf("%s was taken for an attribute", text)
		}
	}
}
