package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// reference inspects a file in memory, one record after the other.
func reference(content []byte, o InspectOptions) (sum Summary, all []Batch, err error) {
	i := &inspection{options: o, strict: true, digest: sha256.New()}
	s := newScanner(bytes.NewReader(content), o.Delimiter, ignore)
	s.buf = make([]byte, len(content)+1)
	i.scanner = s
	if err := i.readHeader(); err != nil {
		return sum, nil, err
	}
	cutter := NewCutter(i.header, o)
	number, begins := int64(0), []int64{}
	for {
		p, err := i.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return sum, nil, err
		}
		if p.blank {
			continue
		}
		number++
		i.shapes.see(i.header, p.raw)
		if number < o.StartAt {
			sum.Skipped++
			continue
		}
		sum.Records++
		r := Record{Number: number, Line: p.line, Raw: p.raw}
		if cutter.Begins(r, EncodedBound(i.header, p.raw)) {
			begins = append(begins, p.offset)
			all = append(all, Batch{Number: len(all) + 1, FirstRecord: number, FirstLine: p.line, Offset: p.offset, delimiter: o.Delimiter})
		}
		b := &all[len(all)-1]
		b.LastLine = p.line + int64(bytes.Count(bytes.TrimSuffix(p.raw, []byte("\n")), []byte("\n")))
		marks := append([]byte(b.keyless), make([]byte, 8)...)
		if o.Keyless(i.header, r) {
			marks[b.Records/8] |= 1 << (b.Records % 8)
		}
		b.keyless = strings.TrimRight(string(marks), "\x00")
		b.Records++
	}
	if err := i.shapes.refuse(i); err != nil {
		return sum, nil, err
	}
	for n := range all {
		end := int64(len(content))
		if n+1 < len(all) {
			end = begins[n+1]
		}
		all[n].Length = end - begins[n]
		all[n].Digest = sha256.Sum256(content[begins[n]:end])
	}
	digest := sha256.Sum256(content)
	sum.Header, sum.SHA256, sum.Size, sum.Batches = i.header, hex.EncodeToString(digest[:]), int64(len(content)), len(all)
	return sum, all, CheckSelection(o.Name, number, o.StartAt, 0)
}

// checkPass compares a pass in blocks of any size with the reference.
func checkPass(t *testing.T, content []byte, o InspectOptions) {
	t.Helper()
	o.Name = "f.csv"
	o.MaxEncoded = 400
	o.EncodedSize = func(h *Header, r Record) int64 { return EncodedBound(h, r.Raw) - int64(len(r.Raw)%3) }
	o.Keyless = func(_ *Header, r Record) bool { return len(r.Raw)%2 == 0 }
	want, batches, wantErr := reference(content, o)
	usual, usually := chunkSize, mostPieces
	defer func() { chunkSize, mostPieces = usual, usually }()
	for _, size := range []int{3, 4, 6, 11, usual} {
		if start := content[:min(len(content), size)]; looksLike(bytes.TrimPrefix(content, utf8BOM)) != looksLike(bytes.TrimPrefix(start, utf8BOM)) {
			continue // the format of a file is told by its first chunk
		}
		chunkSize, mostPieces = size, 1+size%3
		dir := t.TempDir()
		o.IndexPath, o.CopyTo = filepath.Join(dir, "index"), filepath.Join(dir, "copy")
		got, err := InspectReader(t.Context(), bytes.NewReader(content), o)
		if fmt.Sprint(err) != fmt.Sprint(wantErr) {
			t.Fatalf("%q in blocks of %d: %v; want %v", content, size, err, wantErr)
		}
		if err != nil {
			if left, _ := os.ReadDir(dir); len(left) > 0 {
				t.Fatalf("%q in blocks of %d is refused, and left %v", content, size, left)
			}
			continue
		}
		if !reflect.DeepEqual(*got, want) {
			t.Fatalf("%q in blocks of %d: %+v; want %+v", content, size, *got, want)
		}
		if copied, err := os.ReadFile(o.CopyTo); err != nil || !bytes.Equal(copied, content) {
			t.Fatalf("%q in blocks of %d: the copy is %q, error %v", content, size, copied, err)
		}
		x, err := OpenIndex(o.IndexPath)
		must(t, err)
		for n := range batches {
			if b, err := x.Batch(n + 1); err != nil || b != batches[n] {
				t.Errorf("%q in blocks of %d: batch %+v, error %v; want %+v", content, size, b, err, batches[n])
			}
		}
		must(t, x.Close())
	}
}

