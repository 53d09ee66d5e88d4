package store

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
)

// answering is a store that gives the same answer to every request.
func answering(t *testing.T, status int, body string) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

// A store that cannot be reached, or refuses, has not answered that a file is missing.
func TestAFailedRequestIsNotAbsence(t *testing.T) {
	if os.Getenv("DATALOAD_TEST_URL") != "" {
		t.Skip("the clients take the environment once, and it is that of another bucket")
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "invented")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "invented")
	t.Setenv("AZURE_STORAGE_ACCOUNT", "invented")
	t.Setenv("AZURE_STORAGE_KEY", base64.StdEncoding.EncodeToString([]byte("invented")))
	google := answering(t, http.StatusForbidden, `{"error": {"code": 403, "message": "no permission, or it does not exist"}}`)
	s3 := answering(t, http.StatusNotFound, `<Error><Code>NoSuchBucket</Code></Error>`)
	for what, c := range map[string]struct {
		name string
		read func(name string) error
	}{
		// A name with an empty label is not sent to a resolver. The client retries for some
		// seconds nevertheless.
		"Azure, host not found": {"azblob://container/file?protocol=http&domain=invented..example", exists},
		"Google, forbidden":     {"gs://bucket/file", exists},
		"Google, no reading":    {"gs://bucket/file", func(name string) error { _, err := Read(name); return err }},
		"Google, no removing":   {"gs://bucket/file", Remove},
		"S3, no bucket":         {"s3://bucket/file?region=us-east-1&endpoint=" + s3.URL, func(name string) error { _, err := Read(name); return err }},
	} {
		t.Run(what, func(t *testing.T) {
			t.Setenv("STORAGE_EMULATOR_HOST", google.Listener.Addr().String())
			err := c.read(c.name)
			t.Log(err)
			if err == nil || errors.Is(err, fs.ErrNotExist) || !IsOutage(err) {
				t.Errorf("%v; want an outage that is not %v", err, fs.ErrNotExist)
			}
		})
	}
}

// exists gives an error if it is not known whether there is a file.
func exists(name string) error {
	there, err := Exists(name)
	if err == nil && there {
		err = errors.New("it is there")
	}
	return err
}
