package imageio

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sdr-ml/sdr/transforms/parquet"
)

// Parquet is a file with a column of images, as image: struct<bytes, path> of HuggingFace's library, and perhaps one of
// labels, as label: a class's number, whose name is in the metadata of that library, or its name. Images are numbered by
// row. The rows of a damaged row group count as damaged images, or lose their labels if it is these that are damaged.
const Parquet = "parquet"

var parquetKind = kind{
	name:     Parquet,
	files:    "HuggingFace Parquet files (.parquet)",
	labels:   "a column label in Parquet",
	suffixes: []string{".parquet"},
	count:    countParquet,
	read:     readParquet,
}

// parquetBatch is how many rows are decoded at once.
const parquetBatch = 256

func openParquet(ctx context.Context, name string) (*parquet.Reader, error) {
	source, err := openAt(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := parquet.NewReader(source)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w; fetch or write it again", err), source.Close())
	}
	return r, nil
}

func countParquet(ctx context.Context, split Split, seen *Source) (int64, error) {
	r, err := openParquet(ctx, split.Path)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	t, err := findTable(r, split)
	if err != nil {
		return 0, err
	}
	if t.list != "" {
		seen.pass(lists)
	}
	if t.unlabeled != nil {
		seen.hint(split.Path, t.unlabeled)
	}
	return r.NumRows(), nil
}

func readParquet(ctx context.Context, split Split, yield func(Image) error) error {
	r, err := openParquet(ctx, split.Path)
	if err != nil {
		return err
	}
	defer r.Close()
	t, err := findTable(r, split)
	if err != nil {
		return err
	}
	first := int64(0) // row of the next group
	for g, n := range r.Groups() {
		if first >= split.End {
			break
		}
		first += n
		if first <= split.Begin {
			continue
		}
		s := groupReader{
			ctx: ctx, r: r, table: t, file: split.Path, group: g, first: first - n,
			row: max(split.Begin, first-n), end: min(split.End, first), yield: yield,
		}
		damage, err := s.readAll()
		if damage != nil && err == nil && t.labeled() {
			s.table, s.lost = t.withoutLabels(), true
			damage, err = s.readAll() // if it is the labels that are damaged
		}
		if err != nil {
			return err
		}
		for ; s.row < s.end; s.row++ {
			im := Image{Source: split.Path, Row: s.row, Label: -1, Damage: fmt.Sprintf("row group %d: %v", g, damage)}
			if err := yield(im); err != nil {
				return err
			}
		}
	}
	return nil
}

// groupReader reads rows of one row group.
type groupReader struct {
	ctx      context.Context
	r        *parquet.Reader
	table    *table
	file     string
	group    int   // its index
	first    int64 // row of it
	row, end int64 // the rows to read
	lost     bool  // whether their labels are damaged
	yield    func(Image) error
}

// readAll yields images up to damage, whatever rows come at once.
func (s *groupReader) readAll() (damage, err error) {
	if damage, err = s.read(parquetBatch); damage != nil && err == nil {
		damage, err = s.read(1)
	}
	return damage, err
}

// read yields images up to damage, or to an error that is not the file's.
func (s *groupReader) read(size int64) (damage, err error) {
	for rec, err := range s.r.GroupRecords(s.group, s.row-s.first, s.end-s.first, size, s.table.columns()...) {
		if err != nil && temporary(err) {
			return nil, fmt.Errorf("row %d: %w", s.row, err)
		} else if err != nil {
			return err, nil
		}
		for i := range int(rec.NumRows()) {
			if err := s.image(rec, i); err != nil {
				return nil, err
			}
			s.row++
		}
	}
	return nil, nil
}

// image yields the image in a row of a record.
func (s *groupReader) image(rec arrow.Record, i int) error {
	im := Image{Source: s.file, Row: s.row, Label: -1, LabelLost: s.lost}
	if guard(func() error { s.table.label(rec, i, &im); return nil }) != nil {
		im = Image{Source: s.file, Row: s.row, Label: -1, LabelLost: true}
	}
	err := guard(func() (err error) {
		data, path := s.table.image(rec, i)
		if im.Data = data; len(data) == 0 {
			im.Data, err = s.elsewhere(path)
		}
		return err
	})
	if err != nil && temporary(err) {
		return err
	} else if err != nil {
		im.Damage = err.Error()
	}
	return s.yield(im)
}

// elsewhere reads an image that is not in the table, but in a file that the table names.
func (s *groupReader) elsewhere(path string) ([]byte, error) {
	if path == "" {
		return nil, errors.New("the row has no image")
	}
	if data := fromBase64(path); data != nil {
		return data, nil
	}
	_, data, err := readNamed(s.ctx, s.file, path)
	if err != nil {
		return nil, fmt.Errorf("the row has no image, but the path of one, %.200q: %w", path, err)
	}
	return data, nil
}
