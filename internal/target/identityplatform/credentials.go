package identityplatform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"durable-dataload/internal/httponce"
)

// scope is the one that Google's own libraries ask for.
const scope = "https://www.googleapis.com/auth/identitytoolkit"

// Credentials returns a Config.Token that finds Google's Application Default Credentials, when the first token is needed and
// until there are some: the key or configuration in the file that GOOGLE_APPLICATION_CREDENTIALS names, else those of gcloud,
// else those of the machine. It renews the access token before it expires. A request for one takes as long as timeout at
// most.
func Credentials(timeout time.Duration) func() (string, error) {
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, &http.Client{Timeout: timeout})
	var (
		finding sync.Mutex
		found   *google.Credentials
	)
	find := func() (_ *google.Credentials, err error) {
		finding.Lock()
		defer finding.Unlock()
		if found == nil {
			found, err = google.FindDefaultCredentials(ctx, scope)
		}
		return found, err
	}
	return func() (string, error) {
		found, err := find()
		if err != nil {
			// The error of an unreadable file quotes it.
			return "", errors.New("no credentials for Google were found, or they cannot be read; name the file of a service account's key in GOOGLE_APPLICATION_CREDENTIALS, or run gcloud auth application-default login")
		}
		t, err := found.TokenSource.Token()
		if err != nil {
			return "", safe(err)
		}
		return t.AccessToken, nil
	}
}

// safe is an error of getting a token without the answer, which the original quotes.
func safe(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) {
		var answer struct{ Error string }
		_ = json.Unmarshal(refused.Body, &answer) // any other answer has no code
		if isCode.MatchString(answer.Error) {
			return errors.New("Google refuses the credentials: " + answer.Error)
		}
		if refused.Response != nil {
			return fmt.Errorf("Google gives no access token: HTTP %d", refused.Response.StatusCode)
		}
	}
	if cause := httponce.SafeCause(err); cause != nil {
		return fmt.Errorf("Google gives no access token: %w", cause)
	}
	return errors.New("Google gives no access token")
}

// isCode matches the error codes of OAuth 2.0 (RFC 6749, section 5.2).
var isCode = regexp.MustCompile(`^[a-z_]{1,40}$`)
