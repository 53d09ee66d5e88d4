package sandbox

import (
	"slices"
	"strings"
)

// view is the endpoint entity: it gives one entity, or one of its attributes.
func (s *Server) view(q *request) (map[string]any, *apiError) {
	a, err := q.address()
	if err != nil {
		return nil, err
	}
	paths, err := q.stringList("attributes")
	if err != nil {
		return nil, err
	}
	found, err := s.entities.view(q.call.TypeName, a)
	if err != nil {
		return nil, err
	}
	path := q.params.Get("attribute_name")
	if path == "" {
		return map[string]any{"stat": "ok", "result": s.shown(found, paths)}, nil
	}
	if s.options.hides(path) {
		return nil, &apiError{223, "unknown attribute: " + path, map[string]any{"attribute_name": path}}
	}
	at, err := placeOf(s.shown(found, nil), path)
	if err != nil {
		return nil, err
	}
	return map[string]any{"stat": "ok", "result": at.get()}, nil
}

// update is entity.update: it changes the attributes that are given and leaves the others. Elements are added to
// plurals, or replace the element with the same id.
func (s *Server) update(q *request) (map[string]any, *apiError) {
	return s.edit(q, func(attributes map[string]any) *apiError {
		value, err := q.value()
		if err != nil {
			return err
		}
		if path := q.params.Get("attribute_name"); path != "" {
			return updateAt(attributes, path, value)
		}
		_, err = merge(attributes, value)
		return err
	})
}

func updateAt(attributes map[string]any, path string, value any) *apiError {
	at, err := placeOf(attributes, path)
	if err != nil {
		return err
	}
	list, isList := at.get().([]any)
	if element, ok := value.(map[string]any); ok && (isList && isPlural(list) || schemaAt[path].Type == "plural") {
		value = []any{element} // one element may be given without a list around it
	}
	if path != "password" { // hash, kind and salt belong together
		if value, err = merge(at.get(), value); err != nil {
			return err
		}
	}
	at.set(value)
	return nil
}

// replace is entity.replace: what is not given becomes null. With attribute_name only that attribute is replaced,
// which is the way to give a plural other elements.
func (s *Server) replace(q *request) (map[string]any, *apiError) {
	return s.edit(q, func(attributes map[string]any) *apiError {
		value, err := q.value()
		if err != nil {
			return err
		}
		path := q.params.Get("attribute_name")
		at := place{}
		if path != "" {
			if at, err = placeOf(attributes, path); err != nil {
				return err
			}
		}
		if hasElementID(value) {
			return idInNewRecord("the element of a plural")
		}
		if path == "" {
			clear(attributes)
			_, err = merge(attributes, value)
		} else {
			if element, ok := value.(map[string]any); ok && at.element >= 0 {
				element["id"] = at.get().(map[string]any)["id"]
			}
			at.set(value)
		}
		return err
	})
}

// edit does what update and replace have in common.
func (s *Server) edit(q *request, edit func(attributes map[string]any) *apiError) (map[string]any, *apiError) {
	a, err := q.address()
	if err != nil {
		return nil, err
	}
	if err := checkWritable(q.params.Get("attribute_name")); err != nil {
		return nil, err
	}
	changed, err := s.entities.change(q.call, a, edit)
	if err != nil {
		return nil, err
	}
	reply := map[string]any{"stat": "ok"}
	if q.params.Get("include_record") == "true" {
		reply["result"] = s.shown(changed, nil)
	}
	return reply, nil
}

// remove is entity.delete: it deletes an entity for good, or with attribute_name an element of one of its plurals.
func (s *Server) remove(q *request) (map[string]any, *apiError) {
	a, err := q.address()
	if err != nil {
		return nil, err
	}
	path := q.params.Get("attribute_name")
	if path == "" {
		err = s.entities.remove(q.call, a)
	} else {
		_, err = s.entities.change(q.call, a, func(attributes map[string]any) *apiError {
			at, err := placeOf(attributes, path)
			if err != nil {
				return err
			}
			if at.element < 0 {
				return invalidArgument("attribute_name", "it does not name an element of a plural, such as clients#1")
			}
			at.remove()
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return map[string]any{"stat": "ok"}, nil
}

// address reads the address of an entity from a call, and adds its email to the truth log, if the call uses it.
func (q *request) address() (address, *apiError) {
	a, err := parseAddress(q.params)
	if a.email != "" {
		q.call.Keys = []string{foldEmail(a.email)}
	}
	return a, err
}

// value reads what is to be written: attributes or value, as JSON. With attribute_name, a value that is not JSON is
// taken as a string.
func (q *request) value() (any, *apiError) {
	name := "attributes"
	if !q.params.Has(name) {
		name = "value"
	}
	if !q.params.Has(name) {
		return nil, missingArgument("attributes")
	}
	text := q.params.Get(name)
	value, err := decodeJSON(text)
	if q.params.Get("attribute_name") != "" {
		if err != nil {
			return text, nil
		}
		return value, nil
	}
	if err != nil {
		return nil, invalidArgument(name, "the JSON is not syntactically valid")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, invalidArgument(name, "it is not a JSON object")
	}
	for _, name := range systemAttributes {
		if _, given := object[name]; given {
			return nil, reservedAttribute(name)
		}
	}
	return object, nil
}

// checkWritable refuses a path that leads into a system attribute.
func checkWritable(path string) *apiError {
	name, _, _ := strings.Cut(path, ".")
	name, _, _ = strings.Cut(name, "#")
	if slices.Contains(systemAttributes, name) {
		return reservedAttribute(name)
	}
	return nil
}
