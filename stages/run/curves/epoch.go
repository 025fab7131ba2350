package curves

import (
	"strings"

	"github.com/sdr-ml/sdr/stages/run/tensorboard"
)

// Epoch is a line of the metrics file of a training by epochs: what an epoch has measured.
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

// event implements [Line].
func (e Epoch) event() (at float64, step int, values []tensorboard.Scalar) {
	values = []tensorboard.Scalar{{Tag: "loss", Value: e.Loss}, {Tag: "lr", Value: e.LR}, {Tag: "epoch", Value: float64(e.Epoch)}}
	if e.Validation != nil {
		values = append(values, tensorboard.Scalar{Tag: "validation", Value: *e.Validation})
	}
	return e.Time, e.Step, values
}

// EpochsFile is the name of a metrics file of epochs, or what it ends with.
const EpochsFile = "metrics.jsonl"

// EpochEventsDir returns the folder of the event file that belongs to a metrics file of epochs.
func EpochEventsDir(path string) string { return strings.TrimSuffix(path, EpochsFile) + "tensorboard" }

// NewEpochs returns a log whose metrics file has the given path, which ends with EpochsFile. Nothing is written yet.
func NewEpochs(path string) *Log[Epoch] { return &Log[Epoch]{path: path, dir: EpochEventsDir(path)} }
