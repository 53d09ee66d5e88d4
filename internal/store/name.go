// Package store keeps the files of migrations: in folders of a disk, or in a
// bucket of an object store.
//
// A file is identified by its full name: an absolute path, or a URL of a bucket
// and a key in it, followed by the options of the bucket:
//
//	/var/lib/dataload/migrations/3f…/spec.json
//	s3://bucket/dataload/migrations/3f…/spec.json?region=eu-central-1
//
// The functions are those of a file system, as far as object stores support
// them; a bucket has no folders, only names with a common prefix. On a disk they
// are those of package durablefs. In a bucket every write is one atomic request,
// Create is the store's conditional write, and a reader sees everything that was
// written before it began (S3, Google Cloud Storage and Azure Blob Storage
// guarantee that).
package store

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path"
	"strings"

	"gocloud.dev/blob"
)

// IsURL reports whether a name is one in a bucket.
func IsURL(name string) bool { return strings.Contains(name, "://") }

// location is a full name in parts. The path of a bucket's key is taken as it is written:
// nothing in it is an escape, and it has no question mark.
type location struct {
	bucket  string // scheme://host; "" on a disk
	path    string // absolute
	options string // "" or ?…
}

func parse(name string) location {
	scheme, rest, is := strings.Cut(name, "://")
	if !is {
		return location{path: name}
	}
	rest, options, has := strings.Cut(rest, "?")
	if has {
		options = "?" + options
	}
	host, key, _ := strings.Cut(rest, "/")
	return location{bucket: scheme + "://" + host, path: "/" + strings.Trim(key, "/"), options: options}
}

func (l location) String() string {
	if l.bucket != "" && l.path == "/" {
		return l.bucket + l.options
	}
	return l.bucket + l.path + l.options
}

// key is the path as the key of an object.
func (l location) key() string { return strings.TrimPrefix(l.path, "/") }

// Check says what is wrong with the URL of a bucket, before it is used.
func Check(name string) error {
	const expected = "expected s3://BUCKET/FOLDER, gs://BUCKET/FOLDER or azblob://CONTAINER/FOLDER"
	scheme, _, _ := strings.Cut(name, "://")
	l := parse(name)
	switch host := strings.TrimPrefix(l.bucket, scheme+"://"); {
	case scheme == "file" || !blob.DefaultURLMux().ValidBucketScheme(scheme):
		return fmt.Errorf("%s:// is not a supported object store; %s", scheme, expected)
	case strings.Contains(host, "@"):
		return errors.New("the URL of the bucket has a user or a password in it; " + expected + ", and give the credentials as the store's own tools take them")
	case hasSecret(l.options):
		return errors.New("the options of the bucket's URL have a user, a password or a signature in them; " + expected + ", and give the credentials as the store's own tools take them")
	case host == "":
		return fmt.Errorf("%s names no bucket; %s", name, expected)
	case strings.ContainsAny(l.path, "\x00\n\r"):
		return fmt.Errorf("%q has a line break in it; %s", name, expected)
	}
	return nil
}

// hasSecret finds secrets that are pasted with an address: the signature of a shared access
// URL of Azure's or of a presigned URL, and the user of an endpoint. It is checked before the
// store is, since the options are kept in Temporal.
func hasSecret(options string) bool {
	q, _ := url.ParseQuery(strings.TrimPrefix(options, "?")) // the clients leave out what cannot be parsed, too
	for option, values := range q {
		option = strings.ToLower(option)
		if option == "sig" || strings.HasSuffix(option, "signature") || strings.HasSuffix(option, "secret") || strings.HasSuffix(option, "token") || strings.HasSuffix(option, "password") {
			return true
		}
		for _, value := range values {
			if _, address, ok := strings.Cut(value, "://"); ok && strings.Contains(address, "@") {
				return true
			}
		}
	}
	return false
}

// Join is the name of something in a folder.
func Join(folder string, elements ...string) string {
	l := parse(folder)
	l.path = path.Join(append([]string{l.path}, elements...)...)
	return l.String()
}

// Base is the last part of a name.
func Base(name string) string { return path.Base(parse(name).path) }

// IsBase reports whether a name names something in a folder, and cannot lead elsewhere.
func IsBase(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsFunc(name, func(r rune) bool { return r == '/' || r == '\\' || r < ' ' })
}

// TempDir is the folder of this machine for temporary files that are needed while a file is
// written: beside it, or for a bucket the folder for temporary files (TMPDIR).
func TempDir(name string) string {
	if IsURL(name) {
		return os.TempDir()
	}
	return Dir(name)
}

// Dir is the name of the folder that a file is in.
func Dir(name string) string {
	l := parse(name)
	l.path = path.Dir(l.path)
	return l.String()
}
