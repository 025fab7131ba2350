package imageio

import (
	"archive/zip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Zip is an archive of image files; their folders are the classes. Hidden files and folders and macOS's __MACOSX are
// skipped. A member that is encrypted, damaged, a link or larger than 512 MiB counts as a damaged image.
const Zip = "zip"

var zipKind = kind{
	name:     Zip,
	files:    "zip archives (.zip)",
	labels:   "a folder for each class in zip",
	suffixes: []string{".zip"},
	count:    countZip,
	read:     readZip,
}

func countZip(ctx context.Context, name string) (int64, error) {
	members, f, err := openZip(ctx, name)
	if err != nil {
		return 0, err
	}
	return int64(len(members)), f.Close()
}

func readZip(ctx context.Context, split Split, yield func(Image) error) error {
	members, f, err := openZip(ctx, split.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	n := int64(len(members))
	for _, m := range members[min(split.Begin, n):min(split.End, n)] {
		name := memberName(m)
		im := Image{Source: split.Path + "!" + name, Label: -1, Class: parent(name)}
		if im.Data, err = unzip(m); err != nil {
			var disk syscall.Errno // the disk is at fault, not the member
			if errors.As(err, &disk) {
				return fmt.Errorf("read %s, member %s: %w", split.Path, name, err)
			}
			im.Damage = err.Error()
		}
		if err := yield(im); err != nil {
			return err
		}
	}
	return nil
}

// openZip opens an archive and lists its images in archive order.
func openZip(ctx context.Context, name string) ([]*zip.File, io.Closer, error) {
	f, err := openAt(ctx, name)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, err)
	}
	members, err := zipImages(f)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", name, errors.Join(err, f.Close()))
	}
	return members, f, nil
}

func zipImages(f randomFile) ([]*zip.File, error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	r, err := zip.NewReader(f, size)
	switch {
	case errors.Is(err, zip.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("no valid central directory at its end; truncated, or not a zip archive: %w", err)
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // nothing is written to the members' paths
		return nil, err
	case joined(f, r):
		return nil, errors.New("its central directory lacks the first member: several archives in one file? Extract them and zip all files again")
	}
	return slices.DeleteFunc(r.File, func(m *zip.File) bool {
		return m.Mode().IsDir() || ignored(m.Name) || !isImage(m.Name)
	}), nil
}

// joined reports whether the file begins with a member that the central directory does not list: then another archive,
// whose members would be lost, precedes this one.
func joined(f io.ReaderAt, r *zip.Reader) bool {
	var head [30]byte // local file header; name and extra field follow
	if _, err := f.ReadAt(head[:], 0); err != nil || string(head[:4]) != "PK\x03\x04" {
		return false
	}
	first := 30 + int64(binary.LittleEndian.Uint16(head[26:])) + int64(binary.LittleEndian.Uint16(head[28:]))
	return !slices.ContainsFunc(r.File, func(m *zip.File) bool {
		at, err := m.DataOffset()
		return err == nil && at == first
	})
}

// memberName returns a member's name in UTF-8. Names that are not UTF-8 are in the DOS code page (APPNOTE, appendix D).
func memberName(m *zip.File) string {
	if utf8.ValidString(m.Name) {
		return m.Name
	}
	name, _ := charmap.CodePage437.NewDecoder().String(m.Name) // never fails: it maps every byte
	return name
}

// unzip reads a member.
func unzip(m *zip.File) ([]byte, error) {
	switch {
	case m.Flags&1 != 0:
		return nil, errors.New("encrypted; zip it without a password")
	case m.Mode()&fs.ModeSymlink != 0:
		return nil, errors.New("a symbolic link; zip the file itself")
	case m.UncompressedSize64 > maxMember:
		return nil, fmt.Errorf("larger than %d bytes", maxMember)
	}
	r, err := m.Open()
	if errors.Is(err, zip.ErrAlgorithm) {
		return nil, fmt.Errorf("compressed by method %d; use deflate (8): %w", m.Method, err)
	} else if err != nil {
		return nil, truncated(err)
	}
	defer r.Close()
	return readMember(r)
}
