package imageio

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
)

// Zip is an archive of image files; their folders are the classes (see Image.Folders), except below a metadata.csv,
// metadata.jsonl or metadata.parquet, as in a Folder. Hidden files and folders, macOS's __MACOSX and Spark's _temporary are
// skipped. A member that is encrypted, damaged, a link or larger than 512 MiB counts as a damaged image. The sound members of
// a truncated archive are read, and one damaged image stands for what is lost.
const Zip = "zip"

var zipKind = kind{
	name:     Zip,
	files:    "zip archives (.zip)",
	labels:   "a folder for each class or a metadata.csv in zip",
	suffixes: []string{".zip"},
	count:    countZip,
	read:     readZip,
}

func countZip(ctx context.Context, split Split, seen *Source) (int64, error) {
	z, err := openZip(ctx, split.Path, seen.pass)
	if err != nil {
		return 0, err
	}
	defer z.Close()
	var names []string
	for _, m := range z.images {
		if m.name != "" {
			seen.folders.add(m.name)
			names = append(names, path.Clean(slashed(m.name)))
		}
	}
	labels := newMetadataLabels(nil)
	for _, m := range z.metadata {
		switch rows, err := memberMetadata(ctx, split.Path, m, split.Columns.Label); {
		case err == nil:
			labels.add(path.Clean(slashed(m.name)), rows)
		case temporary(err):
			return 0, fmt.Errorf("member %s: %w", m.name, err)
		default:
			seen.pass(unused)
			seen.hint(split.Path+"!"+m.name, err)
		}
	}
	seen.Rows = labels.unused(slices.Values(names))
	return int64(len(z.images)), nil
}

func readZip(ctx context.Context, split Split, yield func(Image) error) error {
	z, err := openZip(ctx, split.Path, func(string) {})
	if err != nil {
		return err
	}
	defer z.Close()
	metadata := map[string]zipMember{}
	for _, m := range z.metadata {
		metadata[path.Clean(slashed(m.name))] = m
	}
	labels := newMetadataLabels(func(dir string) (*metadataTable, error) {
		for _, base := range metadataFiles {
			if m, ok := metadata[path.Join(dir, base)]; ok {
				if rows, err := memberMetadata(ctx, split.Path, m, split.Columns.Label); err == nil || temporary(err) {
					return rows, err
				}
			}
		}
		return nil, nil
	})
	n := int64(len(z.images))
	for _, m := range z.images[min(split.Begin, n):min(split.End, n)] {
		im := Image{Source: strings.TrimSuffix(split.Path+"!"+m.name, "!"), Label: -1}
		if found, err := labels.label(path.Clean(slashed(m.name)), &im); err != nil {
			return err
		} else if !found {
			im.inFolders(below(split.Root, m.name))
		}
		if im.Data, err = m.read(); err != nil && temporary(err) {
			return fmt.Errorf("member %s: %w", m.name, err)
		} else if err != nil {
			im.Damage = err.Error()
		}
		if err := yield(im); err != nil {
			return err
		}
	}
	return nil
}

// zipFile is an archive that is open.
type zipFile struct {
	io.Closer
	images, metadata []zipMember // in archive order
}

// zipMember is a file in an archive, or damage, which has no name.
type zipMember struct {
	name string
	read func() ([]byte, error)
}

// openZip opens an archive and lists its images and metadata files. It calls pass with the names of other members.
func openZip(ctx context.Context, name string, pass func(string)) (*zipFile, error) {
	f, err := openAt(ctx, name)
	if err != nil {
		return nil, err
	}
	z := &zipFile{Closer: f}
	if err := z.list(f, pass); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return z, nil
}

// list lists the members that are used.
func (z *zipFile) list(f randomFile, pass func(string)) error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	end := endOf(f, size)
	if end.severed() {
		return errors.New("the last of several parts; " + joinParts)
	}
	r, err := zip.NewReader(f, size)
	switch {
	case errors.Is(err, zip.ErrFormat), errors.Is(err, io.ErrUnexpectedEOF):
		z.images, err = salvage(io.NewSectionReader(f, 0, size), pass)
		return err
	case err != nil && !errors.Is(err, zip.ErrInsecurePath): // nothing is written to the members' paths
		return err
	case end.begin < end.said:
		return fmt.Errorf("its first %d bytes are missing: one of several parts? Join them: cat x.z01 x.zip > whole.zip", end.said-end.begin)
	case joined(f, end, r):
		return errors.New("its central directory lacks the first member: several archives in one file? Extract them and zip all files again")
	}
	for _, m := range r.File {
		member := zipMember{zipName(m.Name), func() ([]byte, error) { return unzip(m) }}
		switch {
		case m.Mode().IsDir() || ignored(member.name):
		case isImage(member.name):
			z.images = append(z.images, member)
		case isMetadata(slashed(member.name)):
			z.metadata = append(z.metadata, member)
		default:
			pass(member.name)
		}
	}
	return nil
}

