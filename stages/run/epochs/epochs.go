// Package epochs has the metrics files of a training that sees all of its images again and again: a line of JSON per epoch, which
// sdr watch draws, and an event file with the same values for TensorBoard.
package epochs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/sdr-ml/sdr/stages/run/tensorboard"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Epoch is a line of the file: what an epoch of training has measured.
type Epoch struct {
	Epoch int `json:"epoch"`
	// Step is the number of steps so far, and LR the learning rate of the last one.
	Step int     `json:"step"`
	LR   float64 `json:"lr"`
	// Loss is the mean training loss of the epoch.
	Loss float64 `json:"loss"`
	// Validation is the task's metric on the images that are held out, in percent; nil if there are none.
	Validation *float64 `json:"validation,omitempty"`
	// Time is when the epoch ended, in seconds since 1970.
	Time float64 `json:"time"`
}

// scalars returns the epoch's values for TensorBoard.
func (e Epoch) scalars() []tensorboard.Scalar {
	all := []tensorboard.Scalar{{Tag: "loss", Value: e.Loss}, {Tag: "lr", Value: e.LR}, {Tag: "epoch", Value: float64(e.Epoch)}}
	if e.Validation != nil {
		all = append(all, tensorboard.Scalar{Tag: "validation", Value: *e.Validation})
	}
	return all
}

// File is the name of a metrics file, or what it ends with.
const File = "metrics.jsonl"

// EventsDir returns the folder of the event file that belongs to a metrics file.
func EventsDir(path string) string { return strings.TrimSuffix(path, File) + "tensorboard" }

// Log writes the epochs of a training as they end.
type Log struct {
	path   string
	events *tensorboard.Writer // nil before the first Write
	shown  int                 // number of epochs in its file
}

// NewLog returns a log whose metrics file has the given path, which ends with File. Nothing is written yet.
func NewLog(path string) *Log { return &Log{path: path} }

// Write writes all epochs so far to the metrics file, and appends those that are new to the event file. What other trainings
// have left in their place is replaced by the first call.
func (l *Log) Write(ctx context.Context, all []Epoch) (err error) {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, e := range all {
		if err := encoder.Encode(e); err != nil {
			return err
		}
	}
	if err := files.WriteBytes(ctx, l.path, lines.Bytes()); err != nil {
		return err
	}
	if l.events == nil {
		if l.events, err = tensorboard.Create(ctx, EventsDir(l.path)); err != nil {
			return err
		}
	}
	for _, e := range all[l.shown:] {
		if err := l.events.Add(time.UnixMilli(int64(math.Round(1000*e.Time))), int64(e.Step), e.scalars()...); err != nil {
			return err
		}
		l.shown++
	}
	return nil
}

// Close closes the event file.
func (l *Log) Close() error {
	if l.events == nil {
		return nil
	}
	return l.events.Close()
}

// Read reads a metrics file. If there is no such file, the error wraps fs.ErrNotExist.
func Read(ctx context.Context, path string) (all []Epoch, err error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, err
	}
	for lines := json.NewDecoder(bytes.NewReader(data)); lines.More(); {
		var e Epoch
		if err := lines.Decode(&e); err != nil {
			return nil, fmt.Errorf("%s: %w; remove it, and the curve is not shown", path, err)
		}
		all = append(all, e)
	}
	return all, nil
}
