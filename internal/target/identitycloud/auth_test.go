package identitycloud

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func duration(t *testing.T, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	must(t, err)
	return d
}

// The signatures come from janrain-python-api 0.5.0: the first is the vector of its own test, the others were computed by it
// for the bodies that it sent.
func TestSignatureIsThatOfThePythonClient(t *testing.T) {
	for _, tc := range []struct{ secret, endpoint, date, body, want string }{
		{"bar", "/entity", "2000-01-01 01:01:01",
			"param1=" + url.QueryEscape("this is a string") + "&param2=10&param3=" + url.QueryEscape("one=1\ntwo=2,three=3"),
			"G3N5RxCVc0d6rDLmBRGvcg2hCVY="},
		{"sécret/+=", "/entity.bulkCreate", "2026-11-22 13:05:00",
			"type_name=user&timeout=10&all_attributes=%5B%7B%22email%22%3A+%22o%27brien%2B1%40example.com%22%2C+%22givenName%22%3A+%22Zo%5Cu00eb+%26+Co+%3D+100%25%22%7D%2C+%7B%22email%22%3A+%22b%40example.com%22%2C+%22a%22%3A+%7B%22b%22%3A+%5B1%2C+2%2C+null%2C+true%5D%7D%2C+%22t%22%3A+%22x%5Cny~%2A%22%7D%5D",
			"stczXeCSsVms3QX1X7lb5gMgcR0="},
		{"sécret/+=", "/entity.count", "2026-11-22 13:05:00", "type_name=user&timeout=10", "9Y9HALuI7CyfTDlZRdAjRjZQFek="},
	} {
		if got := signature(tc.secret, tc.endpoint, tc.date, []byte(tc.body)); got != tc.want {
			t.Errorf("%s %s: got %s, want %s", tc.endpoint, tc.body, got, tc.want)
		}
	}
}

// TestSignatureCoversWhatArrives verifies calls like a server, over the decoded values.
func TestSignatureCoversWhatArrives(t *testing.T) {
	url, requests := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		var lines []string
		for k, v := range r.PostForm {
			lines = append(lines, k+"="+v[0])
		}
		slices.Sort(lines)
		text := r.URL.Path + "\n" + r.Header.Get("Date") + "\n" + strings.Join(lines, "\n") + "\n"
		mac := hmac.New(sha1.New, []byte(testSecret))
		_, _ = io.WriteString(mac, text)
		want := "Signature " + testID + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
		if got := r.Header.Get("Authorization"); got != want {
			t.Errorf("%s: got %q, want %q for\n%s", r.URL, got, want, text)
		}
		date, err := time.Parse(time.DateTime, r.Header.Get("Date"))
		if err != nil || time.Since(date).Abs() > time.Minute {
			t.Errorf("date %q: %v", r.Header.Get("Date"), err)
		}
		_, _ = io.WriteString(w, `{"stat":"ok","uuid_results":["`+uuid1+`"],"total_count":3,"results":[{"uuid":"u2","email":"x"}],"result":{"uuid":"u1","email":"o'b"}}`)
	})
	c := newClient(t, url, func(cfg *Config) { cfg.Auth, cfg.EntityType = Signature, "the user & co" })
	ctx := context.Background()
	body := bodyOf(t, c, []byte("{\"email\":\"a+b@example.com\",\n \"name\":\"Zoë O'Brien & 100% =\"}"))
	if a := c.CreateBatch(ctx, body); a.Verdict != Answered {
		t.Errorf("got %+v", a)
	}
	if _, err := c.Count(ctx); err != nil {
		t.Error(err)
	}
	if _, err := c.FindEntities(ctx, "email", []string{"A+B@x", "o'b", "ü=&%"}); err != nil {
		t.Error(err)
	}
	if requests.Load() != 4 {
		t.Errorf("%d requests, want 4", requests.Load())
	}
}
