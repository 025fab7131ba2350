package imageio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/parquet"
)

// metadataFiles are the names of the files that label the images of a folder or a zip archive, as HuggingFace's imagefolder has them: a row
// has the path of an image, relative to the file, in the column file_name, and its label in a usual column of labels.
var metadataFiles = []string{"metadata.csv", "metadata.jsonl", "metadata.parquet"}

func isMetadata(name string) bool { return slices.Contains(metadataFiles, path.Base(name)) }

// fileColumn is the column of the paths of images in a metadata file.
const fileColumn = "file_name"

// metadataLabels are the labels that the metadata files of a collection give its images.
type metadataLabels struct {
	// read reads the metadata file of a folder in the collection; nil if it has none.
	read func(dir string) (metadataRows, error)
	by   map[string]metadataRows // what was read of each folder
}

func newMetadataLabels(read func(dir string) (metadataRows, error)) *metadataLabels {
	return &metadataLabels{read, map[string]metadataRows{}}
}

// metadataRows are the images of a metadata file, with nothing but their labels, by their paths relative to it.
type metadataRows map[string]*Image

// label labels an image, given by its path in the collection, by the metadata file that has a row for it, of several by the
// nearest. Only an image that has no such file in or above its folder has a class by its folder, which found tells.
func (l *metadataLabels) label(name string, im *Image) (found bool, err error) {
	for dir := path.Dir(name); ; dir = path.Dir(dir) {
		rows, known := l.by[dir]
		if !known {
			if rows, err = l.read(dir); err != nil {
				return false, err
			}
			l.by[dir] = rows
		}
		if row := rows[strings.TrimPrefix(name, dir+"/")]; row != nil {
			im.Label, im.Class, im.Labels, im.LabelError = row.Label, row.Class, slices.Clone(row.Labels), row.LabelError
			return true, nil
		}
		found = found || rows != nil
		if dir == "." || dir == "/" {
			return found, nil
		}
	}
}

// folderMetadata reads the metadata files of a folder.
func folderMetadata(ctx context.Context, split Split) *metadataLabels {
	return newMetadataLabels(func(dir string) (metadataRows, error) {
		for _, base := range metadataFiles {
			file := join(split.Path, path.Join(dir, base))
			if found, err := files.Exists(ctx, file); err != nil && !files.IsLocal(file) {
				return nil, outage{fmt.Errorf("labels %s: %w", file, err)}
			} else if !found {
				continue
			}
			rows, err := openMetadata(ctx, file, split.Columns.Label)
			if err != nil && temporary(err) {
				return nil, fmt.Errorf("labels %s: %w", file, err)
			} else if err == nil {
				return rows, nil
			}
		}
		return nil, nil
	})
}

// lastMetadata is the metadata file that was read last: that of a large folder is needed for each of its splits.
var lastMetadata struct {
	sync.Mutex
	of   string
	rows metadataRows
}

// openMetadata reads a metadata file with labels in a given or usual column. An error that is not temporary means that it
// cannot be used.
func openMetadata(ctx context.Context, file, label string) (metadataRows, error) {
	return metadataOf(ctx, file, "", label, func(add func(string, Image)) error {
		if path.Ext(file) == ".parquet" {
			r, err := openParquet(ctx, file)
			if err != nil {
				return err
			}
			defer r.Close()
			return guard(func() error { return scanParquetMetadata(r, label, add) })
		}
		f, err := open(ctx, file)
		if err != nil {
			return err
		}
		defer f.Close()
		return scanTextMetadata(f, file, label, add)
	})
}

// memberMetadata reads a metadata file that is a member of an archive.
func memberMetadata(ctx context.Context, archive string, m zipMember, label string) (metadataRows, error) {
	return metadataOf(ctx, archive, m.name, label, func(add func(string, Image)) error {
		data, err := m.read()
		if err != nil {
			return err
		}
		if path.Ext(m.name) == ".parquet" {
			return guard(func() error {
				r, err := parquet.NewReader(bytes.NewReader(data))
				if err != nil {
					return err
				}
				defer r.Close()
				return scanParquetMetadata(r, label, add)
			})
		}
		return scanTextMetadata(bytes.NewReader(data), m.name, label, add)
	})
}

// metadataOf returns the rows that scan adds of a file, or of a member of it, unless they are those that it returned last.
func metadataOf(ctx context.Context, file, member, label string, scan func(add func(name string, im Image)) error) (metadataRows, error) {
	of := ""
	if at, err := files.Modified(ctx, file); err == nil && !at.IsZero() {
		of = fmt.Sprintf("%q %q %q %v", file, member, label, at)
	}
	lastMetadata.Lock()
	defer lastMetadata.Unlock()
	if of != "" && of == lastMetadata.of {
		return lastMetadata.rows, nil
	}
	rows := metadataRows{}
	type key struct {
		number       int64
		class, wrong string
	}
	shared := map[key]*Image{} // there are fewer labels than images
	err := scan(func(name string, im Image) {
		k := key{im.Label, im.Class, im.LabelError}
		if im.Labels != nil || shared[k] == nil {
			shared[k] = &im
		}
		rows[path.Clean(slashed(name))] = shared[k]
	})
	if err != nil {
		return nil, err
	}
	lastMetadata.of, lastMetadata.rows = of, rows
	return rows, nil
}

