package sandbox

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// address is how a call names one entity.
type address struct {
	id                   int64  // 0 if not by id
	uuid                 string // "" if not by uuid
	email                string // "" if not by email
	created, lastUpdated string // what the caller takes these to be, "" if that does not matter to it
}

// parseAddress reads the parameters that name one entity: uuid, or id, or key_attribute and key_value.
func parseAddress(params url.Values) (address, *apiError) {
	a := address{created: params.Get("created"), lastUpdated: params.Get("lastUpdated")}
	uuid, id, key := params.Get("uuid"), params.Get("id"), params.Get("key_attribute")
	given := 0
	for _, value := range []string{uuid, id, key} {
		if value != "" {
			given++
		}
	}
	if given == 0 {
		return a, missingArgument("uuid")
	}
	if given > 1 {
		return a, newError(201, "only one of uuid, id and key_attribute can be given")
	}
	if key != "" {
		return a.byKey(key, params)
	}
	return a.bySystemAttribute(uuid, id)
}

func (a address) bySystemAttribute(uuid, id string) (address, *apiError) {
	if uuid != "" {
		if _, ok := idWithin(uuid); !ok {
			return a, invalidArgument("uuid", "invalid uuid")
		}
		a.uuid = strings.ToLower(uuid)
		return a, nil
	}
	number, err := strconv.ParseInt(id, 10, 64)
	if err != nil || number < 1 {
		return a, invalidArgument("id", "it is not a positive whole number")
	}
	a.id = number
	return a, nil
}

func (a address) byKey(key string, params url.Values) (address, *apiError) {
	if !params.Has("key_value") {
		return a, missingArgument("key_value")
	}
	value, err := decodeJSON(params.Get("key_value"))
	if err != nil {
		return a, invalidArgument("key_value", "the JSON is not syntactically valid; a string needs double quotes")
	}
	switch key {
	case "email":
		email, ok := value.(string)
		if !ok || email == "" {
			return a, invalidArgument("key_value", "email must be a JSON string")
		}
		a.email = email
		return a, nil
	case "uuid", "id":
		text := ""
		switch value := value.(type) {
		case string:
			text = value
		case json.Number:
			text = string(value)
		}
		if key == "uuid" {
			if text == "" {
				return a, invalidArgument("key_value", "uuid must be a JSON string")
			}
			return a.bySystemAttribute(text, "")
		}
		return a.bySystemAttribute("", text)
	default:
		return a, invalidArgument("key_attribute", "%s is not a unique attribute: those are email, id and uuid", key)
	}
}

func checkTimestamp(found *entity, name, supplied string) *apiError {
	if supplied == "" {
		return nil
	}
	want, ok := parseDate(supplied)
	if !ok {
		return invalidArgument(name, "it is not a date")
	}
	actual, _ := found.attributes[name].(string)
	if has, _ := parseDate(actual); has.Equal(want) {
		return nil
	}
	return &apiError{330, name + " differs from the argument", map[string]any{
		"attribute_name": name, "actual_value": actual, "supplied_value": supplied,
	}}
}
