package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Images are the labeled images of one split, all of the same size.
type Images struct {
	// Size is the height and width in pixels.
	Size int
	// Pixels are [len(Labels), Size, Size, 3] bytes.
	Pixels []uint8
	// Labels are indices into Classes, one per image: of an image with several classes, the first.
	Labels []int64
	// Sets are all classes of each image, if the images may have several; else nil.
	Sets [][]int64
	// Classes are the names of all classes of the task. A class without a name has its number as its name.
	Classes []string
	// Bad describes the images that could not be read, and those without a class, if these are fewer than the others; they
	// are left out.
	Bad []string

	remark string // about labels that may not be those that are meant
}

// Len returns the number of images.
func (im *Images) Len() int { return len(im.Labels) }

// ClassesOf returns all classes of an image.
func (im *Images) ClassesOf(i int) []int64 {
	if im.Sets != nil {
		return im.Sets[i]
	}
	return im.Labels[i : i+1]
}

// Members returns the classes of each image, also if it has only one.
func Members(labels []int64, sets [][]int64) [][]int64 {
	if sets == nil {
		for i := range labels {
			sets = append(sets, labels[i:i+1:i+1])
		}
	}
	return sets
}

// At returns image i, [Size, Size, 3] bytes.
func (im *Images) At(i int) []uint8 {
	n := im.Size * im.Size * 3
	return im.Pixels[i*n : (i+1)*n]
}

// Check returns an error if a task cannot be used: if most images of either split have no label, or one has several and the
// metric is not MeanAP, if the splits number or name their classes differently, or if no image of a split can be decoded. It reads
// all labels, but decodes only the first sound image of each split. A task without Test is checked without it.
func Check(ctx context.Context, t Task) error {
	train, err := load(ctx, t.Train, nil, labelsOnly())
	if err == nil && t.Test != "" {
		var test *Images
		if test, err = load(ctx, t.Test, train.Classes, labelsOnly()); err == nil && test.remark != "" {
			slog.Warn(test.remark, "test", t.Test)
		}
	}
	if err != nil {
		return err
	}
	if train.remark != "" {
		slog.Warn(train.remark, "train", t.Train)
	}
	return CheckMetric(t.Metric, train.Sets)
}

// CheckMetric returns an error if a metric is not for images with such sets of classes.
func CheckMetric(metric string, sets [][]int64) error {
	if sets != nil && metric != MeanAP {
		return fmt.Errorf("the images have lists of classes, but the metric is %s; write \"metric: %s\" to a file task.yaml beside the folders train and test, or NAME.yaml beside NAME-train.parquet", metric, MeanAP)
	}
	return nil
}

// Load reads a split and resizes its images to size x size pixels. Numeric labels are used as they are; otherwise
// classes are numbered in order of their names (in a folder, the names of its subfolders). Pass the classes of the
// training images when loading the test images, so that both are numbered alike, and nil for the training images
// themselves.
//
// A path may be a glob of files, such as train-*-of-*.parquet. It may end with a slice as in Python: train.parquet[::2]
// is every second image, train.parquet[1::2] the others, and train.parquet[100:200:1] the second hundred, for which only
// these rows of a Parquet file are read. In front of the slice it may name columns; see [Task.With].
func Load(ctx context.Context, path string, size int, classes []string) (*Images, error) {
	return load(ctx, path, classes, func(ctx context.Context, split imageio.Split, im *Images, keep func(imageio.Image, error) (bool, error)) error {
		im.Size = size
		return imageio.Squares(ctx, split, size, func(raw imageio.Image, square imageio.RGB, damage error) error {
			kept, err := keep(raw, damage)
			if kept {
				im.Pixels = append(im.Pixels, square.Pix...)
			}
			return err
		})
	})
}

// reader reads the images of a split and passes each to keep, with the error of one that cannot be decoded. keep
// returns whether the image belongs to those that are loaded.
type reader func(ctx context.Context, split imageio.Split, im *Images, keep func(imageio.Image, error) (bool, error)) error

// labelsOnly returns a reader that decodes images only until one is sound.
func labelsOnly() reader {
	sound := false
	return func(ctx context.Context, split imageio.Split, _ *Images, keep func(imageio.Image, error) (bool, error)) error {
		return imageio.ReadSplit(ctx, split, func(raw imageio.Image) error {
			var damage error
			if raw.Damage != "" {
				damage = errors.New(raw.Damage)
			} else if !sound {
				_, damage = imageio.DecodeSquare(raw.Data, 1)
			}
			kept, err := keep(raw, damage)
			sound = sound || kept
			return err
		})
	}
}

