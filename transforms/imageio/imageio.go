// Package imageio reads image collections and decodes them to RGB.
//
// A collection is a folder (searched recursively) or a file of one of the kinds below, such as Parquet; a folder may
// contain any mix of these. [Plan] lists collections in a stable order and divides them into splits, units of work that
// any worker can read. [ReadSplit] reads the encoded images of a split in order. [Decode] decodes an image to the same
// pixels as Pillow. [Squares] does both on all cores and resizes the images to one size.
//
// Paths without a scheme are local. Others (gs://, memfs://, ...) go to the Beam filesystem of that scheme, which the
// program must import.
package imageio

import (
	"context"
	"fmt"
)

// Split is a unit of work: a range of images of one collection.
type Split struct {
	// Path is a folder or file, as passed to Plan or found below it.
	Path string
	// Kind is the kind of the collection, such as Folder.
	Kind string
	// Begin and End are the range [Begin, End) of image numbers in the collection: the rows of a file, or indices into
	// the sorted image files of a folder.
	Begin, End int64
	// From is the image file with number Begin, relative to the folder Path, so that a reader need not list the files
	// before it. Empty for other kinds.
	From string
	// Index is the split's number in the plan, from 0.
	Index int64
}

// Image is one encoded image and where it comes from.
type Image struct {
	// Source is the image file, the file that contains the image, or archive!member.
	Source string
	// Row is the image's number in a file whose images have no names, else 0.
	Row int64
	// Data is the encoded image, for Decode. The receiver owns it.
	Data []byte
	// Damage says why this image cannot be read from an otherwise intact collection, so that Data is missing; else empty.
	Damage string
	// Label is the class number from the source, -1 if it has none.
	Label int64
	// Class is the class name from the source, else the name of the parent folder; empty if there is none.
	Class string
}

// ReadSplit calls yield with every image of a split, in order, and stops at yield's first error. A damaged collection
// is an error with the file and the position; a damaged image is not, but [Decode] detects it. ReadSplit is safe for
// concurrent use.
func ReadSplit(ctx context.Context, split Split, yield func(Image) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("read %s: images %d to %d: panic: %v", split.Path, split.Begin, split.End, r)
		}
	}()
	k := kindNamed(split.Kind)
	if k == nil {
		return fmt.Errorf("read %s: unknown kind %q", split.Path, split.Kind)
	}
	n := int64(0)
	err = k.read(ctx, split, func(im Image) error {
		n++
		if err := ctx.Err(); err != nil {
			return err
		}
		return yield(im)
	})
	if err == nil && n != split.End-split.Begin {
		err = fmt.Errorf("read %s: %d images where %d were planned: it changed since; start again", split.Path, n, split.End-split.Begin)
	}
	return err
}
