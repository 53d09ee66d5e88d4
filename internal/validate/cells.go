package validate

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Placeholders and error texts of spreadsheets, databases and scripts for a missing or lost value.
var (
	sheetErrors = regexp.MustCompile(`^(#[\p{Lu}\d¡¿/_]{2,20}[!?]|#(N/A|NV|N/D|N/B|N/F|I/T|ND|Н/Д|BUSY|GETTING_DATA)!?|Err:\d{3})$`)
	scientific  = regexp.MustCompile(`^[+-]?\d([.,]\d+)?[Ee][+-]\d{1,3}$`)
	noValue     = map[string]bool{
		"NULL": true, "null": true, "(NULL)": true, "(null)": true, "<NULL>": true, "<null>": true, "[NULL]": true, "None": true,
		"NaN": true, "nan": true, "NaT": true, "<NA>": true, "undefined": true,
	}
)

// artefactStarts has the first bytes of what artefact recognizes.
var artefactStarts = func() (t [256]bool) {
	for _, c := range []byte(`#E\+-0123456789{[Nn(<u`) {
		t[c] = true
	}
	return t
}()

// artefact recognizes a cell with a placeholder or error text of a program instead of a value. variant identifies its kind,
// 0 for a normal cell.
func artefact(cell string) (variant rune, message string) {
	if len(cell) < 2 || len(cell) > 200 || !artefactStarts[cell[0]] {
		return 0, ""
	}
	const asText = "; it would be sent as text; "
	switch c := cell[0]; {
	case c == '#' && len(cell) > 2 && strings.Trim(cell, "#") == "":
		return '#', "the cell contains only number signs, which a spreadsheet shows for a value in a column that is too narrow" + asText + "widen the column and export again"
	case (c == '#' || strings.HasPrefix(cell, "Err:")) && sheetErrors.MatchString(cell):
		return 'e', "the cell is an error of a spreadsheet, such as #REF!" + asText + "correct the formula and export again"
	case cell == `\N`:
		return 'm', `the cell is \N, which MySQL writes for a missing value` + asText + "export with empty cells, or map it to empty (docs/mapping.md)"
	case isScientific(cell):
		return 's', "the cell is a number that a spreadsheet has shortened, such as 4.5E+11, and its digits are lost" + asText + "format the column as text and export again"
	case (c == '{' || c == '[') && (strings.HasPrefix(cell, "{'") || strings.HasPrefix(cell, "[{'") || strings.HasPrefix(cell, "['") || strings.HasPrefix(cell, "[object ")):
		return 'r', "the cell is a script's text form of an object, not JSON" + asText + "export it as JSON"
	case len(cell) <= len("undefined") && noValue[cell]:
		return 'n', "the cell is a word that programs write for a missing value, such as NULL" + asText + "export with empty cells, or map it to empty (docs/mapping.md)"
	}
	return 0, ""
}

// isScientific reports whether a cell, of two bytes or more, is a number with an exponent.
func isScientific(cell string) bool {
	unsigned := cell
	if cell[0] == '-' || cell[0] == '+' {
		unsigned = cell[1:]
	}
	return len(unsigned) > 1 && len(cell) <= 30 && unsigned[0] >= '0' && unsigned[0] <= '9' && strings.IndexByte(".,eE", unsigned[1]) >= 0 &&
		scientific.MatchString(cell)
}

// hashForm recognizes a kind of password hash that is sent as a plain-text password.
type hashForm struct {
	form    *regexp.Regexp
	name    string // with its article
	mapping string // the kind in a mapping; "" if the platform documents no import
	surely  bool   // a plain-text password never looks like this
}

