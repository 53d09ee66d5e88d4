// Package fakeusers generates CSV files of synthetic users, of any size, for trial migrations. The same options always
// give the same bytes. No user is real: addresses are in domains reserved for examples (RFC 2606), telephone numbers are in
// the range reserved for fiction, names are random syllables, hashes are random.
//
// The columns are those of sample_config.json of github.com/janrain/dataload, or those of such a configuration.
package fakeusers

import (
	"bufio"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Columns are the names in the header, without created, which Options can add.
var Columns = namesOf(withoutCreated)

// predefined are the fields of sample_config.json, in its order.
var predefined = []field{
	{name: "email", required: true, column: email},
	{name: "givenName", required: true, column: givenName},
	{name: "familyName", required: true, column: familyName},
	{name: "displayName", required: true, column: displayName},
	{name: "password", required: true, column: password},
	{name: "mobileNumber", column: mobileNumber},
	{name: "gender", column: gender},
	{name: "birthday", column: birthday},
	{name: "primaryAddress.phone", column: phone},
	{name: "primaryAddress.address1", column: address1},
	{name: "primaryAddress.address2", column: address2},
	{name: "primaryAddress.city", column: city},
	{name: "primaryAddress.zip", column: zip},
	{name: "primaryAddress.stateAbbreviation", column: state},
	{name: "primaryAddress.country", column: country},
	{name: "created", required: true, column: created},
	{name: "clients", column: clients},
	{name: "optIn.status", column: status},
}

var withoutCreated = slices.DeleteFunc(slices.Clone(predefined), func(f field) bool { return f.column == created })

func namesOf(fields []field) (names []string) {
	for _, f := range fields {
		names = append(names, f.name)
	}
	return names
}

const (
	email = iota
	givenName
	familyName
	displayName
	password
	mobileNumber
	gender
	birthday
	phone
	address1
	address2
	city
	zip
	state
	country
	clients
	status
	created
)

// Options describe the file to generate.
type Options struct {
	Records int64
	Seed    uint64

	// Awkward adds everything that is valid in a CSV file and troubles its readers, and from 50 records on also
	// invalid records: see Flaws. From 100 records on every awkward value is in a valid record too. Without it all
	// records are valid, and no two have the same email address unless the configuration causes it.
	Awkward bool

	// Created adds the column created, at its position in sample_config.json. It has no effect with Config.
	Created bool

	// OnlyRequired leaves optional columns empty.
	OnlyRequired bool

	// Config defines the columns and their values instead. Awkward values are in the columns with the name of a
	// predefined one.
	Config *Config
}

// Flaws are the invalid records of an awkward file, by their numbers, which depend on the number of records and
// on the columns, and not on the seed. Each is 0 if the file has none.
type Flaws struct {
	TooFew, TooMany int64    // fail: they have too few or too many fields
	BadBirthday     int64    // fails: 31 February is not a date
	BlankBehind     int64    // does not fail: an empty line follows this record
	Repeated        [3]int64 // fail as duplicates: have the address of the record in Original, the last one in capitals
	Original        [3]int64 // fail instead if the repeated one arrives first
}

// Failing are the records that fail if they are sent in their order, in that order.
func (f Flaws) Failing() []int64 {
	failing := append([]int64{f.TooFew, f.TooMany, f.BadBirthday}, f.Repeated[:]...)
	failing = slices.DeleteFunc(failing, func(n int64) bool { return n == 0 })
	slices.Sort(failing)
	return failing
}

// Flaws returns their numbers.
func (o Options) Flaws() Flaws {
	n := o.Records
	if !o.Awkward || n < 50 {
		return Flaws{}
	}
	flaws := Flaws{TooMany: n * 2 / 5, BlankBehind: n / 2}
	if len(o.fields()) > 1 {
		flaws.TooFew = n / 5
	}
	if o.position(birthday) != none {
		flaws.BadBirthday = n * 3 / 5
	}
	if o.position(email) != none {
		flaws.Original = [3]int64{n / 50, n * 2 / 50, n * 3 / 50}
		flaws.Repeated = [3]int64{n * 7 / 10, n * 8 / 10, n * 9 / 10}
	}
	return flaws
}

// fields are the columns of the file.
func (o Options) fields() []field {
	switch {
	case o.Config != nil:
		return o.Config.fields
	case o.Created:
		return predefined
	}
	return withoutCreated
}

// position is where a predefined column is in the file, or none if it is not there or always empty.
func (o Options) position(column int) int {
	for i, f := range o.fields() {
		if f.column == column && !o.omits(f) {
			return i
		}
	}
	return none
}

func (o Options) omits(f field) bool { return o.OnlyRequired && !f.required }

func (o Options) separator() byte {
	if o.Config != nil {
		return o.Config.separator
	}
	return ','
}

// Write writes the whole file: the header and the records. An awkward file has no line end after the last record.
func Write(w io.Writer, o Options) error {
	b := bufio.NewWriterSize(w, 256<<10)
	row := append(appendFields(nil, namesOf(o.fields()), o.separator(), form{}), '\n')
	if _, err := b.Write(row); err != nil {
		return err
	}
	for n := int64(1); n <= o.Records; n++ {
		row = AppendRecord(row[:0], o, n)
		if _, err := b.Write(row); err != nil {
			return err
		}
	}
	return b.Flush()
}

// AppendRecord appends the bytes of record n, from 1 to o.Records, as in the file that Write makes.
func AppendRecord(dst []byte, o Options, n int64) []byte {
	values, form := o.values(make([]string, 0, 20), n)
	flaws := o.Flaws()
	for i, repeated := range flaws.Repeated {
		if n == repeated {
			original, _ := o.values(nil, flaws.Original[i])
			at := o.position(email)
			values[at] = original[at]
			if i == len(flaws.Repeated)-1 {
				values[at] = strings.ToUpper(values[at])
			}
		}
	}
	switch n {
	case flaws.TooFew:
		values = values[:max(1, len(values)-3)]
	case flaws.TooMany:
		values = append(values, "one too many")
	case flaws.BadBirthday:
		values[o.position(birthday)] = "02/31/1999"
	}
	dst = appendFields(dst, values, o.separator(), form)
	if o.Awkward && n == o.Records {
		return dst
	}
	if form.crlf {
		dst = append(dst, '\r')
	}
	dst = append(dst, '\n')
	if n == flaws.BlankBehind {
		dst = append(dst, '\n')
	}
	return dst
}

// values appends the values of record n, one for each column, before its flaws.
func (o Options) values(dst []string, n int64) ([]string, form) {
	r := newRandom(o.Seed, n)
	var ordinary, values record
	var form form
	if o.Config == nil || o.Awkward {
		ordinary = user(r, n)
		values = ordinary
	}
	if o.Awkward {
		form = values.awkward(r, n)
	}
	if o.Config != nil {
		r = newRandom(^o.Seed, n) // the same values with what is awkward and without
	} else if o.Created {
		values[created] = past(r).Format(time.DateTime)
	}
	for i, f := range o.fields() {
		value := ""
		if f.value != nil {
			value = f.value(r, n)
		}
		if f.column != none && (f.value == nil || values[f.column] != ordinary[f.column]) {
			value = values[f.column]
		}
		if o.omits(f) || form.sparse && i > 0 {
			value = ""
		}
		dst = append(dst, value)
	}
	return dst, form
}

func appendFields(dst []byte, values []string, separator byte, form form) []byte {
	if len(values) == 1 && values[0] == "" {
		return append(dst, `""`...) // an empty line would be no record
	}
	for i, value := range values {
		if i > 0 {
			dst = append(dst, separator)
		}
		dst = appendField(dst, value, separator, form)
	}
	return dst
}

func appendField(dst []byte, value string, separator byte, form form) []byte {
	needed := strings.IndexByte(value, separator) >= 0 || strings.ContainsAny(value, "\r\n") || strings.HasPrefix(value, `"`) ||
		(!form.bareQuotes && strings.Contains(value, `"`))
	if !needed && !form.quoteAll {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(value, `"`, `""`)...)
	return append(dst, '"')
}

// record holds one value for each predefined column.
type record [18]string

// user makes an ordinary record, without created. Its address is unlike that of any other n.
func user(r *random, n int64) record {
	given := pick(r, givenStarts) + pick(r, givenEnds)
	family := pick(r, familyStarts) + pick(r, familyEnds)
	number := strconv.FormatInt(n, 10)
	var v record
	v[email] = strings.ToLower(given) + "." + strings.ToLower(family) + number + "@" + pick(r, domains)
	v[givenName] = given
	v[familyName] = family
	v[displayName] = given + " " + family
	v[password] = secret(r)
	v[mobileNumber] = telephone(r)
	v[gender] = pick(r, genders)
	v[birthday] = date(r)
	v[phone] = telephone(r)
	v[address1] = strconv.Itoa(1+r.below(9999)) + " " + pick(r, streets)
	if r.below(3) == 0 {
		v[address2] = "Flat " + strconv.Itoa(1+r.below(99))
	}
	v[city] = pick(r, cities)
	v[zip] = r.letters("0123456789", 5)
	v[state] = pick(r, states)
	v[country] = pick(r, countries)
	v[clients] = clientList(r, ", ")
	v[status] = pick(r, booleans)
	return v
}

func telephone(r *random) string {
	if r.below(4) == 0 {
		return ""
	}
	return pick(r, phonePrefixes) + r.letters("0123456789", 2)
}

func date(r *random) string {
	if r.below(10) == 0 {
		return ""
	}
	month, day, year := 1+r.below(12), 1+r.below(28), 1940+r.below(55)
	if r.below(2) == 0 {
		return strconv.Itoa(month) + "/" + strconv.Itoa(day) + "/" + strconv.Itoa(year)
	}
	return twoDigits(month) + "/" + twoDigits(day) + "/" + strconv.Itoa(year)
}

// past is a moment from 2008 to 2025, more of them late.
func past(r *random) time.Time {
	days := 1 + r.below(18*365/2)
	return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, -days-r.below(days)).Add(-time.Duration(r.below(24*60*60)) * time.Second)
}

