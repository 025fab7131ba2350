// Package epochs is the metrics file of a training that sees all of its images again and again: a line of JSON per epoch, which
// sdr watch draws.
package epochs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

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
}

// Write writes the epochs so far.
func Write(ctx context.Context, path string, all []Epoch) error {
	var lines bytes.Buffer
	encoder := json.NewEncoder(&lines)
	for _, e := range all {
		if err := encoder.Encode(e); err != nil {
			return err
		}
	}
	return files.WriteBytes(ctx, path, lines.Bytes())
}

// Read reads what Write has written. If there is no such file, the error wraps fs.ErrNotExist.
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
