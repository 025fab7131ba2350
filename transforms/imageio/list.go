package imageio

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/text/unicode/norm"

	"github.com/sdr-ml/sdr/transforms/files"
)

// List is a text file with the paths of image files and, optionally, their labels, class numbers or names. Relative
// paths start at the list's folder; see [spellings] for those that are not quite the name of a file. The columns of a .csv
// file are separated by commas, semicolons or tabs. A .csv or .tsv file may have a header that names the columns path (or
// file, filename, image, id, ..., else that of Columns) and label (or class, target, ..., else that of Columns); without a
// header they are the first and the second column. In a .txt file each line is a path, optionally followed by a space or
// tab and a label. Without labels the folders of the paths are the classes. Empty lines are skipped, and so are those that
// begin with #, unless that begins the name of an image file. A missing image file and a damaged line count as a damaged
// image each.
//
// A list is read only if its own path is given to Plan: such files are skipped in folders, where they may be anything.
const List = "list"

var listKind = kind{
	name:     List,
	files:    "lists of image files (.txt, .csv, .tsv), which are not looked for in folders",
	labels:   "a label column in a list",
	suffixes: []string{".txt", ".csv", ".tsv"},
	direct:   true,
	count:    countList,
	parts:    listed,
	read:     readList,
}

// pathColumns are the usual names of the column of paths in a header, case-insensitive, as those of the column of labels;
// earlier names take precedence.
var pathColumns = strings.Fields("path file filename file_name filepath filepaths image_path img_path image image_name img image_id id")

// pathNames are the names that a column of paths may have: a given one, else the usual ones.
func pathNames(by string) []string {
	if by != "" {
		return []string{by}
	}
	return pathColumns
}

func countList(ctx context.Context, split Split, seen *Source) (n int64, err error) {
	columns, err := eachEntry(ctx, split, func(entry) error { n++; return nil })
	if err == nil && columns != nil && columns.unlabeled != nil {
		seen.hint(split.Path, columns.unlabeled)
	}
	return n, err
}

// listed iterates over the image files that a list names in a usual column, as far as it can be read. Where each look takes a
// request, files are taken to be where the list says.
func listed(ctx context.Context, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		_, _ = eachEntry(ctx, Split{Path: name}, func(e entry) error {
			file := beside(name, e.path)
			if files.IsLocal(file) {
				found, _ := locate(ctx, name, e.path)
				file = cmp.Or(found, file)
			}
			if !yield(file) {
				return errEnough
			}
			return nil
		})
	}
}

