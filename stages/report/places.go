package report

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Place is where an image lies on the map of the pool.
type Place struct {
	// X and Y are the first two principal components of its features.
	X, Y float64
	// Subset is the code of its subset, if it is one of the pool, and Task is its task, if it is one of these.
	Subset, Task string
}

// The numbers of images on the map: of the pool, and of each task.
const (
	poolPlaces = 1000
	taskPlaces = 60
)

// Places maps a sample of the pool and of the tasks' training images, by their features under a model. The two directions
// are the principal components of the pool's sample, with shares of its variance.
func Places(ctx context.Context, refs []shards.Ref, of []tasks.Task, model string) (places []Place, shares [2]float64, err error) {
	m, err := inference.Open(ctx, model)
	if err != nil {
		return nil, shares, err
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return nil, shares, err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	if images.Size() != m.Input.Size {
		return nil, shares, fmt.Errorf("the images are %d px, the model's %d", images.Size(), m.Input.Size)
	}
	subsets := []string{}
	for b, ref := range images.Refs {
		for begin, end := images.Range(b); begin < end; begin++ {
			subsets = append(subsets, ref.Subset)
		}
	}
	var pixels [][]uint8
	pool := min(poolPlaces, len(subsets))
	for i := range pool {
		at := i * len(subsets) / pool
		places, pixels = append(places, Place{Subset: subsets[at]}), append(pixels, images.At(at))
	}
	for _, t := range of {
		im, err := labeled.Images(ctx, t.Train, m.Input.Size, nil)
		if err != nil {
			return nil, shares, fmt.Errorf("task %s: %w", t.Name, err)
		}
		n := min(taskPlaces, im.Len())
		for i := range n {
			places, pixels = append(places, Place{Task: t.Name}), append(pixels, im.At(i*im.Len()/n))
		}
	}
	found, err := inference.Features(ctx, m, len(pixels), func(i int) []uint8 { return pixels[i] })
	if err != nil {
		return nil, shares, err
	}
	values := make([]float64, found.DataSize())
	for i, v := range found.Data().([]float32) {
		values[i] = float64(v)
	}
	features := mat.NewDense(len(pixels), len(values)/len(pixels), values)
	at, shares, err := principal(features, pool)
	for i := range places {
		places[i].X, places[i].Y = at.At(i, 0), at.At(i, 1)
	}
	return places, shares, err
}

// principal projects rows onto the first two principal components of the first pool of them, and returns the shares of
// these in the variance.
func principal(features *mat.Dense, pool int) (*mat.Dense, [2]float64, error) {
	n, width := features.Dims()
	var pc stat.PC
	if pool < 3 || width < 2 || !pc.PrincipalComponents(features.Slice(0, pool, 0, width), nil) {
		return mat.NewDense(n, 2, nil), [2]float64{}, fmt.Errorf("%d images with %d features have no two principal components", pool, width)
	}
	var directions, at mat.Dense
	pc.VectorsTo(&directions)
	at.Mul(features, directions.Slice(0, width, 0, 2))
	variances := pc.VarsTo(nil)
	sum := 0.
	for _, v := range variances {
		sum += v
	}
	sum = max(sum, math.SmallestNonzeroFloat64)
	return &at, [2]float64{variances[0] / sum, variances[1] / sum}, nil
}

// mostLabels is the number of subsets up to which the map names them.
const mostLabels = 32

// poolMap draws the pool's places in the colors of their subsets.
func poolMap(places []Place, shares [2]float64) *chart {
	pool := slices.DeleteFunc(slices.Clone(places), func(p Place) bool { return p.Task != "" })
	bySubset, codes := group(pool, func(p Place) string { return p.Subset })
	if len(codes) == 0 {
		return nil
	}
	slices.SortFunc(codes, sdrnet.Compare)
	a := mapAxes(places, 460)
	title := func(which string, share float64) string {
		return fmt.Sprintf("%s principal component (%.0f %% of the variance)", which, 100*share)
	}
	a.text((a.left+a.right)/2, a.bottom+16, "middle", title("first", shares[0]), "")
	middle := (a.top + a.bottom) / 2
	a.text(10, middle, "middle", title("second", shares[1]), fmt.Sprintf(`transform="rotate(-90 10 %.2f)"`, middle))
	for i, code := range codes {
		a.dots(hueName(i), 3, bySubset[code])
	}
	alt := fmt.Sprintf("Map of %d images of the pool by the first two principal components of their features; centers of the subsets:", len(pool))
	for _, code := range codes {
		x, y := center(bySubset[code])
		if alt += fmt.Sprintf(" %s %.2f, %.2f;", code, x, y); len(codes) > mostLabels || code == "" {
			continue
		}
		px, py := a.at(x, y)
		a.text(px, py, "middle", code, `stroke="var(--paper)" stroke-width="3" paint-order="stroke" font-weight="700"`)
	}
	return &chart{SVG: a.html(), Alt: strings.TrimSuffix(alt, ";")}
}

// taskMaps draws for each task where its images lie among those of the pool.
func taskMaps(places []Place) (maps []named[*chart]) {
	byTask, names := group(places, func(p Place) string { return p.Task })
	for _, name := range names {
		if name == "" {
			continue
		}
		a := mapAxes(places, 460)
		a.dots("rule", 4, byTask[""])
		a.dots("ink", 9, byTask[name])
		x, y := center(byTask[name])
		alt := fmt.Sprintf("%d images of the task %s on the map of the pool, around %.2f, %.2f", len(byTask[name]), name, x, y)
		maps = append(maps, named[*chart]{name, &chart{SVG: a.html(), Alt: alt}})
	}
	return maps
}

// mapAxes is a plane that has room for all places.
func mapAxes(places []Place, height float64) *axes {
	x, y := span{math.Inf(1), math.Inf(-1)}, span{math.Inf(1), math.Inf(-1)}
	for _, p := range places {
		x.add(p.X)
		y.add(p.Y)
	}
	return newAxes(height, 26, x.open().padded(), y.open().padded())
}

// dots draws places as dots of a width in pixels.
func (a *axes) dots(color string, width float64, places []Place) {
	a.svg.WriteString(`<path d="`)
	for _, p := range places {
		x, y := a.at(p.X, p.Y)
		fmt.Fprintf(&a.svg, "M%.1f %.1fh0", x, y)
	}
	fmt.Fprintf(&a.svg, `" style="fill:none;stroke:var(--%s);stroke-width:%g;stroke-linecap:round;stroke-opacity:.75"/>`+"\n", color, width)
}

// center is the median of places in each direction.
func center(places []Place) (x, y float64) {
	var xs, ys []float64
	for _, p := range places {
		xs, ys = append(xs, p.X), append(ys, p.Y)
	}
	slices.Sort(xs)
	slices.Sort(ys)
	return xs[len(xs)/2], ys[len(ys)/2]
}

// routingMap draws the best score of each net on each task, the worst of a task pale and the best in full color, with a
// frame around the one that the router chose. It is nil if there is nothing to choose.
func routingMap(scored []scoredTask) *chart {
	var nets []string
	for _, t := range scored {
		for _, s := range t.Scores {
			if !slices.Contains(nets, s.Net) {
				nets = append(nets, s.Net)
			}
		}
	}
	if len(nets) < 2 {
		return nil
	}
	slices.SortFunc(nets, sdrnet.Compare)
	const cell, most = 22., 48 // pixels per task; nets up to which each is named
	left, longest := 0., 0.
	for _, t := range scored {
		left = max(left, 8+textWidth(shorten(t.Task)))
	}
	for _, net := range nets {
		longest = max(longest, textWidth(net))
	}
	if len(nets) > most {
		longest = 0
	}
	a := &axes{height: 12 + cell*float64(len(scored)) + longest, left: left, right: width - 6, top: 6, bottom: 6 + cell*float64(len(scored))}
	wide := (a.right - a.left) / float64(len(nets))
	alt := "Scores of the router by task and net"
	for i, t := range scored {
		y := a.top + cell*float64(i)
		a.text(a.left-6, y+cell/2, "end", shorten(t.Task), "")
		low, high := math.Inf(1), math.Inf(-1)
		for _, s := range t.Scores {
			low, high = min(low, s.Score), max(high, s.Score)
		}
		for _, s := range t.Scores {
			x, opacity := a.left+wide*float64(slices.Index(nets, s.Net)), .08
			if high > low {
				opacity += .92 * (s.Score - low) / (high - low)
			}
			frame := ""
			if s.Routed {
				frame = ";stroke:var(--ink);stroke-width:2"
				alt += fmt.Sprintf("; %s from %.1f to %.1f, chosen %s with %.1f", t.Task, low, high, s.Net, s.Score)
			}
			fmt.Fprintf(&a.svg, `<rect x="%.2f" y="%.2f" width="%.2f" height="%.2f" style="fill:var(--hue0);fill-opacity:%.2f%s"/>`+"\n",
				x+1, y+1, max(1, wide-2), cell-2, opacity, frame)
		}
	}
	if len(nets) <= most {
		for i, net := range nets {
			x := a.left + wide*(float64(i)+.5)
			a.text(x, a.bottom+8, "end", net, fmt.Sprintf(`transform="rotate(-90 %.2f %.2f)"`, x, a.bottom+8))
		}
	}
	return &chart{SVG: a.html(), Alt: alt}
}
