package compute

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"

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
	return files.Join(c.dir, strings.NewReplacer(" ", "-", ",", "", ":", "", "/", "").Replace(shape)+".json")
}

// Get implements [kernels.Store]. It deletes a damaged choice.
func (c choices) Get(shape string) (algorithm string, err error) {
	data, err := files.Read(context.Background(), c.path(shape))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("compute: choice of an algorithm: %w", err)
	}
	var found choice
	if json.Unmarshal(data, &found) != nil || found.Shape != shape {
		slog.Warn("a choice of an algorithm is damaged, so it is made again", "file", c.path(shape))
		return "", files.Remove(context.Background(), c.path(shape))
	}
	return found.Algorithm, nil
}

// Put implements [kernels.Store]. On filesystems that are not local, two machines that measure the same shape in the same
// moment may keep different choices.
func (c choices) Put(shape, algorithm, machine string) (string, error) {
	data, err := json.Marshal(choice{shape, algorithm, machine})
	if err != nil {
		return "", err
	}
	created, err := create(context.Background(), c.path(shape), data)
	if err != nil || created {
		return algorithm, err
	}
	return c.Get(shape)
}

// machine begins the names of the files about parts of machines, next to those about choices.
const machine = "machine-"

// Join implements [kernels.Store]. Where nothing can be written, as in a run of somebody else, it does nothing.
func (c choices) Join(part kernels.Part) error {
	data, err := json.Marshal(part)
	if err != nil {
		return err
	}
	_, err = create(context.Background(), c.path(machine+part.Kind+" "+part.Name), data)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) {
		slog.Debug("the folder of the run cannot be written, so it does not note which machines compute by it", "error", err)
		return nil
	}
	return err
}

// Machines lists the types of processors and GPUs that have computed by the choices in a folder, by kind.
func Machines(ctx context.Context, dir string) (map[string][]string, error) {
	paths, err := files.List(ctx, files.Join(files.Quote(dir), machine+"*.json"))
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for _, path := range paths {
		data, err := files.Read(ctx, path)
		if err != nil {
			return nil, fmt.Errorf("compute: %w", err)
		}
		var part kernels.Part
		if json.Unmarshal(data, &part) == nil { // a damaged one is no loss
			found[part.Kind] = append(found[part.Kind], part.Name)
		}
	}
	return found, nil
}

// create writes a file unless it exists, and reports whether it did.
func create(ctx context.Context, path string, data []byte) (created bool, err error) {
	if !files.IsLocal(path) {
		known, err := files.Exists(ctx, path)
		if err != nil || known {
			return false, err
		}
		return true, files.WriteBytes(ctx, path, data)
	}
	own := filepath.Join(filepath.Dir(path), "."+uuid.NewString())
	if err := files.WriteBytes(ctx, own, data); err != nil {
		return false, err
	}
	defer os.Remove(own)
	switch err := os.Link(own, path); {
	case err == nil:
		return true, nil
	case errors.Is(err, fs.ErrExist):
		return false, nil
	}
	return true, files.WriteBytes(ctx, path, data) // links do not work there
}
