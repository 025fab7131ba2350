package train

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// finisher turns the weights of a sub-net into a model file.
type finisher struct {
	t      *trainer
	net    *nn.Net
	images []float32
	input  inference.Input
}

// normBatch is the batch size for estimating BatchNorm statistics.
const normBatch = 256

func newFinisher(t *trainer) *finisher {
	r := t.recipe
	return &finisher{
		t:      t,
		net:    nn.New(r.Backbone, r.Heads(), r.Input.Size, normBatch, 1, t.pool, nn.Inference),
		images: make([]float32, normBatch*r.Input.Size*r.Input.Size*3),
		input:  inference.Input{Size: r.Input.Size, Mean: r.Input.Mean, Std: r.Input.Std},
	}
}

// finish estimates a sub-net's running BatchNorm statistics on images of its own subset, prepared as for evaluation,
// and saves the sub-net.
func (f *finisher) finish(ctx context.Context, m *Model, code string, rows []int32) error {
	f.t.nets.Gather(code, f.net.Params)
	f.estimate(rows, streamKey(code))
	row, err := json.Marshal(m) // without the path, since the folder may move
	if err != nil {
		return err
	}
	m.Path = run.ModelPath(f.t.cfg.Dir, m.Subnet)
	meta := map[string]string{modelKey: string(row)}
	key, value := f.input.Metadata()
	meta[key] = value
	return files.Write(ctx, m.Path, func(w io.Writer) error {
		return nn.SaveModel(w, f.net.Backbone, f.net.Heads, f.net.Params, f.net.Stats, meta)
	})
}

// estimate averages the batch statistics over a random sample of the rows.
func (f *finisher) estimate(rows []int32, key uint64) {
	order := rng.New(f.t.recipe.Seed, rng.Sample, key).Perm(len(rows))
	view := len(f.images) / normBatch
	r := f.net.NewReestimator()
	for from := 0; from < min(len(rows), f.t.recipe.Train.NormImages); from += normBatch {
		f.t.pool.For(normBatch, func(_, i int) {
			row := rows[order[(from+i)%len(rows)]]
			augment.Normalize(f.images[i*view:(i+1)*view], f.t.images.At(int(row)), f.input.Mean, f.input.Std)
		})
		f.net.Forward(f.images, nn.BatchStats)
		r.Add()
	}
	r.Store(f.net.Stats)
}

// modelKey is the key of the Model row in a model file's metadata.
const modelKey = "sdr"

// ReadModels lists the finished nets of a run folder.
func ReadModels(ctx context.Context, dir string) ([]Model, error) {
	paths, err := files.List(ctx, files.Join(files.Quote(dir), "models", "*.safetensors"))
	if err != nil {
		return nil, err
	}
	var models []Model
	for _, path := range paths {
		loaded, err := inference.Load(ctx, path)
		if err != nil {
			return nil, err
		}
		var m Model
		if err := json.Unmarshal([]byte(loaded.Meta[modelKey]), &m); err != nil {
			return nil, fmt.Errorf("model %s: its metadata lacks a valid %q entry: %w", path, modelKey, err)
		}
		m.Path = path
		models = append(models, m)
	}
	return models, nil
}
