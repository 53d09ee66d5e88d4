package store

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"durable-dataload/internal/durablefs"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	_ "gocloud.dev/blob/azureblob"
	_ "gocloud.dev/blob/gcsblob"
	_ "gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
)

const (
	// brief is how long a request for a small object may take, with the client's
	// retries.
	brief = 30 * time.Second
	// lengthy is the same for one of any size.
	lengthy = 2 * time.Hour
)

// object is a name in a bucket that is open.
type object struct {
	location
	in *blob.Bucket
}

var (
	opening sync.Mutex
	buckets = map[string]*blob.Bucket{}
)

// open returns the object of a name. A bucket is opened once in a process.
func open(name string) (object, error) {
	if err := Check(name); err != nil {
		return object{}, err
	}
	l := parse(name)
	opening.Lock()
	defer opening.Unlock()
	at := l.bucket + l.options
	in, ok := buckets[at]
	if !ok {
		address, err := withDefaults(at)
		if err == nil {
			in, err = blob.OpenBucket(context.Background(), address)
		}
		if err != nil {
			return object{}, outage{fmt.Errorf("cannot use the bucket %s: %w", at, err)}
		}
		buckets[at] = in
	}
	return object{l, in}, nil
}

// withDefaults adds what S3 servers other than Amazon's need: the bucket in the
// path. Amazon's own gets it in the host.
func withDefaults(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "s3" {
		return address, err
	}
	q := u.Query()
	elsewhere := cmp.Or(q.Get("endpoint"), os.Getenv("AWS_ENDPOINT_URL_S3"), os.Getenv("AWS_ENDPOINT_URL")) != ""
	if elsewhere && !q.Has("use_path_style") && !q.Has("hostname_immutable") {
		q.Set("use_path_style", "true")
		u.RawQuery = q.Encode()
	}
	return u.String(), nil
}

// failed adds the operation and the name to an error of the store, and wraps the error that
// a file system would give. Only that an object is missing is not an outage. A connection that
// was closed is not io.EOF, which to a reader is the end of the object, nor io.ErrUnexpectedEOF.
func (o object) failed(what string, err error) error {
	switch {
	case isAbsent(err):
		return fmt.Errorf("%s %s: %w", what, o, fs.ErrNotExist)
	case gcerrors.Code(err) == gcerrors.PermissionDenied, isForbiddenByGoogle(err):
		return outage{fmt.Errorf("%s %s: %w: %w", what, o, fs.ErrPermission, err)}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New(err.Error())
	}
	return outage{fmt.Errorf("%s %s: %w", what, o, err)}
}

// isAbsent reports whether the store has answered that there is no such object. gocloud.dev's "not
// found" covers more: a forbidden object of Google's, a host name of Azure's that cannot be
// resolved, a missing or archived bucket of S3's, and the 404 of a proxy that has lost its S3
// server. Taking one of these for an answer would miss a seal, a claim or an outcome.
func isAbsent(err error) bool {
	var unresolved *net.DNSError
	var coded interface{ ErrorCode() string } // of S3
	switch {
	case gcerrors.Code(err) != gcerrors.NotFound, errors.As(err, &unresolved), isForbiddenByGoogle(err):
		return false
	case errors.As(err, &coded):
		return coded.ErrorCode() == "NoSuchKey"
	}
	return true
}

// isForbiddenByGoogle goes by the text of google.golang.org/api/googleapi, since gocloud.dev
// hides the error.
func isForbiddenByGoogle(err error) bool {
	text := err.Error()
	return strings.Contains(text, "googleapi: Error 403:") || strings.Contains(text, "googleapi: got HTTP response code 403 ")
}

// writer is the metadata that identifies the writer of an object.
const writer = "writer"

// create writes an object unless there is one of its name.
func (o object) create(data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	return o.putNew(ctx, func() io.Reader { return bytes.NewReader(data) })
}

// putNew is put for a name that must be free, else the error is ErrExists. It may read the content several times.
func (o object) putNew(ctx context.Context, content func() io.Reader) error {
	me := rand.Text()
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		err := o.put(ctx, content(), &blob.WriterOptions{
			IfNotExist: true, Metadata: map[string]string{writer: me},
		})
		switch {
		case err == nil:
			return nil
		case gcerrors.Code(err) == gcerrors.FailedPrecondition:
			return o.createdBy(ctx, me)
		case hasCode(err, "NotImplemented"):
			return outage{fmt.Errorf("write %s: the store refuses conditional writes (If-None-Match: *), and without them files could be replaced; expected a store that supports them: %w", o, err)}
		case !hasCode(err, "ConditionalRequestConflict"):
			return outage{o.failed("write", err)}
		}
		select { // another writer is at work: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html
		case <-time.After(pause):
		case <-ctx.Done():
			return outage{o.failed("write", err)}
		}
	}
}

// createdBy is nil if the object is our own after all: the answer to the first attempt was
// lost, and the client has retried it.
func (o object) createdBy(ctx context.Context, me string) error {
	a, err := o.in.Attributes(ctx, o.key())
	if err != nil {
		return o.failed("stat", err)
	}
	if a.Metadata[writer] == me {
		return nil
	}
	return ErrExists
}

