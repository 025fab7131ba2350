package imageio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/dustin/go-humanize/english"
	"golang.org/x/text/unicode/norm"

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
	read func(dir string) (*metadataTable, error)
	by   map[string]*metadataTable // what was read of each folder
}

func newMetadataLabels(read func(dir string) (*metadataTable, error)) *metadataLabels {
	return &metadataLabels{read, map[string]*metadataTable{}}
}

// metadataTable is what a metadata file says.
type metadataTable struct {
	file   string
	images map[string]metadataImage // by their paths relative to the file, as by imageKey

	damaged, contradicting rowCount

	shared map[metadataLabel]*Image // one for each label, of which there are fewer than images, while the file is read
}

// metadataImage is an image of a metadata file.
type metadataImage struct {
	*Image     // with nothing but its label
	number int // among the images of the file
}

// metadataLabel is a label, unless it is a list.
type metadataLabel struct {
	number       int64
	class, wrong string
}

func newMetadataTable(file string) *metadataTable {
	return &metadataTable{file: file, images: map[string]metadataImage{}, shared: map[metadataLabel]*Image{}}
}

// rowCount counts rows.
type rowCount struct {
	n     int
	first string // what the first is
}

func (c *rowCount) add(row string) {
	if c.n++; c.n == 1 {
		c.first = row
	}
}

// imageKey returns the path of an image as it is compared: with slashes, and with its letters composed, as in most texts, but
// not in macOS's names of files.
func imageKey(name string) string { return norm.NFC.String(path.Clean(slashed(name))) }

// add adds a row with the label of an image.
func (m *metadataTable) add(name string, im Image) {
	label := metadataLabel{im.Label, im.Class, im.LabelError}
	if im.Labels != nil || m.shared[label] == nil {
		m.shared[label] = &im
	}
	key := imageKey(name)
	row, again := m.images[key]
	if !again {
		row.number = len(m.images)
	} else if !reflect.DeepEqual(row.Image, m.shared[label]) {
		m.contradicting.add(key)
	}
	row.Image = m.shared[label]
	m.images[key] = row
}

// damage notes a row that cannot be read.
func (m *metadataTable) damage(line int, why error) {
	m.damaged.add(fmt.Sprintf("line %d: %v", line, why))
}

// find finds an image by its path relative to the file. A row may leave out its extension.
func (m *metadataTable) find(name string) (im metadataImage, found bool) {
	key := imageKey(name)
	if im, found = m.images[key]; found {
		return im, true
	}
	if stem := strings.TrimSuffix(key, path.Ext(key)); !isImage(stem) {
		im, found = m.images[stem]
	}
	return im, found
}

// unused says which rows are not used, given for each image whether it is there; "" if all are.
func (m *metadataTable) unused(there []bool) string {
	missing, at := rowCount{}, len(there)
	for name, im := range m.images {
		if there[im.number] {
			continue
		}
		if missing.n++; im.number < at {
			missing.first, at = name, im.number
		}
	}
	var all []string
	for _, rows := range []struct {
		rowCount
		one, more string
	}{
		{m.damaged, "row is damaged", "rows are damaged"},
		{missing, "row names no image that is there", "rows name no image that is there"},
		{m.contradicting, "row contradicts an earlier one of the same image, and is taken", "rows contradict earlier ones of the same images, and are taken"},
	} {
		if rows.n > 0 {
			all = append(all, fmt.Sprintf("%s (first: %s)", english.Plural(rows.n, rows.one, rows.more), rows.first))
		}
	}
	if len(all) == 0 {
		return ""
	}
	text := m.file + ": " + strings.Join(all, ", ")
	if missing.n > 0 {
		text += "; paths are relative to the file, and their case matters"
	}
	return text
}

// add adds a metadata file, given by its path in the collection. Of several in a folder, only the first counts.
func (l *metadataLabels) add(name string, m *metadataTable) {
	if dir := path.Dir(name); l.by[dir] == nil || m.file < l.by[dir].file {
		l.by[dir] = m
	}
}

