package validate

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"durable-dataload/internal/mapping"
)

func TestAHeaderWithoutKnownAttributesIsRefused(t *testing.T) {
	const noneOfThem = "no column is an attribute of the target's, and none gives the primary key, email"
	for _, c := range []struct{ header, schema, noSchema string }{
		{"email,givenName", "", ""},
		{"givenName,familyName", "", "no column gives the primary key, email, and the target's schema is not known"}, // records without a key
		{"Email,givenName", "column 1 nearly has its name; did you mean email?", "did you mean email?"},
		{"givenName,E-Mail", "column 2 nearly has its name; did you mean email?", "did you mean email?"},
		{"E_Mail,x", "did you mean email?", "did you mean email?"}, {"e mail,x", "did you mean email?", "did you mean email?"},
		{"EMAIL", "did you mean email?", "did you mean email?"}, {"émail,givenName", "did you mean email?", "did you mean email?"},
		{"Email Address,givenName", "did you mean email?", "did you mean email?"}, {"user_email,x", "did you mean email?", "did you mean email?"},
		{"emial,givenName", "did you mean email?", "did you mean email?"}, {"mail,givenName", "did you mean email?", "did you mean email?"},
		{"emailVerified,mobileNumber", "", "did you mean email?"}, // another attribute
		{"Jane,Doe,Berlin", noneOfThem, "the target's schema is not known"}, {"Not Found", noneOfThem, "the target's schema is not known"},
		{"id,uuid,lastUpdated", noneOfThem, "the target's schema is not known"},
	} {
		for _, schema := range []bool{true, false} {
			o, want := options(t), c.schema
			if !schema {
				o.Schema, want = nil, c.noSchema
			}
			r := validated(t, c.header+"\n"+strings.Repeat(",", strings.Count(c.header, ","))+"x\n", o)
			got := ""
			for _, f := range r.Findings {
				if f.Kind == KindFile {
					got += short(f)
				}
			}
			if want == "" && got != "" || !strings.Contains(got, want) || strings.Contains(got, "Jane") {
				t.Errorf("%s, with a schema %t: found %q, want %q", c.header, schema, got, want)
			}
			if refused := got != ""; refused && len(r.Findings) > 1 {
				t.Errorf("%s is refused, and its records are checked: %v", c.header, r.Findings)
			}
		}
	}
}

func TestInvisibleCharactersInKeysAreReported(t *testing.T) {
	for _, r := range "\u0009\u0085\u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u180e\u2000\u2003\u2007\u2009\u200a\u200b\u200c\u200d\u200e\u200f\u2028\u2029\u202a\u202e\u202f\u205f\u2060\u2063\u2066\u2069\u2800\u3000\u3164\ufe0f\ufeff\uffa0\U000E0020\U000E0100" {
		for _, key := range []string{"ann@example.com" + string(r), string(r) + "ann@example.com", "ann" + string(r) + "@example.com", "ann" + string(r)} {
			o := options(t)
			o.Schema = nil
			holds(t, validated(t, header+"ok@example.com,Ok\n\""+key+"\",Ann\n", o), []string{fmt.Sprintf("warning invisible email 1 [3]: the key contains the invisible character U+%04X", r)})
		}
	}
	o := options(t)
	o.Schema = nil
	holds(t, validated(t, header+"ann @example.com,A\nbob@example.com ,B\n", o), []string{"warning invisible email 2 [2 3]: the key contains the invisible character U+0020 (space)"})
	// Values of another unique attribute are keys as well.
	holds(t, validated(t, "email,nick\na@example.com,n\u200bx\n", options(t)), []string{"warning invisible nick 1 [2]: the key contains the invisible character U+200B (zero-width space)"})
	o.PrimaryKey = "name"
	holds(t, validated(t, "name,about\nAnn Test,\u00a0\nJosé Öz,x\n山田太郎,x\nعلي,x\nनमस्ते,x\nO’Neill–Żak,x\n", o), nil)
}

