package fakeusers

import "strings"

// form is how a record is written, apart from its values.
type form struct {
	quoteAll   bool // every field in quotes
	bareQuotes bool // a quote inside a value does not put it in quotes
	crlf       bool // ends in CRLF
	sparse     bool // only the first field has a value
}

// awkward gives record n one of 25 awkward values in turn. The record stays valid.
func (v *record) awkward(r *random, n int64) form {
	given, family := v[givenName], v[familyName]
	_, domain, _ := strings.Cut(v[email], "@")
	number := v[email][strings.IndexAny(v[email], "0123456789"):strings.Index(v[email], "@")]
	switch n % 25 {
	case 0: // plain text that could be taken for a number
		v[password] = "1" + r.letters("0123456789", 7)
	case 1:
		v[displayName] = family + ", " + given
	case 2:
		v[displayName] = given + ` "` + pick(r, nicknames) + `" ` + family
	case 3:
		v[address1] += "\nc/o " + family
	case 4:
		v[address1] += "\r\nc/o " + family
	case 5: // base letters and combining marks, and in the next such record the same names precomposed
		v[givenName], v[familyName] = "Zoe\u0308lla", "Zoëlla\u0301nde\u0301"
		if n%50 >= 25 {
			v[givenName], v[familyName] = "Zo\u00eblla", "Zo\u00ebll\u00e1nd\u00e9"
		}
		v[displayName] = v[givenName] + " " + v[familyName]
	case 6:
		v[givenName], v[familyName], v[displayName] = "אבגדוש", "להוזמן", "אבגדוש להוזמן"
	case 7:
		v[givenName], v[familyName], v[displayName] = "سمارون", "الخيالبي", "سمارون الخيالبي"
	case 8:
		v[displayName] = given + " 🦊👩\u200d🚀 " + family
	case 9: // dotless and dotted i, which change case differently in Turkish
		v[givenName], v[familyName], v[displayName] = "Işılga", "İğdırsu", "Işılga İĞDIRSU ığdırsu"
	case 10:
		v[email] = "o'" + strings.ToLower(family) + number + "@" + domain
		v[familyName] = "O'" + family
	case 11:
		v[email] = strings.ToLower(given) + "+" + pick(r, tags) + number + "@" + domain
	case 12:
		v[email] = given + "." + family + number + "@" + strings.ToUpper(domain[:1]) + domain[1:]
	case 13:
		for v[clients] = ""; !strings.Contains(v[clients], "\n"); {
			v[clients] = strings.ReplaceAll(clientList(r, ",\n  "), "Client Name", "Client, Inc.")
		}
	case 14:
		return form{sparse: true}
	case 15:
		return form{quoteAll: true}
	case 16:
		v[city], v[displayName] = "  "+v[city]+" ", " "+v[displayName]+"  "
		v[gender], v[status] = " ", "maybe"
	case 17:
		v[address2] = `Door 7" wide`
		return form{bareQuotes: true}
	case 18: // spreadsheets would compute these
		v[displayName], v[address2] = `=HYPERLINK("https://example.com","`+given+`")`, "@SUM(1+1)"
		v[mobileNumber] = "+12025550123"
	case 19:
		return form{crlf: true}
	case 20: // the longest local part that RFC 5321 allows
		local := strings.ToLower(given+"."+family) + number
		v[email] = strings.Repeat("x", 64-len(local)) + local + "@" + domain
	case 21:
		v[displayName] = `<script>alert("` + given + `")</script>`
		v[address2] = "C:\\flat\\n \t&amp; %22 \u2028 'x' {{y}} $(z)"
	case 22: // outside the Basic Multilingual Plane, where UTF-16 needs two units
		v[givenName], v[familyName], v[displayName] = "𠮷野星", "架空𝒜", "架空𝒜 𠮷野星"
	case 23:
		v[address2] = strings.Repeat("Behind the long row of sheds. ", 30)
	case 24:
		v[birthday] = pick(r, []string{"2/29/1948", "02/29/2000", "12/31/1969", "01/01/1970"})
		v[gender] = "Unknown / " + pick(r, nicknames)
	}
	return form{}
}

const base64Letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789./"

var (
	domains = []string{"example.com", "example.org", "example.net", "mail.test", "people.test"}

	givenStarts  = []string{"Bra", "Cedu", "Dor", "Elwi", "Fen", "Gala", "Hul", "Ixa", "Jor", "Keli", "Lum", "Miro", "Nev", "Oro", "Pex", "Quil", "Rho", "Syl", "Tavi", "Umla", "Vex", "Wyn", "Xan", "Yaro", "Zeph"}
	givenEnds    = []string{"bel", "dora", "quin", "ndo", "reth", "wix", "luna", "mar", "zo", "phine", "vel", "tas"}
	familyStarts = []string{"Ash", "Brim", "Clow", "Dusk", "Ember", "Fjor", "Glim", "Hask", "Ink", "Jast", "Kroll", "Lodd", "Mox", "Nub", "Ost", "Plim", "Quarn", "Rusk", "Snib", "Tol", "Uvver", "Wex", "Yont", "Zill"}
	familyEnds   = []string{"abury", "quist", "omore", "ingle", "wyck", "aster", "ovitz", "umble", "ender", "ille", "axter", "oggin"}

	nicknames = []string{"Moth", "Pebble", "Comet", "Noodle"}
	tags      = []string{"news", "shop", "a+b", "test"}

	// spellings as the sample generator of dataload mixes them
	genders  = []string{"Male", "male", "MALE", "M", "Female", "female", "FEMALE", "F", "O", "Other", "OTHER", "other", "Not Specified", "NS", "not specified", "N/A", "n/a", "n/A", "", "x"}
	booleans = []string{"True", "False", "T", "F", "true", "false", "1", "0", ""}

	// 555-0100 to 555-0199 is kept free for fiction in the North American plan
	phonePrefixes = []string{"20255501", "+1 202 555 01", "(202) 555-01"}

	streets   = []string{"Sample Street", "Placeholder Lane", "Mock Road", "Dummy Avenue", "Fixture Square"}
	cities    = []string{"Testville", "Sampleton", "Mockford", "Exampleburg", "Stubhaven", "Été-sur-Essai"}
	states    = []string{"", "TX", "OR", "NY", "CA"}
	countries = []string{"US", "CA", "DE", "TR", "IL", ""}
)
