package identitycloud

// passwordTypes are the types that the current documentation lists for imports ("Transform user passwords").
var passwordTypes = set(
	"password-bcrypt", "password-crypt-sha256", "password-crypt-sha512", "password-crypt-des",
	"password-pbkdf2-sha1", "password-pbkdf2-sha256", "password-pbkdf2-sha512",
	"password-phpass-sha512-truncated-55", "password-netforum", "password-sha-256", "password-sha-512",
)

// olderPasswordTypes are further types that an earlier edition listed.
var olderPasswordTypes = set(
	"password-md5", "password-crypt-md5", "password-md5-salted-left-base64", "password-md5-salted-right-base64",
	"password-phpass-md5",
)

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}

// doubts is Traits.Doubts.
func doubts(kind string) (text string, refused bool) {
	switch {
	case kind == "":
		return "the password is plain text, which the platform hashes; its documentation allows that for development only; expected a hash as {\"type\": …, \"value\": …}", false
	case olderPasswordTypes[kind]:
		return "the documentation no longer lists this kind of password hash, and the platform may refuse it; ask Akamai before you migrate", false
	case !passwordTypes[kind]:
		return "the platform does not document this kind of password hash; expected password-bcrypt, password-sha-256 and so on, see docs/validate.md", true
	}
	return "", false
}
