package sandbox

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"reflect"
	"slices"
	"strings"

	"durable-dataload/internal/target/identitycloud"
)

// shown is an entity as clients see it, with only the attributes at the paths; nil is all that they may see. In the
// vendor's examples a record has every attribute of the schema: what has no value is null, [] for a plural, and an object
// with all its attributes; so have the elements of a plural. Attributes that the schema does not know are shown where the
// entity has them.
//
// It completes the entity's attributes in place: they are not to be stored afterwards.
func (s *Server) shown(e *entity, paths []string) map[string]any {
	complete(e.attributes, schema)
	if password, ok := e.attributes["password"].(map[string]any); ok && password["created"] == nil {
		password["created"] = formatTime(e.written.Add(s.options.StampSkew))
	}
	if paths == nil {
		if len(s.options.Hide) == 0 {
			return e.attributes
		}
		paths = slices.Collect(maps.Keys(e.attributes))
	}
	return choose(e.attributes, slices.DeleteFunc(slices.Clone(paths), s.options.hides))
}

// complete adds the attributes that an object of the schema lacks.
func complete(object map[string]any, attributes []identitycloud.Attribute) {
	for _, a := range attributes {
		switch a.Type {
		case "plural":
			list, ok := object[a.Name].([]any)
			if !ok {
				object[a.Name] = []any{}
			}
			for _, element := range list {
				complete(element.(map[string]any), a.Attributes)
			}
		case "object":
			inner, ok := object[a.Name].(map[string]any)
			if !ok {
				inner = map[string]any{}
				object[a.Name] = inner
			}
			complete(inner, a.Attributes)
		default:
			if _, ok := object[a.Name]; !ok {
				object[a.Name] = nil
			}
		}
	}
}

func (o *Options) hides(path string) bool {
	name, _, _ := strings.Cut(path, ".")
	return slices.Contains(o.Hide, name) || slices.Contains(o.Hide, "all") && name != "email" && name != "uuid"
}

// kept is a password in the form in which it is kept: type and value, and what the kind of hash has besides. A plain text
// becomes what looks like its hash, and signs nobody in. When it was set is not for clients to say.
func kept(password any) map[string]any {
	text, isPlain := password.(string)
	if isPlain {
		sum := sha256.Sum256([]byte(text))
		return map[string]any{"type": "password-bcrypt", "value": "$2a$10$" + hex.EncodeToString(sum[:])[:53]}
	}
	hash := maps.Clone(password.(map[string]any))
	delete(hash, "created")
	return hash
}

// passwordClock notes the password that an entity has before a change. set then says when the one that it has was set:
// now, if it is another one. That of an entity that was never changed was set with it.
func passwordClock(attributes map[string]any, now string) (set func()) {
	before, _ := attributes["password"].(map[string]any)
	before = maps.Clone(before)
	return func() {
		after, _ := attributes["password"].(map[string]any)
		switch created := before["created"]; {
		case after == nil:
		case !reflect.DeepEqual(kept(before), kept(after)):
			after["created"] = now
		case created != nil:
			after["created"] = created
		}
	}
}
