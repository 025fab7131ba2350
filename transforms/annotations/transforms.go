package annotations

import (
	"context"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
)

// Row is the schema of Read's output: an object, or an image without any. An image that cannot be used has no row.
type Row struct {
	// Image is the image's number in the split, and Source its path or archive!member.
	Image  int64  `arrow:"image"`
	Source string `arrow:"source"`
	// Class is the class's number, and Name its name; -1 and empty for an image without objects.
	Class int64  `arrow:"class"`
	Name  string `arrow:"name"`
	// Left, Top, Width and Height are the box in pixels.
	Left   float64 `arrow:"left"`
	Top    float64 `arrow:"top"`
	Width  float64 `arrow:"width"`
	Height float64 `arrow:"height"`
	// Area, Crowd and Difficult are those of Object.
	Area      float64 `arrow:"area"`
	Crowd     bool    `arrow:"crowd"`
	Difficult bool    `arrow:"difficult"`
}

func init() { beam.RegisterDoFn(reflect.TypeFor[readFn]()) }

// Read lists the objects of a split.
//
// out: *record.Batch of Row, in the order of the images, all rows of an image in one batch.
func Read(s beam.Scope, cfg Config) beam.PCollection {
	s = s.Scope("annotations.Read")
	return beam.ParDo(s, &readFn{cfg}, beam.Impulse(s))
}

type readFn struct{ Config Config }

func (fn *readFn) ProcessElement(ctx context.Context, _ []byte, emit func(*record.Batch)) error {
	set, err := Open(ctx, fn.Config)
	if err != nil {
		return err
	}
	rows := set.rows()
	for len(rows) > 0 {
		n := min(len(rows), record.MaxStructs)
		for n < len(rows) && rows[n].Image == rows[n-1].Image {
			n++
		}
		emit(record.Of(rows[:n]))
		rows = rows[n:]
	}
	return set.Close()
}

// rows lists the objects, and the images without any.
func (s *Set) rows() (rows []Row) {
	for i, im := range s.Images {
		if len(im.Objects) == 0 && im.Reason == "" {
			rows = append(rows, Row{Image: int64(i), Source: im.Source, Class: -1})
		}
		for _, o := range im.Objects {
			rows = append(rows, Row{
				Image: int64(i), Source: im.Source, Class: int64(o.Class), Name: s.Classes[o.Class],
				Left: o.Box[0], Top: o.Box[1], Width: o.Box[2], Height: o.Box[3],
				Area: o.Area, Crowd: o.Crowd, Difficult: o.Difficult,
			})
		}
	}
	return rows
}
