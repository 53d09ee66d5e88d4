package stage

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/klauspost/compress/zstd"
	_ "gocloud.dev/blob/memblob"
	"golang.org/x/sys/unix"

	"durable-dataload/internal/durablefs"
	"durable-dataload/internal/store"
)

func gzipped(t testing.TB, text string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	must(t, w.Close())
	return b.String()
}

func zstandard(t testing.TB, text string, options ...zstd.EOption) string {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, options...)
	must(t, err)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	must(t, w.Close())
	return b.String()
}

func inUTF16(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = order.AppendUint16(b, unit)
	}
	return string(b)
}

var little, big = binary.LittleEndian, binary.BigEndian

// input writes a file of this name, or is standard input.
func input(t testing.TB, name, content string, e Encoding) Input {
	t.Helper()
	if name == Stdin {
		return Input{Path: Stdin, Stdin: iotest.HalfReader(strings.NewReader(content)), Encoding: e}
	}
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(content), 0o600))
	return Input{Path: path, Encoding: e}
}

// files are what a folder has besides locks.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".lock") {
			names = append(names, e.Name())
		}
	}
	return names
}

const people = "email,city\r\nann@example.com,\"Zürich\n\"\nbob@example.com,Łódź\n\nemoji@example.com,🦊\n"

func TestFileMakesAPlainFile(t *testing.T) {
	const western = "email,city\r\nann@example.com,Zürich\nbob@example.com,€ – Œ\n"
	const westernBytes = "email,city\r\nann@example.com,Z\xfcrich\nbob@example.com,\x80 \x96 \x8c\n"
	long := strings.Repeat(people, 30_000) // some chunks
	for _, c := range []struct {
		file, content string
		encoding      Encoding
		name, want    string
	}{
		{"-", people, UTF8, "stdin", people},
		{"-", gzipped(t, people), UTF8, "stdin", people},
		{"-", zstandard(t, people), UTF8, "stdin", people},
		{"-", "", UTF8, "stdin", ""},
		{"-", "\ufeff" + people, UTF8, "stdin", "\ufeff" + people},
		{"users.csv.gz", gzipped(t, people), UTF8, "users.csv", people},
		{"users.csv.gz", gzipped(t, people) + gzipped(t, long), UTF8, "users.csv", people + long}, // gzip allows several in a file
		{"USERS.CSV.GZ", gzipped(t, ""), UTF8, "USERS.CSV", ""},
		{"users.zst", zstandard(t, long), UTF8, "users", long},
		{"users.csv.zst", zstandard(t, people) + zstandard(t, people), UTF8, "users.csv", people + people},
		{"users.csv", westernBytes, Windows1252, "users.csv", western},
		{"users.csv.gz", gzipped(t, westernBytes), Windows1252, "users.csv", western},
		{"users.csv", "a,\xa0\xe9\xff\x00\r\n", Latin1, "users.csv", "a,\u00a0éÿ\x00\r\n"},
		{"plain.csv", "a,b\n", Latin1, "plain.csv", "a,b\n"},
		{"excel.txt", "\xff\xfe" + inUTF16(little, long), UTF16, "excel.txt", long},
		{"excel.txt", "\xfe\xff" + inUTF16(big, people), UTF16, "excel.txt", people},
		{"excel.txt", "\xff\xfe" + inUTF16(little, people), UTF16LE, "excel.txt", people},
		{"excel.txt", inUTF16(little, people), UTF16LE, "excel.txt", people},
		{"excel.txt", inUTF16(big, long), UTF16BE, "excel.txt", long},
		{"-", zstandard(t, "\xff\xfe"+inUTF16(little, people)), UTF16, "stdin", people},
		{"empty.txt", "", UTF16, "empty.txt", ""},
	} {
		in := input(t, c.file, c.content, c.encoding)
		dir := filepath.Join(t.TempDir(), "state", "inputs")
		got, err := File(t.Context(), dir, in, nil)
		sum := sha256.Sum256([]byte(c.want))
		digest := hex.EncodeToString(sum[:])
		want := Staged{Path: filepath.Join(dir, digest+".csv"), Name: c.name, SHA256: digest, Size: int64(len(c.want))}
		if err != nil || got != want {
			t.Errorf("%s, encoding %q: %+v, error %v; want %+v", c.file, c.encoding, got, err, want)
			continue
		}
		content, err := os.ReadFile(got.Path)
		if err != nil || string(content) != c.want {
			t.Errorf("%s, encoding %q: the file is %.200q, error %v; want %.200q", c.file, c.encoding, content, err, c.want)
		}
		if info, err := os.Stat(got.Path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v, error %v; want 0600", c.file, info.Mode(), err)
		}
		if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: the folder has mode %v, error %v; want 0700", c.file, info.Mode(), err)
		}
		if names := files(t, dir); len(names) != 1 {
			t.Errorf("%s: the folder has %q; want the file", c.file, names)
		}
	}
}

