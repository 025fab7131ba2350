package imageio

import (
	"context"
	"iter"
	"path"
	"slices"
	"strconv"
	"strings"
)

// kinds are the kinds of collections. To add one, declare it in a file like tar.go and list it here.
var kinds = []kind{folderKind, parquetKind, tarKind, zipKind, idxKind, listKind}

// kind is one kind of collection: how to recognize and read it.
type kind struct {
	name     string   // Split.Kind
	files    string   // description of the input, in the plural, for messages
	labels   string   // where class labels come from, for messages
	suffixes []string // of file names, in lower case; for Folder those of images
	// direct kinds are read only if Plan is given the file itself. They are skipped in folders, which may contain such
	// files for other purposes.
	direct bool
	packed bool // whether a file may be compressed with gzip
	// count returns the number of images in a file, of which split has the Path and the Columns, and tells seen of members
	// that are not used, and of labels.
	count func(ctx context.Context, split Split, seen *Source) (int64, error)
	// parts iterates over the files besides the collection's own that it is made of; nil for none.
	parts func(ctx context.Context, file string) iter.Seq[string]
	// read calls yield with the images of a split, in order. An error that is not temporary means that the rest of them
	// is damaged.
	read func(ctx context.Context, split Split, yield func(Image) error) error
}

// Kinds describes the kinds of collections that Plan accepts, each in the plural: "folders of images (.jpg, ...)".
func Kinds() []string { return column(kinds, func(k kind) string { return k.files }) }

func wanted() string { return "give " + either(Kinds()) }

// LabelSources describes where the class labels of images can come from: "a folder for each class, ... or ...".
func LabelSources() string { return either(column(kinds, func(k kind) string { return k.labels })) }

// Stem returns the base name of a collection's file without the suffix of its kind: "pets" for pets.tar.gz and for
// pets-images-idx3-ubyte. ok is false for image files and files of unknown kinds.
func Stem(file string) (stem string, ok bool) {
	k := kindOf(file)
	if k == nil || k.name == Folder {
		return "", false
	}
	base := path.Base(slashed(file))
	stem = base[:len(base)-len(k.suffix(baseName(file)))]
	return strings.TrimSuffix(stem, "-"), true
}

// kindOf returns a collection's kind by its name; a single image has the kind Folder. It is nil for hidden files and
// files of unknown kinds.
func kindOf(name string) *kind {
	base := baseName(name)
	if strings.HasPrefix(base, ".") {
		return nil
	}
	return find(func(k kind) bool { return k.suffix(base) != "" })
}

func kindNamed(name string) *kind { return find(func(k kind) bool { return k.name == name }) }

func find(is func(kind) bool) *kind {
	if i := slices.IndexFunc(kinds, is); i >= 0 {
		return &kinds[i]
	}
	return nil
}

// suffix returns the kind's suffix that a base name ends with, or "".
func (k kind) suffix(base string) string {
	for _, s := range k.suffixes {
		if strings.HasSuffix(base, s) {
			return s
		}
	}
	return ""
}

// baseName is the last element of a path of any filesystem, in lower case.
func baseName(name string) string { return strings.ToLower(path.Base(slashed(name))) }

func slashed(name string) string { return strings.ReplaceAll(name, "\\", "/") }

// className returns the name of a folder; empty if its path has none.
func className(folder string) string {
	name := path.Base(folder)
	if name == "." || name == ".." || name == "/" {
		return ""
	}
	return name
}

// parseLabel parses a label from text: a class number, also as pandas writes it where others are missing (7.0), or a class
// name.
func parseLabel(text string) (label int64, class string) {
	text = strings.TrimSpace(text)
	whole, fraction, _ := strings.Cut(text, ".")
	if v, err := strconv.ParseInt(whole, 10, 64); err == nil && strings.Trim(fraction, "0") == "" {
		return max(v, -1), ""
	}
	return -1, text
}
