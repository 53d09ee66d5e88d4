package sandbox

import (
	"fmt"
	"net/http"
	"testing"

	"durable-dataload/internal/target"
	"durable-dataload/internal/target/conformance"
	"durable-dataload/internal/target/identitycloud"
)

func TestTheIdentityCloudIsATarget(t *testing.T) {
	server, _ := start(t, Options{})
	connect := func(t *testing.T, url, secret string, hooks target.Hooks) target.Adapter {
		t.Helper()
		a, err := identitycloud.NewAdapter(identitycloud.Config{BaseURL: url, ClientID: testID, ClientSecret: secret}, hooks)
		must(t, err)
		return a
	}
	subject := conformance.Subject{
		URL: server.URL(),
		Connect: func(t *testing.T, url string, hooks target.Hooks) target.Adapter {
			return connect(t, url, testSecret, hooks)
		},
		Denied: func(t *testing.T, hooks target.Hooks) target.Adapter {
			return connect(t, server.URL(), "wrong", hooks)
		},
		Key: "email",
		Record: func(key string) string {
			return fmt.Sprintf(`{"email":%q,"givenName":"Ann","primaryAddress":{"city":"Köln"},"password":{"type":"password-bcrypt","value":"$2b$10$abc"},"clients":[{"name":"one"}]}`, key)
		},
		Value: "primaryAddress.city", List: "clients", Elements: [2]string{`[{"name":"two"},{"name":"three"}]`, `[]`},
		Refused: func(key string) string { return fmt.Sprintf(`{"email":%q,"birthday":"soon"}`, key) },
	}
	subject.InternalError.Status, subject.InternalError.Body = http.StatusOK, `{"stat":"error","code":500,"error":"unexpected_error","error_description":"?"}`
	conformance.Run(t, subject)
}