// load is Load with any reader.
func load(ctx context.Context, path string, classes []string, read reader) (*Images, error) {
	im := &Images{}
	labels := &Images{}     // of one image each
	var sizes []int         // of the images' sets of labels
	var all, names []string // classes of all images, and of those that are loaded
	last := int64(-1)       // label of all images
	single, several := "", ""
	base, _, cut := cutPath(path)
	var stray []error // the images without a label
	help := ""        // for the first of them
	kinds := map[string]kindOfLabels{}
	folders := map[string]bool{} // that are the classes of images
	at := int64(-1)
	err := each(ctx, path, func(split imageio.Split, hint string) error {
		if split.Kind == imageio.List {
			im.remark = hint // of which columns may be meant instead of the folders
		}
		first := at + 1
		if split.Kind == imageio.Parquet && split.Damage == "" {
			rows := split.End - split.Begin
			begin := min(max(cut.start-first, 0), rows)
			split.Begin, split.End = split.Begin+begin, split.Begin+min(max(cut.end-first, begin), rows)
			at += begin
			defer func() { at = first + rows - 1 }()
		}
		return read(ctx, split, im, func(raw imageio.Image, damage error) (bool, error) {
			if at++; at < cut.start || at >= cut.end || (at-cut.start)%cut.step != 0 {
				return false, nil
			}
			found, err := classesOf(split, raw)
			if raw.LabelLost {
				damage = cmp.Or(damage, errors.New("its label is lost in a damaged part of the file"))
			}
			if errors.Is(err, errUnlabeled) && damage == nil {
				if len(stray) == 0 {
					help = cmp.Or(hint, "a task needs "+imageio.LabelSources())
				}
				stray = append(stray, err)
				return false, nil
			}
			if err != nil && damage == nil {
				return false, err
			}
			if err == nil && !raw.LabelLost {
				for _, l := range found {
					all, last = append(all, l.Name), max(last, l.Number)
					kinds[split.Path] |= kindOf(l)
					folders[l.Name] = folders[l.Name] || raw.Folders != ""
				}
				if damage == nil && len(found) == 0 {
					damage = errors.New("it has no class")
				}
			}
			if damage != nil {
				im.Bad = append(im.Bad, fmt.Sprintf("%s, row %d: %v", raw.Source, raw.Row, damage))
				return false, nil
			}
			if raw.Labels != nil {
				several = raw.Source
			} else {
				single = raw.Source
			}
			im.Labels = append(im.Labels, 0)
			sizes = append(sizes, len(found))
			for _, l := range found {
				labels.Labels, names = append(labels.Labels, l.Number), append(names, l.Name)
			}
			return true, nil
		})
	})
	if err != nil {
		return nil, err
	}
	if len(stray) > im.Len() {
		return nil, fmt.Errorf("%w; %s", stray[0], help)
	}
	for _, err := range stray {
		im.Bad = append(im.Bad, err.Error())
	}
	path = base
	if im.Len() == 0 && len(im.Bad) == 0 {
		return nil, fmt.Errorf("%s: no images in the slice %v; the path has %d", path, cut, at+1)
	}
	if im.Len() == 0 {
		return nil, fmt.Errorf("%s: none of its %d images can be read; first error: %s", path, len(im.Bad), im.Bad[0])
	}
	if mixedKinds(kinds) {
		nameAll(labels.Labels, names)
		all = append(slices.DeleteFunc(all, func(name string) bool { return name == "" }), names...)
	}
	switch train, test := splitAmong(folders, "train"), splitAmong(folders, "test"); {
	case train != "" && test != "":
		err = fmt.Errorf("its folders %s and %s look like splits; unpack it, and give the folder that they are in", train, test)
	case single != "" && several != "":
		err = fmt.Errorf("%s has lists of labels, but %s has not", several, single)
	case slices.Min(labels.Labels) >= 0:
		err = labels.byNumber(names, last, classes)
	case slices.Max(labels.Labels) < 0:
		err = labels.byName(names, all, classes)
	default:
		err = errors.New("some images have numeric labels, others only class names")
	}
	if err == nil && classes == nil && slices.Min(labels.Labels) == slices.Max(labels.Labels) {
		err = fmt.Errorf("all images have the class %q; a task needs at least two classes: %s", labels.Classes[labels.Labels[0]], imageio.LabelSources())
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	im.Classes, im.remark = labels.Classes, cmp.Or(labels.remark, im.remark)
	for i, n := range sizes {
		set := labels.Labels[:n:n]
		im.Labels[i], labels.Labels = set[0], labels.Labels[n:]
		if several != "" {
			im.Sets = append(im.Sets, set)
		}
	}
	return im, nil
}

// kindOfLabels is whether labels are numbers alone, names alone, or both.
type kindOfLabels int

const (
	onlyNumber kindOfLabels = 1 << iota
	onlyName
)

func kindOf(l imageio.Label) kindOfLabels {
	switch {
	case l.Name == "":
		return onlyNumber
	case l.Number < 0:
		return onlyName
	}
	return 0
}

// mixedKinds reports whether one file has classes such as 7 and B, of which the first are names, too.
func mixedKinds(kinds map[string]kindOfLabels) bool {
	for _, kind := range kinds {
		if kind == onlyNumber|onlyName {
			return true
		}
	}
	return false
}

// nameAll makes numbers to names.
func nameAll(labels []int64, names []string) {
	for i, l := range labels {
		names[i], labels[i] = cmp.Or(names[i], strconv.FormatInt(l, 10)), -1
	}
}

// splitAmong returns which of some folders has the name of a split, "" if none has.
func splitAmong(folders map[string]bool, part string) string {
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		if folders[name] && slices.Contains(parts[part], strings.ToLower(name)) {
			return name
		}
	}
	return ""
}

