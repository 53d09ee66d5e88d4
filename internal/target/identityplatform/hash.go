package identityplatform

import (
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"

	"durable-dataload/internal/target"
)

// hash is a password hash as the API takes it: its bytes and those of its salt in base64, and what holds for a whole call.
type hash struct {
	algorithm  string // "" for none
	rounds     int    // 0 for none
	hash, salt string
}

// group is the same for hashes that can travel in one call.
func (h hash) group() string {
	if h.rounds == 0 {
		return h.algorithm
	}
	return h.algorithm + " " + strconv.Itoa(h.rounds)
}

// parameters are those of a call for a group, as members of its JSON object.
func parameters(group string) string {
	if group == "" {
		return ""
	}
	algorithm, rounds, has := strings.Cut(group, " ")
	text := `"hashAlgorithm":"` + algorithm + `",`
	if has {
		text += `"rounds":` + rounds + `,`
	}
	return text
}

var (
	bcrypt = regexp.MustCompile(`^\$2[abxy]?\$\d\d\$[./A-Za-z0-9]{53}$`)
	// The form of the PHC string format, and that of Python's passlib.
	pbkdf2 = regexp.MustCompile(`^\$pbkdf2(?:-(sha1|sha256))?\$(?:i=)?(\d+)(?:,l=\d+)?\$([./+A-Za-z0-9]+)\$([./+A-Za-z0-9]+)$`)
)

// maxRounds is documented for PBKDF2.
const maxRounds = 120_000

// hashOf is the hash in a password. Plain text is not sent: the API hashes none in a batch.
func hashOf(password json.RawMessage) (hash, error) {
	p, has, err := target.ParsePassword(password)
	switch {
	case err != nil:
		return hash{}, target.Unsendable("password", err.Error())
	case !has:
		return hash{}, nil
	case p.Plain != "":
		return hash{}, target.Unsendable("password in plain text", "Identity Platform imports hashes of passwords, and no plain text; leave the password out, and have the user set a new one")
	case bcrypt.MatchString(p.Value) && p.Salt == "":
		return hash{algorithm: "BCRYPT", hash: base64.URLEncoding.EncodeToString([]byte(p.Value))}, nil
	}
	if parts := pbkdf2.FindStringSubmatch(p.Value); parts != nil && p.Salt == "" {
		rounds, err := strconv.Atoi(parts[2])
		salt, errSalt := decode(parts[3])
		sum, errSum := decode(parts[4])
		if err == nil && errSalt == nil && errSum == nil && rounds >= 1 && rounds <= maxRounds {
			h := hash{algorithm: "PBKDF_SHA1", rounds: rounds, hash: base64.URLEncoding.EncodeToString(sum), salt: base64.URLEncoding.EncodeToString(salt)}
			if parts[1] == "sha256" {
				h.algorithm = "PBKDF2_SHA256"
			}
			return h, nil
		}
	}
	return hash{}, target.Unsendable(p.Kind(), "Identity Platform takes no hashes of the type "+p.Kind()+" in this form; leave the password out, and have the user set a new one")
}

// decode reads base64 without padding, in which passlib has a dot for a plus.
func decode(text string) ([]byte, error) {
	return base64.RawStdEncoding.DecodeString(strings.ReplaceAll(text, ".", "+"))
}
