package source

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"durable-dataload/internal/store"
)

// Digest is the SHA-256 of a file in hexadecimal, and the file's size in bytes. If ctx ends, it ends with the cause.
func Digest(ctx context.Context, path string) (sha256hex string, size int64, err error) {
	f, err := store.Stream(ctx, path)
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	digest, chunk := sha256.New(), make([]byte, chunkSize)
	for {
		if err := context.Cause(ctx); err != nil {
			return "", 0, err
		}
		n, err := f.Read(chunk)
		digest.Write(chunk[:n])
		size += int64(n)
		if errors.Is(err, io.EOF) {
			return hex.EncodeToString(digest.Sum(nil)), size, nil
		}
		if err != nil {
			return "", 0, err
		}
	}
}