// slice is every step-th image from start to before end.
type slice struct{ start, end, step int64 }

func (s slice) String() string {
	if s.end == math.MaxInt64 {
		return fmt.Sprintf("[%d::%d]", s.start, s.step)
	}
	return fmt.Sprintf("[%d:%d:%d]", s.start, s.end, s.step)
}

// cutPath separates a path from the columns and the slice at its end.
func cutPath(path string) (base string, columns imageio.Columns, cut slice) {
	base, _ = cutSlice(path)
	base, columns = cutColumns(base)
	return base, columns, sliceOf(path)
}

// sliceOf returns the slice at the end of a path, [START:END:STEP]; without one, it is that of all images.
func sliceOf(path string) slice {
	all := slice{0, math.MaxInt64, 1}
	m := sliceAtEnd.FindStringSubmatch(path)
	if m == nil {
		return all
	}
	all.start, _ = strconv.ParseInt(m[2], 10, 64) // 0 if empty
	if m[3] != "" {
		all.end, _ = strconv.ParseInt(m[3], 10, 64)
	}
	all.step, _ = strconv.ParseInt(m[4], 10, 64)
	return all
}

var sliceAtEnd = regexp.MustCompile(`^(.+)\[(\d{0,9}):(\d{0,9}):([1-9]\d{0,8})\]$`)

// cutSlice separates a path from the slice at its end, which may be empty.
func cutSlice(path string) (base, slice string) {
	if m := sliceAtEnd.FindStringSubmatch(path); m != nil {
		return m[1], path[len(m[1]):]
	}
	return path, ""
}

var columnsAtEnd = regexp.MustCompile(`^(.+)\[((?:image|label)=[^\[\]]*)\]$`)

// cutColumns separates a path without a slice from the columns at its end.
func cutColumns(path string) (base string, columns imageio.Columns) {
	m := columnsAtEnd.FindStringSubmatch(path)
	if m == nil {
		return path, columns
	}
	named, err := url.ParseQuery(m[2])
	if err != nil {
		return path, columns
	}
	return m[1], imageio.Columns{Image: named.Get("image"), Label: named.Get("label")}
}

// withColumns puts columns at the end of a path, in front of the slice.
func withColumns(path string, columns imageio.Columns) string {
	named := url.Values{}
	for key, name := range map[string]string{"image": columns.Image, "label": columns.Label} {
		if name != "" {
			named.Set(key, name)
		}
	}
	if path == "" || len(named) == 0 {
		return path
	}
	base, slice := cutSlice(path)
	return base + "[" + named.Encode() + "]" + slice
}

// With returns the task with the columns to use of its files, at the end of the paths of its splits:
// train.parquet[image=photo&label=kind].
func (t Task) With(columns imageio.Columns) Task {
	t.Train, t.Test = withColumns(t.Train, columns), withColumns(t.Test, columns)
	return t
}

// Halves divides a task's training images into halves to train and to test on, so that choices can be made without its
// test images.
func Halves(t Task) Task {
	t.Train, t.Test = t.Train+"[::2]", t.Train+"[1::2]"
	return t
}

// each visits the splits of a path, in order, with the hint of their source, or why its metadata files label fewer images.
func each(ctx context.Context, path string, visit func(split imageio.Split, hint string) error) error {
	paths, err := Paths(ctx, path)
	if err != nil {
		return err
	}
	_, columns, _ := cutPath(path)
	splits, sources, err := imageio.Survey(ctx, paths, 1<<30, columns)
	if err != nil {
		return err
	}
	for _, source := range sources {
		for _, split := range splits[source.Begin:source.End] {
			if err := visit(split, cmp.Or(source.Hint, strings.Join(source.Rows, "; "))); err != nil {
				return err
			}
		}
	}
	return nil
}

