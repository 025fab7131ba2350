package annotations

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// The folders of Pascal VOC.
const (
	vocFolder = "Annotations"
	vocImages = "JPEGImages"
	vocSets   = "ImageSets/Main"
)

// vocAll is the name of the only split of a collection without lists.
const vocAll = "all"

// vocSplits lists the lists of images. A list of a class has its name and an underscore before the split's.
func vocSplits(t tree, dir string) (found []string, _ error) {
	isXML := func(name string) bool { return strings.EqualFold(path.Ext(name), ".xml") }
	for _, e := range t.dir(path.Join(dir, vocFolder)) {
		if !isXML(e.Name) {
			continue
		}
		for _, list := range t.dir(path.Join(dir, vocSets)) {
			if name, ok := strings.CutSuffix(list.Name, ".txt"); ok && !strings.Contains(name, "_") {
				found = append(found, name)
			}
		}
		if len(found) == 0 {
			found = []string{vocAll}
		}
		return found, nil
	}
	return nil, nil
}

// vocFile is the content of an annotation.
type vocFile struct {
	XMLName  xml.Name `xml:"annotation"`
	Filename string   `xml:"filename"`
	Width    float64  `xml:"size>width"`
	Height   float64  `xml:"size>height"`
	Objects  []struct {
		Name      string `xml:"name"`
		Difficult string `xml:"difficult"`
		Box       *struct {
			Left   float64 `xml:"xmin"`
			Top    float64 `xml:"ymin"`
			Right  float64 `xml:"xmax"`
			Bottom float64 `xml:"ymax"`
		} `xml:"bndbox"`
	} `xml:"object"`
}

func readVOC(ctx context.Context, t tree, dir, split string) (*Set, error) {
	names, err := vocNames(ctx, t, dir, split)
	if err != nil {
		return nil, err
	}
	images := map[string]string{} // files by the names without extensions
	for _, e := range t.dir(path.Join(dir, vocImages)) {
		images[stem(e.Name)] = path.Join(dir, vocImages, e.Name)
	}
	s := &Set{Split: split, tree: t}
	var classes [][]string // of each image's objects
	for _, name := range names {
		file := path.Join(dir, vocFolder, name+".xml")
		var im Image
		var of []string
		data, err := t.read(ctx, file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			err = fmt.Errorf("there is no such annotation, though the split %s lists it", split)
		case err != nil:
			return nil, err
		case images[name] == "":
			err = fmt.Errorf("it has no image in %s", vocImages)
		default:
			im, of, err = parseVOC(data)
		}
		im.Name, im.Source = images[name], t.source(images[name])
		if err != nil {
			im, of = Image{Source: t.source(file), Reason: err.Error()}, nil
		}
		s.Images, classes = append(s.Images, im), append(classes, of)
	}
	s.Classes = slices.Compact(slices.Sorted(slices.Values(slices.Concat(classes...))))
	for i, of := range classes {
		for j, class := range of {
			s.Images[i].Objects[j].Class, _ = slices.BinarySearch(s.Classes, class)
		}
	}
	return s, nil
}

// stem returns a file's name without its extension.
func stem(name string) string { return strings.TrimSuffix(name, path.Ext(name)) }

// vocNames lists the images of a split, without extensions.
func vocNames(ctx context.Context, t tree, dir, split string) (names []string, err error) {
	list := path.Join(dir, vocSets, split+".txt")
	data, err := t.read(ctx, list)
	switch {
	case errors.Is(err, fs.ErrNotExist) && split == vocAll:
		for _, e := range t.dir(path.Join(dir, vocFolder)) {
			if strings.EqualFold(path.Ext(e.Name), ".xml") {
				names = append(names, stem(e.Name))
			}
		}
		return names, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w", t.source(list), err)
	}
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 0 {
			names = append(names, fields[0])
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("%s lists no images", t.source(list))
	}
	return names, nil
}

// parseVOC parses an annotation; classes are those of the objects.
func parseVOC(data []byte) (im Image, classes []string, err error) {
	var v vocFile
	if err := xml.NewDecoder(bytes.NewReader(data)).Decode(&v); err != nil {
		return im, nil, fmt.Errorf("no annotation of Pascal VOC: %w", err)
	}
	im.Width, im.Height = int(v.Width), int(v.Height)
	for i, o := range v.Objects {
		if o.Box == nil || o.Name == "" {
			return im, nil, fmt.Errorf("object %d has no name or no bndbox", i)
		}
		left, top := max(o.Box.Left-1, 0), max(o.Box.Top-1, 0)
		box := metrics.Box{left, top, o.Box.Right - left, o.Box.Bottom - top}
		if !(box[2] > 0 && box[3] > 0) {
			return im, nil, fmt.Errorf("object %d, a %s, has a box without pixels: %+v", i, o.Name, *o.Box)
		}
		im.Objects = append(im.Objects, Object{Box: box, Area: box.Area(), Difficult: strings.TrimSpace(o.Difficult) == "1"})
		classes = append(classes, strings.TrimSpace(o.Name))
	}
	return im, classes, nil
}
