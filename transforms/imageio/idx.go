package imageio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"regexp"
	"strings"
	"unicode"

	"github.com/sdr-ml/sdr/transforms/files"
)

// IDX is a file of gray images of one size, the format of MNIST, optionally compressed with gzip. The labels are in a
// file next to it that has labels-idx1 instead of images-idx3 in its name. It may have fewer labels than there are
// images, but not more. Labels in a damaged part of it are lost.
const IDX = "idx"

var idxKind = kind{
	name:     IDX,
	files:    "IDX files (*idx3-ubyte, also .gz)",
	labels:   "a labels file next to IDX",
	suffixes: []string{"images-idx3-ubyte", "images.idx3-ubyte", "images-idx3-ubyte.gz", "images.idx3-ubyte.gz", "idx3-ubyte", "idx3-ubyte.gz"},
	packed:   true,
	count:    countIDX,
	parts:    func(ctx context.Context, file string) iter.Seq[string] { return existing(ctx, labelFiles(file)...) },
	read:     readIDX,
}

// misfit is the error of a file that is sound, but not what its name says.
type misfit struct{ error }

// idxHeader reads the magic number and the dimensions of an IDX file of bytes (yann.lecun.com/exdb/mnist): the number
// of items and their height and width, which are 1 for labels.
func idxHeader(r io.Reader, dims int) (count int64, height, width int, err error) {
	head := make([]uint32, 1+dims)
	for i := range head {
		if err := binary.Read(r, binary.BigEndian, &head[i]); err != nil {
			return 0, 0, 0, truncated(err)
		}
		if want := uint32(0x800 | dims); head[0] != want {
			return 0, 0, 0, misfit{fmt.Errorf("the file begins with %08x, want %08x: not an IDX file of bytes with %d dimensions", head[0], want, dims)}
		}
	}
	size := []int64{0, 1, 1}
	for i, n := range head[1:] {
		size[i] = int64(n)
	}
	if size[1] < 1 || size[2] < 1 || size[1] > maxPixels/size[2] {
		return 0, 0, 0, fmt.Errorf("images of %d x %d pixels", size[2], size[1])
	}
	return size[0], int(size[1]), int(size[2]), nil
}

func countIDX(ctx context.Context, split Split, _ *Source) (int64, error) {
	s, err := openStream(ctx, split.Path)
	if err != nil {
		return 0, err
	}
	defer s.Close()
	n, height, width, err := idxHeader(s, 3)
	if err != nil {
		return 0, err
	}
	if size, ok := sizeOf(split.Path); ok && n > maxInflation*size/int64(height*width) {
		return 0, fmt.Errorf("%d images of %d x %d pixels in a file of %d bytes", n, width, height, size)
	}
	return n, nil
}

// maxInflation is more than the factor by which gzip can shrink a file: a false header must not make billions of images.
const maxInflation = 1100

func readIDX(ctx context.Context, split Split, yield func(Image) error) error {
	s, err := openStream(ctx, split.Path)
	if err != nil {
		return err
	}
	defer s.Close()
	head, _ := s.Peek(16)
	total, _, _, err := idxHeader(bytes.NewReader(head), 3)
	if err != nil {
		return err
	}
	labels, wrong := idxLabels(ctx, split, total)
	if wrong != nil && temporary(wrong) {
		return wrong
	}
	return scanIDX(s, split.Begin, split.End, func(row int64, data []byte) error {
		im := Image{Source: split.Path, Row: row, Data: data, Label: -1}
		if at := row - split.Begin; at < int64(len(labels)) {
			im.Label = int64(labels[at])
		} else if errors.As(wrong, new(misfit)) {
			im.LabelError = wrong.Error()
		} else {
			im.LabelLost = wrong != nil
		}
		return yield(im)
	})
}

// isLabels reports whether a file has the labels of an IDX file, going by its name.
func isLabels(name string) bool {
	return strings.Contains(baseName(name), "idx1-ubyte")
}

// scanIDX reads images [begin, end) and calls yield with each as a PGM image.
func scanIDX(r io.Reader, begin, end int64, yield func(row int64, data []byte) error) error {
	n, height, width, err := idxHeader(r, 3)
	if err != nil {
		return err
	}
	if end > n {
		return fmt.Errorf("image %d requested, but the file has %d", end-1, n)
	}
	if _, err := io.CopyN(io.Discard, r, begin*int64(height*width)); err != nil {
		return truncated(err)
	}
	header := fmt.Appendf(nil, "P5\n%d %d\n255\n", width, height)
	for row := begin; row < end; row++ {
		pixels, err := io.ReadAll(io.LimitReader(r, int64(height*width))) // a false header must not take memory
		if err == nil && len(pixels) < height*width {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return truncated(err)
		}
		if err := yield(row, append(header[:len(header):len(header)], pixels...)); err != nil {
			return err
		}
	}
	return nil
}

var ofImages = regexp.MustCompile(`(?i)images|idx3`)

// labelFiles returns the names that the labels file next to an IDX file may have, in capitals where its name is.
func labelFiles(images string) []string {
	base := path.Base(slashed(images))
	name := images[:len(images)-len(base)] + ofImages.ReplaceAllStringFunc(base, func(word string) string {
		labels := []byte(strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(strings.ToLower(word)))
		for i := range labels {
			if unicode.IsUpper(rune(word[i])) {
				labels[i] = byte(unicode.ToUpper(rune(labels[i])))
			}
		}
		return string(labels)
	})
	if strings.HasSuffix(baseName(name), ".gz") {
		return []string{name, name[:len(name)-len(".gz")]}
	}
	return []string{name, name + ".gz"}
}

// idxLabels reads the labels of a split from the labels file next to the images, of which there are total. It returns
// fewer if the file has fewer, or with an error if it is damaged, or a misfit if it belongs to other images.
func idxLabels(ctx context.Context, split Split, total int64) ([]byte, error) {
	for _, name := range labelFiles(split.Path) {
		if ok, err := files.Exists(ctx, name); err != nil {
			return nil, fmt.Errorf("labels %s: %w", name, err)
		} else if !ok {
			continue
		}
		s, err := openStream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("labels %s: %w", name, err)
		}
		defer s.Close()
		labels, err := scanLabels(s, split.Begin, split.End, total)
		if err != nil {
			return labels, fmt.Errorf("labels %s: %w", name, err)
		}
		return labels, nil
	}
	return nil, nil
}

// scanLabels returns the labels [begin, end) of total images, as far as there are.
func scanLabels(r io.Reader, begin, end, total int64) ([]byte, error) {
	n, _, _, err := idxHeader(r, 1)
	switch {
	case err != nil:
		return nil, err
	case n > total:
		return nil, misfit{fmt.Errorf("%d labels for %d images: they belong to other images", n, total)}
	}
	begin, end = min(begin, n), min(end, n)
	if _, err := io.CopyN(io.Discard, r, begin); err != nil {
		return nil, truncated(err)
	}
	labels, err := io.ReadAll(io.LimitReader(r, end-begin))
	if err == nil && int64(len(labels)) < end-begin {
		err = io.ErrUnexpectedEOF
	}
	return labels, truncated(err)
}
