package customize

import (
	"context"
	"slices"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// Adapter goes on with a recipe's SSL on some images.
type Adapter struct {
	Recipe *recipe.Recipe
	Device ssl.Device
	Pool   *kernels.Pool
	Images learn.Images
	// Streams are what batches are drawn from: batch b from stream b mod len(Streams).
	Streams []*learn.Stream
	LR      float64
	Steps   int
	// At lists the steps after which the weights are kept.
	At []int
}

// Run trains from params and returns the weights at the kept steps.
func (a *Adapter) Run(ctx context.Context, params []float32) ([][]float32, error) {
	r := a.Recipe
	layout := nn.NewLayout(r.Backbone, r.Heads())
	steps := learn.Config(r, layout)
	nets, err := sdrnet.New(layout, sdrnet.Config{}, params, steps.State(params))
	if err != nil {
		return nil, err
	}
	st, err := learn.NewStudent(a.Device, steps, r, a.Images, a.Pool)
	if err != nil {
		return nil, err
	}
	defer st.Close()
	if err := st.Load(nets, nil); err != nil {
		return nil, err
	}
	var kept [][]float32
	for step := range a.Steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		st.Prepare(step, a.Streams[step%len(a.Streams)])
		lr := optim.Cosine(step, a.Steps, a.Steps/20, a.LR)
		if err := st.Start(ssl.Step{LR: float32(lr), Number: step + 1, Of: a.Steps}); err != nil {
			return nil, err
		}
		if _, err := st.Finish(); err != nil {
			return nil, err
		}
		if slices.Contains(a.At, step+1) {
			if err := st.Sync(); err != nil {
				return nil, err
			}
			p := make([]float32, layout.NumParams)
			nets.Gather("", p)
			kept = append(kept, p)
		}
	}
	return kept, nil
}
