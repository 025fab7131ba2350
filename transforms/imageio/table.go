package imageio

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"

	"github.com/sdr-ml/sdr/transforms/parquet"
)

// table is where images and labels are in a Parquet file, by the paths of columns; those that there are not are "".
type table struct {
	bytes string // of encoded images
	file  string // of paths of image files, for rows without bytes
	list  string // of lists of images, of which the first is taken
	of    string // of labels
	ofs   string // of lists of labels
	wrong string // why of cannot be used
	all   *Label // of all images, by a folder of the file

	unlabeled error // says which columns could be of, if none is

	beside string // the path of the struct that the image is in, with a point at the end
	names  []string
}

// The names of columns, case-insensitive; earlier names take precedence.
var (
	tableImages = append([]string{"image", "img", "images"}, column(extensions, func(e string) string { return e[1:] })...)
	tableLabels = []string{"label", "labels", "cls", "class", "target", "fine_label"}
	// In Parquet files, classLabels come after a column that is one of classes by the metadata, and only if they fit.
	classLabels = []string{"class_name", "label_name", "category"}
	usualLabels = slices.Concat(tableLabels, classLabels)
)

// unfit says that a column has no labels, given its name and what it has instead.
const unfit = "column %s holds %v; want numbers or names of classes; give another column by --label-column, or - for none"

// errNoImages is the error for a table without a column that may be one of images.
var errNoImages = errors.New("no column image: struct<bytes: binary, path: string>, as HuggingFace's image datasets have it, nor another of images")

// findTable finds the columns of a file, going by the names given for its split.
func findTable(r *parquet.Reader, split Split) (*table, error) {
	features, by := featuresOf(r), split.Columns
	t := &table{}
	all := candidates(r.Leaves(), by.Image)
	found, columns := t.findImages(all, features, by.Image), describeColumns(r.Leaves())
	switch {
	case len(all) == 0:
		return nil, fmt.Errorf("%w; its columns are %s", errNoImages, columns)
	case !found && by.Image != "":
		return nil, fmt.Errorf("no column %s of images; the columns are %s", by.Image, columns)
	case !found:
		return nil, fmt.Errorf("several columns may be that of images; give one by --image-column; its columns are %s", columns)
	}
	t.all = partition(split.Path, labelNames(by.Label))
	t.findLabels(r.Leaves(), features, by.Label)
	if could := t.couldLabel(r.Leaves(), features); !t.labeled() && t.wrong == "" && t.all == nil && by.Label == "" && len(could) > 0 {
		t.unlabeled = couldBe(described(could))
	}
	return t, nil
}

// feature is the description of a column in the metadata of HuggingFace's library.
type feature struct {
	Type  string   `json:"_type"`
	Names []string `json:"names"`
	Of    *feature `json:"feature"` // that of a list's items
}

func featuresOf(r *parquet.Reader) map[string]feature {
	text, _ := r.Metadata("huggingface")
	var meta struct {
		Info struct {
			Features map[string]json.RawMessage `json:"features"`
		} `json:"info"`
	}
	if json.Unmarshal([]byte(text), &meta) != nil {
		return nil
	}
	features := map[string]feature{}
	addFeatures(features, "", meta.Info.Features)
	return features
}

// addFeatures adds features by the paths of their columns.
func addFeatures(all map[string]feature, prefix string, raw map[string]json.RawMessage) {
	for name, text := range raw {
		var f feature
		var list []feature // the former way to write a list
		var inside map[string]json.RawMessage
		switch {
		case json.Unmarshal(text, &f) == nil && (f.Type != "" || f.Names != nil || f.Of != nil):
			all[prefix+name] = f
		case json.Unmarshal(text, &list) == nil && len(list) == 1:
			all[prefix+name] = feature{Of: &list[0]}
		case json.Unmarshal(text, &inside) == nil:
			addFeatures(all, prefix+name+".", inside)
		}
	}
}

// only returns the column of a type if the metadata has exactly one.
func only(features map[string]feature, kind string) (found string) {
	for name, f := range features {
		if f.Type == kind && found != "" {
			return ""
		} else if f.Type == kind {
			found = name
		}
	}
	return found
}

