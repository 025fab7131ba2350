package train

import (
	"bytes"
	"context"
	"fmt"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// SaveInit writes the backbone that the trainings of a run folder begin with, for all workers to read.
func SaveInit(ctx context.Context, dir string, backbone *nn.Model) error {
	return inference.Save(ctx, InitPath(dir), backbone)
}

// InitPath returns the path that SaveInit writes to.
func InitPath(dir string) string { return files.Join(dir, "init.safetensors") }

func readInit(ctx context.Context, path string, b nn.Backbone) (*nn.Model, error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("the weights to begin with: %w", err)
	}
	m, err := nn.LoadBackbone(bytes.NewReader(data), b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; --resume writes it again", path, err)
	}
	return m, nil
}

// initial returns the model that the training begins with, with the BatchNorm statistics of its file. Those of heads are
// initial ones.
func (t *trainer) initial(params []float32) *inference.Model {
	m := learn.WithoutStats(t.recipe, params)
	m.Stats = make([]float32, t.nets.Layout().NumStats)
	t.nets.Layout().InitStats(m.Stats)
	copy(m.Stats, t.init.Stats)
	return m
}
