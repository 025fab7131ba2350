package compute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/files"
)

// tuningOption is the pipeline option that tells workers where the run's choices are.
const tuningOption = "sdr_tuning"

// ShareTuning makes this process, and the workers of the jobs that it starts, choose algorithms as the other parts of a
// run do: what one of them has chosen, in the folder dir, the others take over.
func ShareTuning(dir string) {
	beam.PipelineOptions.Set(tuningOption, dir)
	if tuning != nil {
		tuning.Share(choices{dir})
	}
}

// adoptTuning shares the choices of the run that this process is a worker of.
func adoptTuning() {
	if dir := beam.PipelineOptions.Get(tuningOption); dir != "" && tuning != nil {
		tuning.Share(choices{dir})
	}
}

// choices keeps a file for each choice in a folder, on any filesystem.
type choices struct{ dir string }

var _ kernels.Store = choices{}

// choice is the content of a file.
type choice struct {
	Shape     string `json:"shape"`
	Algorithm string `json:"algorithm"`
	Machine   string `json:"machine"`
}

// path returns the path of the choice for a shape.
func (c choices) path(shape string) string {
	return files.Join(c.dir, strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(shape)+".json")
}

// Get implements [kernels.Store].
func (c choices) Get(shape string) (algorithm, machine string, err error) {
	data, err := files.Read(context.Background(), c.path(shape))
	if errors.Is(err, fs.ErrNotExist) {
		return "", "", nil
	}
	var found choice
	if err == nil {
		err = json.Unmarshal(data, &found)
	}
	if err != nil {
		return "", "", fmt.Errorf("compute: choice of an algorithm %s: %w; delete it to choose again", c.path(shape), err)
	}
	return found.Algorithm, found.Machine, nil
}

// Put implements [kernels.Store]. On filesystems that are not local, two machines that measure the same shape in the same
// moment may keep different choices.
func (c choices) Put(shape, algorithm, machine string) (string, error) {
	data, err := json.Marshal(choice{shape, algorithm, machine})
	if err != nil {
		return "", err
	}
	path := c.path(shape)
	if files.IsLocal(path) {
		own := filepath.Join(c.dir, "."+uuid.NewString())
		if err := files.WriteBytes(context.Background(), own, data); err != nil {
			return "", err
		}
		defer os.Remove(own)
		if err := os.Link(own, path); err == nil {
			return algorithm, nil
		} else if !errors.Is(err, fs.ErrExist) { // no links there
			err = files.WriteBytes(context.Background(), path, data)
			return algorithm, err
		}
	} else if known, err := files.Exists(context.Background(), path); err != nil {
		return "", err
	} else if !known {
		return algorithm, files.WriteBytes(context.Background(), path, data)
	}
	kept, _, err := c.Get(shape)
	return kept, err
}