// hasCode reports whether S3 has answered with an error code.
func hasCode(err error, code string) bool {
	var coded interface{ ErrorCode() string }
	return errors.As(err, &coded) && coded.ErrorCode() == code
}

// put writes an object, for all writes: Bucket.WriteAll panics for Azure if the store refuses
// the write (azureblob v0.47.0, writer.Close).
func (o object) put(ctx context.Context, from io.Reader, options *blob.WriterOptions) error {
	options.ContentType = "application/octet-stream" // or the client guesses one
	return o.in.Upload(ctx, o.key(), from, options)
}

func (o object) write(data []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	if err := o.put(ctx, bytes.NewReader(data), &blob.WriterOptions{}); err != nil {
		return outage{o.failed("write", err)}
	}
	return nil
}

func (o object) read() ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	var data []byte
	err := answer(func() (io.ReadCloser, error) { return o.stream(ctx) }, func(body io.Reader) (err error) {
		data, err = io.ReadAll(body)
		return err
	})
	return data, err
}

// answer requests a small object and reads it, up to three times: the clients repeat a request that has failed, but not
// one whose answer was cut off, and what reads thousands of objects must not fail with one connection.
func answer(request func() (io.ReadCloser, error), read func(body io.Reader) error) error {
	for attempt := 1; ; attempt++ {
		body, err := request()
		if err != nil {
			return err
		}
		err = read(body)
		_ = body.Close()
		if err == nil || attempt == 3 {
			return err
		}
	}
}

func (o object) stat() (Info, error) {
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	a, err := o.in.Attributes(ctx, o.key())
	if err != nil {
		return Info{}, o.failed("stat", o.explained(ctx, err))
	}
	return Info{Size: a.Size, ModTime: a.ModTime}, nil
}

// remove returns no error if there is no object.
func (o object) remove() error {
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	err := o.in.Delete(ctx, o.key())
	if err = o.explained(ctx, err); err != nil && !isAbsent(err) {
		return o.failed("remove", err)
	}
	return nil
}

// explained is the error of a request for which the client has sent a HEAD. S3's answer to that
// has no body, so that any 404 looks like it: that to a GET says what is missing.
func (o object) explained(ctx context.Context, err error) error {
	if !hasCode(err, "NotFound") {
		return err
	}
	r, getErr := o.in.NewReader(ctx, o.key(), &blob.ReaderOptions{BeforeRead: quietly})
	if getErr != nil {
		return getErr
	}
	return cmp.Or(r.Close(), err)
}

func (o object) exists() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	r, err := o.stream(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, r.Close()
}

func (o object) makeFolder() error { return nil }

func (o object) hasFolder() (bool, error) {
	names, err := o.list()
	return len(names) > 0, err
}

// prefix is that of the keys below a name.
func (o object) prefix() string {
	if o.key() == "" {
		return ""
	}
	return o.key() + "/"
}

// visit visits the keys below a name: whole keys, or with a delimiter the next part of each.
func (o object) visit(delimiter string, visit func(*blob.ListObject) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), lengthy)
	defer cancel()
	all := o.in.List(&blob.ListOptions{Prefix: o.prefix(), Delimiter: delimiter})
	for {
		next, err := all.Next(ctx)
		if err == io.EOF { //nolint:errorlint // a closed connection is a wrapped one
			return nil
		}
		if err != nil {
			return outage{o.failed("list", err)}
		}
		if err := visit(next); err != nil {
			return err
		}
	}
}

