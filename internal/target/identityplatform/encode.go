package identityplatform

import (
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// DefaultMapping is the mapping file that applies where none is given.
//
//go:embed mapping.yaml
var DefaultMapping []byte

// Format encodes records. It has no options.
func Format() target.Format {
	return format{target.Traits{
		Name: TargetName, MaxRecords: maxRecords, MaxBytes: maxBytes, Overhead: overhead,
		RefusesTogether: true, Marks: true, RefusesMark: true, Lag: lag, FindKeys: findKeys, MaxPage: maxPage,
		// A password cannot be changed: accounts:update takes no hash.
		System: []string{"localId", "createdAt", "lastLoginAt", "password"}, Givable: []string{"localId", "createdAt", "lastLoginAt", "password"},
		Hidden: []string{"password"}, DefaultKey: DefaultKey, Fold: strings.ToLower,
	}}
}

type format struct{ traits target.Traits }

func (f format) Traits() target.Traits { return f.traits }

// attributes are those of a record, with their types.
var attributes = map[string]string{
	"localId": "string", "email": "string", "emailVerified": "boolean", "displayName": "string", "photoUrl": "string",
	"phoneNumber": "string", "disabled": "boolean", "createdAt": "dateTime", "lastLoginAt": "dateTime",
	"customAttributes": "object", "providerUserInfo": "plural", "password": "password",
}

// Encode makes an entry of the batch.
func (f format) Encode(record []byte, tag string) (target.Record, error) {
	given, ok := jsonapi.Object(record)
	if !ok {
		return target.Record{}, target.Unsendable("not an object", "the record is not one JSON object in UTF-8")
	}
	user := map[string]any{}
	for name, value := range given {
		if attributes[name] == "" {
			return target.Record{}, target.Unsendable("unknown attribute", fmt.Sprintf("a user has no attribute %s; expected %s, where customAttributes.… can hold any", name, strings.Join(slices.Sorted(maps.Keys(attributes)), ", ")))
		}
		if value = jsonapi.WithoutNulls(value); jsonapi.IsNull(value) || name == "password" || attributes[name] == "object" && string(value) == "{}" {
			continue
		}
		encoded, err := encode(name, value)
		if err != nil {
			return target.Record{}, err
		}
		user[name] = encoded
	}
	id, _ := user["localId"].(string)
	id = cmp.Or(id, tag)
	if len(id) > maxID {
		return target.Record{}, target.Unsendable("long id", fmt.Sprintf("the localId has %d bytes; at most %d are allowed", len(id), maxID))
	}
	user["localId"] = id
	h, err := hashOf(given["password"])
	if err != nil {
		return target.Record{}, err
	}
	if h.algorithm != "" {
		user["passwordHash"] = h.hash
		if h.salt != "" {
			user["salt"] = h.salt
		}
	}
	body, err := target.Marshal(user)
	if err != nil {
		return target.Record{}, err
	}
	r := target.Record{Body: body, Size: int64(len(body)) + 1, Mark: id, Group: h.group()}
	if r.Size > f.traits.MaxBytes {
		return r, target.Oversized(r.Size, f.traits.MaxBytes)
	}
	return r, nil
}

// encode converts the value of an attribute to that of the API.
func encode(name string, value json.RawMessage) (any, error) {
	wrong := func(expected string) error {
		return target.Unsendable("wrong type", fmt.Sprintf("the value of %s is not %s", name, expected))
	}
	switch attributes[name] {
	case "string":
		var text string
		if json.Unmarshal(value, &text) != nil {
			return nil, wrong("a text")
		}
		if name == "email" {
			text = strings.ToLower(text) // as the platform does; the emulator compares before it does
		}
		return text, nil
	case "boolean":
		var b bool
		if json.Unmarshal(value, &b) != nil {
			return nil, wrong("true or false")
		}
		return b, nil
	case "dateTime":
		var text string
		_ = json.Unmarshal(value, &text) // anything else is no time
		m, ok := target.ParseMoment(text)
		if !ok {
			return nil, wrong("a time as 2020-02-29T13:00:00Z")
		}
		return strconv.FormatInt(m.Earliest.UnixMilli(), 10), nil
	case "object":
		claims, ok := jsonapi.Members(value)
		if !ok {
			return nil, wrong("an object")
		}
		text, err := target.Marshal(claims)
		if err == nil && len([]rune(string(text))) > maxClaims {
			err = target.Unsendable("long "+name, fmt.Sprintf("%s has %d characters as JSON; at most %d are allowed", name, len([]rune(string(text))), maxClaims))
		}
		return string(text), err
	}
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		return nil, wrong("a list")
	}
	return list, nil
}

// Measure encodes the record with a tag of the usual length.
func (f format) Measure(record []byte) (int64, error) { return target.MeasureEncoded(f, record) }

// Steps makes all changes in one call.
func (format) Steps(changes []target.Change) ([]target.Step, error) {
	for _, c := range changes {
		name, _, _ := strings.Cut(c.Path, ".")
		switch name {
		case "email", "emailVerified", "displayName", "photoUrl", "phoneNumber", "disabled", "customAttributes":
		default:
			return nil, target.Unsendable("fixed attribute", fmt.Sprintf("%s of a user that exists cannot be changed", name))
		}
	}
	return []target.Step{{Changes: changes}}, nil
}