// joined reports whether the file begins with a member that the central directory at its end does not list: then another
// archive, whose members would be lost, precedes this one. If both are equally long, r has the members of the first.
func joined(f io.ReaderAt, end zipEnd, r *zip.Reader) bool {
	var head [30]byte // local file header; name and extra field follow
	if _, err := f.ReadAt(head[:], 0); err != nil || string(head[:4]) != localMagic {
		return false
	}
	if end.begin > end.said { // as in an archive behind another one
		return true
	}
	first := 30 + int64(binary.LittleEndian.Uint16(head[26:])) + int64(binary.LittleEndian.Uint16(head[28:]))
	return !slices.ContainsFunc(r.File, func(m *zip.File) bool {
		at, err := m.DataOffset()
		return err == nil && at == first
	})
}

// joinParts says how to make one archive of the parts of one.
const joinParts = "join the parts of a split zip archive: zip -s 0 x.zip --out whole.zip"

// zipEnd is what the end record of a central directory tells.
type zipEnd struct {
	// begin is where the directory begins, and said where the record says so; both are 0 where that is not known.
	begin, said int64
	disk        uint16 // the number of the part that the record is in, from 0
	disks       uint32 // the number of parts, of an archive with fields of 64 bits
}

// severed reports whether the record is in the last of several parts.
func (e zipEnd) severed() bool { return e.disk > 0 && e.disk < 1<<16-1 || e.disks > 1 }

// endOf reads the end record of a central directory, as far as there is one.
func endOf(f io.ReaderAt, size int64) (e zipEnd) {
	const most, locator = 1<<16 + 22, 20 // the record with a comment, and what is in front of it if fields have 64 bits
	tail := make([]byte, min(size, locator+most))
	if _, err := f.ReadAt(tail, size-int64(len(tail))); err != nil {
		return e
	}
	at := bytes.LastIndex(tail, []byte(endMagic))
	if at < 0 || len(tail)-at < 22 {
		return e
	}
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(tail[i:]) }
	e.disk = binary.LittleEndian.Uint16(tail[at+4:])
	if at >= locator && string(tail[at-locator:at-locator+4]) == locatorMagic {
		e.disks = u32(at - 4)
	}
	var magic [4]byte
	begin := size - int64(len(tail)-at) - int64(u32(at+12))
	if _, err := f.ReadAt(magic[:], begin); err == nil && string(magic[:]) == entryMagic && u32(at+16) < 1<<32-1 {
		e.begin, e.said = begin, int64(u32(at+16))
	}
	return e
}

// zipName returns a member's name in UTF-8. Names that are not UTF-8 are in the DOS code page (APPNOTE, appendix D).
func zipName(name string) string {
	if utf8.ValidString(name) {
		return name
	}
	name, _ = charmap.CodePage437.NewDecoder().String(name) // never fails: it maps every byte
	return name
}

// unzip reads a member.
func unzip(m *zip.File) ([]byte, error) {
	switch {
	case m.Flags&zipEncrypted != 0:
		return nil, errEncrypted
	case m.Mode()&fs.ModeSymlink != 0:
		return nil, errors.New("a symbolic link; zip the file itself")
	case m.UncompressedSize64 > maxMember:
		return nil, errLarge
	}
	r, err := m.Open()
	if errors.Is(err, zip.ErrAlgorithm) {
		return nil, fmt.Errorf("compressed by method %d; use deflate (8): %w", m.Method, err)
	} else if err != nil {
		return nil, truncated(err)
	}
	defer r.Close()
	const most = 1032 // bytes that a compressed one may stand for
	return readMember(r, int64(min(m.UncompressedSize64, most*m.CompressedSize64)))
}

var errEncrypted = errors.New("encrypted; zip it without a password")