var hashForms = []hashForm{
	{regexp.MustCompile(`^\$2[abxy]?\$\d\d\$\S{22,}$`), "a bcrypt", "bcrypt", true},
	{regexp.MustCompile(`^\$argon2(id|i|d)\$`), "an Argon2", "", true},
	{regexp.MustCompile(`^\$5\$.`), "a SHA-256 crypt", "crypt-sha256", true},
	{regexp.MustCompile(`^\$6\$.`), "a SHA-512 crypt", "crypt-sha512", true},
	{regexp.MustCompile(`^\$1\$.`), "an MD5 crypt", "crypt-md5", true},
	{regexp.MustCompile(`^\$apr1\$`), "an Apache MD5", "", true},
	{regexp.MustCompile(`^\$[PH]\$[./A-Za-z0-9]{22,}$`), "a phpass", "phpass-md5", true},
	{regexp.MustCompile(`^\$S\$[./A-Za-z0-9]{40,}$`), "a Drupal 7", "phpass-sha512-truncated-55", true},
	{regexp.MustCompile(`(?i)^(\$?pbkdf2[-_:]sha1\b|\$pbkdf2\$|pbkdf2_sha1\$)`), "a PBKDF2 with SHA-1", "pbkdf2-sha1", true},
	{regexp.MustCompile(`(?i)^(\$?pbkdf2[-_:](hmac-)?sha-?256\b|pbkdf2_sha256\$|\{PBKDF2-SHA256\})`), "a PBKDF2 with SHA-256", "pbkdf2-sha256", true},
	{regexp.MustCompile(`(?i)^(\$?pbkdf2[-_:](hmac-)?sha-?512\b|pbkdf2_sha512\$|\{PBKDF2-SHA512\})`), "a PBKDF2 with SHA-512", "pbkdf2-sha512", true},
	{regexp.MustCompile(`^(\$7\$|\$scrypt\$|scrypt[:$])`), "a scrypt", "", true},
	{regexp.MustCompile(`^\$(y|gy)\$`), "a yescrypt", "", true},
	{regexp.MustCompile(`^(bcrypt(_sha256)?|argon2|sha1|md5|unsalted_md5|crypt)\$`), "a Django", "", true},
	{regexp.MustCompile(`^\{(?i:SSHA|SHA|SMD5|MD5|CRYPT|SSHA256|SHA256|SSHA512|SHA512|PBKDF2|ARGON2|BCRYPT|X-[A-Z-]+|noop)\}.`), "an LDAP", "", true},
	{regexp.MustCompile(`^AQAAAA[A-Za-z0-9+/]{50,}={0,2}$`), "an ASP.NET Identity", "", true},
	{regexp.MustCompile(`^(?i)[0-9a-f]{32}$`), "an MD5", "md5", false},
	{regexp.MustCompile(`^(?i)[0-9a-f]{40}$`), "a SHA-1", "", false},
	{regexp.MustCompile(`^(?i)[0-9a-f]{64}$`), "a SHA-256", "sha-256", false},
	{regexp.MustCompile(`^(?i)[0-9a-f]{128}$`), "a SHA-512", "sha-512", false},
}

// hashLike returns the index in hashForms of the kind of hash that a plain-text password looks like; -1 if none.
func hashLike(password string) int {
	if len(password) < 20 || len(password) > 1000 {
		return -1
	}
	return slices.IndexFunc(hashForms, func(h hashForm) bool { return h.form.MatchString(password) })
}

func (h *hashForm) message() string {
	what := "the password looks like " + h.name + " hash, and would be imported as plain text, so that its user could not sign in; "
	if h.mapping == "" {
		return what + "the platform documents no import of such hashes; ask Akamai, or leave the column out and have users set a new password"
	}
	return what + fmt.Sprintf(`say so with a mapping, password: {type: password, hash: %s}, or as JSON, {"type": "password-%s", "value": …}`, h.mapping, h.mapping)
}

// invisibleNames are the names of common invisible characters.
var invisibleNames = map[rune]string{
	'\t': "tab", '\n': "line break", '\r': "carriage return", ' ': "space", 0: "zero byte", 0x1B: "escape", 0x7F: "delete",
	0xA0: "no-break space", 0xAD: "soft hyphen", 0x200B: "zero-width space", 0x200C: "zero-width non-joiner", 0x200D: "zero-width joiner",
	0x200E: "left-to-right mark", 0x200F: "right-to-left mark", 0x202A: "left-to-right embedding", 0x202B: "right-to-left embedding", 0x202C: "end of embedding",
	0x202D: "left-to-right override", 0x202E: "right-to-left override", 0x202F: "narrow no-break space", 0x2060: "word joiner", 0x3000: "ideographic space", 0xFEFF: "byte order mark",
}

// invisibleIn returns the first invisible character of a key: a space other than U+0020, a control or format character, or
// another one without a glyph. U+0020 counts at both ends, and anywhere in an e-mail address.
func invisibleIn(key string) (r rune, found bool) {
	plain := true
	for i := range len(key) {
		if c := key[i]; c <= ' ' || c >= 0x7F {
			plain = false
			break
		}
	}
	if plain {
		return 0, false
	}
	address := strings.Contains(key, "@")
	for i, r := range key {
		switch {
		case r == ' ':
			if address || i == 0 || i == len(key)-1 {
				return r, true
			}
		case unicode.IsSpace(r), unicode.In(r, unicode.Cc, unicode.Cf, unicode.Z, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point), r == 0x2800, r == utf8.RuneError:
			return r, true
		}
	}
	return 0, false
}

func invisibleMessage(r rune) string {
	character := fmt.Sprintf("U+%04X", r)
	if name := invisibleNames[r]; name != "" {
		character += " (" + name + ")"
	}
	return "the key contains the invisible character " + character + "; its user would not be found by the key as it is typed; remove the character, or trim the column in a mapping"
}