func FuzzPass(f *testing.F) {
	for _, c := range framingTests {
		input, _, _ := unmarked(c.input)
		f.Add([]byte("a,b,c\n"+input), uint8(2), uint8(1))
		f.Add([]byte("\ufeff"+input), uint8(1), uint8(2))
	}
	f.Add([]byte("a,b\n1,2\n3,\"4\n\xff\n"), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, content []byte, batchSize, startAt uint8) {
		checkPass(t, content, InspectOptions{BatchSize: 1 + int(batchSize%20), StartAt: 1 + int64(startAt%5)})
	})
}

// Values with quotes, line breaks and whatever else decides where a record ends are cut at every place of them.
func TestAPassInBlocksIsThatOfOneRecordAfterTheOther(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	parts := []string{"a", "bc", ",", ",", "\n", "\n", "\r\n", `"`, `"x"`, `""`, `"1,2"`, "\"l\nm\"", "é", "\"\"\"\n\"", " "}
	for range 300 {
		content := []byte("a,b\n1,2\n")
		for range random.IntN(60) {
			content = append(content, parts[random.IntN(len(parts))]...)
		}
		if random.IntN(8) == 0 {
			content = append(content, "\xff\n"...)
		}
		checkPass(t, content, InspectOptions{BatchSize: 1 + random.IntN(5), StartAt: 1 + int64(random.IntN(3))})
	}
}

// A Reader of any block size and number of cores gives the same records and refusals in the same order.
func TestAReaderInBlocksContinuesAlike(t *testing.T) {
	usual := chunkSize
	defer func() { chunkSize = usual }()
	random := rand.New(rand.NewPCG(3, 4))
	parts := []string{"a", ",", "\n", "\n", `"`, `"x"`, "\"l\nm\"", "\xff", "\xfe\n", "é"}
	for range 200 {
		content := "a,b\n"
		for range random.IntN(50) {
			content += parts[random.IntN(len(parts))]
		}
		f := newFile(t, content)
		read := func(size int) (all []string) {
			chunkSize = size
			r, err := OpenReader(t.Context(), f.path, ReaderOptions{Refused: func(r *Refusal) { all = append(all, r.Error()) }})
			must(t, err)
			defer r.Close()
			must(t, ForEachBlock(t.Context(), r,
				func() func(*Block, []string) []string {
					return func(b *Block, _ []string) (found []string) {
						for k, record := range b.Records(func(r *Refusal) { found = append(found, r.Error()) }) {
							if k >= b.Len() {
								t.Errorf("position %d of %d", k, b.Len())
							}
							found = append(found, fmt.Sprintf("%d, line %d: %q", record.Number, record.Line, record.Raw))
						}
						return found
					}
				},
				func(_ *Block, found []string) error {
					all = append(all, found...)
					return nil
				}))
			return append(all, r.SHA256(), fmt.Sprint(r.Records(), r.Size()))
		}
		want := read(usual)
		for _, size := range []int{3, 4, 5, 16} {
			if got := read(size); !slices.Equal(got, want) {
				t.Fatalf("%q in blocks of %d:\n%s\nwant\n%s", content, size, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		}
	}
}

// A file of the shortest records, behind the longest one, takes no more memory than any other.
func TestShortRecordsTakeNoMoreMemory(t *testing.T) {
	f := newFile(t, "a\n"+strings.Repeat("x", 8<<20)+"\n"+strings.Repeat("1\n", 8<<20))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	sum := f.inspected(InspectOptions{BatchSize: 1000})
	runtime.ReadMemStats(&after)
	if sum.Records != 1+8<<20 {
		t.Errorf("%d records", sum.Records)
	}
	if got, most := after.TotalAlloc-before.TotalAlloc, uint64(100+3*runtime.GOMAXPROCS(0))<<20; got > most {
		t.Errorf("%d bytes allocated, want at most %d", got, most)
	}
}

func TestAPassEndsWithItsContextAndItsFirstError(t *testing.T) {
	f := newFile(t, "a\n"+strings.Repeat("1\n", 5_000_000))
	before := runtime.NumGoroutine()
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	o := InspectOptions{BatchSize: 100, CopyTo: f.path + ".copy", Progress: func(bytes, _ int64) {
		if bytes > 1<<20 {
			cancel(stop)
		}
	}}
	if _, err := Inspect(ctx, f.path, o); !errors.Is(err, stop) {
		t.Errorf("error %v, want the cause", err)
	}
	f.holdsOnly("users.csv")

	r, err := OpenReader(t.Context(), f.path, ReaderOptions{})
	must(t, err)
	defer r.Close()
	consumed := 0
	err = ForEachBlock(t.Context(), r, func() func(*Block, int) int { return func(*Block, int) int { return 0 } }, func(*Block, int) error {
		consumed++
		return stop
	})
	if !errors.Is(err, stop) || consumed != 1 {
		t.Errorf("error %v after %d blocks; want the first error of the consumer, and nothing after it", err, consumed)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("%d goroutines are left of %d", after, before)
	}
}