func TestFileRefuses(t *testing.T) {
	for _, c := range []struct {
		file, content string
		encoding      Encoding
		want          string
	}{
		{"users.csv.gz", "email\n", UTF8, "users.csv.gz: the content is not compressed with gzip; expected so, since the name ends in .gz; rename the file, or make it again"},
		{"users.csv.zst", "", UTF8, "users.csv.zst: the content is not compressed with zstd; expected so, since the name ends in .zst; rename the file, or make it again"},
		{"users.csv.gz", zstandard(t, people), UTF8, "users.csv.gz: the content is compressed with zstd; expected gzip, since the name ends in .gz; rename the file"},
		{"users.csv.zst", gzipped(t, people), UTF8, "users.csv.zst: the content is compressed with gzip; expected zstd, since the name ends in .zst; rename the file"},
		{"users.csv", gzipped(t, people), Latin1, "users.csv: the content is compressed with gzip; expected a name that ends in .gz then; rename the file"},
		{"users.gz", gzipped(t, people) + "and more behind it", UTF8, "users.gz: something that is not compressed with gzip follows the gzip data; expected nothing there; make or fetch the file again"},

		{"users.csv", "a\nb,\x81\n", Windows1252, "users.csv, line 2: the byte 0x81 has no meaning in windows-1252; expected text in that encoding; say with --encoding what it is"},
		{"users.csv", "a\n\"b\n\n\x93c\x94\"\n", Latin1, "users.csv, line 4: the byte 0x93 has no meaning in latin-1; expected text in that encoding; it may be --encoding windows-1252"},
		{"users.csv.gz", gzipped(t, strings.Repeat("ééééééééé\n", 200_000)), Windows1252, "users.csv.gz: all characters of the file beyond ASCII are UTF-8; expected windows-1252; leave --encoding out"},
		{"-", "\ufeffemail\n", Latin1, "stdin: all characters of the file beyond ASCII are UTF-8; expected latin-1; leave --encoding out"},
		{"users.txt", inUTF16(little, "email\n"), UTF16, "users.txt, line 1: there is no byte order mark; expected one with --encoding utf-16; give utf-16le (as Windows writes it) or utf-16be, or say what else it is"},
		{"users.txt", "\xfe\xff" + inUTF16(big, "email\n"), UTF16LE, "users.txt, line 1: the byte order mark is that of utf-16be; expected utf-16le; give --encoding utf-16"},
		{"users.txt", "\xff\xfe" + inUTF16(little, "email\na\n") + "b", UTF16, "users.txt, line 3: the last character is cut off; expected two bytes a character, as UTF-16 has them; make or fetch the file again"},
		{"users.txt", "b", UTF16BE, "users.txt, line 1: the last character is cut off; expected two bytes a character, as UTF-16 has them; make or fetch the file again"},
		{"users.txt", inUTF16(little, "a\n") + "\x00\xd8x\x00", UTF16LE, "users.txt, line 2: an incomplete character (a lone surrogate) is not UTF-16; expected UTF-16; fix the export, or name the encoding with --encoding"},
		{"users.txt", inUTF16(little, "a\n") + "\x00\xdcx\x00", UTF16LE, "users.txt, line 2: an incomplete character (a lone surrogate) is not UTF-16; expected UTF-16; fix the export, or name the encoding with --encoding"},
		{"users.txt", inUTF16(little, "a\n") + "\x00\xd8", UTF16LE, "users.txt, line 2: an incomplete character (a lone surrogate) is not UTF-16; expected UTF-16; fix the export, or name the encoding with --encoding"},
	} {
		dir := t.TempDir()
		got, err := File(t.Context(), dir, input(t, c.file, c.content, c.encoding), nil)
		var wrong *Error
		if !errors.As(err, &wrong) || err.Error() != c.want || got != (Staged{}) {
			t.Errorf("%s, encoding %q: %+v, error\n%v; want\n%s", c.file, c.encoding, got, err, c.want)
		}
		if names := files(t, dir); names != nil {
			t.Errorf("%s, encoding %q: %q is left", c.file, c.encoding, names)
		}
	}
}

