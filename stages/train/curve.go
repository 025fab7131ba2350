package train

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	"github.com/sdr-ml/sdr/stages/run/tensorboard"
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
	Time    float64 `json:"time"`
	Wait    float64 `json:"data_wait"`
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
	// Time is when the last step ended, in seconds since 1970.
	Time float64 `json:"time"`
	// Wait is the share of time that the device has waited for views since this training began or was resumed.
	Wait float64 `json:"data_wait"`
}

// scalars returns the point's values for TensorBoard.
func (p Point) scalars() []tensorboard.Scalar {
	return []tensorboard.Scalar{
		{Tag: "loss", Value: p.Loss}, {Tag: "ssl", Value: p.SSL}, {Tag: "distill", Value: p.Distill}, {Tag: "std", Value: p.Std},
		{Tag: "lr", Value: p.LR}, {Tag: "data_wait", Value: p.Wait},
	}
}

// Every is the number of steps per line of a metrics file.
const Every = 20

// curve collects a variant's measurements.
type curve struct {
	dir, variant string
	points       []Point
	sum          Point
	count        int

	written time.Time           // when the files were last written
	events  *tensorboard.Writer // nil before that
	shown   int                 // number of points in its file
}

// newCurve returns an empty curve for at most the given number of steps.
func newCurve(dir, variant string, steps int) *curve {
	return &curve{dir: dir, variant: variant, points: make([]Point, 0, steps/Every)}
}

// CurvePath returns the path of a variant's metrics file, which has one line of JSON per Point.
func CurvePath(dir, variant string) string { return files.Join(dir, "metrics", variant+".jsonl") }

// EventsDir returns the folder of a variant's event file for TensorBoard, which has the same values.
func EventsDir(dir, variant string) string { return files.Join(dir, "tensorboard", variant) }

func (c *curve) add(m measure) {
	if c.full() {
		c.sum, c.count = Point{}, 0
	}
	c.sum.Loss += m.Loss
	c.sum.SSL += m.SSL
	c.sum.Distill += m.Distill
	c.sum.Std += m.Std
	c.sum.Step, c.sum.LR, c.sum.Time, c.sum.Wait = m.Step, m.LR, m.Time, m.Wait
	c.count++
	if c.full() {
		p, n := c.sum, float64(c.count)
		p.Loss, p.SSL, p.Distill, p.Std = p.Loss/n, p.SSL/n, p.Distill/n, p.Std/n
		c.points = append(c.points, p)
	}
}

// full reports whether the last measurement completed a point.
func (c *curve) full() bool { return c.count == Every }

// writeTime is the time between two writes of a curve during a training, on a local filesystem and on others.
const (
	writeTime       = 5 * time.Second
	writeTimeRemote = 30 * time.Second
)

// due reports whether it is time to write the curve, so that one can follow the training.
func (c *curve) due() bool {
	every := writeTime
	if !files.IsLocal(c.dir) {
		every = writeTimeRemote
	}
	return time.Since(c.written) >= every
}

// write writes the metrics file and appends what is new to the event file.
func (c *curve) write(ctx context.Context) error {
	c.written = time.Now()
	var b bytes.Buffer
	lines := json.NewEncoder(&b)
	for _, p := range c.points {
		if err := lines.Encode(p); err != nil {
			return err
		}
	}
	if err := files.WriteBytes(ctx, CurvePath(c.dir, c.variant), b.Bytes()); err != nil {
		return err
	}
	if c.events == nil {
		events, err := tensorboard.Create(ctx, EventsDir(c.dir, c.variant))
		if err != nil {
			return err
		}
		c.events = events
	}
	for _, p := range c.points[c.shown:] {
		if err := c.events.Add(time.UnixMilli(int64(math.Round(1000*p.Time))), int64(p.Step), p.scalars()...); err != nil {
			return err
		}
		c.shown++
	}
	return nil
}

// close closes the event file.
func (c *curve) close() error {
	if c.events == nil {
		return nil
	}
	return c.events.Close()
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
			return nil, fmt.Errorf("%s: %w; remove it, and reports go without", path, err)
		}
		all = append(all, v)
	}
	return all, nil
}