// candidate is a column that may hold images.
type candidate struct {
	name, path, leaf string // of the image, without and with those of structs around it, and of the column that holds it
	table
}

// candidates lists the columns that may hold images.
func candidates(leaves []parquet.Leaf, by string) (all []candidate) {
	for _, l := range leaves {
		top, _, _ := strings.Cut(l.Path, ".")
		owner, inStruct := strings.CutSuffix(l.Path, ".bytes")
		c := candidate{name: owner[strings.LastIndex(owner, ".")+1:], path: owner, leaf: l.Path}
		switch isBinary := l.Type.ID() == arrow.BINARY; {
		case top == "": // a column without a name cannot be asked for
			continue
		case isBinary && l.InList && (inStruct || strings.Count(l.Path, ".") == 2):
			c.name, c.path, c.list = top, top, top
		case l.InList:
			continue
		case isBinary:
			c.bytes, c.beside = l.Path, owner[:strings.LastIndex(owner, ".")+1]
			if at := owner + ".path"; inStruct && slices.ContainsFunc(leaves, func(l parquet.Leaf) bool { return l.Path == at && l.Type.ID() == arrow.STRING }) {
				c.file = at
			}
		case l.Type.ID() == arrow.STRING && slices.ContainsFunc(append(tableImages[:2:2], by), func(n string) bool { return strings.EqualFold(n, l.Path) }):
			c.file = l.Path
		default:
			continue
		}
		all = append(all, c)
	}
	return all
}

// findImages finds the column of images: by a given or usual name, by the metadata, or since there is only one.
func (t *table) findImages(all []candidate, features map[string]feature, by string) bool {
	if i := slices.IndexFunc(all, func(c candidate) bool { return c.path == by || c.leaf == by }); by != "" {
		if i >= 0 {
			*t = all[i].table
		}
		return i >= 0
	}
	named := func(name string) bool {
		i := slices.IndexFunc(all, func(c candidate) bool { return strings.EqualFold(c.name, name) })
		if i >= 0 {
			*t = all[i].table
		}
		return i >= 0
	}
	if slices.ContainsFunc(tableImages, named) || named(only(features, "Image")) {
		return true
	}
	return len(all) == 1 && named(all[0].name)
}

// findLabels finds the column of labels: by a given or usual name, or by the metadata.
func (t *table) findLabels(leaves []parquet.Leaf, features map[string]feature, by string) {
	if by == NoLabels {
		return
	}
	names := labelNames(by)
	if by == "" {
		names = append(slices.Clone(tableLabels), only(features, "ClassLabel"))
	}
	find := func(names []string, nested bool, is func(l parquet.Leaf, name string) bool) bool {
		for _, name := range names {
			i := slices.IndexFunc(leaves, func(l parquet.Leaf) bool { return name != "" && is(l, name) })
			if i < 0 {
				continue
			}
			if leaves[i].Type.ID() == arrow.NULL && !leaves[i].InList && !nested {
				return true // a column of nothing has no labels
			}
			if t.ofs = listOf(leaves[i]); t.ofs != "" {
				if f := features[t.ofs].Of; f != nil {
					t.names = f.Names
				}
				return true
			}
			if t.of, t.names = leaves[i].Path, features[leaves[i].Path].Names; nested || !isLabelType(leaves[i]) {
				t.wrong = fmt.Sprintf(unfit, name, describeColumns(leaves[i:i+1]))
				t.of = ""
			}
			return true
		}
		return false
	}
	exact := func(l parquet.Leaf, name string) bool {
		return strings.EqualFold(l.Path, name) || t.beside != "" && strings.EqualFold(l.Path, t.beside+name)
	}
	within := func(l parquet.Leaf, name string) bool {
		top, _, inside := strings.Cut(l.Path, ".")
		return inside && strings.EqualFold(top, name)
	}
	fitting := func(l parquet.Leaf, name string) bool { return isLabelType(l) && exact(l, name) }
	switch {
	case find(names, false, exact), find(names, true, within):
	case by == "":
		find(classLabels, false, fitting)
	case t.all == nil:
		t.wrong = fmt.Sprintf("no column %s of labels; the columns are %s", by, describeColumns(leaves))
	}
}

