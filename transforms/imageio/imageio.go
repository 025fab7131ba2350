// Package imageio reads collections of images and decodes them to RGB.
//
// A collection is a folder (searched recursively), a HuggingFace-style Parquet
// file, a tar archive (WebDataset style, also .tar.gz and .tgz), an IDX file
// as MNIST has it, or a folder with any mix of these. Plan lists collections in
// a stable order and cuts them into splits, units of work that can be read
// anywhere; ReadSplit gives the encoded images of a split in order; Decode turns one
// into pixels as Pillow would. Squares does both, on all processors, and brings
// the images to one size.
//
// Paths without a scheme are local. Others (gs://, memfs://, ...) go to the
// Beam filesystem of the scheme, which the program must import.
package imageio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	"github.com/sdr-ml/sdr/transforms/files"
)

// The kinds of collections.
const (
	Folder  = "folder"  // image files of a folder and the folders in it
	Parquet = "parquet" // image: struct<bytes, path>, optionally label: int64
	Tar     = "tar"     // archive of image files, optionally with .cls files
	IDX     = "idx"     // *-images-idx3-ubyte, optionally with labels beside it
)

// Split is a unit of work: a run of images of one collection.
type Split struct {
	// Path is a folder or file, as it was given to Plan or found in it.
	Path string
	// Kind is Folder, Parquet, Tar or IDX.
	Kind string
	// Begin and End bound the images, [Begin, End), by their number in the
	// collection: a row of a file, or an index into the folder's image files
	// in order.
	Begin, End int64
	// From is the image file with number Begin, relative to the folder Path, so
	// that a reader need not list the files before it. Empty for other kinds.
	From string
	// Index numbers the splits of a plan from 0.
	Index int64
}

// Image is one encoded image and where it came from.
type Image struct {
	// Source is the image file, the file that holds it, or archive!member.
	Source string
	// Row is the image's number in a Parquet or IDX file, else 0.
	Row int64
	// Data is the encoded image, for Decode. Nobody else holds it.
	Data []byte
	// Label is the class's number as the source has it, -1 if it has none.
	Label int64
	// Class is the class's name: from a Parquet file's metadata or string
	// label, from a textual .cls member, else the parent folder's name. Empty
	// if there is none.
	Class string
}

var imageExtensions = []string{".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm"}

// kindOf tells a collection's or image's kind by its name; a single image is
// of kind Folder. The empty string stands for files of no interest.
func kindOf(name string) string {
	base := strings.ToLower(path.Base(strings.ReplaceAll(name, "\\", "/")))
	if strings.HasPrefix(base, ".") {
		return ""
	}
	plain := strings.TrimSuffix(base, ".gz")
	switch {
	case strings.HasSuffix(plain, "images-idx3-ubyte"), strings.HasSuffix(plain, "images.idx3-ubyte"):
		return IDX
	case strings.HasSuffix(plain, ".tar"), strings.HasSuffix(base, ".tgz"):
		return Tar
	case strings.HasSuffix(base, ".parquet"):
		return Parquet
	case slices.Contains(imageExtensions, path.Ext(base)):
		return Folder
	}
	return ""
}

// ReadSplit gives every image of a split to yield, in order, and stops at its first
// error. A damaged collection is an error that names the file and the place; a
// damaged image is not looked at. It may be called by several goroutines.
func ReadSplit(ctx context.Context, split Split, yield func(Image) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read %s: images %d to %d: panic: %v", split.Path, split.Begin, split.End, r)
		}
	}()
	n := int64(0)
	counted := func(im Image) error {
		n++
		if err := ctx.Err(); err != nil {
			return err
		}
		return yield(im)
	}
	switch split.Kind {
	case Folder:
		err = readFolder(ctx, split, counted)
	case Parquet:
		err = readParquet(ctx, split, counted)
	case Tar:
		err = readTar(ctx, split, counted)
	case IDX:
		err = readIDX(ctx, split, counted)
	default:
		return fmt.Errorf("read %s: unknown kind %q", split.Path, split.Kind)
	}
	if err == nil && n != split.End-split.Begin {
		err = fmt.Errorf("read %s: %d images where %d were planned: it changed since; start again", split.Path, n, split.End-split.Begin)
	}
	return err
}

// open opens a file of any filesystem; a local one can seek.
func open(ctx context.Context, name string) (io.ReadCloser, error) {
	if files.IsLocal(name) {
		return os.Open(name)
	}
	fsys, err := filesystem.New(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := fsys.OpenRead(ctx, name)
	if err != nil {
		return nil, errors.Join(err, fsys.Close())
	}
	return remoteFile{r, fsys}, nil
}

// remoteFile closes its filesystem with it.
type remoteFile struct {
	io.ReadCloser
	fsys io.Closer
}

func (f remoteFile) Close() error { return errors.Join(f.ReadCloser.Close(), f.fsys.Close()) }