func TestPlaceholdersOfProgramsAreReported(t *testing.T) {
	for message, cells := range map[string][]string{
		"an error of a spreadsheet":                      {"#REF!", "#N/A", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#SPILL!", "#CALC!", "#BEZUG!", "#WERT!", "#NV", "#ZAHL!", "#VALEUR!", "#NOM?", "#¡VALOR!", "#¿NOMBRE?", "#RIF!", "#N/D", "#VERW!", "Err:508", "#GETTING_DATA"},
		"only number signs":                              {"###", "########", strings.Repeat("#", 60)},
		"a number that a spreadsheet has shortened":      {"4.47912E+11", "4,47912E+11", "1E+15", "-2.5E+10", "1e+16", "9.1E-05"},
		"a word that programs write for a missing value": {"NULL", "null", "NaN", "nan", "None", "undefined", "(null)", "<NA>"},
		`\N, which MySQL writes for a missing value`:     {`\N`},
		"text form of an object":                         {"[object Object]", "{'a': 1}", "[{'a': 1}]"},
	} {
		for _, cell := range cells {
			content := "email,displayName\na@example.com,A\nb@example.com,\"" + cell + "\"\nc@example.com,\"" + cell + "\"\n"
			r := validated(t, content, options(t))
			if len(r.Findings) != 1 || r.Findings[0].Severity != Warning || r.Findings[0].Attribute != "displayName" || r.Findings[0].Count != 2 || r.Findings[0].Places[0].Line != 3 || !strings.Contains(r.Findings[0].Message, message) {
				t.Errorf("%q: found %v, want a warning of 2 cells of displayName, from line 3 on: %s", cell, r.Findings, message)
			}
		}
	}
}

func TestValuesThatTheMappingLosesAreReported(t *testing.T) {
	r := validated(t, "email,optIn.status,gender\n"+
		"a@example.com,WAHR,weiblich\nb@example.com,TRUE,Female \nc@example.com,VRAI,F\nd@example.com,1.0,m\ne@example.com,yes,M\nf@example.com,,NS\n"+
		"g@example.com,on,d\nh@example.com,0,not specified\nj@example.com,,Prefer not to say\ni@example.com,f, \n", options(t))
	holds(t, r, []string{
		`warning replaced optIn.status 5 [2 4 5]: the mapping does not know the value, which is lost: null is sent instead; expected 0, 1, f, false, t, true; add`,
		`warning replaced gender 3 [2 3 8]: the mapping does not know the value, which is lost: "not specified" is sent instead; expected f, female, m, male, o, other; add`})
}

func TestPasswordsThatLookLikeHashesAreReported(t *testing.T) {
	for _, c := range []struct{ password, severity, want string }{
		{"$2y$10$" + strings.Repeat("x", 53), "error", "looks like a bcrypt hash"}, {"$2a$12$" + strings.Repeat("x", 53), "error", "password: {type: password, hash: bcrypt}"},
		{"$P$B" + strings.Repeat("x", 30), "error", "hash: phpass-md5"}, {"$H$9" + strings.Repeat("x", 30), "error", "hash: phpass-md5"}, {"$S$D" + strings.Repeat("x", 51), "error", "looks like a Drupal 7 hash"},
		{"pbkdf2_sha256$260000$salt$Zm9v", "error", "hash: pbkdf2-sha256"}, {"$pbkdf2-sha512$25000$c2FsdA$aGFzaA", "error", "hash: pbkdf2-sha512"}, {"pbkdf2:sha256:260000$salt$00", "error", "hash: pbkdf2-sha256"},
		{"$argon2id$v=19$m=65536$c2FsdA$aGFzaA", "error", "looks like an Argon2 hash"}, {"$5$rounds=5000$salt$hashhash", "error", "crypt-sha256"}, {"$6$saltsalt$hashhashhash", "error", "crypt-sha512"}, {"$1$saltsalt$hashhashhash", "error", "crypt-md5"},
		{"$scrypt$ln=16,r=8,p=1$c2FsdA$aGFzaA", "error", "looks like a scrypt hash"}, {"sha1$salt$" + strings.Repeat("0", 40), "error", "looks like a Django hash"},
		{"AQAAAAEAACcQAAAAE" + strings.Repeat("x", 66) + "=", "error", "ASP.NET"},
		{strings.Repeat("a1", 16), "warning", "looks like an MD5 hash"}, {strings.Repeat("A1", 20), "warning", "looks like a SHA-1 hash"}, {strings.Repeat("a1", 32), "warning", "hash: sha-256"}, {strings.Repeat("a1", 64), "warning", "hash: sha-512"},
		{"correct horse battery staple", "warning", "is plain text"}, {"(x)$2y$10$" + strings.Repeat("x", 53), "warning", "is plain text"}, {"deadbeef", "warning", "is plain text"}, {"P{SSHA}xxxxxxxxxxxxxxxxxxxxx", "warning", "is plain text"},
	} {
		holds := false
		r := validated(t, "email,password\na@example.com,\""+c.password+"\"\n", options(t))
		if len(r.Findings) == 1 {
			f := r.Findings[0]
			holds = f.Kind == KindPassword && string(f.Severity) == c.severity && strings.Contains(f.Message, c.want)
		}
		if !holds {
			t.Errorf("%s: found %v, want one %s: %s", c.password, r.Findings, c.severity, c.want)
		}
	}
	// A hash with its kind is correct.
	rules, err := mapping.Parse("m.yaml", []byte("columns: {password: {type: password, hash: bcrypt}}"))
	must(t, err)
	o := options(t)
	o.Encoder = func(header []string) (Records, error) { return rules.Compile(header) }
	holds(t, validated(t, "email,password\na@example.com,$2y$10$"+strings.Repeat("x", 53)+"\n", o), nil)
}

func TestRecordsInsideAnUnclosedQuoteAreReported(t *testing.T) {
	for _, c := range []struct {
		content string
		lines   string
	}{
		{"email,displayName\na@example.com,A\nb@example.com,\"B\nc@example.com,C\nd@example.com,D\ne@example.com,E\"\nf@example.com,F\n", "3 [4 5 6]"},
		{"email,displayName,givenName\na@example.com,A,A\nb@example.com,\"B,B\nc@example.com,C,C\nd@example.com,D \"the\" D,D\nf@example.com,F,F\n\"g@example.com\",G,G\n", "2 [4 5]"},
		{"displayName;email\nA;a@example.com\r\n\"B;b@example.com\r\nC;c@example.com\r\nD\";d@example.com\r\n", "1 [4]"},
		{"email,displayName\na@example.com,\"A\nb@example.com,\"\"B\"\"\nc@example.com,C\"\n", "2 [3 4]"},
		// Quotes in normal values.
		{"email,displayName\na@example.com,\"I like red, blue\nand green, yellow\nRed,blue\n\"\n", ""},
		{"email,displayName,givenName\na@example.com,\"Sea Street 5,Back,Left\nTown,Land,Earth\",A\n", ""},
		{"email,displayName\na@example.com,\"<p>Hello, <b>world</b></p>\n<p>a, b</p>\n\"\nb@example.com,\"x\ny\"\n", ""},
		{"email,displayName\na@example.com,\"write to x@example.com, or\ny@example.com, please\"\n", ""},
		{"email\n\"a@example.com\nb@example.com\"\n", ""},
		{"displayName,email\n\"one\ntwo\",a@example.com\n", ""},
	} {
		o := options(t)
		o.Schema = nil
		if strings.Contains(c.content, ";") {
			o.Delimiter = ';'
		}
		got := ""
		for _, f := range validated(t, c.content, o).Findings {
			if f.Kind == KindQuote {
				got += fmt.Sprintf("%d %v", f.Count, lines(f))
			}
		}
		if got != c.lines {
			t.Errorf("%q: found lines %q, want %q", c.content, got, c.lines)
		}
	}
}

func lines(f Finding) (lines []int64) {
	for _, p := range f.Places {
		lines = append(lines, p.Line)
	}
	return lines
}

func TestAHeaderInTheMiddleIsNotSent(t *testing.T) {
	r := validated(t, "email,givenName\na@example.com,A\nemail,givenName\n\uFEFFemail,\"givenName\"\nemail,A\n", options(t))
	holds(t, r, []string{"error header_again  2 [3 4]: the line repeats the header", "error email email 1 [5]: "})
	if r.Sent != 2 {
		t.Errorf("%d would be sent, want 2", r.Sent)
	}
}

func TestRecordsWithoutAnyValueAreNotSent(t *testing.T) {
	r := validated(t, "email,givenName\na@example.com,A\n,\n\" \",\t\n\"\",\"\"\n\u00a0,\u200b\n", options(t))
	holds(t, r, []string{"error empty_record  4 [3 4 5]: no column has a value"})
	if r.Sent != 1 {
		t.Errorf("%d would be sent, want 1", r.Sent)
	}
}

// A false alarm is as bad as a missing finding.
func TestOrdinaryFilesHaveNoFindings(t *testing.T) {
	users, err := os.ReadFile(filepath.Join("..", "..", "testdata", "users.csv"))
	must(t, err)
	for _, content := range []string{
		"email\na@example.com\n", "email,givenName\na@example.com,A\n",
		"email,givenName,familyName,displayName\na@example.com,Null,Nan,Nil\nb@example.com,Infinity,True,#winning\nc@example.com,E,1e5,#1\nd@example.com,9E10,[sic],{x}\n",
		"email,givenName\na@example.com,山田\nb@example.com,Ђорђе\nc@example.com,علي\u200cرضا\nd@example.com,👩\u200d👩\u200d👧\ne@example.com,Zoë\n",
		"email,displayName\na@example.com,\"<a href=\"\"https://example.com/?a=1,2\"\">x</a>, y\n\nz\"\nb@example.com,\"a,b;c|d\"\n",
		"email,mobileNumber,primaryAddress.zip\na@example.com,07912345678,01067\nb@example.com,+15550100001,1E5\n",
		"email,gender,optIn.status\na@example.com,M,1\nb@example.com,female,FALSE\nc@example.com,,\n",
		"email,password\na@example.com,\"{\"\"type\"\":\"\"password-bcrypt\"\",\"\"value\"\":\"\"$2y$10$abc\"\"}\"\n",
	} {
		o := options(t)
		holds(t, validated(t, content, o), nil)
		o.Schema = nil
		holds(t, validated(t, content, o), nil)
	}
	o := options(t)
	o.Schema = nil
	for _, f := range validated(t, string(users), o).Findings {
		switch f.Kind {
		case KindReplaced:
			if f.Attribute != "optIn.status" { // "maybe" is no consent
				t.Errorf("testdata/users.csv: %s", short(f))
			}
		case KindCell, KindInvisible, KindQuote, KindFile, KindEmptyRecord:
			t.Errorf("testdata/users.csv: %s", short(f))
		}
	}
}

// What took a step for each pair of columns would outlast the deadline of the tests.
func TestAHundredThousandColumnsAreChecked(t *testing.T) {
	const n = 100_000
	header, cells := make([]string, n), make([]string, n)
	for i := range header {
		header[i], cells[i] = fmt.Sprintf("column%d", i), "x"
	}
	header[n-1], cells[n-1] = "email", "a@example.com"
	text := strings.Join(header, ",") + "\n" + strings.Repeat(strings.Join(cells, ",")+"\n", 3)
	var rules strings.Builder
	rules.WriteString("columns:\n")
	for i := range 500 {
		fmt.Fprintf(&rules, "  column%d: {expression: 'value + column%d + row[\"column%d\"]'}\n", i, i+1, i+2)
	}
	m, err := mapping.Parse("m.yaml", []byte(rules.String()))
	must(t, err)
	for name, schema := range map[string]bool{"with a schema": true, "without": false} {
		o := options(t)
		o.Encoder = func(header []string) (Records, error) { return m.Compile(header) }
		if !schema {
			o.Schema = nil
		}
		if report := validated(t, text, o); report.Records != 3 {
			t.Errorf("%s: %d records, want 3", name, report.Records)
		}
	}
}

func TestNamesOfTheSchemaCannotSteerATerminal(t *testing.T) {
	r := &Report{File: "users.csv", Findings: []Finding{{Severity: Error, Kind: KindUnknown, Attribute: "nick", Message: "did you mean ni\x1b[2Jck\u202e?", Count: 1}}}
	var b strings.Builder
	r.Text(&b)
	if strings.ContainsAny(b.String(), "\x1b\u202e") || !strings.Contains(b.String(), `ni\x1b[2Jck`) {
		t.Errorf("the report is %q, want no character that a terminal obeys", b.String())
	}
}
