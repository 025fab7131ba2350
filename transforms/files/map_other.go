//go:build !unix

package files

import "os"

// mapFile reads a local file into memory, on systems without mmap.
func mapFile(path string) (data []byte, release func() error, err error) {
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}