// partition returns the label of all images in a file by the name of a folder around it, such as label=cat: as Hive, Spark and
// pyarrow write a table that is partitioned by a column, which then is in none of the files. It is nil if there is no such folder.
func partition(file string, names []string) *Label {
	var columns, values []string
	for folder := range strings.SplitSeq(path.Dir(slashed(file)), "/") {
		if column, value, found := strings.Cut(folder, "="); found {
			columns, values = append(columns, column), append(values, value)
		}
	}
	at := named(columns, names)
	if at < 0 {
		return nil
	}
	text, err := url.PathUnescape(values[at])
	if err != nil {
		text = values[at]
	}
	if text == "__HIVE_DEFAULT_PARTITION__" { // of rows without a value
		return &Label{Number: -1}
	}
	l := Label{}
	l.Number, l.Name = parseLabel(text)
	return &l
}

// couldLabel returns the columns that may be that of labels: those of classes by the metadata, else all of a fitting type.
func (t *table) couldLabel(leaves []parquet.Leaf, features map[string]feature) (could []parquet.Leaf) {
	classes := func(l parquet.Leaf) bool { return features[l.Path].Type == "ClassLabel" }
	for _, l := range leaves {
		switch {
		case !isLabelType(l) || l.Type.ID() == arrow.BINARY || l.Path == t.file:
		case len(could) > 0 && classes(l) && !classes(could[0]):
			could = []parquet.Leaf{l}
		case len(could) == 0 || classes(l) == classes(could[0]):
			could = append(could, l)
		}
	}
	return could
}

// listOf returns the column of lists that a column of numbers or names is in; "" if it is in none, or in a map.
func listOf(l parquet.Leaf) string {
	top, _, _ := strings.Cut(l.Path, ".")
	if !l.InList || strings.Count(l.Path, ".") != 2 || strings.HasSuffix(l.Path, ".key") || strings.HasSuffix(l.Path, ".value") { // of a map
		return ""
	}
	switch l.Type.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64, arrow.STRING:
		return top
	}
	return ""
}

func isLabelType(l parquet.Leaf) bool {
	switch l.Type.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.BOOL, arrow.FLOAT32, arrow.FLOAT64, arrow.STRING, arrow.BINARY:
		return !l.InList
	}
	return false
}

// couldBe says which columns could be that of labels.
func couldBe(columns []string) error {
	return fmt.Errorf("the columns %s could hold them; give one by --label-column", enumerate(columns))
}

// describeColumns lists columns with their types.
func describeColumns(leaves []parquet.Leaf) string { return enumerate(described(leaves)) }

// described are columns with their types.
func described(leaves []parquet.Leaf) []string {
	return column(leaves, func(l parquet.Leaf) string {
		if l.InList {
			return fmt.Sprintf("%s: list of %v", l.Path, l.Type)
		}
		return fmt.Sprintf("%s: %v", l.Path, l.Type)
	})
}

