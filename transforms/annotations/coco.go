package annotations

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/files"
)

const (
	cocoFolder = "annotations"
	cocoPrefix = "instances_"
	// besideName is the annotation file in a folder of images.
	besideName = "_annotations.coco.json"
)

// cocoSplits lists the annotation files by the names of their splits.
func cocoSplits(t tree, dir string) (found []string, _ error) {
	for _, e := range t.dir(path.Join(dir, cocoFolder)) {
		if strings.HasPrefix(e.Name, cocoPrefix) && strings.HasSuffix(e.Name, ".json") {
			found = append(found, splitOf(e.Name))
		}
	}
	for _, e := range t.dir(dir) {
		if e.Folder && has(t, path.Join(dir, e.Name, besideName)) {
			found = append(found, e.Name)
		}
	}
	return found, nil
}

// splitOf returns the split that an annotation file's name tells.
func splitOf(name string) string { return strings.TrimPrefix(stem(path.Base(name)), cocoPrefix) }

func readCOCOSplit(ctx context.Context, t tree, dir, split string) (*Set, error) {
	name := path.Join(dir, cocoFolder, cocoPrefix+split+".json")
	if !has(t, name) {
		name = path.Join(dir, split, besideName)
	}
	return readCOCO(ctx, t, split, name, "")
}

// has reports whether there is a file.
func has(t tree, name string) bool {
	return slices.ContainsFunc(t.dir(strings.TrimPrefix(path.Dir(name), ".")), func(e files.Entry) bool { return e.Name == path.Base(name) && !e.Folder })
}

// cocoFile is the content of an annotation file.
type cocoFile struct {
	Images []struct {
		ID       int64  `json:"id"`
		FileName string `json:"file_name"`
		Width    int    `json:"width"`
		Height   int    `json:"height"`
	} `json:"images"`
	Annotations []struct {
		ImageID    int64     `json:"image_id"`
		CategoryID int64     `json:"category_id"`
		Box        []float64 `json:"bbox"`
		Area       *float64  `json:"area"`
		Crowd      int       `json:"iscrowd"`
	} `json:"annotations"`
	Categories []cocoCategory `json:"categories"`
}

// cocoCategory is a class.
type cocoCategory struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// readCOCO reads an annotation file. Its images are in the folder images, or where there is one of the first of them.
func readCOCO(ctx context.Context, t tree, split, name, images string) (*Set, error) {
	data, err := t.read(ctx, name)
	if err != nil {
		return nil, err
	}
	s, err := parseCOCO(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", t.source(name), err)
	}
	s.Split, s.tree = split, t
	dir := ""
	if images == "" {
		dir, err = cocoImages(ctx, t, split, name, s.Images)
	} else if s.tree, err = openTree(ctx, images); err == nil {
		err = t.close()
	}
	if err != nil {
		return nil, err
	}
	for i := range s.Images {
		im := &s.Images[i]
		if im.Name == "" { // it is not listed
			im.Source = t.source(name)
			continue
		}
		im.Name = path.Join(dir, im.Name)
		im.Source = s.tree.source(im.Name)
	}
	return s, nil
}

// searched is the number of images that are looked for in each folder that may have them, since some may be missing.
const searched = 10

// cocoImages returns the folder of the images.
func cocoImages(ctx context.Context, t tree, split, name string, images []Image) (string, error) {
	listed := slices.DeleteFunc(slices.Clone(images), func(im Image) bool { return im.Name == "" })
	if len(listed) == 0 {
		return "", fmt.Errorf("%s lists no images", t.source(name))
	}
	beside := path.Dir(name)
	root := beside
	if path.Base(beside) == cocoFolder {
		root = path.Dir(beside)
	}
	var tried []string // for the first image
	for i, im := range listed[:min(len(listed), searched)] {
		for _, dir := range []string{path.Join(root, split), path.Join(root, "images", split), path.Join(root, "images"), beside, root} {
			file := path.Join(dir, im.Name)
			switch _, err := t.read(ctx, file); {
			case err == nil:
				return dir, nil
			case !errors.Is(err, fs.ErrNotExist):
				return "", err
			}
			if i == 0 {
				tried = append(tried, t.source(file))
			}
		}
	}
	return "", fmt.Errorf("%s: its first image is none of %s: %w", t.source(name), strings.Join(tried, ", "), fs.ErrNotExist)
}

// parseCOCO parses an annotation file.
func parseCOCO(data []byte) (*Set, error) {
	var c cocoFile
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("no annotations of COCO: %w", err)
	}
	if len(c.Categories) == 0 {
		return nil, errors.New("no annotations of COCO with boxes: there are no categories")
	}
	s := &Set{}
	slices.SortStableFunc(c.Categories, func(a, b cocoCategory) int { return cmp.Compare(a.ID, b.ID) })
	classes, images := map[int64]int{}, map[int64]int{}
	for i, k := range c.Categories {
		classes[k.ID] = i
		s.Classes = append(s.Classes, k.Name)
	}
	for i, im := range c.Images {
		images[im.ID] = i
		s.Images = append(s.Images, Image{Name: path.Clean(im.FileName), Width: im.Width, Height: im.Height})
	}
	for i, a := range c.Annotations {
		at, known := images[a.ImageID]
		if !known {
			at, images[a.ImageID] = len(s.Images), len(s.Images)
			s.Images = append(s.Images, Image{Reason: fmt.Sprintf("annotation %d is of image %d, which is not listed", i, a.ImageID)})
		}
		im := &s.Images[at]
		class, valid := classes[a.CategoryID]
		switch {
		case im.Reason != "":
			continue
		case !valid:
			im.Reason = fmt.Sprintf("annotation %d is of category %d, which is not listed", i, a.CategoryID)
		case len(a.Box) != 4 || a.Box[2] < 0 || a.Box[3] < 0:
			im.Reason = fmt.Sprintf("annotation %d has the bbox %v; want left, top, width and height", i, a.Box)
		}
		if im.Reason != "" {
			im.Objects = nil
			continue
		}
		o := Object{Class: class, Box: metrics.Box(a.Box), Crowd: a.Crowd != 0}
		if o.Area = o.Box.Area(); a.Area != nil {
			o.Area = *a.Area
		}
		im.Objects = append(im.Objects, o)
	}
	return s, nil
}
