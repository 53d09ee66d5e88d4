// Package invent makes CSV files of invented users, as large as wanted, to try migrations on. The same options always
// give the same bytes. Nobody in them exists: addresses are in domains that are set aside for examples (RFC 2606),
// telephone numbers are in the range for fiction, names are put together from syllables, hashes are random.
//
// The columns are those of sample_config.json of github.com/janrain/dataload, without created.
package invent

import (
	"bufio"
	"io"
	"strconv"
	"strings"
)

// Columns are the names in the header.
var Columns = []string{
	"email", "givenName", "familyName", "displayName", "password", "mobileNumber", "gender", "birthday",
	"primaryAddress.phone", "primaryAddress.address1", "primaryAddress.address2", "primaryAddress.city",
	"primaryAddress.zip", "primaryAddress.stateAbbreviation", "primaryAddress.country", "clients", "optIn.status",
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
)

// Options says which file to make.
type Options struct {
	Records int64
	Seed    uint64

	// Awkward puts in everything that is allowed in a CSV file and troubles its readers, and from 50 records on also
	// what goes wrong: see Flaws. Without it all records are good, and no two have the same email address.
	Awkward bool
}

// Flaws are the records of an awkward file with something wrong, by their numbers, which depend on the number of
// records alone.
type Flaws struct {
	TooFew, TooMany int64    // fields
	BadBirthday     int64    // 31 February
	BlankBehind     int64    // an empty line follows this record
	Repeated        [3]int64 // have the address of the record in Original, the last one in capitals
	Original        [3]int64
}

// Flaws says where they are; all 0 if there are none.
func (o Options) Flaws() Flaws {
	n := o.Records
	if !o.Awkward || n < 50 {
		return Flaws{}
	}
	return Flaws{
		TooFew: n / 5, TooMany: n * 2 / 5, BlankBehind: n / 2, BadBirthday: n * 3 / 5,
		Original: [3]int64{n / 50, n * 2 / 50, n * 3 / 50},
		Repeated: [3]int64{n * 7 / 10, n * 8 / 10, n * 9 / 10},
	}
}

// Write writes the whole file: the header and the records. An awkward file has no line end behind the last record.
func Write(w io.Writer, o Options) error {
	b := bufio.NewWriterSize(w, 256<<10)
	if _, err := b.WriteString(strings.Join(Columns, ",") + "\n"); err != nil {
		return err
	}
	var row []byte
	for n := int64(1); n <= o.Records; n++ {
		row = AppendRecord(row[:0], o, n)
		if _, err := b.Write(row); err != nil {
			return err
		}
	}
	return b.Flush()
}

// AppendRecord appends the bytes of record n, from 1 to o.Records, as they stand in the file that Write makes.
func AppendRecord(dst []byte, o Options, n int64) []byte {
	r := newRandom(o.Seed, n)
	values := user(r, n)
	flaws := o.Flaws()
	var form form
	if o.Awkward {
		form = values.awkward(r, n)
	}
	for i, repeated := range flaws.Repeated {
		if n == repeated {
			values[email] = address(o, flaws.Original[i])
			if i == len(flaws.Repeated)-1 {
				values[email] = strings.ToUpper(values[email])
			}
		}
	}
	fields := values[:]
	switch n {
	case flaws.TooFew:
		fields = fields[:len(fields)-3]
	case flaws.TooMany:
		fields = append(fields, "one too many")
	case flaws.BadBirthday:
		values[birthday] = "02/31/1999"
	}
	for i, value := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendField(dst, value, form)
	}
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

// address is the email address of record n, which is not a repeated one.
func address(o Options, n int64) string {
	r := newRandom(o.Seed, n)
	values := user(r, n)
	if o.Awkward {
		values.awkward(r, n)
	}
	return values[email]
}

func appendField(dst []byte, value string, form form) []byte {
	needed := strings.ContainsAny(value, ",\r\n") || strings.HasPrefix(value, `"`) ||
		(!form.bareQuotes && strings.Contains(value, `"`))
	if !needed && !form.quoteAll {
		return append(dst, value...)
	}
	dst = append(dst, '"')
	dst = append(dst, strings.ReplaceAll(value, `"`, `""`)...)
	return append(dst, '"')
}

// record holds one value for each column.
type record [17]string

// user makes an ordinary record. Its address is unlike that of any other n.
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
	month, day, year := 1+r.below(12), 1+r.below(28), 1925+r.below(90)
	if r.below(2) == 0 {
		return strconv.Itoa(month) + "/" + strconv.Itoa(day) + "/" + strconv.Itoa(year)
	}
	return twoDigits(month) + "/" + twoDigits(day) + "/" + strconv.Itoa(year)
}

func twoDigits(n int) string { return string([]byte{byte('0' + n/10), byte('0' + n%10)}) }

// secret is plain text or an object with a hash, of the kinds that the platform's documentation lists.
func secret(r *random) string {
	switch r.below(5) {
	case 0:
		return `{"type": "password-bcrypt", "value": "$2a$04$` + r.letters(base64Letters, 53) + `"}`
	case 1:
		return `{"type": "password-sha-256", "value": "` + r.letters("0123456789abcdef", 64) + `", "salt": "` + r.letters(base64Letters, 12) + `"}`
	case 2:
		return `{"type": "password-crypt-sha512", "value": "$6$` + r.letters(base64Letters, 8) + "$" + r.letters(base64Letters, 86) + `"}`
	default:
		return "invented-" + r.letters(base64Letters, 10)
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
