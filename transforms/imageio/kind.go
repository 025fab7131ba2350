package imageio

import (
	"context"
	"path"
	"slices"
	"strconv"
	"strings"
)

// kinds are the kinds of collections. A new one is a file that declares it,
// like tar.go, and its name here.
var kinds = []kind{folderKind, parquetKind, tarKind, zipKind, idxKind, listKind}

// kind is one kind of collection: how to know it and how to read it.
type kind struct {
	name     string   // Split.Kind
	files    string   // what to give, in the plural, for messages
	labels   string   // what tells the classes of its images, for messages
	suffixes []string // of file names, in lower case; for Folder those of images
	// direct kinds are read where Plan is given the file itself, and passed over in
	// folders, which may hold such files for other reasons.
	direct bool
	// count returns the number of images of a file.
	count func(ctx context.Context, file string) (int64, error)
	// read gives the images of a split to yield, in order.
	read func(ctx context.Context, split Split, yield func(Image) error) error
}

// Kinds describes the kinds of collections that Plan takes, each in the plural:
// "folders of images (.jpg, ...)".
func Kinds() []string { return column(kinds, func(k kind) string { return k.files }) }

func wanted() string { return "give " + either(Kinds()) }

// LabelSources says in which ways collections tell the classes of their images:
// "a folder for each class, ... or ...".
func LabelSources() string { return either(column(kinds, func(k kind) string { return k.labels })) }

// Stem returns the base name of a collection's file without the suffix of its
// kind: "pets" of pets.tar.gz and of pets-images-idx3-ubyte. ok is false for image
// files and files of unknown kinds.
func Stem(file string) (stem string, ok bool) {
	k := kindOf(file)
	if k == nil || k.name == Folder {
		return "", false
	}
	base := path.Base(slashed(file))
	stem = base[:len(base)-len(k.suffix(baseName(file)))]
	return strings.TrimSuffix(stem, "-"), true
}

// kindOf tells a collection's kind by its name; a single image is of kind
// Folder. It is nil for hidden files and those of no interest.
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

// suffix returns the one that a base name ends in, or nothing.
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

// parent is the name of the folder that holds a file, empty if that is not told.
func parent(file string) string {
	dir := path.Base(path.Dir(slashed(file)))
	if dir == "." || dir == ".." || dir == "/" {
		return ""
	}
	return dir
}

// parseLabel reads a label written as text: the number of a class, or its name.
func parseLabel(text string) (label int64, class string) {
	text = strings.TrimSpace(text)
	if v, err := strconv.ParseInt(text, 10, 64); err == nil {
		return max(v, -1), ""
	}
	return -1, text
}
