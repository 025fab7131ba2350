package imageio

import (
	"archive/zip"
	"bufio"
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// The parts of a zip archive (APPNOTE, section 4) that are looked for beside archive/zip.
const (
	localMagic    = "PK\x03\x04"
	entryMagic    = "PK\x01\x02" // of the central directory
	endMagic      = "PK\x05\x06" // of its end
	locatorMagic  = "PK\x06\x07" // of what is in front of that in an archive with fields of 64 bits
	localSize     = 30           // of a local file header without name and extra field
	zipEncrypted  = 1            // flag
	zipDescriptor = 1 << 3       // flag: sizes and checksum follow the data
	zip64Extra    = 1            // ID of the extra field with sizes of 64 bits
)

// local is a member of an archive as its local file header describes it.
type local struct {
	name             string
	flags, method    uint16
	crc              uint32
	at, packed, size int64 // where its data begins, its compressed and its full size
}

// salvage lists the images of an archive without a central directory, which is at its end, so that it is missing from
// a truncated archive. The last one stands for what is lost.
func salvage(f *io.SectionReader, pass func(string)) (images []zipMember, err error) {
	sound := false
	for at := int64(0); ; {
		most := int64(math.MaxInt64)
		if !sound {
			most = farBegin
		}
		m, err := nextLocal(f, at, most)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		at = m.at + m.packed
		sound = true
		switch name := zipName(m.name); {
		case ignored(name) || name == "" || name[len(name)-1] == '/':
		case isImage(name):
			images = append(images, zipMember{name, func() ([]byte, error) { return m.unzip(f) }})
		default:
			pass(name)
		}
	}
	lost := fmt.Errorf("no valid central directory at its end; truncated, or not a zip archive; fetch or zip it again: %w", zip.ErrFormat)
	if !sound {
		return nil, lost
	}
	return append(images, zipMember{"", func() ([]byte, error) { return nil, lost }}), nil
}

// nextLocal finds the next member at or behind a position, and before another; the error is io.EOF if there is none.
func nextLocal(f *io.SectionReader, at, most int64) (*local, error) {
	for at < most {
		found, err := findLocal(f, at, most)
		if err != nil {
			return nil, err
		}
		m, err := readLocal(f, found)
		if err == nil {
			return m, nil
		} else if temporary(err) {
			return nil, err
		}
		at = found + int64(len(localMagic))
	}
	return nil, io.EOF
}

// findLocal finds the signature of a local file header, likewise.
func findLocal(f *io.SectionReader, at, most int64) (int64, error) {
	buffer := make([]byte, 1<<16)
	for at < most {
		n, err := f.ReadAt(buffer, at)
		if i := bytes.Index(buffer[:n], []byte(localMagic)); i >= 0 {
			return at + int64(i), nil
		}
		if err != nil {
			return 0, err
		}
		at += int64(n - len(localMagic) + 1)
	}
	return 0, io.EOF
}

// readLocal reads a local file header, and the data where only that tells its size.
func readLocal(f *io.SectionReader, at int64) (*local, error) {
	var head [localSize]byte
	if _, err := f.ReadAt(head[:], at); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	u16 := func(i int) uint16 { return binary.LittleEndian.Uint16(head[i:]) }
	u32 := func(i int) uint32 { return binary.LittleEndian.Uint32(head[i:]) }
	name, extra := make([]byte, u16(26)), make([]byte, u16(28))
	text := append(name, extra...)
	if _, err := f.ReadAt(text, at+localSize); err != nil {
		return nil, io.ErrUnexpectedEOF
	}
	name, extra = text[:len(name)], text[len(name):]
	m := &local{
		name: string(name), flags: u16(6), method: u16(8), crc: u32(14),
		at: at + localSize + int64(len(text)), packed: int64(u32(18)), size: int64(u32(22)),
	}
	if u32(18) == 1<<32-1 || u32(22) == 1<<32-1 {
		m.zip64(extra)
	}
	if m.packed < 0 || m.size < 0 {
		return nil, zip.ErrFormat
	}
	if m.flags&zipDescriptor != 0 && m.packed == 0 {
		return m, m.measure(f)
	}
	return m, nil
}

// zip64 takes the sizes from the extra field.
func (m *local) zip64(extra []byte) {
	for len(extra) >= 4 {
		id, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		extra = extra[4:]
		if n > len(extra) {
			return
		}
		if id == zip64Extra && n >= 16 {
			m.size, m.packed = int64(binary.LittleEndian.Uint64(extra)), int64(binary.LittleEndian.Uint64(extra[8:]))
		}
		extra = extra[n:]
	}
}

// measure finds the size of data in front of its sizes, which the header lacks if the archive was written to a pipe:
// compressed data tells where it ends.
func (m *local) measure(f *io.SectionReader) error {
	if m.method != zip.Deflate {
		return zip.ErrFormat
	}
	in := &counting{r: bufio.NewReader(io.NewSectionReader(f, m.at, f.Size()-m.at))}
	data := flate.NewReader(in)
	sum := crc32.NewIEEE()
	m.size, _ = io.Copy(sum, io.LimitReader(data, maxMember+1)) // unzip reports the error
	m.packed, m.crc = in.n, sum.Sum32()
	if m.size > maxMember {
		return zip.ErrFormat
	}
	return nil
}

// counting counts the bytes that are read.
type counting struct {
	r *bufio.Reader
	n int64
}

// Read implements [io.Reader].
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// ReadByte implements [io.ByteReader], so that nothing behind the data is read.
func (c *counting) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// unzip reads the member.
func (m *local) unzip(f *io.SectionReader) ([]byte, error) {
	switch {
	case m.flags&zipEncrypted != 0:
		return nil, errEncrypted
	case m.size > maxMember:
		return nil, errLarge
	case m.packed > f.Size()-m.at:
		return nil, truncated(io.ErrUnexpectedEOF)
	}
	r := io.Reader(io.NewSectionReader(f, m.at, m.packed))
	switch m.method {
	case zip.Store:
	case zip.Deflate:
		r = flate.NewReader(r)
	default:
		return nil, fmt.Errorf("compressed by method %d; use deflate (8): %w", m.method, zip.ErrAlgorithm)
	}
	data, err := readMember(r, m.size)
	if err == nil && crc32.ChecksumIEEE(data) != m.crc {
		err = zip.ErrChecksum
	}
	return data, err
}
