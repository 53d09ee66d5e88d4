package mapping

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"durable-dataload/internal/target"
)

// Propose writes a draft of a mapping file: a guess for every column, from its name, from the values of some
// records, and from the target's schema if there is one. Without a schema the attributes are those of the Identity Cloud's default
// schema (Source: Script/default-schema.json of the Janrain iOS client, and the built-in mapping's own). The file holds
// names of columns and attributes, and no value. It can be parsed, and compiled for this header.
func Propose(header []string, sample [][]string, schema *target.Schema, traits target.Traits) []byte {
	p := &proposal{schema: schema, attributes: knownAttributes, taken: map[string]string{}, within: map[string]string{}}
	if schema != nil {
		p.attributes = flatten(nil, "", schema.Attributes, traits)
	}
	p.buf.WriteString("# A proposal: check every line. docs/mapping.md says what can stand here, and\n# starter mapping preview --data FILE --mapping THIS shows what comes of it.\n\n")
	p.buf.WriteString("# A column that is not named below is an error, so that none is lost unseen.\nothers: fail\n")
	if len(header) > 0 {
		p.buf.WriteString("\ncolumns:\n")
	}
	seen := map[string]bool{}
	for i, name := range header {
		if name == "" || seen[name] {
			continue
		}
		seen[name] = true
		var values []string
		for _, fields := range sample {
			if i < len(fields) && strings.TrimSpace(fields[i]) != "" {
				values = append(values, strings.TrimSpace(fields[i]))
			}
		}
		p.column(name, values)
	}
	return p.buf.Bytes()
}

type proposal struct {
	schema     *target.Schema
	attributes []attribute
	taken      map[string]string // the column of an attribute, by its path
	within     map[string]string // the same by the path of each object that the attribute is in
	buf        bytes.Buffer
}

// attribute is one of a schema, with its whole path.
type attribute struct {
	path, typ string
	member    string // of a plural: its first text
	format    string // of a date: see target.Attribute
}

// knownAttributes are those of the default schema that an input can have.
var knownAttributes = []attribute{
	{path: "email", typ: typeString}, {path: "givenName", typ: typeString}, {path: "middleName", typ: typeString},
	{path: "familyName", typ: typeString}, {path: "displayName", typ: typeString}, {path: "gender", typ: typeString},
	{path: "aboutMe", typ: typeString}, {path: "currentLocation", typ: typeString},
	{path: "birthday", typ: typeDate}, {path: "emailVerified", typ: typeDateTime}, {path: "lastLogin", typ: typeDateTime},
	{path: "created", typ: typeDateTime}, {path: "password", typ: typePassword}, {path: "display", typ: typeJSON},
	{path: "primaryAddress.address1", typ: typeString}, {path: "primaryAddress.address2", typ: typeString},
	{path: "primaryAddress.city", typ: typeString}, {path: "primaryAddress.company", typ: typeString},
	{path: "primaryAddress.country", typ: typeString}, {path: "primaryAddress.mobile", typ: typeString},
	{path: "primaryAddress.phone", typ: typeString}, {path: "primaryAddress.stateAbbreviation", typ: typeString},
	{path: "primaryAddress.zip", typ: typeString}, {path: "primaryAddress.zipPlus4", typ: typeString},
	{path: "optIn.status", typ: typeBoolean},
	{path: "clients", typ: typePlural}, {path: "photos", typ: typePlural, member: "value"},
	{path: "profiles", typ: typePlural}, {path: "statuses", typ: typePlural, member: "status"},
}

// synonyms are names of attributes in exports, in lower case, letters and digits only.
var synonyms = map[string][]string{
	"email":                            {"mail", "emailaddress", "emailaddr", "useremail", "primaryemail", "courriel"},
	"givenName":                        {"firstname", "fname", "first", "forename", "vorname", "prenom", "nombre"},
	"familyName":                       {"lastname", "lname", "last", "surname", "nachname", "nom", "apellido"},
	"displayName":                      {"fullname", "name", "nickname", "username"},
	"gender":                           {"sex", "geschlecht"},
	"birthday":                         {"dob", "dateofbirth", "birthdate", "birth", "born", "geburtsdatum"},
	"password":                         {"pw", "pwd", "passwd", "pass", "passwordhash", "hashedpassword", "pwhash", "passwort"},
	"created":                          {"createdat", "creationdate", "registered", "registrationdate", "signupdate"},
	"lastLogin":                        {"lastlogindate", "lastloginat", "lastseen"},
	"emailVerified":                    {"emailverifiedat", "emailconfirmed"},
	"primaryAddress.address1":          {"address", "street", "addressline1", "streetaddress", "strasse", "street1"},
	"primaryAddress.address2":          {"addressline2", "street2"},
	"primaryAddress.city":              {"town", "ort", "stadt", "ville"},
	"primaryAddress.zip":               {"zipcode", "postcode", "postalcode", "plz"},
	"primaryAddress.stateAbbreviation": {"state", "province", "region"},
	"primaryAddress.country":           {"countrycode", "land", "pays"},
	"primaryAddress.phone":             {"telephone", "tel", "phonenumber", "telefon"},
	"primaryAddress.mobile":            {"cell", "cellphone", "mobilephone", "mobilenumber"},
	"primaryAddress.company":           {"organization", "organisation", "employer", "firma"},
	"optIn.status":                     {"optin", "newsletter", "subscribed", "marketingoptin"},
}

