package identityplatform_test

import (
	"testing"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/conformance"
	"durable-dataload/internal/target/identityplatform"
)

// export is a CSV file as an Identity Cloud gives it.
const export = `uuid,email,givenName,familyName,displayName,emailVerified,created,lastUpdated,id,password
efd7fe4e-0001, Ann@example.net,Ann,Lee,Ann Lee,2020-01-02 03:04:05 +0000,2015-12-15 07:36:25 +0000,2021-01-01 00:00:00 +0000,7,"{""type"":""password-bcrypt"",""value"":""$2b$10$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234""}"
efd7fe4e-0002,bob@example.net,,,,,,,8,
`

func TestTheDefaultMappingTakesAnExport(t *testing.T) {
	server := start(t)
	a := connect(t, server.Address, "owner", target.Hooks{})
	found := conformance.Load(t, a, identityplatform.DefaultMapping, export)
	for i, want := range []map[string]string{
		{"localId": `"efd7fe4e-0001"`, "email": `"ann@example.net"`, "displayName": `"Ann Lee"`, "emailVerified": "true", "createdAt": `"2015-12-15T07:36:25.000Z"`, "customAttributes": `{"familyName":"Lee","givenName":"Ann"}`},
		{"localId": `"efd7fe4e-0002"`, "email": `"bob@example.net"`, "displayName": "", "emailVerified": "false", "customAttributes": ""},
	} {
		for name, value := range want {
			if got := string(found[i].Attributes[name]); got != value {
				t.Errorf("%s of record %d is %s, want %s", name, i, got, value)
			}
		}
	}
}
