package s3server

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Usable reports whether the file system of a folder keeps what the server needs:
// extended attributes of users.
func Usable(dir string) error {
	const attribute = "user.probe"
	if err := unix.Setxattr(dir, attribute, []byte("x"), 0); err != nil {
		return fmt.Errorf("the file system of %s keeps no extended attributes (%w); the S3 server needs them: use a folder on ext4, XFS or Btrfs, or on tmpfs from Linux 6.6 on", dir, err)
	}
	return unix.Removexattr(dir, attribute)
}
