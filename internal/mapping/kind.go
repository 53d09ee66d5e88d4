package mapping

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// kind has the parameters of a type. Only those of its own type are set.
type kind struct {
	words    map[string]bool // of a boolean
	dates    dates
	decimal  string // the mark before the fraction
	thousand string // the mark between thousands
	plural   plural
	password password
}

// plural describes a list in a cell: JSON, or parts between separators.
type plural struct {
	separator string
	member    string // each part is an object with this one member; "" is the part itself
	loose     bool   // JSON that is not a list is passed on
}

// password is a hash with its type.
type password struct {
	hash          string // with its prefix; "" is JSON or plain text
	saltColumn    string
	saltSeparator string // the salt is in the cell itself
	saltFirst     bool
}

// Types of values.
const (
	typeString   = "string"
	typeInteger  = "integer"
	typeDecimal  = "decimal"
	typeBoolean  = "boolean"
	typeDate     = "date"
	typeDateTime = "dateTime"
	typeJSON     = "json"
	typePlural   = "plural"
	typeObject   = "object"
	typePassword = "password"
)

var types = []string{typeString, typeInteger, typeDecimal, typeBoolean, typeDate, typeDateTime, typeJSON, typePlural, typeObject, typePassword}

// hashes are the types of password hashes in Akamai's documentation.
// Source: identitydocs.akamai.com/home/transforming-passwords (with the MD5 kinds),
// techdocs.akamai.com/identity-cloud/docs/transform-user-passwords-optional (without them, and with PBKDF2 and SHA-2),
// dataload's own sample (phpass-md5).
var hashes = []string{
	"password-bcrypt", "password-crypt-sha256", "password-crypt-sha512", "password-crypt-des", "password-crypt-md5",
	"password-pbkdf2-sha1", "password-pbkdf2-sha256", "password-pbkdf2-sha512",
	"password-phpass-sha512-truncated-55", "password-phpass-55", "password-phpass-md5", "password-netforum",
	"password-sha-256", "password-sha-512", "password-md5", "password-md5-salted-left-base64", "password-md5-salted-right-base64",
}

const hashPrefix = "password-"

// appendOf returns the function that converts a non-empty text to JSON, except for a password with a salt in another column.
func (r *rule) appendOf() appendValue {
	switch r.typ {
	case typeInteger:
		return r.kind.appendInteger
	case typeDecimal:
		return r.kind.appendDecimal
	case typeBoolean:
		return r.appendBoolean
	case typeDate, typeDateTime:
		return r.kind.dates.append
	case typeJSON:
		return appendAnyJSON
	case typePlural:
		if r.kind.plural.separator != "" {
			return r.kind.plural.appendParts
		}
		return r.kind.plural.appendJSON
	case typeObject:
		return appendObject
	case typePassword:
		if r.kind.password.hash != "" {
			return r.kind.password.append
		}
		return appendPassword
	}
	return appendString
}

// appendEmpty is the JSON of an empty cell.
func (r *rule) appendEmpty(dst []byte) []byte {
	if r.typ == typePlural {
		return append(dst, "[]"...)
	}
	return appendNull(dst)
}

func (r *rule) appendBoolean(dst []byte, value string) ([]byte, error) {
	var buf [32]byte
	b, ok := r.kind.words[string(fold(&buf, value))]
	switch {
	case ok && b:
		return append(dst, "true"...), nil
	case ok:
		return append(dst, "false"...), nil
	case r.otherwise.what == "null":
		return appendNull(dst), nil
	}
	return nil, fmt.Errorf("the value is not a word for true or false; expected %s", strings.Join(slices.Sorted(maps.Keys(r.kind.words)), ", "))
}

func (k *kind) appendInteger(dst []byte, value string) ([]byte, error) {
	out, rest, ok := k.appendWhole(dst, value)
	if !ok || rest != "" {
		return nil, errors.New("the value is not an integer; expected digits, as " + "1" + k.thousand + "234")
	}
	return out, nil
}

func (k *kind) appendDecimal(dst []byte, value string) ([]byte, error) {
	out, rest, ok := k.appendWhole(dst, value)
	if ok && rest != "" {
		var digits string
		if digits, ok = strings.CutPrefix(rest, k.decimal); ok {
			ok = isDigits(digits)
			out = append(append(out, '.'), digits...)
		}
	}
	if !ok {
		return nil, errors.New("the value is not a number; expected digits, as " + "1" + k.thousand + "234" + k.decimal + "5")
	}
	return out, nil
}

// maxDigits is more than any number type of a database has.
const maxDigits = 40