func TestFileDetectsTruncation(t *testing.T) {
	for name, whole := range map[string]string{"users.gz": gzipped(t, people), "users.zst": zstandard(t, people)} {
		for n := 4; n < len(whole); n++ {
			dir := t.TempDir()
			_, err := File(t.Context(), dir, input(t, name, whole[:n], UTF8), nil)
			var wrong *Error
			if !errors.As(err, &wrong) || !strings.HasSuffix(err.Error(), " data end too early; expected a whole file; make or fetch it again") {
				t.Errorf("%s, the first %d of %d bytes: error %v", name, n, len(whole), err)
			}
			if names := files(t, dir); names != nil {
				t.Errorf("%s, the first %d bytes: %q is left", name, n, names)
			}
		}
		// A byte that is another one is noticed by the checksums, if not before.
		for n := 20; n < len(whole); n++ {
			bad := []byte(whole)
			bad[n] ^= 0x10
			dir := t.TempDir()
			if _, err := File(t.Context(), dir, input(t, name, string(bad), UTF8), nil); !errors.As(err, new(*Error)) {
				t.Errorf("%s, byte %d is another one: error %v", name, n, err)
			}
			if names := files(t, dir); names != nil {
				t.Errorf("%s, byte %d is another one: %q is left", name, n, names)
			}
		}
	}
}

// Characters come out right wherever the reads cut them.
func TestEncodingsDoNotDependOnHowMuchIsRead(t *testing.T) {
	text := "a,é\nÿ,b\n\u2028"
	for _, c := range []struct {
		encoding Encoding
		bytes    string
		want     string
	}{
		{UTF16LE, inUTF16(little, text+"🦊"), text + "🦊"},
		{UTF16, "\xfe\xff" + inUTF16(big, "🦊🦊\n"+text), "🦊🦊\n" + text},
		{Windows1252, "Z\xfcrich \x80\n", "Zürich €\n"},
		{UTF8, text, text},
	} {
		for _, r := range []io.Reader{
			iotest.OneByteReader(strings.NewReader(c.bytes)), iotest.HalfReader(strings.NewReader(c.bytes)), iotest.DataErrReader(iotest.OneByteReader(strings.NewReader(c.bytes))),
		} {
			var b bytes.Buffer
			out := &output{w: &b, digest: sha256.New()}
			if err := c.encoding.copy(out, r); err != nil || b.String() != c.want || out.size != int64(len(c.want)) {
				t.Errorf("%q: %q, %d bytes, error %v; want %q", c.encoding, b.String(), out.size, err, c.want)
			}
		}
	}
}

