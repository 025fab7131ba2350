// Package imageio reads collections of images and decodes them to RGB.
//
// A collection is a folder (searched recursively) or a file of one of the kinds
// below, such as Parquet; a folder may hold any mix of these. Plan lists
// collections in a stable order and cuts them into splits, units of work that
// can be read anywhere; ReadSplit gives the encoded images of a split in order; Decode
// turns one into pixels as Pillow would. Squares does both, on all processors,
// and brings the images to one size.
//
// Paths without a scheme are local. Others (gs://, memfs://, ...) go to the
// Beam filesystem of the scheme, which the program must import.
package imageio

import (
	"context"
	"fmt"
)

// Split is a unit of work: a run of images of one collection.
type Split struct {
	// Path is a folder or file, as it was given to Plan or found in it.
	Path string
	// Kind is the kind of the collection, such as Folder.
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
	// Row is the image's number in a file whose images have no names, else 0.
	Row int64
	// Data is the encoded image, for Decode. Nobody else holds it.
	Data []byte
	// Damage says why there is no Data where the collection is sound but this
	// image cannot be read from it; else it is empty.
	Damage string
	// Label is the class's number as the source has it, -1 if it has none.
	Label int64
	// Class is the class's name as the source has it, else the parent folder's
	// name. Empty if there is none.
	Class string
}

// ReadSplit gives every image of a split to yield, in order, and stops at its first
// error. A damaged collection is an error that names the file and the place; a
// damaged image is none, and is for Decode to find. It may be called by several
// goroutines.
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