// list returns the next parts of the keys below a name.
func (o object) list() (names []string, err error) {
	err = o.visit("/", func(child *blob.ListObject) error {
		name := strings.TrimPrefix(child.Key, o.prefix()) // empty: the folder itself, as some tools make one
		if name = strings.TrimSuffix(name, "/"); name != "" {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

func (o object) removeAll() error {
	return o.visit("", func(child *blob.ListObject) error {
		below := o
		below.path = "/" + child.Key
		return below.remove()
	})
}

// prove creates a file twice.
func (o object) prove() error {
	name := Join(o.String(), "probe-"+rand.Text())
	if err := Create(name, []byte("first")); err != nil {
		return err
	}
	err := Create(name, []byte("second"))
	if err == nil {
		err = fmt.Errorf("%s was created twice: the store ignores conditional writes (If-None-Match: *), and batches would be sent twice; expected a store that supports them", name)
	} else if errors.Is(err, ErrExists) {
		var found []byte
		if found, err = Read(name); err == nil && string(found) != "first" {
			err = fmt.Errorf("%s has the content of a write that was refused; expected the first content; use another store", name)
		}
	}
	if err == nil {
		_, err = o.list()
	}
	return errors.Join(err, Remove(name))
}

func (o object) newWriter() (*durablefs.Writer, error) { return durablefs.NewNameless() }

// commit uploads an object of any size, or leaves none if the content cannot be read to its
// end.
func (o object) commit(ctx context.Context, w *durablefs.Writer) error {
	return o.upload(ctx, w, func(ctx context.Context, content func() io.Reader) error {
		if err := o.put(ctx, content(), &blob.WriterOptions{}); err != nil {
			return outage{o.failed("write", err)}
		}
		return nil
	})
}

func (o object) commitNew(ctx context.Context, w *durablefs.Writer) error {
	return o.upload(ctx, w, o.putNew)
}

func (o object) upload(ctx context.Context, w *durablefs.Writer, put func(context.Context, func() io.Reader) error) error {
	content, err := w.Written()
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, lengthy)
	defer cancel()
	err = put(limited, func() io.Reader { return whole{io.NewSectionReader(content, 0, content.Size()), cancel} })
	if err != nil && !errors.Is(err, ErrExists) {
		err = cmp.Or(context.Cause(ctx), err)
	}
	return err
}

// whole cancels an upload whose content cannot be read: some of the clients would keep the
// part that they have received as the object.
type whole struct {
	*io.SectionReader
	cancel context.CancelFunc
}

func (w whole) Read(p []byte) (int, error) {
	n, err := w.SectionReader.Read(p)
	w.check(err)
	return n, err
}

func (w whole) ReadAt(p []byte, offset int64) (int, error) {
	n, err := w.SectionReader.ReadAt(p, offset)
	w.check(err)
	return n, err
}

func (w whole) check(err error) {
	if err != nil && !errors.Is(err, io.EOF) {
		w.cancel()
	}
}

// stream reads an object of any size, from its beginning to its end.
func (o object) stream(ctx context.Context) (io.ReadCloser, error) {
	r, err := o.in.NewReader(ctx, o.key(), &blob.ReaderOptions{BeforeRead: quietly})
	if err != nil {
		return nil, o.failed("read", err)
	}
	return objectStream{r, o}, nil
}

// objectStream gives errors that are those of the object, and io.EOF at its end only.
type objectStream struct {
	io.ReadCloser
	object object
}

func (s objectStream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // as for lists
		err = s.object.failed("read", err)
	}
	return n, err
}

func (o object) open() (*os.File, error) {
	ctx, cancel := context.WithTimeout(context.Background(), lengthy)
	defer cancel()
	from, err := o.stream(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = from.Close() }()
	f, err := durablefs.Nameless()
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(durablefs.Temporary{File: f}, from); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// quietly keeps the S3 client from writing a line to standard error for each object that
// another tool has uploaded in parts or without a checksum that the client knows: our objects
// are checked by their own digests.
func quietly(as func(any) bool) error {
	var options *[]func(*s3.Options)
	if as(&options) {
		*options = append(*options, func(o *s3.Options) { o.DisableLogOutputChecksumValidationSkipped = true })
	}
	return nil
}

func (o object) openRandom() (RandomReader, error) {
	info, err := o.stat()
	return objectReader{o, info.Size}, err
}

// objectReader reads an object by ranges, a request each.
type objectReader struct {
	object
	size int64
}

// ReadAt implements io.ReaderAt.
func (r objectReader) ReadAt(p []byte, offset int64) (int, error) {
	wanted := min(int64(len(p)), r.size-offset)
	if wanted <= 0 {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	ctx, cancel := context.WithTimeout(context.Background(), brief)
	defer cancel()
	var n int
	err := answer(func() (io.ReadCloser, error) {
		return r.in.NewRangeReader(ctx, r.key(), offset, wanted, &blob.ReaderOptions{BeforeRead: quietly})
	}, func(body io.Reader) (err error) {
		n, err = io.ReadFull(body, p[:wanted])
		return err
	})
	if err != nil { // also io.ErrUnexpectedEOF: the answer was truncated, not the object
		return n, r.failed("read", err)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r objectReader) Size() int64  { return r.size }
func (r objectReader) Name() string { return r.String() }
func (r objectReader) Close() error { return nil }

// appendLine creates an object, since nothing can be appended to one. Its name gives the
// order.
func (o object) appendLine(line []byte) error {
	return Create(Join(o.String(), fmt.Sprintf("%020d-%s.json", time.Now().UnixNano(), rand.Text())), line)
}

func (o object) readLines() (lines []byte, err error) {
	names, err := o.list()
	if err != nil {
		return nil, err
	}
	err = ForEachOrdered(context.Background(), o.String(), len(names), func(_ context.Context, n int) ([]byte, error) {
		return Read(Join(o.String(), names[n]))
	}, func(line []byte) error {
		lines = append(append(lines, line...), '\n')
		return nil
	})
	return lines, err
}

// Advice says what to do about an error of a bucket.
func Advice(err error) string {
	const page = " (docs/object-storage.md)"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "expected a bucket that exists; create it, or give its right name, region and endpoint" + page
	case errors.Is(err, fs.ErrPermission):
		return "expected credentials that may get, put, list and delete objects there" + page
	}
	return "expected a bucket that answers; check its name, the region and the endpoint in the URL, and the credentials in the environment" + page
}