func FuzzUTF16(f *testing.F) {
	f.Add([]byte("\xff\xfea\x00\n\x00\x3d\xd8\x00\xde"))
	f.Add([]byte("a\x00\x00\xd8\x00\xd8"))
	f.Fuzz(func(t *testing.T, in []byte) {
		var b bytes.Buffer
		err := UTF16LE.copy(&output{w: &b, digest: sha256.New()}, iotest.HalfReader(bytes.NewReader(in)))
		var units []uint16
		for i := 0; i+1 < len(in); i += 2 {
			units = append(units, binary.LittleEndian.Uint16(in[i:]))
		}
		back := utf16.Encode([]rune(b.String()))
		if err != nil {
			units = units[:min(len(units), len(back)+boolean(bytes.HasPrefix(in, []byte{0xFF, 0xFE})))]
		}
		if len(units) > 0 && units[0] == 0xFEFF {
			units = units[1:]
		}
		if !slices.Equal(back, units) {
			t.Fatalf("%x, error %v: %x; want %x", in, err, back, units)
		}
	})
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestTheSameContentIsTheSameFile(t *testing.T) {
	dir := t.TempDir()
	var first Staged
	for i, in := range []Input{
		input(t, "users.csv.gz", gzipped(t, people), UTF8), input(t, "-", people, UTF8), input(t, "users.csv.gz", gzipped(t, people), UTF8),
	} {
		got, err := File(t.Context(), dir, in, nil)
		must(t, err)
		if i == 0 {
			first = got
		}
		if got.Path != first.Path || len(files(t, dir)) != 1 {
			t.Errorf("%s, the folder has %q; want one file, %s", got.Path, files(t, dir), first.Path)
		}
	}
}

func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		in   Input
		want bool
	}{
		{Input{Path: "/data/users.csv"}, false},
		{Input{Path: "/data.gz/users"}, false},
		{Input{Path: "-"}, true},
		{Input{Path: "/data/users.csv.gz"}, true},
		{Input{Path: "users.csv.ZST"}, true},
		{Input{Path: "users.csv", Encoding: UTF16}, true},
	} {
		if got := Needs(c.in); got != c.want {
			t.Errorf("%+v: %v, want %v", c.in, got, c.want)
		}
	}
}

func TestParseEncoding(t *testing.T) {
	for name, want := range map[string]Encoding{
		"": UTF8, "utf-8": UTF8, "UTF8": UTF8, "Windows-1252": Windows1252, "cp1252": Windows1252, "latin-1": Latin1, "ISO-8859-1": Latin1,
		"utf-16": UTF16, "UTF-16LE": UTF16LE, "utf-16be": UTF16BE,
	} {
		if got, err := ParseEncoding(name); err != nil || got != want {
			t.Errorf("%q is %q, error %v; want %q", name, got, err, want)
		}
	}
	if _, err := ParseEncoding("koi8-r"); err == nil || !strings.Contains(err.Error(), "windows-1252") {
		t.Errorf("error %v; want one that says what is there", err)
	}
}

// Two at a time do not disturb each other, and what a killed one left is removed.
func TestConcurrentWritersDoNotCollide(t *testing.T) {
	dir := t.TempDir()
	old, err := durablefs.NewWriter(filepath.Join(dir, "incoming-1"))
	must(t, err)
	if _, err := old.WriteString("left over"); err != nil {
		t.Fatal(err)
	}
	reader, writer := io.Pipe()
	reading := make(chan struct{}, 100)
	result := make(chan error, 1)
	go func() {
		_, err := File(t.Context(), dir, Input{Path: Stdin, Stdin: reader}, func(int64) { reading <- struct{}{} })
		result <- err
	}()
	if _, err := io.WriteString(writer, "email\nslow@"); err != nil {
		t.Fatal(err)
	}
	<-reading // it has its place now
	quick, err := File(t.Context(), dir, input(t, "-", people, UTF8), nil)
	must(t, err)
	if _, err := io.WriteString(writer, "example.com\n"); err != nil {
		t.Fatal(err)
	}
	writer.Close()
	if err := <-result; err != nil {
		t.Error(err)
	}
	slow := fmt.Sprintf("%x.csv", sha256.Sum256([]byte("email\nslow@example.com\n")))
	if got, want := files(t, dir), []string{filepath.Base(quick.Path), slow}; !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("the folder has %q; want %q", got, want)
	}
}