// alike are attributes of other schemas, by their last names, that mean what one of the above does.
var alike = map[string]string{
	"first": "givenName", "firstName": "givenName", "first_name": "givenName", "given_name": "givenName", "given": "givenName",
	"last": "familyName", "lastName": "familyName", "last_name": "familyName", "family_name": "familyName", "family": "familyName",
	"createdAt": "created", "lastLoginAt": "lastLogin", "phoneNumber": "primaryAddress.phone", "phone": "primaryAddress.phone",
}

// means reports whether a column's bare name is a synonym of an attribute, by its path or its last name.
func means(path, bareName string) bool {
	last := path[strings.LastIndexByte(path, '.')+1:]
	for _, name := range []string{path, last, alike[last]} {
		if slices.Contains(synonyms[name], bareName) || name == alike[last] && bare(name) == bareName {
			return true
		}
	}
	return false
}

// flatten returns the attributes of a schema that hold values, all but those that the platform sets itself.
func flatten(all []attribute, prefix string, defs []target.Attribute, traits target.Traits) []attribute {
	for _, d := range defs {
		path := prefix + d.Name
		switch {
		case prefix == "" && traits.Refuses(d.Name), d.Name == "":
		case d.Type == typeObject && len(d.Attributes) > 0:
			all = flatten(all, path+".", d.Attributes, traits)
		default:
			a := attribute{path: path, typ: d.Type, format: d.Format}
			for _, member := range d.Attributes {
				if a.member == "" && member.Type == typeString {
					a.member = member.Name
				}
			}
			if strings.HasPrefix(a.typ, hashPrefix) {
				a.typ = typePassword
			}
			all = append(all, a)
		}
	}
	return all
}

// bare is a name in lower case, and nothing but its letters and digits.
func bare(name string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) {
			return unicode.ToLower(r)
		}
		return -1
	}, name)
}

// find guesses the attribute of a column: by its path, its path written otherwise, a synonym, its last name.
func (p *proposal) find(name string) (attribute, bool) {
	b := bare(name)
	for _, like := range []func(a attribute) bool{
		func(a attribute) bool { return a.path == name },
		func(a attribute) bool { return bare(a.path) == b },
		func(a attribute) bool { return means(a.path, b) },
		func(a attribute) bool { return bare(a.path[strings.LastIndexByte(a.path, '.')+1:]) == b },
	} {
		if i := slices.IndexFunc(p.attributes, like); i >= 0 && b != "" {
			return p.attributes[i], true
		}
	}
	return attribute{}, false
}

func (p *proposal) column(name string, values []string) {
	a, found := p.find(name)
	switch {
	case !found && p.schema != nil:
		p.comment("the target has no attribute like this; name one to keep the column" + p.anyName(name))
		p.line(name, "ignore")
		return
	case !found:
		a = attribute{path: camelCase(name), typ: typeString}
		if a.path == "" {
			p.comment("no attribute can have this name; name one to keep the column")
			p.line(name, "ignore")
			return
		}
		p.comment("no attribute of the default schema; check that the entity type has it")
	}
	if other := p.conflict(a.path); other != "" {
		p.comment(fmt.Sprintf("%s has its value from %s already, it seems", quote(a.path), quote(other)))
		p.line(name, "ignore")
		return
	}
	p.take(a.path, name)
	if more := p.rule(a, values); len(more) > 0 {
		p.buf.WriteString(key(name) + "\n")
		for _, line := range append([]string{"to: " + quote(a.path)}, more...) {
			p.buf.WriteString("    " + line + "\n")
		}
		return
	}
	if a.path == "ignore" {
		p.line(name, "{to: ignore}")
		return
	}
	p.line(name, quote(a.path))
}

// anyName names an attribute below an object that takes any, if the schema has one.
func (p *proposal) anyName(column string) string {
	i := slices.IndexFunc(p.attributes, func(a attribute) bool { return a.typ == typeObject })
	name := camelCase(column)
	if i < 0 || name == "" {
		return ""
	}
	return ", as " + p.attributes[i].path + "." + strings.ReplaceAll(name, ".", "_")
}

