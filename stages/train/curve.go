package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sdr-ml/sdr/transforms/files"
)

// measure holds the measurements of one step.
type measure struct {
	Step    int     `json:"step"`
	Own     int     `json:"own"` // steps that the sub-net has taken so far
	Variant string  `json:"variant"`
	Subnet  string  `json:"subnet"` // code of the trained sub-net
	Subset  string  `json:"subset"` // code of the subset that its images came from
	Loss    float64 `json:"loss"`
	SSL     float64 `json:"ssl"`
	Distill float64 `json:"distill"`
	Std     float64 `json:"std"`
	LR      float64 `json:"lr"`
}

// Point is one line of a metrics file: means over Every steps of a variant.
type Point struct {
	// Step is the last of these steps.
	Step int `json:"step"`
	// Loss is SSL plus lambda times Distill.
	Loss    float64 `json:"loss"`
	SSL     float64 `json:"ssl"`
	Distill float64 `json:"distill"`
	// Std is the collapse watch, see Model.Std.
	Std float64 `json:"std"`
	// LR is the learning rate of the last step.
	LR float64 `json:"lr"`
}

// Every is the number of steps per line of a metrics file.
const Every = 20

// curve collects a variant's measurements.
type curve struct {
	dir, variant string
	points       []Point
	sum          Point
	count        int
}

// newCurve returns an empty curve for at most the given number of steps.
func newCurve(dir, variant string, steps int) *curve {
	return &curve{dir: dir, variant: variant, points: make([]Point, 0, steps/Every)}
}

// CurvePath returns the path of a variant's metrics file, which has one line of JSON per Point.
func CurvePath(dir, variant string) string { return files.Join(dir, "metrics", variant+".jsonl") }

func (c *curve) add(m measure) {
	if c.full() {
		c.sum, c.count = Point{}, 0
	}
	c.sum.Loss += m.Loss
	c.sum.SSL += m.SSL
	c.sum.Distill += m.Distill
	c.sum.Std += m.Std
	c.sum.Step, c.sum.LR = m.Step, m.LR
	c.count++
	if c.full() {
		p, n := c.sum, float64(c.count)
		p.Loss, p.SSL, p.Distill, p.Std = p.Loss/n, p.SSL/n, p.Distill/n, p.Std/n
		c.points = append(c.points, p)
	}
}

// full reports whether the last measurement completed a point.
func (c *curve) full() bool { return c.count == Every }

func (c *curve) write(ctx context.Context) error {
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, p := range c.points {
		if err := lines.Encode(p); err != nil {
			return err
		}
	}
	return files.WriteBytes(ctx, CurvePath(c.dir, c.variant), b.Bytes())
}

// read loads the points before a step from a metrics file.
func (c *curve) read(ctx context.Context, path string, step int) error {
	points, err := readCurve(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, p := range points {
		if p.Step < step {
			c.points = append(c.points, p)
		}
	}
	return err
}

// ReadCurve reads a variant's metrics file.
func ReadCurve(ctx context.Context, dir, variant string) ([]Point, error) {
	return readCurve(ctx, CurvePath(dir, variant))
}

func readCurve(ctx context.Context, path string) ([]Point, error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	return readLines[Point](data, path)
}

// readLines reads lines of JSON from the file at a path.
func readLines[T any](data []byte, path string) (all []T, err error) {
	for lines := json.NewDecoder(bytes.NewReader(data)); lines.More(); {
		var v T
		if err := lines.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, v)
	}
	return all, nil
}
