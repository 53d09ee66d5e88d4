package identityplatform

import (
	"context"
	"encoding/json"
	"net/http"

	"durable-dataload/internal/target"
)

// Schema is that of every project, except that emails are unique only where the project says so. Where it does not show
// that, they are not called unique.
func (a *Adapter) Schema(ctx context.Context) (target.Schema, error) {
	answer, err := a.call(ctx, target.Checks, http.MethodGet, "/v2"+a.project+"/config", nil, "signIn", "name")
	if err != nil && !target.Is(err, target.Forbidden) {
		return target.Schema{}, err
	}
	var signIn struct{ AllowDuplicateEmails bool }
	_ = json.Unmarshal(answer["signIn"], &signIn) // the API leaves out what is false
	email := target.Attribute{Name: "email", Type: "string", CaseSensitive: new(bool), Constraints: []string{"email-address"}}
	if err == nil && !signIn.AllowDuplicateEmails {
		email.Constraints = append(email.Constraints, "unique")
	}
	provider := []target.Attribute{{Name: "providerId", Type: "string"}, {Name: "rawId", Type: "string"}, {Name: "email", Type: "string"}, {Name: "displayName", Type: "string"}, {Name: "photoUrl", Type: "string"}}
	return target.Schema{Name: "user", Attributes: []target.Attribute{
		{Name: "localId", Type: "string", Length: maxID, Constraints: []string{"unique"}}, email,
		{Name: "emailVerified", Type: "boolean"}, {Name: "displayName", Type: "string"}, {Name: "photoUrl", Type: "string"},
		{Name: "phoneNumber", Type: "string", Constraints: []string{"unique"}}, {Name: "disabled", Type: "boolean"},
		{Name: "createdAt", Type: "dateTime"}, {Name: "lastLoginAt", Type: "dateTime"}, {Name: "password", Type: "password"},
		{Name: "customAttributes", Type: "object"}, {Name: "providerUserInfo", Type: "plural", Attributes: provider},
	}}, nil
}