func TestFileEndsWithItsContext(t *testing.T) {
	stop := errors.New("stopped")
	for _, when := range []string{"before it begins", "while nothing comes"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		silence := &silentReader{begins: func() { cancel(stop) }, ends: make(chan struct{})}
		defer close(silence.ends)
		in := Input{Path: Stdin, Stdin: io.MultiReader(strings.NewReader("email\n"), silence)}
		if when == "before it begins" {
			cancel(stop)
		}
		dir := t.TempDir()
		if _, err := File(ctx, dir, in, nil); !errors.Is(err, stop) {
			t.Errorf("%s: error %v; want %v", when, err, stop)
		}
		if names := files(t, dir); names != nil {
			t.Errorf("%s: %q is left", when, names)
		}
	}
}

// silentReader says nothing, like an idle terminal.
type silentReader struct {
	begins func()
	ends   chan struct{}
}

func (r *silentReader) Read([]byte) (int, error) {
	r.begins()
	<-r.ends
	return 0, io.EOF
}

func TestReadErrorsAreNotCompressionErrors(t *testing.T) {
	broken := errors.New("broken cable")
	for _, content := range []string{people, gzipped(t, people), zstandard(t, people), ""} {
		dir := t.TempDir()
		in := Input{Path: Stdin, Stdin: io.MultiReader(strings.NewReader(content[:len(content)/2]), iotest.ErrReader(broken))}
		if _, err := File(t.Context(), dir, in, nil); !errors.Is(err, broken) || err.Error() != "cannot read stdin: broken cable" {
			t.Errorf("%.20q: error %v", content, err)
		}
		if names := files(t, dir); names != nil {
			t.Errorf("%q is left", names)
		}
	}
	if _, err := File(t.Context(), t.TempDir(), Input{Path: "/no/such/file.gz"}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func TestProgress(t *testing.T) {
	content := gzipped(t, strings.Repeat(people, 1000))
	var last int64
	in := input(t, "users.gz", content, UTF8)
	if _, err := File(t.Context(), t.TempDir(), in, func(bytes int64) {
		if bytes <= last {
			t.Errorf("%d bytes after %d", bytes, last)
		}
		last = bytes
	}); err != nil || last != int64(len(content)) {
		t.Errorf("%d bytes at last, error %v; want %d", last, err, len(content))
	}
}

// A megabyte can unpack to gigabytes.
func TestMemoryDoesNotGrowWithTheInput(t *testing.T) {
	zeros := strings.Repeat("\x00", 48<<20)
	for name, content := range map[string]string{"users.gz": gzipped(t, zeros), "users.zst": zstandard(t, zeros)} {
		in := input(t, name, content, Latin1)
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		staged, err := File(t.Context(), t.TempDir(), in, nil)
		runtime.ReadMemStats(&after)
		if err != nil || staged.Size != int64(len(zeros)) {
			t.Fatalf("%s: %+v, error %v", name, staged, err)
		}
		if allocated := after.TotalAlloc - before.TotalAlloc; allocated > 32<<20 {
			t.Errorf("%s: %d bytes allocated for %d; want at most 32 MiB", name, allocated, len(zeros))
		}
		_ = os.Remove(staged.Path)
	}
}

func TestATooLongWindowIsRefused(t *testing.T) {
	// A frame header that asks for a window of 256 MiB: exponent 18, mantissa 0.
	_, err := File(t.Context(), t.TempDir(), input(t, "users.zst", "\x28\xb5\x2f\xfd\x00\x90\x01\x00\x00", UTF8), nil)
	if want := "users.zst: the zstd data refer back over more than 128 MiB; expected less; compress the file with a shorter window"; err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
}

func TestAFullDiskIsReported(t *testing.T) {
	// A limit on the size of files stands for a disk that is full.
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &before))
	dir := t.TempDir()
	in := input(t, "users.csv.gz", gzipped(t, strings.Repeat(people, 100_000)), UTF8)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 1 << 20, Max: before.Max}))
	_, err := File(t.Context(), dir, in, nil)
	must(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &before))
	if !errors.Is(err, unix.EFBIG) || !strings.HasPrefix(err.Error(), "cannot unpack users.csv.gz into "+dir) || !strings.HasSuffix(err.Error(), "make room there, or give another --state-dir") {
		t.Errorf("error %v", err)
	}
	if names := files(t, dir); names != nil {
		t.Errorf("%q is left", names)
	}
}

