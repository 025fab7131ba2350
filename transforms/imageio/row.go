package imageio

import (
	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"

	"github.com/sdr-ml/sdr/transforms/record"
)

// Row is one decoded image, a row of the batches that [Read] emits.
type Row struct {
	// Index gives the order of [Plan]: it is 2^32 times the split's number, plus the image's number in the split.
	Index int64 `arrow:"index"`
	// Source is the image file, the file that contains the image, or archive!member.
	Source string `arrow:"source"`
	// Row is the image's number in a Parquet or IDX file, else 0.
	Row int64 `arrow:"row"`
	// Label is the class number from the source, -1 if it has none.
	Label int64 `arrow:"label"`
	// Class is the class name, empty if there is none; see [Image].
	Class string `arrow:"class"`
	// LabelLost means that the label is in a part of the collection that is damaged.
	LabelLost bool `arrow:"label_lost"`
	// Width and Height are in pixels.
	Width  int32 `arrow:"width"`
	Height int32 `arrow:"height"`
	// Damage is what is wrong with the file, if it could be read all the same; see [RGB].
	Damage string `arrow:"damage"`
	// Clipped means that most of the file's pixels are gray that is clipped to white; see [RGB].
	Clipped bool `arrow:"clipped"`
	// Pixels are [Height, Width, 3] bytes: rows of red, green, blue.
	Pixels []byte `arrow:"pixels"`
}

// SplitOf returns the number of the split that an image belongs to, given its [Row] index.
func SplitOf(index int64) int64 { return index >> 32 }

// Dead is one dead letter: an image that cannot be read.
type Dead struct {
	// Index, Source and Row are those of [Row].
	Index  int64  `arrow:"index"`
	Source string `arrow:"source"`
	Row    int64  `arrow:"row"`
	// Reason is the decoder's error.
	Reason string `arrow:"reason"`
}

// rows collects decoded images; making a batch does not copy their pixels again.
type rows struct {
	builder *array.RecordBuilder // for the columns before the pixels
	offsets []int32
	pixels  []uint8
}

func newRows() *rows {
	columns := record.Schema[Row]().Fields()
	return &rows{
		builder: array.NewRecordBuilder(record.Mem, arrow.NewSchema(columns[:len(columns)-1], nil)),
		offsets: []int32{0},
	}
}

func (r *rows) len() int { return len(r.offsets) - 1 }

func (r *rows) add(index int64, im Image, rgb RGB) {
	damage := ""
	if rgb.Damage != nil {
		damage = rgb.Damage.Error()
	}
	for i, value := range []any{index, im.Source, im.Row, im.Label, im.Class, im.LabelLost, int32(rgb.Width), int32(rgb.Height), damage, rgb.Clipped} {
		switch b := r.builder.Field(i).(type) {
		case *array.Int64Builder:
			b.Append(value.(int64))
		case *array.Int32Builder:
			b.Append(value.(int32))
		case *array.StringBuilder:
			b.Append(value.(string))
		case *array.BooleanBuilder:
			b.Append(value.(bool))
		}
	}
	r.pixels = append(r.pixels, rgb.Pix...)
	r.offsets = append(r.offsets, int32(len(r.pixels)))
}

// batch returns the rows as a batch of Row.
func (r *rows) batch() *record.Batch {
	pixels := array.NewBinaryData(array.NewData(arrow.BinaryTypes.Binary, r.len(), []*memory.Buffer{
		nil, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(r.offsets)), memory.NewBufferBytes(r.pixels),
	}, nil, 0, 0))
	columns := append(r.builder.NewRecord().Columns(), pixels)
	return record.New(array.NewRecord(record.Schema[Row](), columns, int64(r.len())))
}
