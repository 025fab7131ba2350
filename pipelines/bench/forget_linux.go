package bench

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// forget makes the system drop a file from its cache, so that it is read from the disk.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
}