// skippable is a skippable frame of zstd: pzstd writes one with the size of the data before each frame.
func skippable(kind byte, content string) string {
	return string([]byte{0x50 | kind, 0x2A, 0x4D, 0x18}) + string(binary.LittleEndian.AppendUint32(nil, uint32(len(content)))) + content
}

func TestCompressedFilesOfSeveralPartsAreReadAsTheirProgramsReadThem(t *testing.T) {
	z, g := zstandard(t, people), gzipped(t, people)
	const behind = "follows the %s data; expected nothing there"
	for _, c := range []struct{ what, name, content, want, wrong string }{
		{"pzstd", "u.zst", skippable(0, "\x44\x00\x00\x00") + z + skippable(0, "\x44\x00\x00\x00") + z, people + people, ""},
		{"a frame of any kind, before and behind", "u.zst", skippable(15, "x") + skippable(7, "") + z + skippable(3, strings.Repeat("x", 1<<20)), people, ""},
		{"on standard input", Stdin, skippable(9, "abcd") + z, people, ""},
		{"frames", "u.zst", z + z + z, people + people + people, ""},
		{"a frame without data between them", "u.zst", z + zstandard(t, "") + z, people + people, ""},
		{"a skippable frame that is cut short", "u.zst", skippable(0, "abcd")[:10], "", "end too early"},
		{"a frame that is cut short behind one", "u.zst", skippable(0, "abcd") + z[:len(z)-3], "", "end too early"},
		{"something behind a frame", "u.zst", z + "email,name\n", "", fmt.Sprintf(behind, "zstd")},
		{"members", "u.gz", g + gzipped(t, "") + g, people + people, ""},
		{"members on standard input", Stdin, g + g, people + people, ""},
		{"zero bytes behind a member", "u.gz", g + strings.Repeat("\x00", 10_000), people, ""},
		{"something behind a member", "u.gz", g + "email,name\n", "", fmt.Sprintf(behind, "gzip")},
		{"something behind zero bytes", "u.gz", g + "\x00\x00x", "", fmt.Sprintf(behind, "gzip")},
		{"half a magic number behind a member", "u.gz", g + "\x1f", "", "end too early"},
		{"a member that is cut short behind one", "u.gz", g + g[:len(g)-5], "", "end too early"},
	} {
		dir := t.TempDir()
		staged, err := File(t.Context(), dir, input(t, c.name, c.content, UTF8), nil)
		if c.wrong != "" {
			if wrong := new(Error); !errors.As(err, &wrong) || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%s: error %v, want one with %q", c.what, err, c.wrong)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		if got, err := os.ReadFile(staged.Path); err != nil || string(got) != c.want {
			t.Errorf("%s: %q (%v), want %q", c.what, got, err, c.want)
		}
	}
}

// bucket gives a folder of a bucket that is in memory.
func bucket(t *testing.T) string { return "mem://" + strings.ToLower(t.Name()) + "/inputs?nomd5=true" }

