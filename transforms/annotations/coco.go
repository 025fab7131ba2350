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

// readCOCO reads an annotation file. Its images are in the folder images, or where there is the first of them.
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
	if images != "" {
		if s.tree, err = openTree(ctx, images); err != nil {
			return nil, err
		}
		for i := range s.Images {
			s.Images[i].Source = s.tree.source(s.Images[i].Name)
		}
		return s, t.close()
	}
	dir, err := cocoImages(ctx, t, split, name, s.Images)
	if err != nil {
		return nil, err
	}
	for i := range s.Images {
		im := &s.Images[i]
		im.Name = path.Join(dir, im.Name)
		im.Source = t.source(im.Name)
	}
	return s, nil
}

// cocoImages returns the folder of the images.
func cocoImages(ctx context.Context, t tree, split, name string, images []Image) (string, error) {
	if len(images) == 0 {
		return "", fmt.Errorf("%s lists no images", t.source(name))
	}
	beside := path.Dir(name)
	root := beside
	if path.Base(beside) == cocoFolder {
		root = path.Dir(beside)
	}
	var tried []string
	for _, dir := range []string{path.Join(root, split), path.Join(root, "images", split), path.Join(root, "images"), beside, root} {
		first := path.Join(dir, images[0].Name)
		switch _, err := t.read(ctx, first); {
		case err == nil:
			return dir, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		}
		tried = append(tried, t.source(first))
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
		image, known := images[a.ImageID]
		class, valid := classes[a.CategoryID]
		switch {
		case !known:
			return nil, fmt.Errorf("annotation %d is of image %d, which is not listed", i, a.ImageID)
		case !valid:
			return nil, fmt.Errorf("annotation %d is of category %d, which is not listed", i, a.CategoryID)
		case len(a.Box) != 4:
			return nil, fmt.Errorf("annotation %d has the bbox %v; want left, top, width and height", i, a.Box)
		}
		o := Object{Class: class, Box: metrics.Box(a.Box), Crowd: a.Crowd != 0}
		if o.Area = o.Box.Area(); a.Area != nil {
			o.Area = *a.Area
		}
		s.Images[image].Objects = append(s.Images[image].Objects, o)
	}
	return s, nil
}
