package report

import (
	"cmp"
	"context"
	"fmt"
	"html/template"
	"image"
	"slices"
	"strings"

	"golang.org/x/image/draw"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// They bound what the pictures add to a page, 396 JPEGs of about 2 kB, and how long that takes.
const (
	neighborTasks  = 12   // tasks that are shown
	neighborTests  = 3    // test images of each
	neighborSample = 1000 // training images of each, among which neighbors are looked for
	neighbors      = 5    // of a test image under each net
	thumbnail      = 48   // height and width of the pictures in pixels
)

// TaskNeighbors shows which training images of a task are nearest to a few of its test images.
type TaskNeighbors struct {
	// Task is the task's name.
	Task string
	// Tests are the test images.
	Tests []Neighbors
}

// Neighbors is a test image with the training images that are nearest to it under the unified and the routed net.
type Neighbors struct {
	Test Picture
	Near []Near
}

// Near are the training images that are nearest to a test image under one net, nearest first.
type Near struct {
	// Net is the net's name.
	Net      string
	Pictures []Picture
}

// Picture is an image of a class.
type Picture struct {
	// Pixels has Side*Side*3 bytes.
	Pixels []uint8
	Side   int
	// Class is the name of its class.
	Class string
}

// Right counts the pictures of the test image's class.
func (n Neighbors) Right(of Near) (right int) {
	for _, p := range of.Pictures {
		if p.Class == n.Test.Class {
			right++
		}
	}
	return right
}

// URL is the picture as a JPEG, scaled down if it is larger than thumbnails are.
func (p Picture) URL() (template.URL, error) {
	if p.Side < 1 || len(p.Pixels) != p.Side*p.Side*3 {
		return "", fmt.Errorf("a picture of %d px with %d bytes; want %d x %d x 3", p.Side, len(p.Pixels), p.Side, p.Side)
	}
	side := min(p.Side, thumbnail)
	small := image.NewRGBA(image.Rect(0, 0, side, side))
	draw.CatmullRom.Scale(small, small.Rect, rgba(p.Pixels, p.Side), image.Rect(0, 0, p.Side, p.Side), draw.Src, nil)
	return jpegURL(small, 85)
}

// findNeighbors returns those of the tasks that have a unified and a routed net, with the images scaled to size pixels. It
// takes the net that was routed for the first protocol by name.
func findNeighbors(ctx context.Context, dir string, rows []evaluate.Row, of []tasks.Task, size int) (all []TaskNeighbors, err error) {
	for _, t := range of {
		ofTask := slices.DeleteFunc(slices.Clone(rows), func(r evaluate.Row) bool { return r.Task != t.Name })
		slices.SortStableFunc(ofTask, func(a, b evaluate.Row) int { return cmp.Compare(a.Protocol, b.Protocol) })
		unified, routed := rivals(ofTask)
		if unified == nil || routed == nil || len(all) == neighborTasks {
			continue
		}
		var pairs []route.Pair
		for _, r := range []*evaluate.Row{unified, routed} {
			pairs = append(pairs, route.Pair{Train: t.Train, Test: t.Test, Subnet: r.Subnet, Model: run.ModelPath(dir, r.Subnet), Norm: r.Norm})
		}
		found := TaskNeighbors{Task: t.Name}
		if found.Tests, err = taskNeighbors(ctx, pairs, size); err != nil {
			return nil, fmt.Errorf("task %s: %w", t.Name, err)
		}
		all = append(all, found)
	}
	return all, nil
}

// taskNeighbors returns test images, spaced evenly over all, with their neighbors under two nets.
func taskNeighbors(ctx context.Context, pairs []route.Pair, size int) ([]Neighbors, error) {
	training, err := labeled.Images(ctx, pairs[0].Train, size, nil)
	if err != nil {
		return nil, err
	}
	test, err := labeled.Images(ctx, pairs[0].Test, size, training.Classes)
	if err != nil {
		return nil, err
	}
	picture := func(im *tasks.Images, i int) Picture {
		var names []string
		for _, c := range im.ClassesOf(i) {
			names = append(names, im.Classes[c])
		}
		return Picture{Pixels: im.At(i), Side: size, Class: strings.Join(names, ", ")}
	}
	tests, n := min(neighborTests, test.Len()), min(neighborSample, training.Len())
	base := func(i int) int { return i * training.Len() / n }
	var models []*inference.Model
	for _, p := range pairs {
		m, err := p.Open(ctx)
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	query := func(i int) int { return (2*i + 1) * test.Len() / (2 * tests) } // in the middle of its part
	features, err := inference.FeaturesEach(ctx, models, tests+n, func(i int) []uint8 {
		if i < tests {
			return test.At(query(i))
		}
		return training.At(base(i - tests))
	})
	if err != nil {
		return nil, err
	}
	all := make([]Neighbors, tests)
	for i := range all {
		all[i].Test = picture(test, query(i))
	}
	for net, x := range features {
		near, err := nearestToFirst(x, tests)
		if err != nil {
			return nil, err
		}
		for i := range all {
			of := Near{Net: pairs[net].Subnet}
			for _, row := range near.Index[i*near.K:][:near.K] {
				if row >= 0 { // the task may have fewer
					of.Pictures = append(of.Pictures, picture(training, base(int(row))))
				}
			}
			all[i].Near = append(all[i].Near, of)
		}
	}
	return all, nil
}

// nearestToFirst finds for each of the first rows of features the other ones, counted without these, with the highest
// cosine similarity.
func nearestToFirst(features *tensor.Dense, first int) (found *nearest.Neighbours, err error) {
	err = compute.Run(func(*kernels.Pool) error {
		unit, err := nearest.Normalize(features)
		if err != nil {
			return err
		}
		e, err := dense.Of(unit)
		if err != nil {
			return err
		}
		data, rows, width, err := dense.Rows(unit)
		if err != nil {
			return err
		}
		at := first * width
		found, err = nearest.Search(e.Matrix(data[at:], rows-first, width), e.Matrix(data[:at], first, width), neighbors)
		return err
	})
	return found, err
}
