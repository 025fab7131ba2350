// Package imageio reads image collections and decodes them to RGB.
//
// A collection is a folder (searched recursively) or a file of one of the kinds below, such as Parquet; a folder may
// contain any mix of these. [Plan] lists collections in a stable order and divides them into splits, units of work that
// any worker can read, and [Survey] also tells what it passed over. [ReadSplit] reads the encoded images of a split in
// order. [Decode] decodes an image to the same pixels as Pillow. [Squares] does both on all cores and resizes the images
// to one size.
//
// Paths without a scheme are local. Others (gs://, memfs://, ...) go to the Beam filesystem of that scheme, which the
// program must import.
package imageio

import (
	"context"
	"fmt"

	"golang.org/x/text/unicode/norm"

	"github.com/sdr-ml/sdr/transforms/files"
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
	// From and Last are the first and the last image file, relative to the folder Path, so that a reader need not list the
	// files before, and takes none for them that was added behind. Empty for other kinds. The digests of runs have From alone.
	From string
	Last string `json:"-"`
	// Root is the folder in an archive that all its images are in, below which are those of the classes.
	Root string `json:",omitempty"`
	// Columns are those to use of a Parquet file, a list, and the metadata files in a folder or a zip archive.
	Columns Columns `json:",omitzero"`
	// Damage says why a file or folder cannot be read at all; else it is empty. Such a split is one damaged image.
	Damage string `json:",omitempty"`
	// Index is the split's number in the plan, from 0.
	Index int64
}

// Columns are the names of columns in Parquet files, or the paths of nested ones, such as sample.image, and in lists. Those
// without a name are found by what is usual: images in image, labels in label, or else by the metadata of HuggingFace's
// library. Messages call them as the flags of sdr, --image-column and --label-column.
type Columns struct {
	// Image is the column of images, or of their paths.
	Image string
	// Label is the column of labels, or NoLabels.
	Label string
}

// NoLabels in place of a column of labels means that there are none.
const NoLabels = "-"

// Image is one encoded image and where it comes from.
type Image struct {
	// Source is the image file, the file that contains the image, or archive!member, as by [files.Text].
	Source string
	// Row is the image's number in a file whose images have no names, else 0.
	Row int64
	// Data is the encoded image, for Decode. The receiver owns it.
	Data []byte
	// Damage says why this image cannot be read, so that Data is missing; else it is empty. Of a collection that cannot
	// be listed, one damaged image stands for all.
	Damage string
	// Label is the class number from the source, -1 if it has none.
	Label int64
	// Class is the class name from the source, else the name of the image's folder, unless that is the split's; empty if
	// there is none. Of an image with Labels, it has all of these.
	Class string
	// Folders is the path of the image's folder below that of the split, or below Root in an archive, with slashes, "." for
	// that itself, if the class comes from there; else it is empty. The class of a task is the first of these folders.
	Folders string
	// Labels are the classes from a source that has a list of them for each image; nil from others.
	Labels []Label
	// LabelError says why the label that the source has cannot be used; else it is empty.
	LabelError string
	// LabelLost means that the label is in a part of the collection that is damaged, so that Label is -1 and Class empty.
	LabelLost bool
}

// inFolders sets the folders that an image is in, and its class to the last of them.
func (im *Image) inFolders(folders string) {
	im.Folders, im.Class = folders, className(folders)
}

// Label is a class of an image: its number, -1 if it has none, and its name, empty if it has none. The letters of names are
// composed (NFC), as in most texts, but not in macOS's names of folders.
type Label struct {
	Number int64
	Name   string
}

// ReadSplit calls yield with every image of a split, in order, and stops at yield's first error. What cannot be read of a
// damaged collection counts as damaged images, so that there are as many as planned; an image that [Decode] finds to be
// damaged is passed on. Of a folder that changed since it was planned, what was added is passed over, and what was removed
// counts as damaged images. A file that changed since is an error, and so is a failure of the machine or the network, after
// which reading can be tried again. ReadSplit is safe for concurrent use.
func ReadSplit(ctx context.Context, split Split, yield func(Image) error) error {
	next, stopped := split.Begin, false
	pass := func(im Image) error {
		if err := ctx.Err(); err != nil {
			stopped = true
			return err
		}
		if im.Damage == "" {
			im.Damage = misplaced(im.Data)
		}
		if im.Damage != "" {
			im.Data = nil
		}
		for _, text := range []*string{&im.Source, &im.Damage, &im.Class, &im.Folders, &im.LabelError} {
			*text = files.Text(*text)
		}
		im.Class, im.Folders = norm.NFC.String(im.Class), norm.NFC.String(im.Folders)
		for i, l := range im.Labels {
			im.Labels[i].Name = norm.NFC.String(files.Text(l.Name))
		}
		next++
		stopped = true // in case that yield panics
		err := yield(im)
		stopped = err != nil
		return err
	}
	if split.Damage != "" {
		return pass(Image{Source: split.Path, Label: -1, Damage: split.Damage})
	}
	k := kindNamed(split.Kind)
	if k == nil {
		return fmt.Errorf("read %s: unknown kind %q", split.Path, split.Kind)
	}
	err := guard(func() error { return k.read(ctx, split, pass) })
	switch {
	case stopped:
		return err
	case err == nil && next != split.End:
		return fmt.Errorf("read %s: %d images where %d were planned: it changed since; start again", split.Path, next-split.Begin, split.End-split.Begin)
	case err != nil && temporary(err):
		return fmt.Errorf("read %s: %w", split.Path, err)
	}
	for next < split.End {
		if err := pass(Image{Source: split.Path, Row: next, Label: -1, Damage: err.Error()}); err != nil {
			return err
		}
	}
	return nil
}

// guard makes an error of a panic, with which some decoders answer damage.
func guard(work func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
	}()
	return work()
}

// misplaced says what the data of an image is if it is something that stands in an image's place by mistake, else "".
func misplaced(data []byte) string {
	switch {
	case begins(data, "version https://git-lfs.github.com/"):
		return "a git-lfs pointer, not the file itself; fetch it with git lfs pull"
	case begins(data, gzipMagic):
		return "gzip data in spite of its name; unpack it with gunzip"
	case begins(data, "BZh"):
		return "bzip2 data in spite of its name; unpack it with bunzip2"
	case begins(data, "\xfd7zXZ\x00"):
		return "xz data in spite of its name; unpack it with unxz"
	case begins(data, "\x28\xb5\x2f\xfd"):
		return "Zstandard data in spite of its name; unpack it with unzstd"
	}
	return ""
}
