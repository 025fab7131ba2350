package curves

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/sdr-ml/sdr/stages/run/tensorboard"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Point is a line of the metrics file of a self-supervised training: means over Every steps.
type Point struct {
	// Step is the last of these steps.
	Step int `json:"step"`
	// Loss is SSL plus lambda times Distill.
	Loss    float64 `json:"loss"`
	SSL     float64 `json:"ssl"`
	Distill float64 `json:"distill"`
	// Std is the collapse watch: the standard deviation of the l2-normalized embedding, mean over its dimensions.
	Std float64 `json:"std"`
	// LR is the learning rate of the last step.
	LR float64 `json:"lr"`
	// Time is when the last step ended, in seconds since 1970.
	Time float64 `json:"time"`
	// Wait is the share of time that the device has waited for views since this training began or was resumed.
	Wait float64 `json:"data_wait"`
}

// event implements [Line].
func (p Point) event() (at float64, step int, values []tensorboard.Scalar) {
	return p.Time, p.Step, []tensorboard.Scalar{
		{Tag: "loss", Value: p.Loss}, {Tag: "ssl", Value: p.SSL}, {Tag: "distill", Value: p.Distill}, {Tag: "std", Value: p.Std},
		{Tag: "lr", Value: p.LR}, {Tag: "data_wait", Value: p.Wait},
	}
}

// Every is the number of steps per Point.
const Every = 20

// Curve collects the measurements of a training.
type Curve struct {
	// Sum is that of the Count last measurements, which make a point when there are Every.
	Sum   Point
	Count int

	log     Log[Point]
	points  []Point
	written time.Time // when the files were last written, or New was called
}

// New returns an empty curve of a training in a folder, for at most the given number of steps. Nothing is written yet.
func New(dir, name string, steps int) *Curve {
	return &Curve{
		log:    Log[Point]{path: Path(dir, name), dir: EventsDir(dir, name)},
		points: make([]Point, 0, steps/Every), written: time.Now(),
	}
}

// Path returns the path of the metrics file of a training in a folder, which has a line per Point.
func Path(dir, name string) string { return files.Join(dir, "metrics", name+".jsonl") }

// EventsDir returns the folder of its event file for TensorBoard, which has the same values.
func EventsDir(dir, name string) string { return files.Join(dir, "tensorboard", name) }

// Add adds the measurement of one step.
func (c *Curve) Add(m Point) {
	if c.Full() {
		c.Sum, c.Count = Point{}, 0
	}
	m.Loss, m.SSL, m.Distill, m.Std = c.Sum.Loss+m.Loss, c.Sum.SSL+m.SSL, c.Sum.Distill+m.Distill, c.Sum.Std+m.Std
	c.Sum = m
	c.Count++
	if c.Full() {
		n := float64(c.Count)
		m.Loss, m.SSL, m.Distill, m.Std = m.Loss/n, m.SSL/n, m.Distill/n, m.Std/n
		c.points = append(c.points, m)
	}
}

// Full reports whether the last measurement completed a point.
func (c *Curve) Full() bool { return c.Count == Every }

// writeTime is the time between two writes of a curve during a training, on a local filesystem and on others.
const (
	writeTime       = 5 * time.Second
	writeTimeRemote = 30 * time.Second
)

// Due reports whether it is time to write the curve, so that one can follow the training.
func (c *Curve) Due() bool {
	every := writeTime
	if !files.IsLocal(c.log.path) {
		every = writeTimeRemote
	}
	return time.Since(c.written) >= every
}

// Write writes the metrics file and appends what is new to the event file.
func (c *Curve) Write(ctx context.Context) error {
	c.written = time.Now()
	return c.log.Write(ctx, c.points)
}

// Close closes the event file.
func (c *Curve) Close() error { return c.log.Close() }

// Resume adds the points before a step from the metrics file of a training, if there is one.
func (c *Curve) Resume(ctx context.Context, dir, name string, step int) error {
	points, err := ReadPoints(ctx, dir, name)
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

// ReadPoints reads the metrics file of a training in a folder. If there is none, the error wraps fs.ErrNotExist.
func ReadPoints(ctx context.Context, dir, name string) ([]Point, error) {
	return Read[Point](ctx, Path(dir, name))
}
