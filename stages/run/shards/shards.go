// Package shards passes images between stages: the pixels stay in Arrow IPC files, and only references to their record
// batches travel. Ingest writes shards, partition rewrites them sorted by subset, and stages that need pixels open the
// references they receive.
package shards

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Ref refers to one record batch of a shard. It is the schema of what ingest and partition emit.
type Ref struct {
	// Path is the path of the shard.
	Path string `arrow:"path"`
	// Batch is the index of the record batch in the file.
	Batch int64 `arrow:"batch"`
	// Rows is the number of images in the record batch.
	Rows int64 `arrow:"rows"`
	// Subset is the code of the subset that the images belong to; empty before partition.
	Subset string `arrow:"subset"`
}

// formatKey is the key of the format in a shard's metadata; see run.CheckFormat.
const formatKey = "format"

// Schema returns the schema of a shard: each image's source, its row there, its pixels, size x size x 3 bytes, RGB, row by
// row, and their Sum. The metadata holds the size and the format.
func Schema(size int) *arrow.Schema {
	meta := arrow.NewMetadata([]string{"size", formatKey}, []string{strconv.Itoa(size), strconv.Itoa(run.Format)})
	return arrow.NewSchema([]arrow.Field{
		{Name: "source", Type: arrow.BinaryTypes.String},
		{Name: "row", Type: arrow.PrimitiveTypes.Int64},
		{Name: "image", Type: &arrow.FixedSizeBinaryType{ByteWidth: size * size * 3}},
		{Name: "sum", Type: arrow.PrimitiveTypes.Uint64},
	}, &meta)
}

// Sum returns the checksum of an image's pixels.
func Sum(pixels []byte) uint64 { return xxh3.Hash(pixels) }

// Check compares an image's pixels with their Sum.
func Check(pixels []byte, sum uint64) error {
	if Sum(pixels) != sum {
		return errors.New("damaged: its pixels do not match their checksum")
	}
	return nil
}

// Builder builds the record batches of a shard.
type Builder struct{ *array.RecordBuilder }

// NewBuilder returns a builder for images of size x size pixels.
func NewBuilder(size int) Builder { return Builder{array.NewRecordBuilder(record.Mem, Schema(size))} }

// Append adds an image: its source, its row there, and its pixels.
func (b Builder) Append(source string, row int64, pixels []byte) {
	b.Field(0).(*array.StringBuilder).Append(source)
	b.Field(1).(*array.Int64Builder).Append(row)
	b.Field(2).(*array.FixedSizeBinaryBuilder).Append(pixels)
	b.Field(3).(*array.Uint64Builder).Append(Sum(pixels))
}

// Sort sorts references by path and batch, the order in which all stages number images.
func Sort(refs []Ref) {
	slices.SortFunc(refs, func(a, b Ref) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.Batch, b.Batch))
	})
}

// Images gives random access to the images of several record batches. Local shards are mapped into memory and their
// pixels are used in place: the page cache is the only cache, so the pool may be larger than memory.
type Images struct {
	// Refs are the record batches, sorted.
	Refs   []Ref
	size   int
	pixels [][]uint8 // per batch
	from   []int     // index of each batch's first image, then the total
	files  []*file
}

// Open opens the shards of the references, which may be in any order. It fails if a shard is missing, damaged or does
// not match its reference, or if there are no images.
func Open(ctx context.Context, refs []Ref) (*Images, error) {
	im := &Images{Refs: slices.Clone(refs), from: []int{0}}
	Sort(im.Refs)
	open := map[string]*file{}
	for _, ref := range im.Refs {
		f := open[ref.Path]
		if f == nil {
			var err error
			if f, err = openFile(ctx, ref.Path); err != nil {
				return nil, errors.Join(Unusable(err, ref.Path), im.Close())
			}
			open[ref.Path] = f
			im.files = append(im.files, f)
		}
		if err := im.add(f, ref); err != nil {
			return nil, errors.Join(Unusable(fmt.Errorf("shard %s, batch %d: %w", ref.Path, ref.Batch, err), ref.Path), im.Close())
		}
	}
	if im.Len() == 0 {
		return nil, errors.Join(errors.New("shards: no images"), im.Close())
	}
	return im, nil
}

