package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeJSON decodes one JSON value and nothing after it. Numbers keep their digits.
func decodeJSON(text string) (any, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something behind the value")
	}
	return value, nil
}

func encodeJSON(value any) ([]byte, error) {
	var buf bytes.Buffer
	encoder := json.NewEncoder(&buf)
	encoder.SetEscapeHTML(false)
	err := encoder.Encode(value)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), err
}

// attributePaths returns the paths of all attributes of a record, or of a list of records, in order.
func attributePaths(value any) []string {
	paths := map[string]struct{}{}
	pathsOf(value, "", paths)
	return slices.Sorted(maps.Keys(paths))
}

// pathsOf adds the paths of all attributes in value, those within the elements of plurals too.
func pathsOf(value any, prefix string, paths map[string]struct{}) {
	switch value := value.(type) {
	case map[string]any:
		for name, inner := range value {
			path := name
			if prefix != "" {
				path = prefix + "." + name
			}
			paths[path] = struct{}{}
			pathsOf(inner, path, paths)
		}
	case []any:
		for _, element := range value {
			pathsOf(element, prefix, paths)
		}
	}
}

// valuesAt returns the values at a path: one, or one an element where the path leads through a plural. Missing
// attributes and nulls give nothing.
func valuesAt(value any, path []string) []any {
	if list, ok := value.([]any); ok && len(path) > 0 {
		var values []any
		for _, element := range list {
			values = append(values, valuesAt(element, path)...)
		}
		return values
	}
	if value == nil {
		return nil
	}
	if len(path) == 0 {
		return []any{value}
	}
	object, _ := value.(map[string]any)
	return valuesAt(object[path[0]], path[1:])
}

// choose returns an entity with only the attributes at the paths, null where it has none.
func choose(entity map[string]any, paths []string) map[string]any {
	chosen := map[string]any{}
	for _, path := range paths {
		chooseInto(chosen, entity, strings.Split(path, "."))
	}
	return chosen
}

func chooseInto(chosen, object map[string]any, path []string) {
	name := path[0]
	if len(path) == 1 {
		chosen[name] = object[name]
		return
	}
	switch value := object[name].(type) {
	case map[string]any:
		inner, ok := chosen[name].(map[string]any)
		if !ok {
			inner = map[string]any{}
			chosen[name] = inner
		}
		chooseInto(inner, value, path[1:])
	case []any:
		elements, _ := chosen[name].([]any)
		if elements == nil {
			elements = make([]any, len(value))
			for i := range elements {
				elements[i] = map[string]any{}
			}
			chosen[name] = elements
		}
		for i, element := range value {
			source, isObject := element.(map[string]any)
			target, ok := elements[i].(map[string]any)
			if isObject && ok {
				chooseInto(target, source, path[1:])
			}
		}
	default:
		chosen[name] = nil
	}
}

// isPlural reports whether a list is a plural, which holds objects, and not a JSON value that happens to be a list.
func isPlural(list []any) bool {
	for _, element := range list {
		if _, ok := element.(map[string]any); !ok {
			return false
		}
	}
	return true
}

// elementID is the id of a plural's element, 0 if it has none.
func elementID(element any) int64 {
	object, _ := element.(map[string]any)
	number, _ := object["id"].(json.Number)
	id, _ := number.Int64()
	return id
}

// hasElementID reports whether any element of any plural in value has an id.
func hasElementID(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			if hasElementID(inner) {
				return true
			}
		}
	case []any:
		if !isPlural(value) {
			return false
		}
		for _, element := range value {
			if object := element.(map[string]any); object["id"] != nil || hasElementID(object) {
				return true
			}
		}
	}
	return false
}

// hasElements reports whether any plural in value has elements.
func hasElements(value any) bool {
	switch value := value.(type) {
	case map[string]any:
		for _, inner := range value {
			if hasElements(inner) {
				return true
			}
		}
	case []any:
		return len(value) > 0 && isPlural(value)
	}
	return false
}

// numberElements gives an id to every element of a plural that has none, counting on from last.
func numberElements(value any, last *int64) {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			numberElements(value[name], last)
		}
	case []any:
		if !isPlural(value) {
			return
		}
		for _, element := range value {
			object := element.(map[string]any)
			if object["id"] == nil {
				*last++
				object["id"] = json.Number(strconv.FormatInt(*last, 10))
			}
			numberElements(object, last)
		}
	}
}

// merge returns the value of an attribute after entity.update: objects are merged; elements are added to plurals, or
// replace the element with the same id; everything else is replaced.
func merge(old, new any) (any, *apiError) {
	switch new := new.(type) {
	case map[string]any:
		object, ok := old.(map[string]any)
		if !ok {
			return new, nil
		}
		for name, value := range new {
			merged := value
			if name != "password" { // hash, kind and salt belong together
				var err *apiError
				if merged, err = merge(object[name], value); err != nil {
					return nil, err
				}
			}
			object[name] = merged
		}
		return object, nil
	case []any:
		list, ok := old.([]any)
		if ok && isPlural(list) && isPlural(new) {
			return mergePlural(list, new)
		}
	}
	return new, nil
}

func mergePlural(list, elements []any) (any, *apiError) {
	for _, element := range elements {
		if element.(map[string]any)["id"] == nil {
			list = append(list, element)
			continue
		}
		at := findElement(list, elementID(element))
		if at < 0 {
			return nil, newError(310, "a plural has no element with the id that was given")
		}
		list[at] = element
	}
	return list, nil
}

func findElement(list []any, id int64) int {
	return slices.IndexFunc(list, func(element any) bool { return id != 0 && elementID(element) == id })
}

// place is the target of an attribute path in an entity: an attribute of an object, or an element of its plural.
type place struct {
	object  map[string]any
	name    string
	element int // index in the plural, -1 for the attribute itself
}

// placeOf follows an attribute path such as primaryAddress.city, or clients#3.name, where 3 is an element's id.
// Missing objects on the path are created.
func placeOf(entity map[string]any, path string) (place, *apiError) {
	object := entity
	for {
		step, rest, more := strings.Cut(path, ".")
		name, idText, numbered := strings.Cut(step, "#")
		if name == "" {
			return place{}, invalidArgument("attribute_name", "an attribute's name is missing in the path")
		}
		at := place{object, name, -1}
		if numbered {
			id, err := strconv.ParseInt(idText, 10, 64)
			if err != nil {
				return place{}, invalidArgument("attribute_name", "what follows # is not an element's id")
			}
			list, _ := object[name].([]any)
			if at.element = findElement(list, id); at.element < 0 {
				return place{}, newError(310, "%s has no element with that id", name)
			}
		}
		if !more {
			return at, nil
		}
		inner, ok := at.get().(map[string]any)
		if !ok {
			if at.get() != nil {
				return place{}, invalidArgument("attribute_name", "%s is not an object", name)
			}
			inner = map[string]any{}
			at.set(inner)
		}
		object, path = inner, rest
	}
}

func (p place) get() any {
	if p.element < 0 {
		return p.object[p.name]
	}
	return p.object[p.name].([]any)[p.element]
}

func (p place) set(value any) {
	if p.element < 0 {
		p.object[p.name] = value
		return
	}
	p.object[p.name].([]any)[p.element] = value
}

// remove takes an element out of its plural.
func (p place) remove() {
	p.object[p.name] = slices.Delete(p.object[p.name].([]any), p.element, p.element+1)
}
