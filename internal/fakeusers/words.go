package fakeusers

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