// unused says of each metadata file that was added which of its rows are not used, given the images of the collection.
func (l *metadataLabels) unused(images iter.Seq[string]) (texts []string) {
	there := map[string][]bool{}
	for dir, m := range l.by {
		there[dir] = make([]bool, len(m.images))
	}
	for name := range images {
		for dir := range above(name) {
			if m := l.by[dir]; m != nil {
				if im, found := m.find(strings.TrimPrefix(name, dir+"/")); found {
					there[dir][im.number] = true
				}
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(l.by)) {
		if text := l.by[dir].unused(there[dir]); text != "" {
			texts = append(texts, text)
		}
	}
	return texts
}

// above iterates over the folders that a path is in, from the nearest.
func above(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for dir := path.Dir(name); yield(dir) && dir != "." && dir != "/"; {
			dir = path.Dir(dir)
		}
	}
}

// label labels an image, given by its path in the collection, by the metadata file that has a row for it, of several by the
// nearest. Only an image that has no such file in or above its folder has a class by its folder, which found tells.
func (l *metadataLabels) label(name string, im *Image) (found bool, err error) {
	for dir := range above(name) {
		m, known := l.by[dir]
		if !known {
			if m, err = l.read(dir); err != nil {
				return false, err
			}
			l.by[dir] = m
		}
		if m == nil {
			continue
		}
		if row, ok := m.find(strings.TrimPrefix(name, dir+"/")); ok {
			im.Label, im.Class, im.Labels, im.LabelError = row.Label, row.Class, slices.Clone(row.Labels), row.LabelError
			return true, nil
		}
		found = true
	}
	return found, nil
}

// folderMetadata reads the metadata files of a folder.
func folderMetadata(ctx context.Context, split Split) *metadataLabels {
	return newMetadataLabels(func(dir string) (*metadataTable, error) {
		for _, base := range metadataFiles {
			file := join(split.Path, path.Join(dir, base))
			if found, err := files.Exists(ctx, file); err != nil && !files.IsLocal(file) {
				return nil, outage{fmt.Errorf("labels %s: %w", file, err)}
			} else if !found {
				continue
			}
			m, err := openMetadata(ctx, file, split.Columns.Label)
			if err != nil && temporary(err) {
				return nil, fmt.Errorf("labels %s: %w", file, err)
			} else if err == nil {
				return m, nil
			}
		}
		return nil, nil
	})
}

// lastMetadata is the metadata file that was read last: that of a large folder is needed for each of its splits.
var lastMetadata struct {
	sync.Mutex
	of string
	*metadataTable
}

// openMetadata reads a metadata file with labels in a given or usual column. An error that is not temporary means that it
// cannot be used.
func openMetadata(ctx context.Context, file, label string) (*metadataTable, error) {
	return metadataOf(ctx, file, "", label, func(m *metadataTable) error {
		if path.Ext(file) == ".parquet" {
			r, err := openParquet(ctx, file)
			if err != nil {
				return err
			}
			defer r.Close()
			return guard(func() error { return scanParquetMetadata(r, label, m) })
		}
		f, err := open(ctx, file)
		if err != nil {
			return err
		}
		defer f.Close()
		return scanTextMetadata(f, file, label, m)
	})
}

// memberMetadata reads a metadata file that is a member of an archive.
func memberMetadata(ctx context.Context, archive string, member zipMember, label string) (*metadataTable, error) {
	return metadataOf(ctx, archive, "!"+member.name, label, func(m *metadataTable) error {
		data, err := member.read()
		if err != nil {
			return err
		}
		if path.Ext(member.name) == ".parquet" {
			return guard(func() error {
				r, err := parquet.NewReader(bytes.NewReader(data))
				if err != nil {
					return err
				}
				defer r.Close()
				return scanParquetMetadata(r, label, m)
			})
		}
		return scanTextMetadata(bytes.NewReader(data), member.name, label, m)
	})
}

// metadataOf returns what scan finds in a file, or in a member of it, unless that is what it returned last.
func metadataOf(ctx context.Context, file, member, label string, scan func(m *metadataTable) error) (*metadataTable, error) {
	of := ""
	if at, err := files.Modified(ctx, file); err == nil && !at.IsZero() {
		of = fmt.Sprintf("%q %q %q %v", file, member, label, at)
	}
	lastMetadata.Lock()
	defer lastMetadata.Unlock()
	if of != "" && of == lastMetadata.of {
		return lastMetadata.metadataTable, nil
	}
	m := newMetadataTable(file + member)
	if err := scan(m); err != nil {
		return nil, err
	}
	m.shared = nil
	lastMetadata.of, lastMetadata.metadataTable = of, m
	return m, nil
}

// scanTextMetadata adds the rows of a metadata file; its name says of which type it is.
func scanTextMetadata(r io.Reader, name, label string, m *metadataTable) error {
	text, err := withoutMark(r)
	if err != nil {
		return err
	}
	if path.Ext(name) == ".csv" {
		return scanMetadata(text, label, m)
	}
	return scanJSONMetadata(text, label, m)
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

func scanMetadata(text io.Reader, label string, m *metadataTable) error {
	var header []string
	file, of := -1, -1
	for line, row := range tableRows(text, ".csv", []string{fileColumn}, func(string) bool { return true }) {
		switch {
		case row.err != nil:
			return fmt.Errorf("line %d: %w", line, row.err)
		case row.damage != nil:
			m.damage(line, row.damage)
		case header == nil:
			header = row.fields
			if file, of = slices.Index(header, fileColumn), named(header, labelNames(label)); file < 0 || of < 0 {
				return unlabeled(header, label)
			}
		case len(row.fields) != len(header):
			m.damage(line, fmt.Errorf("%d columns, but the header has %d", len(row.fields), len(header)))
		default:
			im := Image{}
			im.Label, im.Class = parseLabel(row.fields[of])
			m.add(strings.Clone(row.fields[file]), im) // without the rest of the line
		}
	}
	if header == nil {
		return errors.New("no header")
	}
	return nil
}

func scanJSONMetadata(text io.Reader, label string, m *metadataTable) error {
	lines := bufio.NewScanner(text)
	lines.Buffer(nil, 1<<24)
	columns := map[string]bool{}
	labeled := false
	for line := 1; lines.Scan(); line++ {
		var row map[string]json.RawMessage
		var name string
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &row); err != nil {
			m.damage(line, err)
			continue
		}
		names := slices.Sorted(maps.Keys(row))
		for _, c := range names {
			columns[c] = true
		}
		if json.Unmarshal(row[fileColumn], &name) != nil {
			m.damage(line, fmt.Errorf("no text in %s", fileColumn))
			continue
		}
		im := Image{Label: -1}
		if at := named(names, labelNames(label)); at >= 0 {
			labeled = true
			im = jsonLabel(names[at], row[names[at]])
		}
		m.add(name, im)
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

func scanParquetMetadata(r *parquet.Reader, label string, m *metadataTable) error {
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
			m.add(name, im)
		}
	}
	return nil
}
