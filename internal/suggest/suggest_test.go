package suggest

import "testing"

func TestName(t *testing.T) {
	names := []string{"email", "givenName", "primaryAddress.city", "primaryAddress.zip"}
	for name, want := range map[string]string{
		"Email": "email", "emial": "email", "givenname": "givenName", "given_name": "givenName",
		"city": "primaryAddress.city", "address.zip": "primaryAddress.zip", "shoeSize": "", "": "",
	} {
		if got := Name(name, names); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
}
