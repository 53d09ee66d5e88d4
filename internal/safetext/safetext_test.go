package safetext

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// awkward are names of real files.
var awkward = []string{
	"users.csv", "München.csv", "客户.csv", "😀.csv", "Ω.csv", "éa\u0301.csv", "a b.csv", "-rf.csv", "--help", ".", "..", "...", "50%41.csv", "a/b?c#d.csv",
	"users\u202evsc.exe", "two\nlines.csv", "tab\tand\rreturn.csv", "nul\x00.csv", "\x1b[31mred.csv", "\xff\xfe.csv", "ﬁle.csv", "ｆｕｌｌ.csv", "`x`|y.csv", "",
	strings.Repeat("a", 255), strings.Repeat("é", 127) + ".csv", strings.Repeat("-", 255), strings.Repeat("<", 255), strings.Repeat("\xff", 255),
}

var slugForm = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9._-]{0,58}[A-Za-z0-9_])?$`)

func FuzzASlugIsSafeWhateverTheNameIs(f *testing.F) {
	for _, name := range awkward {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		slug := Slug(name)
		if !slugForm.MatchString(slug) {
			t.Errorf("Slug(%q) is %q; want at most 60 characters of ASCII that need no escape", name, slug)
		}
		if again := Slug(slug); again != slug {
			t.Errorf("Slug(%q) is %q; want a slug to be its own slug", slug, again)
		}
	})
}

func FuzzWhatIsShownNeitherSteersATerminalNorLies(f *testing.F) {
	for _, name := range awkward {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if shown := Name(name); !IsPrintable(shown) {
			t.Errorf("Name(%q) is %q; want printable characters only", name, shown)
		}
		text := Text(name)
		if !utf8.ValidString(text) || strings.ContainsFunc(text, isUnsafe) {
			t.Errorf("Text(%q) is %q; want printable characters, line breaks and tabs", name, text)
		}
		if strings.Count(text, "\n") != strings.Count(name, "\n") {
			t.Errorf("Text(%q) is %q; want the same line breaks", name, text)
		}
		for _, most := range []int{3, 20, 300} {
			cut := Cut(name, most)
			if data, err := json.Marshal(cut); err != nil || len(data)-2 > most {
				t.Errorf("Cut(%q, %d) is %q: %d bytes of JSON, %v", name, most, cut, len(data)-2, err)
			}
		}
		data, err := json.Marshal(map[string]string{"name": name})
		if err != nil {
			t.Fatal(err)
		}
		var before, after map[string]string
		safe := JSON(data)
		if json.Unmarshal(data, &before) != nil || json.Unmarshal(safe, &after) != nil || before["name"] != after["name"] || bytes.ContainsFunc(safe, isUnsafe) {
			t.Errorf("JSON(%s) is %s; want the same value of printable characters", data, safe)
		}
		if code := Code(name); strings.Count(code, "`") != 2 || strings.ContainsAny(code, "\n") {
			t.Errorf("Code(%q) is %q; want one piece of code in one line", name, code)
		}
	})
}

func TestASlugIsReadable(t *testing.T) {
	for name, want := range map[string]string{
		"users.csv": "users.csv", "users_2026-11-22.csv": "users_2026-11-22.csv", "München.csv": "Munchen.csv", "客户.csv": "csv", "😀": "unnamed", "..": "unnamed",
		"my users.csv": "my-users.csv", "-rf.csv": "rf.csv", "50%41.csv": "50-41.csv", "users\u202evsc.exe": "users-vsc.exe", "a\nb.csv": "a-b.csv", "\xffb.csv": "b.csv",
		strings.Repeat("a", 200) + "-export-2026-11-22.csv": strings.Repeat("a", 29) + "-aaaaaaaa-export-2026-11-22.csv",
	} {
		if got := Slug(name); got != want {
			t.Errorf("Slug(%q) is %q, want %q", name, got, want)
		}
	}
}

func TestShownQuotesOnlyWhatNeedsIt(t *testing.T) {
	for name, want := range map[string]string{
		"users.csv": "users.csv", "München 2.csv": "München 2.csv", "客户.csv": "客户.csv", "😀.csv": "😀.csv", `a\n"b".csv`: `a\n"b".csv`,
		"a\nb.csv": `"a\nb.csv"`, "users\u202evsc.exe": `"users\u202evsc.exe"`, "\xff.csv": `"\xff.csv"`, "\x1b[2J": `"\x1b[2J"`,
	} {
		if got := Name(name); got != want {
			t.Errorf("Name(%q) is %s, want %s", name, got, want)
		}
	}
	if got, want := Text("one\n\ttwo\x1b[2J\u202e\xff\x07 \"é\""), "one\n\ttwo\\x1b[2J\\u202e\\xff\\a \"é\""; got != want {
		t.Errorf("Text gave %q, want %q", got, want)
	}
	if got, want := Cut(strings.Repeat("a", 500)+".csv", 100), ".csv"; !strings.HasSuffix(got, want) || !strings.Contains(got, "…") {
		t.Errorf("Cut gave %q; want the begin and the end", got)
	}
}

func TestIsID(t *testing.T) {
	for _, id := range []string{"nightly", "nightly-2", "a/b:c.d_e", "2026"} {
		if !IsID(id) {
			t.Errorf("%q is none; want one", id)
		}
	}
	for _, id := range []string{"", "-n", ".", "/a", "a b", "Nächte", "a\nb", "a\u202eb", "a%41", strings.Repeat("a", 201), "\xff"} {
		if IsID(id) {
			t.Errorf("%q is one; want none", id)
		}
	}
}