func (p *proposal) comment(text string) { p.buf.WriteString("  # " + text + "\n") }

func (p *proposal) line(name, value string) {
	p.buf.WriteString(key(name) + " " + value + "\n")
}

// key writes a column's name as a key. A long one needs the explicit form (YAML 1.2.2, 7.4.3: 1024 characters).
func key(name string) string {
	if name = quote(name); len(name) > 1000 {
		return "  ? " + name + "\n  :"
	}
	return "  " + name + ":"
}

// conflict is the column that has the path, or one above or below it.
func (p *proposal) conflict(path string) string {
	column := cmp.Or(p.taken[path], p.within[path])
	eachObject(path, func(above string) { column = cmp.Or(column, p.taken[above]) })
	return column
}

func (p *proposal) take(path, column string) {
	p.taken[path] = column
	eachObject(path, func(above string) { p.within[above] = column })
}

// eachObject yields the paths of the objects that contain an attribute.
func eachObject(path string, tell func(above string)) {
	for i, c := range path {
		if c == '.' {
			tell(path[:i])
		}
	}
}

// rule guesses what a rule needs besides its attribute.
func (p *proposal) rule(a attribute, values []string) []string {
	switch a.typ {
	case typeDate, typeDateTime:
		layouts, all := layoutsOf(values)
		if len(layouts) == 0 {
			p.comment("a " + a.typ + "; give the layout of the input: type: " + a.typ + ", layouts: [MM/DD/YYYY]")
			return nil
		}
		if len(layouts) > 1 {
			p.comment("the sampled values fit " + strings.Join(layouts, " and ") + "; check which it is")
		}
		if !all {
			p.comment("some of the sampled values have another layout; add it")
		}
		rule := []string{"type: " + a.typ, "layouts: [" + strconv.Quote(layouts[0]) + "]"}
		if a.format != "" {
			rule = append(rule, "format: "+a.format)
		}
		return rule
	case typeBoolean:
		yes, no, ok := wordsOf(values)
		if !ok {
			p.comment("a boolean; the sampled values contain other words than these")
		}
		return []string{"type: boolean", "true: [" + strings.Join(yes, ", ") + "]", "false: [" + strings.Join(no, ", ") + "]"}
	case typeInteger, typeDecimal:
		return p.number(a.typ, values)
	case typePassword:
		return p.password(values)
	case typePlural:
		return p.plural(a, values)
	case typeObject, typeJSON:
		return []string{"type: " + a.typ}
	}
	if a.path == "gender" {
		return []string{"blank-is-empty: true", "ignore-case: true", "values: {male: male, m: male, female: female, f: female, other: other, o: other}", "otherwise: {value: not specified}"}
	}
	if a.path == "email" || strings.HasSuffix(a.path, ".email") {
		return []string{"trim: true"}
	}
	return nil
}

func (p *proposal) number(typ string, values []string) []string {
	fits := func(k *kind) bool {
		return !slices.ContainsFunc(values, func(v string) bool {
			_, err := (&rule{typ: typ, kind: *k}).appendOf()(nil, v)
			return err != nil
		})
	}
	lines := []string{"type: " + typ}
	switch {
	case fits(&kind{decimal: "."}):
	case typ == typeDecimal && fits(&kind{decimal: ",", thousand: "."}):
		lines = append(lines, `decimal: ","`, `thousands: "."`)
	default:
		p.comment("some of the sampled values are not " + typ)
	}
	return lines
}

// hashForms are patterns of hashes. Source: crypt(5) for the prefixes; the lengths of the digests in hexadecimal.
var hashForms = []struct {
	hash string
	form *regexp.Regexp
}{
	{"bcrypt", regexp.MustCompile(`^\$2[abxy]\$`)},
	{"crypt-sha256", regexp.MustCompile(`^\$5\$`)},
	{"crypt-sha512", regexp.MustCompile(`^\$6\$`)},
	{"crypt-md5", regexp.MustCompile(`^\$1\$`)},
	{"sha-512", regexp.MustCompile(`^[0-9A-Fa-f]{128}$`)},
	{"sha-256", regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)},
	{"md5", regexp.MustCompile(`^[0-9A-Fa-f]{32}$`)},
}

func (p *proposal) password(values []string) []string {
	for _, f := range hashForms {
		if len(values) > 0 && !slices.ContainsFunc(values, func(v string) bool { return !f.form.MatchString(v) }) {
			p.comment("the values look like hashes of this kind; check it, and whether they have a salt")
			return []string{"type: password", "hash: " + f.hash}
		}
	}
	p.comment("plain text or JSON; for hashes add hash: bcrypt or another kind")
	return []string{"type: password"}
}