// scanTextMetadata calls add with the paths of a metadata file and their labels; its name says of which type it is.
func scanTextMetadata(r io.Reader, name, label string, add func(name string, im Image)) error {
	text, err := withoutMark(r)
	if err != nil {
		return err
	}
	if path.Ext(name) == ".csv" {
		return scanMetadata(text, label, add)
	}
	return scanJSONMetadata(text, label, add)
}

// labelNames are the names that a column of labels may have: a given one, else the usual ones; earlier names take precedence.
func labelNames(by string) []string {
	switch by {
	case "":
		return usualLabels
	case NoLabels:
		return nil
	}
	return []string{by}
}

// unlabeled is the error for a metadata file with these columns.
func unlabeled(columns []string, label string) error {
	switch {
	case label == NoLabels:
		return errors.New("labels are not wanted: --label-column is -")
	case !slices.Contains(columns, fileColumn):
		return fmt.Errorf("no column %s; the columns are %s", fileColumn, strings.Join(columns, ", "))
	}
	return fmt.Errorf("no column %s; the columns are %s; give that of labels by --label-column", either(labelNames(label)), strings.Join(columns, ", "))
}

func scanMetadata(text io.Reader, label string, add func(string, Image)) error {
	var header []string
	file, of := -1, -1
	for line, row := range tableRows(text, ".csv", []string{fileColumn}, func(string) bool { return true }) {
		switch {
		case row.err != nil:
			return fmt.Errorf("line %d: %w", line, row.err)
		case row.damage == nil && header == nil:
			header = row.fields
			if file, of = slices.Index(header, fileColumn), named(header, labelNames(label)); file < 0 || of < 0 {
				return unlabeled(header, label)
			}
		case row.damage == nil && len(row.fields) == len(header):
			im := Image{}
			im.Label, im.Class = parseLabel(row.fields[of])
			add(strings.Clone(row.fields[file]), im) // without the rest of the line
		}
	}
	if header == nil {
		return errors.New("no header")
	}
	return nil
}

func scanJSONMetadata(text io.Reader, label string, add func(string, Image)) error {
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<24)
	columns := map[string]bool{}
	labeled := false
	for lines.Scan() {
		var row map[string]json.RawMessage
		var name string
		if json.Unmarshal(lines.Bytes(), &row) != nil {
			continue // as a damaged line of a list
		}
		names := slices.Sorted(maps.Keys(row))
		for _, c := range names {
			columns[c] = true
		}
		if json.Unmarshal(row[fileColumn], &name) != nil {
			continue
		}
		im := Image{Label: -1}
		if at := named(names, labelNames(label)); at >= 0 {
			labeled = true
			im = jsonLabel(names[at], row[names[at]])
		}
		add(name, im)
	}
	if err := lines.Err(); err != nil {
		return err
	}
	if !labeled {
		return unlabeled(slices.Sorted(maps.Keys(columns)), label)
	}
	return nil
}

// jsonLabel returns an image with the label that the value of a column has.
func jsonLabel(column string, value json.RawMessage) (im Image) {
	text := string(value)
	switch {
	case strings.HasPrefix(text, `"`):
		_ = json.Unmarshal(value, &text) // it is valid
	case text == "null":
		text = ""
	case text == "false":
		text = "0"
	case text == "true":
		text = "1"
	case strings.ContainsAny(text[:1], "[{"):
		return Image{Label: -1, LabelError: fmt.Sprintf(unfit, column, text)}
	}
	im.Label, im.Class = parseLabel(text)
	return im
}

func scanParquetMetadata(r *parquet.Reader, label string, add func(string, Image)) error {
	t := &table{file: fileColumn}
	t.findLabels(r.Leaves(), featuresOf(r), label)
	isFile := func(l parquet.Leaf) bool { return l.Path == fileColumn && l.Type.ID() == arrow.STRING }
	if !t.labeled() || !slices.ContainsFunc(r.Leaves(), isFile) {
		if t.wrong != "" {
			return errors.New(t.wrong)
		}
		return unlabeled(column(r.Leaves(), func(l parquet.Leaf) string { return l.Path }), label)
	}
	for rec, err := range r.Records(0, r.NumRows(), parquetBatch, t.columns()...) {
		if err != nil {
			return err
		}
		for i := range int(rec.NumRows()) {
			im := Image{Label: -1}
			_, name := t.image(rec, i)
			t.label(rec, i, &im)
			add(name, im)
		}
	}
	return nil
}
