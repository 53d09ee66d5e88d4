package sandbox

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestAuthentication(t *testing.T) {
	_, c := start(t, Options{})
	form := url.Values{"type_name": {"user"}, "filter": {"email = 'ü;&=+ @x.org' or email is null"}}
	now := time.Now().UTC().Format(signedDate)
	signature := func(id, secret, path, date string, pairs []string) http.Header {
		return http.Header{
			"Date":          {date},
			"Authorization": {"Signature " + id + ":" + credentials{id, secret}.sign(path, date, pairs)},
		}
	}
	signed := func(id, secret, path, date string) http.Header {
		return signature(id, secret, path, date, signedPairs(form))
	}
	basic := func(id, secret string) http.Header {
		r := http.Request{Header: http.Header{}}
		r.SetBasicAuth(id, secret)
		return r.Header
	}
	at := func(offset time.Duration) string { return time.Now().UTC().Add(offset).Format(signedDate) }
	cases := []struct {
		name   string
		header http.Header
		code   int // 0 for let in
	}{
		{"basic", basic(testID, testSecret), 0},
		{"basic, wrong secret", basic(testID, "Secret"), 402},
		{"basic, wrong id", basic("Client", testSecret), 402},
		{"basic, malformed", http.Header{"Authorization": {"Basic %%%"}}, 402},
		{"signed", signed(testID, testSecret, "/entity.count", now), 0},
		{"signed, wrong secret", signed(testID, "Secret", "/entity.count", now), 402},
		{"signed, wrong id", signed("Client", testSecret, "/entity.count", now), 402},
		{"signed, another endpoint", signed(testID, testSecret, "/entity.find", now), 402},
		{"signed, other parameters", signature(testID, testSecret, "/entity.count", now, []string{"type_name=user"}), 402},
		{"signed, a little old", signed(testID, testSecret, "/entity.count", at(-maxClockSkew/2)), 0},
		{"signed, stale", signed(testID, testSecret, "/entity.count", at(-maxClockSkew-time.Minute)), 402},
		{"signed, of the future", signed(testID, testSecret, "/entity.count", at(maxClockSkew+time.Minute)), 402},
		{"signed, date of HTTP", signed(testID, testSecret, "/entity.count", time.Now().UTC().Format(http.TimeFormat)), 402},
		{"signed, no date", http.Header{"Authorization": signed(testID, testSecret, "/entity.count", now)["Authorization"]}, 402},
		{"signed, malformed", http.Header{"Authorization": {"Signature x"}, "Date": {now}}, 402},
		{"none", http.Header{}, 402},
		{"another method", http.Header{"Authorization": {"Bearer x"}}, 205},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			if got := codeOf(t, c.url+"/entity.count", tc.header, form); got != tc.code {
				t.Errorf("code %d, want %d", got, tc.code)
			}
		})
	}
	t.Run("signed, without parameters", func(t *testing.T) {
		// Both ways to sign nothing are let in, and then the entity type is missing.
		for _, pairs := range [][]string{nil, {""}} {
			if got := codeOf(t, c.url+"/entity.count", signature(testID, testSecret, "/entity.count", now, pairs), nil); got != 100 {
				t.Errorf("signed pairs %q: code %d, want 100", pairs, got)
			}
		}
	})
}

// TestSignatureIsTheVendorsOne holds a signature that was made with the vendor's own Python client.
func TestSignatureIsTheVendorsOne(t *testing.T) {
	params := url.Values{"type_name": {"user"}, "filter": {"email='é@x.org'"}, "max_results": {"5"}}
	got := credentials{"cid", "sec"}.sign("/entity.find", "2026-11-22 13:05:00", signedPairs(params))
	if want := "MZGyjTAlp+pGf1kvrgtXweCPcpc="; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
}

func TestWrongCredentialsWriteNothing(t *testing.T) {
	server, c := start(t, Options{})
	form := url.Values{"type_name": {"user"}, "all_attributes": {`[{"email":"a@x.org"}]`}}
	if got := codeOf(t, c.url+"/entity.bulkCreate", http.Header{}, form); got != 402 {
		t.Fatalf("code %d, want 402", got)
	}
	if n := c.total(); n != 0 {
		t.Errorf("%d entities, want none", n)
	}
	if call := truth(t, server.options.StateDir)[0]; call.Code != 402 || call.Endpoint != "entity.bulkCreate" {
		t.Errorf("truth log: %s with code %d, want entity.bulkCreate with 402", call.Endpoint, call.Code)
	}
}

func codeOf(t *testing.T, address string, header http.Header, form url.Values) int {
	t.Helper()
	request, err := http.NewRequest(http.MethodPost, address, strings.NewReader(form.Encode()))
	must(t, err)
	request.Header = header.Clone()
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := transport.RoundTrip(request)
	must(t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("status %d, error %v; API errors come with 200", response.StatusCode, err)
	}
	var answer struct {
		Stat string
		Code int
	}
	must(t, json.Unmarshal(text, &answer))
	if (answer.Stat == "ok") != (answer.Code == 0) {
		t.Fatalf("stat %q with code %d", answer.Stat, answer.Code)
	}
	return answer.Code
}