func readList(ctx context.Context, split Split, yield func(Image) error) error {
	n := int64(0)
	_, err := eachEntry(ctx, split, func(e entry) error {
		if n++; n <= split.Begin {
			return nil
		}
		im, err := e.image(ctx, split.Path)
		if err == nil {
			err = yield(im)
		}
		if err == nil && n == split.End {
			err = errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// eachEntry calls visit with the entries of a list, of which split has the Path and the Columns, and returns its columns.
func eachEntry(ctx context.Context, split Split, visit func(entry) error) (*listColumns, error) {
	f, err := open(ctx, split.Path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	exists := func(image string) bool {
		found, err := files.Exists(ctx, beside(split.Path, image))
		return found || err != nil
	}
	return scanList(f, path.Ext(baseName(split.Path)), split.Columns, exists, visit)
}

// entry is an image in a list.
type entry struct {
	line    int
	path    string
	label   string
	labeled bool
	wrong   string // why there is no label that can be used
	damage  error  // of the line
}

// image reads the image file.
func (e entry) image(ctx context.Context, list string) (Image, error) {
	if e.damage != nil {
		return Image{Source: list, Label: -1, Damage: fmt.Sprintf("line %d: %v", e.line, e.damage)}, nil
	}
	im := Image{Label: -1, Class: className(path.Dir(slashed(e.path))), LabelError: e.wrong}
	if e.labeled {
		im.Label, im.Class = parseLabel(e.label)
	}
	var err error
	if im.Source, im.Data, err = readNamed(ctx, list, e.path); err != nil && temporary(err) {
		return im, fmt.Errorf("line %d: %w", e.line, err)
	} else if err != nil {
		im.Damage = fmt.Sprintf("%v; line %d of %s names it", err, e.line, list)
	}
	return im, nil
}

// readNamed reads an image file that a list or a table names, and returns where it is. That there is no such file is not a
// temporary error, also where the file is remote.
func readNamed(ctx context.Context, list, name string) (file string, data []byte, err error) {
	file = beside(list, name)
	if data, err = readFile(ctx, file); err == nil {
		return file, data, nil
	}
	switch found, unknown := locate(ctx, list, name); {
	case found == "" && unknown != nil && temporary(err), found == file:
		return file, nil, reason(err)
	case found == "":
		return file, nil, syscall.ENOENT
	default:
		data, err = readFile(ctx, found)
		return found, data, reason(err)
	}
}

// locate returns the image file that a list or a table names, in the first of the spellings that there is; "" if there is none,
// with an error if that is not certain.
func locate(ctx context.Context, list, name string) (file string, err error) {
	for spelled := range spellings(name) {
		file := beside(list, spelled)
		found, unknown := files.Exists(ctx, file)
		if found {
			return file, nil
		}
		err = cmp.Or(err, unknown)
	}
	return "", err
}

// spellings iterates over the paths that an image file may have that is called by one: that path itself, with slashes for
// the backslashes of Windows, with letters composed as in most texts, or decomposed as in macOS's names of files; and if
// the path has no extension of an image, as in many tables from Kaggle, then each of these with one.
func spellings(name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		forms := []string{name}
		for _, form := range []string{slashed(name), norm.NFC.String(slashed(name)), norm.NFD.String(slashed(name))} {
			if !slices.Contains(forms, form) {
				forms = append(forms, form)
			}
		}
		endings := []string{""}
		if !isImage(name) {
			endings = slices.Concat(endings, extensions, column(extensions, strings.ToUpper))
		}
		for _, ending := range endings {
			for _, form := range forms {
				if !yield(form + ending) {
					return
				}
			}
		}
	}
}

// beside resolves a name relative to the folder of a file.
func beside(file, name string) string {
	switch {
	case filepath.IsAbs(name), !files.IsLocal(name):
		return name
	case files.IsLocal(file):
		return filepath.Join(filepath.Dir(file), name)
	}
	scheme, below, _ := strings.Cut(file, "://")
	return scheme + "://" + path.Join(path.Dir(below), name)
}

// scanList calls visit with the entries of a list in the format of the file name extension, and returns its columns; nil if it
// has none. exists tells whether there is an image file of a name.
func scanList(r io.Reader, extension string, by Columns, exists func(image string) bool, visit func(entry) error) (columns *listColumns, err error) {
	text, err := withoutMark(r)
	if err != nil {
		return nil, err
	}
	rows := plainRows(text, exists)
	if extension != ".txt" {
		rows = tableRows(text, extension, pathNames(by.Image), exists)
	}
	for line, row := range rows {
		err, header, e := row.err, false, entry{line: line, damage: row.damage}
		if columns == nil {
			err = cmp.Or(err, row.damage)
			if err == nil {
				columns, header, err = findColumns(row.fields, by)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
		if e.damage == nil && !header {
			e.damage = columns.fill(&e, row.fields)
		}
		if header {
			continue
		}
		if err := visit(e); err != nil {
			return nil, err
		}
	}
	return columns, nil
}

// withoutMark skips the byte order mark that Windows puts in front of UTF-8.
func withoutMark(r io.Reader) (io.Reader, error) {
	text := bufio.NewReader(r)
	mark, _ := text.Peek(3)
	switch {
	case bytes.HasPrefix(mark, []byte("\xff\xfe")), bytes.HasPrefix(mark, []byte("\xfe\xff")):
		return nil, errors.New("the text is in UTF-16; save it as UTF-8")
	case string(mark) == "\ufeff":
		_, _ = text.Discard(len(mark))
	}
	return text, nil
}

// row is the fields of a line, without surrounding spaces.
type row struct {
	fields []string
	damage error // of the line
	err    error // of the file, which ends there
}

// tableRows iterates over the rows of a .csv or .tsv file, whose column of paths has one of some names, and the lines that
// they begin on.
func tableRows(r io.Reader, extension string, paths []string, exists func(image string) bool) iter.Seq2[int, row] {
	lines := bufio.NewReader(&uncommented{lines: bufio.NewReader(r), exists: exists})
	var head, first []byte // what is up to the first row, and that
	var err error
	for err == nil && len(bytes.TrimSpace(first)) == 0 {
		first, err = lines.ReadBytes('\n')
		head = append(head, first...)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return func(yield func(int, row) bool) { yield(0, row{err: err}) }
	}
	table := csv.NewReader(io.MultiReader(bytes.NewReader(head), lines))
	if table.Comma = '\t'; extension == ".csv" {
		table.Comma = separator(string(bytes.TrimSpace(first)), paths, exists)
	}
	table.FieldsPerRecord = -1
	table.TrimLeadingSpace = table.Comma != '\t' // it would trim empty fields, too
	return func(yield func(int, row) bool) {
		for {
			fields, err := table.Read()
			var damage *csv.ParseError
			switch {
			case errors.Is(err, io.EOF):
				return
			case errors.As(err, &damage): // all lines up to the error
				for line := damage.StartLine; line <= damage.Line; line++ {
					if !yield(line, row{damage: damage.Err}) {
						return
					}
				}
				continue
			case err != nil:
				yield(0, row{err: err})
				return
			}
			for i := range fields {
				fields[i] = strings.TrimSpace(fields[i])
			}
			if line, _ := table.FieldPos(0); !yield(line, row{fields: fields}) {
				return
			}
		}
	}
}

// separator returns what separates the columns of a .csv file, a comma, semicolon or tab, going by its first row: that which
// makes it a header with the first of the names of a column of paths, else the first that it has, unless that belongs to the
// name of an image.
func separator(row string, paths []string, exists func(image string) bool) rune {
	const separators = ",;\t"
	for i := range paths {
		for _, s := range separators {
			fields := strings.FieldsFunc(row, func(r rune) bool { return r == s })
			for i := range fields {
				fields[i] = strings.Trim(fields[i], ` "`)
			}
			if len(fields) > 1 && named(fields, paths[i:i+1]) >= 0 {
				return s
			}
		}
	}
	for _, s := range separators {
		if strings.ContainsRune(row, s) && (s == ',' || !exists(row)) {
			return s
		}
	}
	return ','
}

// uncommented leaves the lines of comments empty.
type uncommented struct {
	lines  *bufio.Reader
	exists func(image string) bool
	rest   []byte // of a line
}

func (u *uncommented) Read(p []byte) (int, error) {
	if len(u.rest) == 0 {
		line, err := u.lines.ReadBytes('\n')
		if len(line) == 0 {
			return 0, err
		}
		if u.rest = line; isComment(string(line), u.exists) {
			u.rest = []byte("\n")
		}
	}
	n := copy(p, u.rest)
	u.rest = u.rest[n:]
	return n, nil
}

// isComment reports whether a line is a comment: it begins with #, and its first field is no image that exists.
func isComment(line string, exists func(image string) bool) bool {
	if !strings.HasPrefix(line, "#") {
		return false
	}
	if at := strings.IndexAny(line, ",\t\r\n"); at >= 0 {
		line = line[:at]
	}
	return !exists(plainRow(strings.TrimSpace(line))[0])
}

// plainRows iterates over the rows of a .txt file and their lines.
func plainRows(r io.Reader, exists func(image string) bool) iter.Seq2[int, row] {
	return func(yield func(int, row) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, 1<<20)
		line := 1
		for ; lines.Scan(); line++ {
			text := strings.TrimSpace(lines.Text())
			if text != "" && !isComment(text, exists) && !yield(line, row{fields: plainRow(text)}) {
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield(line, row{err: err})
		}
	}
}

// plainRow splits a line into a path and a label, if text follows the name of an image. Either may contain spaces.
func plainRow(text string) []string {
	if isImage(text) {
		return []string{text}
	}
	for at := len(text); at > 0; {
		at = strings.LastIndexAny(text[:at], " \t")
		if at < 0 {
			break
		}
		if name := strings.TrimSpace(text[:at]); isImage(name) {
			return []string{name, strings.TrimSpace(text[at:])}
		}
	}
	return []string{text}
}

// listColumns are the columns of a list.
type listColumns struct {
	width       int    // their number
	path, label int    // indices; label is -1 if there is none
	none        bool   // whether without a label the folders of the paths are no classes either
	wrong       string // why there is no label

	unlabeled error // says which columns could be that of labels, if none is
}

// findColumns reads the columns from the first row, which is a header if it has a column name and no image.
func findColumns(first []string, by Columns) (c *listColumns, header bool, err error) {
	paths, labels := pathNames(by.Image), labelNames(by.Label)
	c = &listColumns{width: len(first), path: named(first, paths), label: named(first, labels), none: by.Label != ""}
	header = named(first, slices.Concat(paths, labels, pathColumns, usualLabels)) >= 0 && !slices.ContainsFunc(first, isImage)
	are := "the columns are " + enumerate(first)
	if !header {
		are = "the list has no header"
		c.path, c.label = 0, min(1, len(first)-1)
		if c.label == 0 || c.none {
			c.label = -1
		}
	}
	switch {
	case by.Image != "" && (c.path < 0 || !header):
		return nil, header, fmt.Errorf("no column %s of paths; %s", by.Image, are)
	case c.path < 0:
		return nil, header, fmt.Errorf("no column %s; %s; give that of paths by --image-column", either(paths), are)
	case c.label >= 0 || by.Label == NoLabels:
	case c.none:
		c.wrong = fmt.Sprintf("no column %s of labels; %s", by.Label, are)
	case header:
		other := func(name string) bool { return name == "" || name == first[c.path] }
		if could := slices.DeleteFunc(slices.Clone(first), other); len(could) > 0 {
			c.unlabeled = fmt.Errorf("the folders of its paths are the classes; %w", couldBe(could))
		}
	}
	return c, header, nil
}

// named returns the index of the first of some names among columns, case-insensitive; -1 if there is none.
func named(columns, names []string) int {
	for _, name := range names {
		if at := slices.IndexFunc(columns, func(c string) bool { return strings.EqualFold(c, name) }); at >= 0 {
			return at
		}
	}
	return -1
}

// fill sets the fields of an entry from a row.
func (c *listColumns) fill(e *entry, fields []string) error {
	if len(fields) != c.width {
		return fmt.Errorf("%d columns, but the first line has %d", len(fields), c.width)
	}
	if e.path = fields[c.path]; e.path == "" {
		return errors.New("the path is empty")
	}
	e.labeled, e.wrong = c.none, c.wrong
	if c.label >= 0 {
		e.label, e.labeled = fields[c.label], true
	}
	return nil
}