// appendWhole appends sign and digits, without the zeros and the plus before them that JSON does not allow.
func (k *kind) appendWhole(dst []byte, value string) (out []byte, rest string, ok bool) {
	rest, negative := strings.CutPrefix(value, "-")
	if !negative {
		rest = strings.TrimPrefix(rest, "+")
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && string(r) != k.thousand })
	if end < 0 {
		end = len(rest)
	}
	whole, rest := rest[:end], rest[end:]
	if k.thousand != "" && strings.Contains(whole, k.thousand) {
		groups := strings.Split(whole, k.thousand)
		for i, g := range groups {
			if i > 0 && len(g) != 3 || i == 0 && (g == "" || len(g) > 3) {
				return nil, "", false
			}
		}
		whole = strings.Join(groups, "")
	}
	if !isDigits(whole) || len(value) > maxDigits {
		return nil, "", false
	}
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	if negative {
		dst = append(dst, '-')
	}
	return append(dst, whole...), rest, true
}

// isDigits reports whether s is a number of one digit or more, in ASCII.
func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func appendAnyJSON(dst []byte, value string) ([]byte, error) {
	out, err := appendJSONText(dst, value)
	if err != nil {
		return nil, errors.New("the value is not JSON")
	}
	return out, nil
}

func appendObject(dst []byte, value string) ([]byte, error) {
	out, err := appendJSONText(dst, value)
	if err != nil || out[len(dst)] != '{' && string(out[len(dst):]) != "null" {
		return nil, errors.New(`the value is not an object in JSON; expected {"name": value, …}`)
	}
	return out, nil
}

func (p *plural) appendJSON(dst []byte, value string) ([]byte, error) {
	out, err := appendJSONText(dst, value)
	if err != nil || !p.loose && out[len(dst)] != '[' && string(out[len(dst):]) != "null" {
		return nil, errors.New(`the value is not JSON; expected a list, as [{"clientId": …}]`)
	}
	return out, nil
}

// appendParts appends a list of the parts, trimmed and without blank parts.
func (p *plural) appendParts(dst []byte, value string) ([]byte, error) {
	dst = append(dst, '[')
	first := true
	var err error
	for part := range strings.SplitSeq(value, p.separator) {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if p.member != "" {
			if dst, err = appendString(append(dst, '{'), p.member); err != nil {
				return nil, err
			}
			dst = append(dst, ':')
		}
		if dst, err = appendString(dst, part); err != nil {
			return nil, err
		}
		if p.member != "" {
			dst = append(dst, '}')
		}
	}
	return append(dst, ']'), nil
}

// appendPassword is transform_password: JSON becomes what it says, anything else is plain text for the platform to
// hash. A JSON string is its content: the way to write a plain-text password that starts with a bracket. JSON null is
// null, because exports write it for "none".
func appendPassword(dst []byte, value string) ([]byte, error) {
	text := strings.Trim(value, jsonSpace)
	switch {
	case text == "null":
		return appendNull(dst), nil
	case text == "" || strings.IndexByte(`{["`, text[0]) < 0:
		return appendString(dst, value)
	}
	out, err := appendJSONText(dst, text)
	if err != nil && text[0] == '"' {
		return appendString(dst, value)
	}
	if err != nil && ldapHash.MatchString(text) {
		return nil, errors.New("the value looks like an LDAP hash, as {SSHA}…, and the platform documents no import of such hashes; ask Akamai, or leave it out and have the user set a new password")
	}
	if err != nil {
		return nil, errors.New(`the value starts like JSON and is not JSON; expected {"type": …, "value": …} or plain text; write plain text that starts with a bracket as a JSON string, in quotes`)
	}
	return out, nil
}

// ldapHash matches a hash as written by a directory, with its scheme in braces.
var ldapHash = regexp.MustCompile(`^\{[A-Za-z][A-Za-z0-9-]*\}.`)

// append appends the object of a hash, with the salt from the value itself, if it has one.
func (p *password) append(dst []byte, value string) ([]byte, error) {
	if p.saltSeparator == "" {
		return p.appendHash(dst, value, "")
	}
	hash, salt, ok := strings.Cut(value, p.saltSeparator)
	if p.saltFirst {
		hash, salt = salt, hash
	}
	if !ok || hash == "" || salt == "" {
		return nil, fmt.Errorf("the value is not hash and salt with %q between them", p.saltSeparator)
	}
	return p.appendHash(dst, hash, salt)
}

func (p *password) appendHash(dst []byte, hash, salt string) ([]byte, error) {
	dst = append(append(append(dst, `{"type":"`...), p.hash...), `","value":`...)
	dst, err := appendString(dst, hash)
	if err != nil {
		return nil, err
	}
	if salt != "" {
		if dst, err = appendString(append(dst, `,"salt":`...), salt); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// needsSalt reports whether hashes of this kind cannot be checked without a salt beside them.
func (p *password) needsSalt() bool { return strings.Contains(p.hash, "-salted-") }
