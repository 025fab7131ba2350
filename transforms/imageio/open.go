package imageio

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"

	"github.com/sdr-ml/sdr/transforms/files"
)

// open opens a file on any filesystem; a local one can seek.
func open(ctx context.Context, name string) (io.ReadCloser, error) {
	if files.IsLocal(name) {
		f, err := os.Open(name)
		return localFile{f, ctx}, err
	}
	fsys, err := filesystem.New(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := fsys.OpenRead(ctx, name)
	if err != nil {
		return nil, outage{errors.Join(err, fsys.Close())}
	}
	return remoteFile{r, fsys}, nil
}

// localFile is not read further once its context is canceled: it may be as large as a disk.
type localFile struct {
	file *os.File
	ctx  context.Context
}

// Read implements [io.Reader].
func (f localFile) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.file.Read(p)
}

// ReadAt implements [io.ReaderAt].
func (f localFile) ReadAt(p []byte, at int64) (int, error) {
	if err := f.ctx.Err(); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, at)
}

// Seek implements [io.Seeker].
func (f localFile) Seek(offset int64, whence int) (int64, error) { return f.file.Seek(offset, whence) }

// Close implements [io.Closer].
func (f localFile) Close() error { return f.file.Close() }

// remoteFile closes its filesystem together with the file.
type remoteFile struct {
	io.ReadCloser
	fsys io.Closer
}

// Read implements [io.Reader].
func (f remoteFile) Read(p []byte) (int, error) {
	n, err := f.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = outage{err}
	}
	return n, err
}

func (f remoteFile) Close() error { return errors.Join(f.ReadCloser.Close(), f.fsys.Close()) }

// outage is an error of a remote filesystem or of temporary storage, not of the file.
type outage struct{ error }

// Unwrap returns the error itself.
func (e outage) Unwrap() error { return e.error }

// temporary reports whether an error is the fault of the machine or the network, so that the same file may well be read
// another time; other errors are the file's own.
func temporary(err error) bool {
	var o outage
	return errors.As(err, &o) || slices.ContainsFunc([]error{
		context.Canceled, context.DeadlineExceeded, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.ENOSPC,
	}, func(e error) bool { return errors.Is(err, e) })
}

// readFile reads an image file. A local one must be regular: a pipe or a device may have no end.
func readFile(ctx context.Context, name string) ([]byte, error) {
	size := int64(0)
	if files.IsLocal(name) {
		switch info, err := os.Stat(name); {
		case err != nil:
			return nil, err
		case !info.Mode().IsRegular() && !info.IsDir(): // reading a folder tells what it is
			return nil, errSpecial
		case info.Size() > maxMember:
			return nil, errLarge
		default:
			size = info.Size()
		}
	}
	r, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return readMember(r, size)
}

// randomFile is a file with random access.
type randomFile interface {
	io.ReaderAt
	io.Seeker
	io.Closer
}

// openAt opens a file for random access. A remote one is copied to a temporary file first, since Beam's filesystems
// only read sequentially.
func openAt(ctx context.Context, name string) (randomFile, error) {
	if files.IsLocal(name) {
		f, err := os.Open(name)
		return localFile{f, ctx}, err
	}
	r, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := os.CreateTemp("", "imageio-*")
	if err != nil {
		return nil, outage{err}
	}
	if _, err := io.Copy(f, r); err != nil {
		return nil, outage{errors.Join(err, tempFile{f}.Close())}
	}
	return tempFile{f}, nil
}

// tempFile is removed when it is closed.
type tempFile struct{ *os.File }

func (f tempFile) Close() error { return errors.Join(f.File.Close(), os.Remove(f.Name())) }

const gzipMagic = "\x1f\x8b"

// stream is a file read sequentially, decompressed if it is gzip, whatever its name.
type stream struct {
	*bufio.Reader
	file   io.ReadCloser
	packed bool
}

func openStream(ctx context.Context, name string) (*stream, error) {
	f, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	s := &stream{Reader: bufio.NewReaderSize(f, 1<<16), file: f}
	if magic, _ := s.Peek(2); string(magic) == gzipMagic {
		unpacked, err := gzip.NewReader(s.Reader)
		if err != nil {
			return nil, errors.Join(truncated(err), f.Close())
		}
		unpacked.Multistream(false)
		s.Reader, s.packed = bufio.NewReaderSize(gunzip{unpacked, s.Reader}, 1<<16), true
	}
	return s, nil
}

// gunzip unpacks a file of one or several gzip streams. Like gzip(1), it passes over what follows them, such as padding.
type gunzip struct {
	unpacked *gzip.Reader
	packed   *bufio.Reader // below unpacked, which reads no further than the end of a stream
}

// Read implements [io.Reader].
func (g gunzip) Read(p []byte) (n int, err error) {
	for n == 0 && err == nil {
		if n, err = g.unpacked.Read(p); !errors.Is(err, io.EOF) {
			continue
		}
		var magic []byte
		if magic, err = g.packed.Peek(2); err == nil && string(magic) != gzipMagic {
			return n, io.EOF
		}
		if err == nil {
			err = g.unpacked.Reset(g.packed)
			g.unpacked.Multistream(false)
		}
	}
	return n, err
}

// Close closes the file.
func (s *stream) Close() error { return s.file.Close() }

// maxMember is the size limit of an image file and of an archive member: a sparse file or a compressed archive of a few
// bytes can expand to more than fits into memory.
const maxMember = 1 << 29

// errLarge is the error for what is larger than maxMember.
var errLarge = fmt.Errorf("larger than %d bytes", maxMember)

// ignored reports whether a file or folder, or one that it is in, is hidden, metadata that macOS adds to archives, or what a
// job of Spark has not completed.
func ignored(name string) bool {
	return slices.ContainsFunc(strings.Split(slashed(name), "/"), func(elem string) bool {
		return elem == "__MACOSX" || elem == "_temporary" || strings.HasPrefix(elem, ".") && strings.Trim(elem, ".") != ""
	})
}

// readMember reads an image file or a member of an archive, which is said to be of a size; 0 means unknown.
func readMember(r io.Reader, size int64) ([]byte, error) {
	b := bytes.NewBuffer(make([]byte, 0, min(size, maxMember)+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(r, maxMember+1)); err != nil {
		return nil, truncated(err)
	}
	if b.Len() > maxMember {
		return nil, errLarge
	}
	return b.Bytes(), nil
}
