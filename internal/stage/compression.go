package stage

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"

	"durable-dataload/internal/source"
	"durable-dataload/internal/store"
)

// compression is one compression format.
type compression struct {
	name, extension, magic string
	open                   func(*bufio.Reader) (io.ReadCloser, error)
}

// maxWindow is the maximum window of a zstd file, and so its memory use: the default limit of the zstd program.
const maxWindow = 128 << 20

var compressions = []*compression{
	{"gzip", ".gz", "\x1F\x8B", openGzip},
	{"zstd", ".zst", "\x28\xB5\x2F\xFD", func(r *bufio.Reader) (io.ReadCloser, error) {
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}},
}

// byName is the compression for the name of a file, or nil.
func byName(path string) *compression {
	for _, c := range compressions {
		if strings.EqualFold(filepath.Ext(store.Base(path)), c.extension) {
			return c
		}
	}
	return nil
}

func byContent(head []byte) *compression {
	for _, c := range compressions {
		if bytes.HasPrefix(head, []byte(c.magic)) || c.name == "zstd" && source.IsSkippableFrame(head) {
			return c
		}
	}
	return nil
}

// errTrailing means that there are data after the compressed data.
var errTrailing = errors.New("something follows them")

// gzipMembers reads the members of a gzip file one after the other, as the gzip program does: zero bytes after the last
// one, which pad tapes and blocks, are ignored.
type gzipMembers struct {
	r *bufio.Reader
	*gzip.Reader
}

func openGzip(r *bufio.Reader) (io.ReadCloser, error) {
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	z.Multistream(false)
	return &gzipMembers{r, z}, nil
}

func (m *gzipMembers) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	switch head, peekErr := m.r.Peek(2); {
	case len(head) == 0 && peekErr == io.EOF:
		return n, io.EOF
	case len(head) == 0:
		return n, peekErr
	case head[0] != 0x1F || len(head) == 2 && head[1] != 0x8B:
		return n, m.padding()
	}
	if err = m.Reset(m.r); err == nil {
		m.Multistream(false)
	}
	return n, err
}

// padding reads to the end: io.EOF if there are only zero bytes.
func (m *gzipMembers) padding() error {
	for {
		b, err := m.r.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return errTrailing
		}
	}
}

// compressed is the compression of the input by its content, or nil; and the error if its name says otherwise.
func compressed(in Input, head []byte) (*compression, string) {
	is, said := byContent(head), byName(in.Path)
	switch {
	case in.Path == Stdin || is == said:
		return is, ""
	case is == nil:
		return nil, fmt.Sprintf("the content is not compressed with %s; expected so, since the name ends in %s; rename the file, or make it again", said.name, said.extension)
	case said == nil:
		return nil, fmt.Sprintf("the content is compressed with %s; expected a name that ends in %s then; rename the file", is.name, is.extension)
	}
	return nil, fmt.Sprintf("the content is compressed with %s; expected %s, since the name ends in %s; rename the file", is.name, said.name, said.extension)
}

// broken is the error for an input that cannot be unpacked.
func (c *compression) broken(in Input, err error) error {
	reason := ""
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		reason = fmt.Sprintf("the %s data end too early; expected a whole file; make or fetch it again", c.name)
	case errors.Is(err, errTrailing), errors.Is(err, zstd.ErrMagicMismatch):
		reason = fmt.Sprintf("something that is not compressed with %s follows the %s data; expected nothing there; make or fetch the file again", c.name, c.name)
	case errors.Is(err, zstd.ErrWindowSizeExceeded):
		reason = fmt.Sprintf("the zstd data refer back over more than %d MiB; expected less; compress the file with a shorter window", maxWindow>>20)
	default:
		reason = fmt.Sprintf("the %s data are damaged (%v); expected a whole file; make or fetch it again", c.name, err)
	}
	return &Error{File: in.label(), Reason: reason}
}
