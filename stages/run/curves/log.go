// Package curves has the metrics files of trainings: lines of JSON, which sdr watch draws, and event files with the same values
// for TensorBoard. A training that sees all of its images again and again has a line per Epoch, others one per Point.
package curves

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/sdr-ml/sdr/stages/run/tensorboard"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Line is a line of a metrics file.
type Line interface {
	// event returns the time of the measurement in seconds since 1970, the step, and the values for TensorBoard.
	event() (at float64, step int, values []tensorboard.Scalar)
}

// Log writes the lines of a training as it goes on.
type Log[L Line] struct {
	path, dir string
	events    *tensorboard.Writer // nil before the first Write
	shown     int                 // number of lines in its file
}

// Write writes all lines so far to the metrics file, and appends those that are new to the event file. What other trainings
// have left in their place is replaced by the first call.
func (l *Log[L]) Write(ctx context.Context, all []L) (err error) {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, line := range all {
		if err := encoder.Encode(line); err != nil {
			return err
		}
	}
	if err := files.WriteBytes(ctx, l.path, lines.Bytes()); err != nil {
		return err
	}
	if l.events == nil {
		if l.events, err = tensorboard.Create(ctx, l.dir); err != nil {
			return err
		}
	}
	for _, line := range all[l.shown:] {
		at, step, values := line.event()
		if err := l.events.Add(time.UnixMilli(int64(math.Round(1000*at))), int64(step), values...); err != nil {
			return err
		}
		l.shown++
	}
	return nil
}

// Close closes the event file.
func (l *Log[L]) Close() error {
	if l.events == nil {
		return nil
	}
	return l.events.Close()
}

// Read reads a file of lines of JSON. If there is no such file, the error wraps fs.ErrNotExist.
func Read[T any](ctx context.Context, path string) (all []T, err error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	for lines := json.NewDecoder(bytes.NewReader(data)); lines.More(); {
		var v T
		if err := lines.Decode(&v); err != nil {
			return nil, fmt.Errorf("%s: %w; remove it, and pages go without", path, err)
		}
		all = append(all, v)
	}
	return all, nil
}