// classesOf returns an image's class, with a number or a name or both, or all of its classes if it has a list of them. An
// image with neither is an error.
func classesOf(split imageio.Split, raw imageio.Image) ([]imageio.Label, error) {
	if raw.LabelError != "" {
		return nil, fmt.Errorf("%s, row %d: %s", raw.Source, raw.Row, raw.LabelError)
	}
	if raw.Labels != nil {
		if slices.Contains(raw.Labels, imageio.Label{Number: -1}) {
			return nil, fmt.Errorf("%s, row %d: one of its labels is missing", raw.Source, raw.Row)
		}
		return raw.Labels, nil
	}
	class := raw.Class
	if raw.Folders != "" { // the first of them, as in torchvision's ImageFolder
		if class, _, _ = strings.Cut(raw.Folders, "/"); class == "." {
			class = ""
		}
	}
	switch {
	case raw.Label >= 0 || class != "":
		return []imageio.Label{{Number: raw.Label, Name: class}}, nil
	case split.Kind == imageio.IDX: // if there are fewer labels than images, they may be those of others
		return nil, fmt.Errorf("%s, row %d %v; a task needs %s", raw.Source, raw.Row, errUnlabeled, imageio.LabelSources())
	case split.Kind == imageio.Folder || raw.Folders != "":
		return nil, fmt.Errorf("%s %w, since it is not in the folder of a class, nor named in a metadata file", raw.Source, errUnlabeled)
	}
	return nil, fmt.Errorf("%s, row %d %w", raw.Source, raw.Row, errUnlabeled)
}

// errUnlabeled is the error for an image without a label: one that is beside the folders of classes, which torchvision's
// ImageFolder passes over, or whose label is null.
var errUnlabeled = errors.New("has no label")

// maxClasses exceeds the number of classes of any data set: larger labels are not class numbers.
const maxClasses = 1 << 20

// dense is the number of classes that may be more than the images: larger numbers are names of classes.
const dense = 1 << 12

// byNumber checks numeric labels up to last, and that a class has the same name, if any, in both splits. Labels that are the
// names of classes, such as those of folders, are these, and others indices.
func (im *Images) byNumber(names []string, last int64, classes []string) error {
	named := slices.ContainsFunc(names, func(name string) bool { return name != "" })
	switch {
	case named && last >= maxClasses:
		return fmt.Errorf("label %d; want class numbers from 0", last)
	case named:
	case classes == nil && last > max(dense, int64(len(im.Labels))):
		for _, l := range slices.Compact(slices.Sorted(slices.Values(im.Labels))) {
			classes = append(classes, strconv.FormatInt(l, 10))
		}
		fallthrough
	case Numbered(classes):
		nameAll(im.Labels, names)
		return im.byName(names, names, classes)
	case classes != nil:
		im.remark = fmt.Sprintf("labels are numbers, but the classes of the training images names: these are counted from 0 (%s) in their order", classes[0])
	}
	im.Classes = classes
	if classes == nil {
		im.Classes = make([]string, last+1)
		for i := range im.Classes {
			im.Classes[i] = fmt.Sprint(i)
		}
		for i, name := range names {
			if name != "" {
				im.Classes[im.Labels[i]] = name
			}
		}
	}
	for i, l := range im.Labels {
		if l >= int64(len(im.Classes)) {
			return fmt.Errorf("label %d; the training images have 0 to %d", l, len(im.Classes)-1)
		}
		if class := im.Classes[l]; names[i] != "" && names[i] != class && class != fmt.Sprint(l) {
			return fmt.Errorf("label %d is class %q here and %q elsewhere; both splits must number their classes alike", l, names[i], class)
		}
	}
	return nil
}

// Numbered reports whether the names of classes are numbers, so that numeric labels are such names, rather than indices.
func Numbered(classes []string) bool {
	return len(classes) > 0 && !slices.ContainsFunc(classes, func(class string) bool {
		_, err := strconv.ParseInt(class, 10, 64)
		return err != nil
	})
}

// byName numbers images whose classes are known by name. all has the classes of images that cannot be decoded, too.
func (im *Images) byName(names, all, classes []string) error {
	if classes == nil {
		classes = slices.Compact(slices.Sorted(slices.Values(all)))
	}
	number := map[string]int64{}
	for i, class := range classes {
		number[class] = int64(i)
	}
	im.Classes = classes
	for i, name := range names {
		label, ok := number[name]
		if !ok {
			return fmt.Errorf("class %q is not among the %d classes of the training images (%q, ...)", name, len(classes), classes[0])
		}
		im.Labels[i] = label
	}
	return nil
}
