package annotations

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Config says what to open.
type Config struct {
	// Path is a folder, a tar archive, or a JSON file of COCO's.
	Path string
	// Splits are names of splits, of which the first that there is is opened. One that ends in * is the beginning of a name.
	// A JSON file is one split, whatever its name.
	Splits []string
	// Images is the folder of a JSON file's images; if empty, it is looked for as in a COCO folder.
	Images string
}

// Set is a split of an annotated collection. It is safe for concurrent use.
type Set struct {
	// Split is the name of the split.
	Split string
	// Classes are the names of the classes.
	Classes []string
	// Images are the images, with their objects.
	Images []Image

	tree tree
}

// Image is an image with its objects.
type Image struct {
	// Name is the path of the image file within the collection, and Source its path or archive!member.
	Name, Source string
	// Width and Height are its size in pixels, as annotated; 0 if that is not.
	Width, Height int
	// Objects are what is annotated.
	Objects []Object
	// Reason says why the image or its annotation cannot be used, in which case it has no objects; else it is empty.
	Reason string `json:",omitempty"`
}

// Object is an annotated object.
type Object struct {
	// Class is an index into Set.Classes.
	Class int
	// Box is where it is.
	Box metrics.Box
	// Area is that of its mask if it has one, else that of the box.
	Area float64
	// Crowd marks a box around many objects, and Difficult an object that need not be found.
	Crowd, Difficult bool
}

// ErrNone says that something is no annotated collection.
var ErrNone = errors.New("no annotated images")

// Open lists a split. Close it when its images have been read.
func Open(ctx context.Context, cfg Config) (*Set, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("annotations: %s: %w", cfg.Path, err)
	}
	return s, nil
}

func open(ctx context.Context, cfg Config) (_ *Set, err error) {
	root, name := cfg.Path, ""
	if strings.EqualFold(path.Ext(cfg.Path), ".json") {
		root, name = files.Dir(cfg.Path), path.Base(strings.ReplaceAll(cfg.Path, `\`, "/"))
		if path.Base(root) == cocoFolder && cfg.Images == "" {
			root, name = files.Dir(root), cocoFolder+"/"+name
		}
	}
	t, err := openTree(ctx, root)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if name != "" {
		return readCOCO(ctx, t, splitOf(name), name, cfg.Images)
	}
	for _, dir := range below(t) {
		for _, l := range layouts {
			found, err := l.splits(t, dir)
			if err != nil {
				return nil, err
			}
			if len(found) == 0 {
				continue
			}
			split, err := choose(found, cfg.Splits)
			if err != nil {
				return nil, err
			}
			return l.read(ctx, t, dir, split)
		}
	}
	return nil, fmt.Errorf("%w: want Annotations/*.xml of Pascal VOC, or annotations/instances_*.json of COCO", ErrNone)
}

// layout is a way in which a collection is kept.
type layout struct {
	// splits lists the names of the splits in a folder; none if it is not of this layout.
	splits func(t tree, dir string) ([]string, error)
	// read reads a split.
	read func(ctx context.Context, t tree, dir, split string) (*Set, error)
}

var layouts = []layout{{vocSplits, readVOC}, {cocoSplits, readCOCOSplit}}

// levels is how far below its top a collection is looked for, as in VOCdevkit/VOC2007.
const levels = 2

// below lists the top folder and those below it, nearest first.
func below(t tree) []string {
	all, last := []string{""}, []string{""}
	for range levels {
		var next []string
		for _, dir := range last {
			for _, e := range t.dir(dir) {
				if e.Folder {
					next = append(next, path.Join(dir, e.Name))
				}
			}
		}
		all, last = append(all, next...), next
	}
	return all
}

// choose returns the first of the wanted splits that there is.
func choose(found, wanted []string) (string, error) {
	slices.Sort(found)
	for _, want := range wanted {
		prefix, any := strings.CutSuffix(want, "*")
		for _, name := range found {
			if name == want || any && strings.HasPrefix(name, prefix) {
				return name, nil
			}
		}
	}
	return "", fmt.Errorf("there is no split %s; there is %s", strings.Join(wanted, ", "), strings.Join(found, ", "))
}

// Read returns the encoded image i, which must not be modified.
func (s *Set) Read(ctx context.Context, i int) ([]byte, error) {
	data, err := s.tree.read(ctx, s.Images[i].Name)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no such image, though it is annotated: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("annotations: %s: %w", s.Images[i].Source, err)
	}
	return data, nil
}

// Close ends the use of the collection.
func (s *Set) Close() error { return s.tree.close() }

// Objects lists the objects in the form of metrics.
func (s *Set) Objects() (all []metrics.Object) {
	for i, im := range s.Images {
		for _, o := range im.Objects {
			all = append(all, metrics.Object{Image: i, Class: o.Class, Box: o.Box, Area: o.Area, Crowd: o.Crowd, Difficult: o.Difficult})
		}
	}
	return all
}
