package imageio

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize/english"
)

// Source is what [Survey] finds in one path.
type Source struct {
	// Path is the folder or file, as passed to Survey.
	Path string
	// Begin and End are the range [Begin, End) of the indices of its splits.
	Begin, End int64
	// Passed counts the files, and the members of archives, that are not used.
	Passed Passed
	// Hint says of the first file that could have labels, but has none that are used, why not; else it is empty.
	Hint string
	// Rows says of each metadata file which of its rows are not used, if any are not.
	Rows []string

	folders folders // of the images in an archive
}

// Tally counts the images of a source.
type Tally struct {
	// Images counts those that were read, Labeled those of them with a label, Lost those whose label is lost to damage,
	// Damaged those that were read in spite of damage. Dead counts those that cannot be read.
	Images, Labeled, Lost, Damaged, Dead int64
}

// Has reports whether the source has a split, given by its index.
func (s *Source) Has(split int64) bool { return split >= s.Begin && split < s.End }

// Summary describes in one line what was read of a source, and what was passed over.
func (s *Source) Summary(t Tally) string {
	text := fmt.Sprintf("%s: %s, %d of them with labels, and %d that cannot be read", s.Path, english.Plural(int(t.Images), "image", ""), t.Labeled, t.Dead)
	if t.Lost > 0 {
		text += fmt.Sprintf("; the labels of %d are lost in damaged parts of the files", t.Lost)
	}
	if t.Damaged > 0 {
		text += "; " + english.Plural(int(t.Damaged), "is damaged, and was read as far as it goes", "are damaged, and were read as far as they go")
	}
	if len(s.Passed) > 0 {
		text += "; " + s.Passed.String()
	}
	if s.Hint != "" {
		text += "; " + s.Hint
	}
	const most = 5
	for _, rows := range s.Rows[:min(len(s.Rows), most)] {
		text += "; " + rows
	}
	if more := len(s.Rows) - most; more > 0 {
		text += fmt.Sprintf("; and rows of %d more metadata files", more)
	}
	return text
}

// pass notes a file or a member that is not used.
func (s *Source) pass(name string) { s.merge(Source{Passed: Passed{passedAs(name): 1}}) }

// hint notes why a file has no labels.
func (s *Source) hint(file string, err error) {
	s.Hint = cmp.Or(s.Hint, fmt.Sprintf("%s has no labels: %v", file, err))
}

// merge adds what was seen of a part of the source.
func (s *Source) merge(seen Source) {
	if s.Passed == nil {
		s.Passed = Passed{}
	}
	for as, n := range seen.Passed {
		s.Passed.add(as, n)
	}
	s.Hint = cmp.Or(s.Hint, seen.Hint)
	s.Rows = append(s.Rows, seen.Rows...)
}

// folders are those of the images in an archive.
type folders struct {
	shared  []string // the elements of the path that all have in common
	several bool
}

// add adds the folder of an image.
func (f *folders) add(image string) {
	dir := strings.Split(path.Dir(slashed(image)), "/")
	if f.shared == nil {
		f.shared = dir
		return
	}
	n := 0
	for n < min(len(dir), len(f.shared)) && dir[n] == f.shared[n] {
		n++
	}
	f.several = f.several || n < len(dir) || n < len(f.shared)
	f.shared = dir[:n]
}

// root returns the folder that all images are in; if there is but one, that which it is in.
func (f *folders) root() string {
	if !f.several && len(f.shared) > 0 {
		return strings.Join(f.shared[:len(f.shared)-1], "/")
	}
	return strings.Join(f.shared, "/")
}

// below returns the path of the folder of an image below the root.
func below(root, image string) string {
	return cmp.Or(strings.TrimPrefix(strings.TrimPrefix(path.Dir(slashed(image)), root), "/"), ".")
}

// Passed counts files that are not used, by their extension or by what they are.
type Passed map[string]int64

// What files are that have no extension, or one that does not tell.
const (
	links   = "links in archives"
	endless = "archives without an end"
	texts   = ".txt of samples"
	lists   = "columns of lists"
	tables  = "tables without images"
	unused  = "metadata files without labels"
	again   = "links to folders that are read anyway"
	copies  = "packed copies of files that are read"
	special = "pipes and devices"
	bare    = "files without an extension"
	others  = "other files"
)

var kindsPassed = []string{links, endless, texts, lists, tables, unused, again, copies, special}

// mostPassed limits how many extensions are told apart.
const mostPassed = 100

var extension = regexp.MustCompile(`^\.[a-z0-9]{0,7}[a-z][a-z0-9]{0,7}$`)

// passedAs returns what a file that is not used is counted as.
func passedAs(name string) string {
	switch ext := path.Ext(baseName(name)); {
	case slices.Contains(kindsPassed, name):
		return name
	case ext == "":
		return bare
	case extension.MatchString(ext):
		return ext
	}
	return others
}

// add counts n files as something that passedAs returns.
func (p Passed) add(as string, n int64) {
	if _, ok := p[as]; !ok && len(p) >= mostPassed {
		as = others
	}
	p[as] += n
}

// hints say what to do about files of some extensions that are not used, in the order in which they are given.
var hints = []struct {
	of   []string
	text string
}{
	{strings.Fields(".avif .heic .heif .jp2 .j2k .jpx .jxl .ico .tga .psd .exr .hdr .svg .pdf .eps .dcm"), "convert images of other formats to JPEG or PNG"},
	{strings.Fields(".cr2 .cr3 .nef .arw .dng .raf .orf .rw2 .pef .srw .raw"), "develop raw images to JPEG or PNG"},
	{strings.Fields(".txt .csv .tsv"), "a list of images is read only if its own path is given"},
	{strings.Fields(".tar .tgz .zip .gz .bz2 .xz .zst .7z .rar"), "unpack archives in archives and those of other kinds"},
	{[]string{".arrow"}, "export data sets of HuggingFace's save_to_disk by dataset.to_parquet(...)"},
	{[]string{".z01"}, joinParts},
	{strings.Fields(".npy .npz .pkl .pt .h5 .hdf5 .mat .tfrecord .feather .lmdb .bin"), "save arrays as images"},
	{strings.Fields(".mp4 .mov .avi .mkv .webm"), "save videos as images"},
	{[]string{links}, "pack the files that links point to"},
	{[]string{lists}, "the first image of each list is taken"},
	{[]string{unused}, "a metadata file labels the images that its column file_name names, relative to it"},
	{[]string{endless}, "an archive without an end may be truncated; fetch or pack it again"},
}

// String lists what was passed over, the most frequent first, with hints: "passed over 12 .heic, 3 .txt (convert images
// of other formats to JPEG or PNG; ...)".
func (p Passed) String() string {
	const most = 8
	names := slices.SortedFunc(maps.Keys(p), func(a, b string) int { return cmp.Or(cmp.Compare(p[b], p[a]), cmp.Compare(a, b)) })
	var counts, advice []string
	var rest int64
	for i, name := range names {
		if i < most {
			counts = append(counts, fmt.Sprintf("%d %s", p[name], name))
		} else {
			rest += p[name]
		}
	}
	if rest > 0 {
		counts = append(counts, fmt.Sprintf("%d more", rest))
	}
	for _, h := range hints {
		if slices.ContainsFunc(h.of, func(ext string) bool { return p[ext] > 0 }) {
			advice = append(advice, h.text)
		}
	}
	text := "passed over " + strings.Join(counts, ", ")
	if len(advice) > 0 {
		text += " (" + strings.Join(advice, "; ") + ")"
	}
	return text
}