// inBucket are the names of what is in a folder of a bucket.
func inBucket(t *testing.T, folder string) []string {
	t.Helper()
	names, err := store.List(folder)
	must(t, err)
	return names
}

func TestFileIntoABucket(t *testing.T) {
	dir := bucket(t)
	packed := store.Join(store.Dir(dir), "incoming", "users.csv.gz")
	must(t, store.Write(packed, []byte(gzipped(t, people))))
	if !Needs(Input{Path: packed}) || Needs(Input{Path: store.Join(dir, "users.csv")}) {
		t.Error("a URL with options: expected the end of the name to say what has to be unpacked")
	}
	digest := fmt.Sprintf("%x", sha256.Sum256([]byte(people)))
	var written store.Info
	for i, in := range []Input{
		input(t, "users.csv", people, UTF8), input(t, "users.csv.zst", zstandard(t, people), UTF8), {Path: packed},
	} {
		var progress int64
		got, err := File(t.Context(), dir, in, func(bytes int64) { progress = bytes })
		want := Staged{Path: store.Join(dir, digest+".csv"), Name: "users.csv", SHA256: digest, Size: int64(len(people))}
		if err != nil || got != want || progress == 0 {
			t.Fatalf("%s: %+v, error %v, %d bytes read; want %+v", in.Path, got, err, progress, want)
		}
		if content, err := store.Read(got.Path); err != nil || string(content) != people {
			t.Errorf("%s: the file is %.200q, error %v; want %.200q", in.Path, content, err, people)
		}
		if names := inBucket(t, dir); !slices.Equal(names, []string{digest + ".csv"}) {
			t.Errorf("%s: the folder has %q; want the file", in.Path, names)
		}
		info, err := store.Stat(got.Path)
		must(t, err)
		if i == 0 {
			written = info
		} else if info != written {
			t.Errorf("%s: the file is of %v; want that of %v, which was there", in.Path, info.ModTime, written.ModTime)
		}
	}

	// An object with another size is not the file.
	path := store.Join(dir, digest+".csv")
	must(t, store.Write(path, []byte(people[1:])))
	if _, err := File(t.Context(), dir, input(t, "-", people, UTF8), nil); err != nil {
		t.Fatal(err)
	}
	if content, err := store.Read(path); err != nil || string(content) != people {
		t.Errorf("the file is %.200q, error %v; want it written again", content, err)
	}
}

func TestNothingIsLeftInABucket(t *testing.T) {
	dir := bucket(t)
	if _, err := File(t.Context(), dir, input(t, "users.csv.gz", gzipped(t, people)[:30], UTF8), nil); !errors.As(err, new(*Error)) {
		t.Errorf("of a file that is cut off: error %v; want one of the input", err)
	}
	if _, err := File(t.Context(), dir, Input{Path: store.Join(dir, "users.csv.gz")}, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("of a file that is not there: error %v", err)
	}
	stop := errors.New("stopped")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := File(ctx, dir, input(t, "-", people, UTF8), nil); !errors.Is(err, stop) {
		t.Errorf("stopped while it reads: error %v; want %v", err, stop)
	}
	f, err := begin(dir)
	must(t, err)
	if _, err := io.WriteString(f, strings.Repeat(people, 100_000)); err != nil {
		t.Fatal(err)
	}
	if err := f.commit(ctx, Staged{Path: store.Join(dir, "users.csv")}); err == nil {
		t.Error("stopped while it is brought there: no error")
	}
	if names := inBucket(t, dir); names != nil {
		t.Errorf("%q is left", names)
	}
	t.Setenv("TMPDIR", "/no/such/folder")
	if _, err := File(t.Context(), dir, input(t, "users.csv", people, UTF8), nil); err == nil || !strings.HasPrefix(err.Error(), "cannot bring users.csv into mem://") || !strings.Contains(err.Error(), "TMPDIR") {
		t.Errorf("without a folder for temporary files: error %v", err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
