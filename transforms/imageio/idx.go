package imageio

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// IDX is a file of gray images of one size, the format of MNIST, optionally compressed with gzip. The labels are in a
// file next to it that has labels-idx1 instead of images-idx3 in its name.
const IDX = "idx"

var idxKind = kind{
	name:     IDX,
	files:    "IDX files (*-images-idx3-ubyte)",
	labels:   "a labels file next to IDX",
	suffixes: []string{"images-idx3-ubyte", "images.idx3-ubyte", "images-idx3-ubyte.gz", "images.idx3-ubyte.gz"},
	count:    countIDX,
	parts:    func(ctx context.Context, file string) iter.Seq[string] { return existing(ctx, labelFiles(file)...) },
	read:     readIDX,
}

// idxHeader reads the magic number and the dimensions of an IDX file of bytes (yann.lecun.com/exdb/mnist): the number
// of items and their height and width, which are 1 for labels.
func idxHeader(r io.Reader, dims int) (count int64, height, width int, err error) {
	head := make([]uint32, 1+dims)
	for i := range head {
		if err := binary.Read(r, binary.BigEndian, &head[i]); err != nil {
			return 0, 0, 0, truncated(err)
		}
		if want := uint32(0x800 | dims); head[0] != want {
			return 0, 0, 0, fmt.Errorf("the file begins with %08x, want %08x: not an IDX file of bytes with %d dimensions", head[0], want, dims)
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

func countIDX(ctx context.Context, name string) (int64, error) {
	s, err := openStream(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	defer s.Close()
	n, _, _, err := idxHeader(s, 3)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	return n, nil
}

func readIDX(ctx context.Context, split Split, yield func(Image) error) error {
	s, err := openStream(ctx, split.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w", split.Path, err)
	}
	defer s.Close()
	labels, err := idxLabels(ctx, split)
	if err != nil {
		return err
	}
	images := scanIDX(s, split.Begin, split.End, func(row int64, data []byte) error {
		label := int64(-1)
		if labels != nil {
			label = int64(labels[row-split.Begin])
		}
		return yield(Image{Source: split.Path, Row: row, Data: data, Label: label})
	})
	if images != nil {
		return fmt.Errorf("read %s, byte %d: %w", split.Path, s.at, images)
	}
	return nil
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

// labelFiles returns the names that the labels file next to an IDX file may have.
func labelFiles(images string) []string {
	base := path.Base(slashed(images))
	name := images[:len(images)-len(base)] + strings.NewReplacer("images", "labels", "idx3", "idx1").Replace(base)
	return []string{name, name + ".gz", strings.TrimSuffix(name, ".gz")}
}

// idxLabels reads the labels of a split from the labels file next to the images, or returns nil if there is none.
func idxLabels(ctx context.Context, split Split) ([]byte, error) {
	for _, name := range labelFiles(split.Path) {
		if ok, err := files.Exists(ctx, name); err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		} else if !ok {
			continue
		}
		s, err := openStream(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
		defer s.Close()
		labels, err := scanLabels(s, split.Begin, split.End)
		if err != nil {
			return nil, fmt.Errorf("read %s, byte %d: %w", name, s.at, err)
		}
		return labels, nil
	}
	return nil, nil
}

func scanLabels(r io.Reader, begin, end int64) ([]byte, error) {
	n, _, _, err := idxHeader(r, 1)
	if err != nil {
		return nil, err
	}
	if end > n {
		return nil, fmt.Errorf("%d labels for at least %d images", n, end)
	}
	if _, err := io.CopyN(io.Discard, r, begin); err != nil {
		return nil, truncated(err)
	}
	labels := make([]byte, end-begin)
	_, err = io.ReadFull(r, labels)
	return labels, truncated(err)
}