// Unusable adds to the error of a shard that cannot be read how to get it again.
func Unusable(err error, path string) error {
	return fmt.Errorf("%w; remove the folder %s, and --resume makes it again", err, files.Dir(files.Dir(path)))
}

func (im *Images) add(f *file, ref Ref) error {
	if im.size != 0 && f.size != im.size {
		return fmt.Errorf("images of %d px mixed with images of %d px", f.size, im.size)
	}
	pixels, err := f.pixels(int(ref.Batch))
	if err != nil {
		return err
	}
	rows := len(pixels) / (3 * f.size * f.size)
	if int64(rows) != ref.Rows {
		return fmt.Errorf("%d images, but its reference says %d", rows, ref.Rows)
	}
	im.size = f.size
	im.pixels = append(im.pixels, pixels)
	im.from = append(im.from, im.Len()+rows)
	return nil
}

var errNoImages = errors.New("not a shard: no column image of type fixed_size_binary")

// Pixels returns the image column of a shard's record batch.
func Pixels(rec arrow.Record) (*array.FixedSizeBinary, error) {
	at := rec.Schema().FieldIndices("image")
	if len(at) == 1 {
		if column, ok := rec.Column(at[0]).(*array.FixedSizeBinary); ok {
			return column, nil
		}
	}
	return nil, errNoImages
}

// Source says where an image comes from: its columns of a shard other than the pixels.
type Source struct {
	Source string `arrow:"source"`
	Row    int64  `arrow:"row"`
}

// ReadSources reads where the images of a shard come from, in their order.
func ReadSources(ctx context.Context, path string) (all []Source, err error) {
	err = arrowio.Each(ctx, path, func(b *record.Batch) error {
		rows, err := record.Rows[Source](b)
		all = append(all, rows...)
		return err
	})
	return all, err
}

// Name returns the name of the shard with a number.
func Name(number int64) string { return fmt.Sprintf("shard-%05d.arrow", number) }

// Number returns the number of a shard, given its path.
func Number(file string) (n int64, err error) {
	if _, err := fmt.Sscanf(path.Base(file), "shard-%d.arrow", &n); err != nil || path.Base(file) != Name(n) {
		return 0, fmt.Errorf("%s is not the name of a shard", file)
	}
	return n, nil
}

// Size returns the height and width in pixels of a shard's images.
func Size(schema *arrow.Schema) (int, error) {
	text, ok := schema.Metadata().GetValue("size")
	size, err := strconv.Atoi(text)
	if !ok || err != nil || size < 1 {
		return 0, fmt.Errorf("the schema metadata has size %q; want the height of the images in pixels", text)
	}
	return size, nil
}

// checkFormat returns an error unless a shard's format can be read.
func checkFormat(schema *arrow.Schema) error {
	text, ok := schema.Metadata().GetValue(formatKey)
	if !ok {
		return nil
	}
	format, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("the schema metadata has format %q; want a number", text)
	}
	return run.CheckFormat(format)
}

// Len returns the number of images.
func (im *Images) Len() int { return im.from[len(im.from)-1] }

// Size returns the height and width of every image, in pixels.
func (im *Images) Size() int { return im.size }

// At returns image i, [size,size,3] bytes, which must not be modified and are valid until Close. Images are numbered in
// the order of Refs.
func (im *Images) At(i int) []uint8 {
	batch, found := slices.BinarySearch(im.from, i)
	if !found {
		batch--
	}
	for im.from[batch+1] == im.from[batch] {
		batch++ // an empty batch starts where the next one does
	}
	n := 3 * im.size * im.size
	k := i - im.from[batch]
	return im.pixels[batch][k*n : (k+1)*n : (k+1)*n]
}

// Range returns the range of indices of the images of batch b: the first, and one past the last.
func (im *Images) Range(b int) (begin, end int) { return im.from[b], im.from[b+1] }

// Close unmaps the shards. After Close, At panics.
func (im *Images) Close() error {
	var errs []error
	for _, f := range im.files {
		errs = append(errs, f.release())
	}
	im.files, im.pixels = nil, nil
	return errors.Join(errs...)
}
