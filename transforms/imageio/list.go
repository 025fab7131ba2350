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

	"github.com/sdr-ml/sdr/transforms/files"
)

// List is a text file with the paths of image files and, optionally, their labels, class numbers or names. Relative
// paths start at the list's folder. The columns of a .csv file are separated by commas, semicolons or tabs. A .csv or
// .tsv file may have a header that names the columns path (or file, filename, image) and label (or class, target);
// without a header they are the first and the second column. In a .txt file each line is a path, optionally followed by
// a space or tab and a label. Without labels the folders of the paths are the classes. Empty lines are skipped, and so
// are those that begin with #, unless that begins the name of an image file. A missing image file and a damaged line
// count as a damaged image each.
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

// pathColumns are the names of the column of paths in a header, case-insensitive, and tableLabels those of the column of
// labels; earlier names take precedence.
var pathColumns = []string{"path", "file", "filename", "file_name", "filepath", "image"}

func countList(ctx context.Context, split Split, _ *Source) (n int64, err error) {
	err = eachEntry(ctx, split.Path, func(entry) error { n++; return nil })
	return n, err
}

// listed iterates over the image files that a list names, as far as it can be read.
func listed(ctx context.Context, name string) iter.Seq[string] {
	return func(yield func(string) bool) {
		_ = eachEntry(ctx, name, func(e entry) error {
			if !yield(beside(name, e.path)) {
				return errEnough
			}
			return nil
		})
	}
}

func readList(ctx context.Context, split Split, yield func(Image) error) error {
	n := int64(0)
	err := eachEntry(ctx, split.Path, func(e entry) error {
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

// eachEntry calls visit with the entries of a list.
func eachEntry(ctx context.Context, name string, visit func(entry) error) error {
	f, err := open(ctx, name)
	if err != nil {
		return err
	}
	defer f.Close()
	exists := func(image string) bool {
		found, err := files.Exists(ctx, beside(name, image))
		return found || err != nil
	}
	return scanList(f, path.Ext(baseName(name)), exists, visit)
}

// entry is an image in a list.
type entry struct {
	line    int
	path    string
	label   string
	labeled bool
	damage  error // of the line
}

// image reads the image file.
func (e entry) image(ctx context.Context, list string) (Image, error) {
	if e.damage != nil {
		return Image{Source: list, Label: -1, Damage: fmt.Sprintf("line %d: %v", e.line, e.damage)}, nil
	}
	im := Image{Source: beside(list, e.path), Label: -1, Class: className(path.Dir(slashed(e.path)))}
	if e.labeled {
		im.Label, im.Class = parseLabel(e.label)
	}
	var err error
	if im.Data, err = readNamed(ctx, im.Source); err != nil && temporary(err) {
		return im, fmt.Errorf("line %d: %w", e.line, err)
	} else if err != nil {
		im.Damage = fmt.Sprintf("%v; line %d of %s names it", err, e.line, list)
	}
	return im, nil
}

// readNamed reads an image file that a list or a table names. That there is no such file is not a temporary error, also
// where the file is remote.
func readNamed(ctx context.Context, name string) ([]byte, error) {
	data, err := readFile(ctx, name)
	if err == nil {
		return data, nil
	}
	if found, unknown := files.Exists(ctx, name); found || unknown != nil && temporary(err) {
		return nil, reason(err)
	}
	return nil, syscall.ENOENT
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

// scanList calls visit with the entries of a list in the format of the file name extension. exists tells whether there is an
// image file of a name.
func scanList(r io.Reader, extension string, exists func(image string) bool, visit func(entry) error) error {
	text, err := withoutMark(r)
	if err != nil {
		return err
	}
	rows := plainRows(text, exists)
	if extension != ".txt" {
		rows = tableRows(text, extension, exists)
	}
	var columns *listColumns
	for line, row := range rows {
		err, header, e := row.err, false, entry{line: line, damage: row.damage}
		if columns == nil {
			err = cmp.Or(err, row.damage)
			if err == nil {
				columns, header, err = findColumns(row.fields)
			}
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", line, err)
		}
		if e.damage == nil && !header {
			e.damage = columns.fill(&e, row.fields)
		}
		if header {
			continue
		}
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
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

// tableRows iterates over the rows of a .csv or .tsv file and the lines that they begin on.
func tableRows(r io.Reader, extension string, exists func(image string) bool) iter.Seq2[int, row] {
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
		table.Comma = separator(string(bytes.TrimSpace(first)), exists)
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
// makes it a header with paths, else the first that it has, unless that belongs to the name of an image.
func separator(row string, exists func(image string) bool) rune {
	const separators = ",;\t"
	for _, s := range separators {
		fields := strings.FieldsFunc(row, func(r rune) bool { return r == s })
		for i := range fields {
			fields[i] = strings.Trim(fields[i], ` "`)
		}
		if len(fields) > 1 && named(fields, pathColumns) >= 0 {
			return s
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

// listColumns is the number of columns of a list and the indices of path and label; label is -1 if there is none.
type listColumns struct{ width, path, label int }

// findColumns reads the columns from the first row, which is a header if it has a column name and no image.
func findColumns(first []string) (c *listColumns, header bool, err error) {
	c = &listColumns{len(first), named(first, pathColumns), named(first, tableLabels)}
	switch {
	case slices.ContainsFunc(first, isImage) || c.path < 0 && c.label < 0:
		if c.path, c.label = 0, 1; len(first) == 1 {
			c.label = -1
		}
		return c, false, nil
	case c.path < 0:
		return nil, true, fmt.Errorf("the header %q has no column %s", first, either(pathColumns))
	}
	return c, true, nil
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
	if c.label >= 0 {
		e.label, e.labeled = fields[c.label], true
	}
	return nil
}