// enumerate lists columns, of many the first.
func enumerate(columns []string) string {
	const most = 20
	if more := len(columns) - most; more > 0 {
		columns = append(columns[:most:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(columns, ", ")
}

// columns are the columns to read.
func (t *table) columns() (paths []string) {
	for _, path := range []string{t.bytes, t.file, t.list, t.of, t.ofs} {
		if path != "" {
			paths = append(paths, path)
		}
	}
	return paths
}

// labeled reports whether there is a column of labels.
func (t *table) labeled() bool { return t.of+t.ofs != "" }

// withoutLabels returns the table without that column.
func (t *table) withoutLabels() *table {
	images := *t
	images.of, images.ofs, images.all = "", "", nil
	return &images
}

// values returns a column of a record, nil if it is not read.
func values(rec arrow.Record, path string) arrow.Array {
	if path == "" {
		return nil
	}
	return rec.Column(rec.Schema().FieldIndices(path)[0])
}

// image returns the encoded image in a row, or the path of its file.
func (t *table) image(rec arrow.Record, i int) (data []byte, path string) {
	items, paths := values(rec, t.bytes), values(rec, t.file)
	if list, ok := values(rec, t.list).(*array.List); ok {
		from, to := list.ValueOffsets(i)
		if from == to || list.IsNull(i) {
			return nil, ""
		}
		items, i = list.ListValues(), int(from)
		if s, ok := items.(*array.Struct); ok {
			fields := s.DataType().(*arrow.StructType)
			field := func(name string) arrow.Array {
				if at, ok := fields.FieldIdx(name); ok {
					return s.Field(at)
				}
				return nil
			}
			items, paths = field("bytes"), field("path")
		}
	}
	if b, ok := items.(*array.Binary); ok && b.IsValid(i) {
		data = bytes.Clone(b.Value(i))
	}
	if p, ok := paths.(*array.String); ok && p.IsValid(i) {
		path = p.Value(i)
	}
	return data, path
}

// label sets an image's class as number and name, or its classes.
func (t *table) label(rec arrow.Record, i int, im *Image) {
	im.LabelError = t.wrong
	if list, ok := values(rec, t.ofs).(*array.List); ok {
		im.Labels = []Label{}
		var names []string
		if list.IsValid(i) {
			from, to := list.ValueOffsets(i)
			for at := from; at < to; at++ {
				l := t.class(list.ListValues(), int(at), im)
				if slices.Contains(im.Labels, l) {
					im.LabelError = fmt.Sprintf("column %s holds the class %s twice; want lists of the classes of an image, each once", t.ofs, cmp.Or(l.Name, fmt.Sprint(l.Number)))
				}
				im.Labels = append(im.Labels, l)
				names = append(names, cmp.Or(l.Name, fmt.Sprint(l.Number)))
			}
		}
		if im.LabelError == "" {
			im.Class = strings.Join(names, ", ")
		}
		return
	}
	if column := values(rec, t.of); column != nil {
		l := t.class(column, i, im)
		im.Label, im.Class = l.Number, l.Name
	} else if t.all != nil {
		im.Label, im.Class = t.all.Number, t.all.Name
	}
}

// class returns the class in a row of a column.
func (t *table) class(column arrow.Array, i int, im *Image) (l Label) {
	l.Number = -1
	if column.IsNull(i) {
		return l
	}
	wrong := func(v any) {
		im.LabelError = fmt.Sprintf(unfit, t.of+t.ofs, v)
	}
	number := func(v int64) { l.Number = max(v, -1) }
	real := func(v float64) {
		switch {
		case math.IsNaN(v): // pandas has these where numbers are missing
		case v != math.Trunc(v) || math.Abs(v) > 1<<53:
			wrong(v)
		default:
			number(int64(v))
		}
	}
	switch c := column.(type) {
	case *array.Int8:
		number(int64(c.Value(i)))
	case *array.Int16:
		number(int64(c.Value(i)))
	case *array.Int32:
		number(int64(c.Value(i)))
	case *array.Int64:
		number(c.Value(i))
	case *array.Uint8:
		number(int64(c.Value(i)))
	case *array.Uint16:
		number(int64(c.Value(i)))
	case *array.Uint32:
		number(int64(c.Value(i)))
	case *array.Uint64:
		if v := c.Value(i); v > math.MaxInt64 {
			wrong(v)
		} else {
			number(int64(v))
		}
	case *array.Boolean:
		if number(0); c.Value(i) {
			number(1)
		}
	case *array.Float32:
		real(float64(c.Value(i)))
	case *array.Float64:
		real(c.Value(i))
	case *array.String:
		l.Name = c.Value(i)
	case *array.Binary:
		l.Name = string(c.Value(i))
	}
	if l.Number >= 0 && l.Number < int64(len(t.names)) {
		l.Name = t.names[l.Number]
	}
	return l
}

// standardBase64 replaces the characters of the alphabet for URLs.
var standardBase64 = strings.NewReplacer("-", "+", "_", "/")

// fromBase64 decodes an image that is stored as text, perhaps as a data URI, in either alphabet and with or without padding;
// nil if it is none.
func fromBase64(text string) []byte {
	if uri, found := strings.CutPrefix(text, "data:"); found {
		_, text, _ = strings.Cut(uri, ",")
	}
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(standardBase64.Replace(text), "=\r\n "))
	if _, ok := sniff(data); err != nil || !ok {
		return nil
	}
	return data
}
