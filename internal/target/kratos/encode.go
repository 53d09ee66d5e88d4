package kratos

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/jsonapi"
)

// DefaultMapping is the mapping file that applies where none is given.
//
//go:embed mapping.yaml
var DefaultMapping []byte

// Format encodes records for an identity schema; "" leaves the choice to Kratos.
func Format(schema string) target.Format {
	return format{schema: schema, traits: target.Traits{
		Name: TargetName, MaxRecords: maxRecords, MaxBytes: maxBytes, Overhead: int64(len(opening + closing)),
		RefusesTogether: true, Marks: true, ShowsCreated: true, FindKeys: 1, MaxPage: maxPage,
		System:     []string{"id", "created_at", "updated_at", "state_changed_at", "schema_url", "organization_id", "credentials"},
		Hidden:     []string{"password", "credentials"},
		DefaultKey: DefaultKey,
		Fold:       func(key string) string { return strings.ToLower(strings.TrimSpace(key)) },
	}}
}

type format struct {
	schema string
	traits target.Traits
}

func (f format) Traits() target.Traits { return f.traits }

// members are those that a new identity may have.
var members = []string{"schema_id", "traits", "credentials", "verifiable_addresses", "recovery_addresses", "metadata_public", "metadata_admin", "state", "external_id"}

// Encode makes an entry of the batch. The tag is its patch_id as well, by which an answer is held against the records.
func (f format) Encode(record []byte, tag string) (target.Record, error) {
	identity, ok := jsonapi.Object(record)
	if !ok {
		return target.Record{}, target.Unsendable("not an object", "the record is not one JSON object in UTF-8")
	}
	password := identity["password"]
	delete(identity, "password")
	for name, value := range identity {
		if jsonapi.IsNull(value) {
			delete(identity, name)
			continue
		}
		identity[name] = jsonapi.WithoutNulls(value)
		if !slices.Contains(members, name) {
			return target.Record{}, target.Unsendable("unknown attribute", fmt.Sprintf("an identity has no attribute %s; expected traits.…, metadata_admin.…, metadata_public.…, password, or one of %s", name, strings.Join(members, ", ")))
		}
	}
	if _, ok := jsonapi.Members(identity["traits"]); !ok {
		return target.Record{}, target.Unsendable("no traits", "the record has no traits; expected attributes as traits.email")
	}
	if _, given := identity["schema_id"]; !given && f.schema != "" {
		identity["schema_id"] = quoted(f.schema)
	}
	var err error
	if identity["metadata_admin"], err = marked(identity["metadata_admin"], tag); err != nil {
		return target.Record{}, err
	}
	isPlain := false
	if identity["credentials"], isPlain, err = credentials(identity["credentials"], password); err != nil {
		return target.Record{}, err
	}
	if identity["credentials"] == nil {
		delete(identity, "credentials")
	}
	body, err := target.Marshal(map[string]any{"patch_id": tag, "create": identity})
	if err != nil {
		return target.Record{}, err
	}
	r := target.Record{Body: body, Size: int64(len(body)) + 1, Mark: tag}
	if isPlain {
		r.Group = plainGroup
	}
	if r.Size > f.traits.MaxBytes {
		return r, target.Oversized(r.Size, f.traits.MaxBytes)
	}
	return r, nil
}

// plainGroup marks records with a password in plain text, of which a call takes fewer.
const plainGroup = "plain"

// marked adds the mark to metadata_admin.
func marked(metadata json.RawMessage, mark string) (json.RawMessage, error) {
	all, ok := jsonapi.Members(metadata)
	if !ok && !jsonapi.IsNull(metadata) {
		return nil, target.Unsendable("metadata_admin", "metadata_admin is not an object, so it cannot hold the tag of the migration; expected attributes as metadata_admin.name")
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	all[markName] = quoted(mark)
	return target.Marshal(all)
}

// credentials adds a password to the credentials of a record, nil if there are none.
func credentials(given, password json.RawMessage) (_ json.RawMessage, isPlain bool, err error) {
	all, ok := jsonapi.Members(given)
	if !ok && !jsonapi.IsNull(given) {
		return nil, false, target.Unsendable("credentials", "the credentials are not an object")
	}
	p, has, err := target.ParsePassword(password)
	if err != nil {
		return nil, false, target.Unsendable("password", err.Error())
	}
	if !has {
		if all == nil {
			return nil, false, nil
		}
		return given, false, nil
	}
	config := map[string]string{"password": p.Plain}
	if p.Plain == "" {
		hash, ok := hashOf(p)
		if !ok {
			return nil, false, target.Unsendable(p.Kind(), "Kratos takes no hashes of the type "+p.Kind()+" in this form; leave the password out, and have the user set a new one")
		}
		config = map[string]string{"hashed_password": hash}
	}
	if all == nil {
		all = map[string]json.RawMessage{}
	}
	if all["password"], err = target.Marshal(map[string]any{"config": config}); err != nil {
		return nil, false, err
	}
	merged, err := target.Marshal(all)
	return merged, p.Plain != "", err
}

// known are the forms of hashes that Kratos takes as they are (hash/hash_comparator.go), crypt those of crypt(3) with the
// names that it has for them.
var (
	known = regexp.MustCompile(`^(\$2[abzy]?\$|\$(md5|sha256|sha512)-crypt\$|\$argon2id?\$|\$pbkdf2-sha[0-9]{1,3}\$i=|\$scrypt\$ln=|\{SSHA(256|512)?\}|\$sha(1|256|512)\$|\$firescrypt\$|\$md5\$|\$hmac-)`)
	crypt = map[string]string{"$1$": "$md5-crypt$", "$5$": "$sha256-crypt$", "$6$": "$sha512-crypt$"}
)

// hashOf is a hash in a form that Kratos takes.
func hashOf(p target.Password) (hash string, ok bool) {
	for prefix, name := range crypt {
		if rest, ok := strings.CutPrefix(p.Value, prefix); ok {
			return name + rest, true
		}
	}
	return p.Value, known.MatchString(p.Value) && p.Salt == ""
}

// Measure encodes the record with a tag of the usual length.
func (f format) Measure(record []byte) (int64, error) { return target.MeasureEncoded(f, record) }

// Steps sets all values in one call, and a password, which another call sets, in a step of its own.
func (format) Steps(changes []target.Change) (steps []target.Step, err error) {
	var values target.Step
	for _, c := range changes {
		name, _, _ := strings.Cut(c.Path, ".")
		switch {
		case c.Path == "password":
			steps = append(steps, target.Step{Changes: []target.Change{c}})
		case slices.Contains([]string{"traits", "metadata_admin", "metadata_public", "state"}, name):
			values.Changes = append(values.Changes, c)
		default:
			return nil, target.Unsendable("fixed attribute", fmt.Sprintf("Kratos does not change %s of an identity that exists", name))
		}
	}
	if len(values.Changes) > 0 {
		steps = slices.Insert(steps, 0, values)
	}
	return steps, nil
}

func quoted(s string) json.RawMessage {
	b, _ := json.Marshal(s) // a string can always be encoded
	return b
}