func twoDigits(n int) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }

// secret is an object with a hash, of the kinds that the platform's documentation lists, or now and then plain text.
func secret(r *random) string {
	switch r.below(20) {
	case 0:
		return "invented-" + r.letters(base64Letters, 10)
	case 1, 2, 3, 4, 5:
		return `{"type": "password-sha-256", "value": "` + r.letters("0123456789abcdef", 64) + `", "salt": "` + r.letters(base64Letters, 12) + `"}`
	case 6, 7, 8, 9, 10:
		return `{"type": "password-crypt-sha512", "value": "$6$` + r.letters(base64Letters, 8) + "$" + r.letters(base64Letters, 86) + `"}`
	default:
		return `{"type": "password-bcrypt", "value": "$2a$10$` + r.letters(base64Letters, 53) + `"}`
	}
}

func clientList(r *random, between string) string {
	count := r.below(4)
	if count == 0 {
		return pick(r, []string{"", "[]"})
	}
	b := []byte("[")
	for i := range count {
		if i > 0 {
			b = append(b, between...)
		}
		b = append(b, `{"clientId": "`...)
		b = append(b, r.letters("0123456789", 8)...)
		b = append(b, `", "name": "Client Name `...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `"}`...)
	}
	return string(append(b, ']'))
}

// random is SplitMix64, one stream for each record: small, fast, and the same in every version of Go.
type random struct{ state uint64 }

func newRandom(seed uint64, n int64) *random {
	r := &random{state: seed}
	r.state = r.next() ^ uint64(n)*0x9E3779B97F4A7C15
	r.state = r.next()
	return r
}

func (r *random) next() uint64 {
	r.state += 0x9E3779B97F4A7C15
	z := r.state
	z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// below is a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() >> 33 % uint64(n)) }

// letters is a string of n letters of an alphabet of one-byte letters.
func (r *random) letters(alphabet string, n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = alphabet[r.below(len(alphabet))]
	}
	return string(b)
}

func pick(r *random, list []string) string { return list[r.below(len(list))] }
