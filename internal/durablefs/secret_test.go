package durablefs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestASecretIsReadAsEditorsWriteIt(t *testing.T) {
	const secret = "k3y/Of=the+api"
	inUTF16 := func(order string, text string) string {
		var b strings.Builder
		for _, r := range text {
			if order == "le" {
				b.Write([]byte{byte(r), byte(r >> 8)})
			} else {
				b.Write([]byte{byte(r >> 8), byte(r)})
			}
		}
		return b.String()
	}
	for name, c := range map[string]struct{ content, wrong string }{
		"alone": {secret, ""}, "with a line end": {secret + "\n", ""}, "of Windows": {secret + "\r\n", ""}, "with empty lines": {"\n\n" + secret + "\n\n\n", ""}, "with space": {"\t " + secret + " \n", ""},
		"with a mark": {"\ufeff" + secret + "\r\n", ""}, "in quotes": {`"` + secret + `"` + "\n", ""}, "in single quotes": {"'" + secret + "'", ""}, "with a mark and quotes": {"\ufeff\"" + secret + "\"\r\n", ""},
		"UTF-16, little": {"\xff\xfe" + inUTF16("le", secret+"\r\n"), ""}, "UTF-16, big": {"\xfe\xff" + inUTF16("be", secret), ""}, "UTF-16 with quotes": {"\xff\xfe" + inUTF16("le", `"`+secret+"\"\r\n"), ""},
		"with a no-break space behind": {secret + "\u00a0\n", ""},

		"UTF-16 without a mark": {inUTF16("le", secret), "no text in UTF-8"}, "half of UTF-16": {"\xff\xfea", "no text in UTF-8"}, "Latin-1": {secret + "\xe9", "no text in UTF-8"},
		"empty": {"", "is empty"}, "blank": {" \r\n\t", "is empty"}, "quotes alone": {`""`, "is empty"}, "a mark alone": {"\ufeff", "is empty"},
		"two lines": {secret + "\nother\n", "2 lines"}, "an environment file": {"CAPTURE_CLIENT_SECRET=" + secret, "a name before the secret"}, "a setting": {"client_secret: " + secret, "a name before the secret"},
		"an export": {"export CAPTURE_CLIENT_SECRET='" + secret + "'", "a name before the secret"}, "JSON": {`{"s": "` + secret + `"}`, "JSON"}, "typographic quotes": {"“" + secret + "”", "typographic quotes"},
		"a zero-width space": {secret[:4] + "\u200b" + secret[4:], "U+200B"}, "an escape": {secret + "\x1b", "U+001B"}, "zero bytes": {secret + "\x00", "no text in UTF-8"}, "too long": {strings.Repeat("x", maxSecret+1), "bytes"},
	} {
		path := filepath.Join(t.TempDir(), "secret")
		must(t, os.WriteFile(path, []byte(c.content), 0o600))
		got, err := ReadSecret(path)
		switch {
		case c.wrong == "" && (err != nil || got != secret):
			t.Errorf("%s: %q (%v), want %q", name, got, err, secret)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong) || !strings.Contains(err.Error(), path)):
			t.Errorf("%s: error %v, want one with %q", name, err, c.wrong)
		case err != nil && strings.Contains(err.Error(), secret[:4]):
			t.Errorf("%s: the error holds the secret: %v", name, err)
		}
	}
}

func TestAnIrregularFileIsRefusedWithoutBlocking(t *testing.T) {
	dir := t.TempDir()
	pipe, link := filepath.Join(dir, "pipe"), filepath.Join(dir, "link")
	must(t, syscall.Mkfifo(pipe, 0o600))
	must(t, os.Symlink(pipe, link))
	for path, what := range map[string]string{pipe: "a pipe", link: "a pipe", "/dev/zero": "a device", "/dev/null": "a device", "/dev/tty": "a device", dir: "a folder"} {
		refused := make(chan error, 1)
		go func() {
			_, err := ReadFile(path, 10)
			if _, secretErr := ReadSecret(path); secretErr == nil {
				err = errors.New("read as a secret")
			}
			refused <- err
		}()
		select {
		case err := <-refused:
			if wrong := new(NotRegularError); !errors.As(err, &wrong) || !strings.Contains(err.Error(), path+" is "+what) {
				t.Errorf("%s: error %v, want that it is %s", path, err, what)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%s is waited for", path)
		}
	}
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("0123456789"), 0o600))
	if data, err := ReadFile(file, 10); err != nil || string(data) != "0123456789" {
		t.Errorf("a file of 10 bytes: %q, %v", data, err)
	}
	if _, err := ReadFile(file, 9); err == nil {
		t.Error("a file that is too large is read")
	}
}

func TestAnUnusableTemporaryFolderIsNamed(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	_, err := Nameless()
	if err == nil || !strings.Contains(err.Error(), os.TempDir()+" (TMPDIR), cannot be used") || errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v, want one that names TMPDIR, and is not for what was looked for", err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	if _, err := (Temporary{full}).Write([]byte("x")); err == nil || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("error %v, want one that names TMPDIR", err)
	}
}