func (p *proposal) plural(a attribute, values []string) []string {
	if !slices.ContainsFunc(values, func(v string) bool { return !strings.HasPrefix(v, "[") || !json.Valid([]byte(v)) }) {
		return []string{"type: plural"}
	}
	for _, separator := range []string{";", "|", ","} {
		if slices.ContainsFunc(values, func(v string) bool { return strings.Contains(v, separator) }) {
			lines := []string{"type: plural", "separator: " + strconv.Quote(separator)}
			if a.member != "" {
				lines = append(lines, "member: "+quote(a.member))
			}
			return lines
		}
	}
	p.comment("a plural; the sampled values are not JSON lists; set separator: and member:")
	return []string{"type: plural"}
}

// guessedLayouts are the layouts that are tried, likely ones first.
var guessedLayouts = []string{
	"YYYY-MM-DD", "YYYY-MM-DD hh:mm:ss", "YYYY-MM-DDThh:mm:ssZ", "YYYY-MM-DDThh:mm:ss", "YYYY-MM-DD hh:mm:ss Z", "YYYY-MM-DD hh:mm",
	"YYYY/MM/DD", "M/D/YYYY", "D/M/YYYY", "D.M.YYYY", "D-M-YYYY", "M/D/YY", "D/M/YY", "D.M.YY",
	"M/D/YYYY h:mm", "D/M/YYYY h:mm", "D.M.YYYY h:mm", "M/D/YYYY h:mm:ss", "D/M/YYYY h:mm:ss", "D.M.YYYY h:mm:ss",
	"M/D/YYYY h:mm am", "M/D/YYYY h:mm:ss am", "MMM D, YYYY", "MMMM D, YYYY", "D MMM YYYY", "D MMMM YYYY", "D-MMM-YYYY",
	"YYYYMMDD", "unix-ms", "unix",
}

// layoutsOf returns the layouts that match most of the values, if at least half, and whether they match all.
func layoutsOf(values []string) (fit []string, all bool) {
	most := max(1, (len(values)+1)/2)
	for _, text := range guessedLayouts {
		l, err := parseLayout(text)
		if err != nil {
			continue
		}
		n := 0
		for _, v := range values {
			if _, ok := l.parse(v); ok {
				n++
			}
		}
		if n > most {
			most, fit = n, nil
		}
		if n == most {
			fit = append(fit, text)
		}
	}
	if len(fit) > 1 && strings.HasPrefix(fit[len(fit)-1], "unix") && !strings.HasPrefix(fit[0], "unix") {
		fit = fit[:1] // digits alone that are a date are one
	}
	if slices.Equal(fit, []string{"unix-ms", "unix"}) && len(values[0]) <= 10 {
		fit = fit[1:]
	}
	return fit, most == len(values)
}

var words = map[bool][]string{
	true:  {"true", "t", "1", "yes", "y", "on", "ja", "j", "oui", "si", "x"},
	false: {"false", "f", "0", "no", "n", "off", "nein", "non"},
}

// wordsOf returns the usual words, and reports whether the values have no others.
func wordsOf(values []string) (yes, no []string, ok bool) {
	ok = true
	yes, no = slices.Clone(words[true][:5]), slices.Clone(words[false][:5])
	for _, v := range values {
		v = strings.ToLower(v)
		switch {
		case slices.Contains(words[true], v):
			if !slices.Contains(yes, v) {
				yes = append(yes, v)
			}
		case slices.Contains(words[false], v):
			if !slices.Contains(no, v) {
				no = append(no, v)
			}
		default:
			ok = false
		}
	}
	return yes, no, ok
}

// camelCase converts a column's name to an attribute's path: First name becomes firstName. Dots stay.
func camelCase(name string) string {
	var paths []string
	for _, part := range strings.Split(name, ".") {
		if part == strings.ToUpper(part) {
			part = strings.ToLower(part)
		}
		var b strings.Builder
		upper := false
		for _, r := range part {
			switch {
			case r == '_' || r < 128 && (unicode.IsLetter(r) || unicode.IsDigit(r)):
				if upper && b.Len() > 0 {
					r = unicode.ToUpper(r)
				} else if b.Len() == 0 {
					r = unicode.ToLower(r)
				}
				b.WriteRune(r)
				upper = false
			default:
				upper = true
			}
		}
		if b.Len() > 0 {
			paths = append(paths, b.String())
		}
	}
	return strings.Join(paths, ".")
}

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.]*$`)

// quote writes a name as YAML does: as it is, or in double quotes with Go's escapes, which are YAML's too.
func quote(name string) string {
	if plainName.MatchString(name) && !slices.Contains([]string{"null", "Null", "NULL", "true", "false"}, name) {
		return name
	}
	return strconv.QuoteToGraphic(name)
}
