package detect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// Card describes a detector; it is in the metadata of its file.
type Card struct {
	// Format is that of the file; see run.CheckFormat.
	Format   int             `json:"format"`
	Detector detect.Config   `json:"detector"`
	Classes  []string        `json:"classes"`
	Backbone nn.Backbone     `json:"backbone"`
	Input    inference.Input `json:"input"` // Size is that of the longer side
	// First is the first stage of the backbone whose maps are in the pyramid, from 1.
	First int `json:"first"`
	// Inputs is the digest of all that determines the training, and Loss the mean loss of its last epoch.
	Inputs string  `json:"inputs"`
	Loss   float64 `json:"loss"`
}

const (
	cardKey        = "sdr_detector"
	backbonePrefix = "backbone.body." // of torchvision's
)

// model is a detector in memory.
type model struct {
	Card
	params, stats []float32 // of the backbone
	head          []float32
}

// firstStage returns the first stage whose maps have at most an eighth of the image's pixels per side, a fourth with the
// small stem, whose images are small.
func firstStage(b nn.Backbone) int {
	if b.Stem == "small" {
		return 3
	}
	return 2
}

// maps returns the shapes of a backbone's maps.
func maps(backbone *nn.Net, size int) (all []detect.Map) {
	for _, m := range backbone.Maps {
		all = append(all, detect.Map{Side: m.Side, Channels: m.Channels, Stride: (size + m.Side - 1) / m.Side})
	}
	return all
}

// values returns the maps of the last pass.
func values(backbone *nn.Net) (all [][]float32) {
	for _, m := range backbone.Maps {
		all = append(all, m.Values)
	}
	return all
}

// tensors returns the content of a file.
func (m *model) tensors(head *nn.Layout) []safetensors.Tensor {
	all := nn.NewLayout(m.Backbone, nn.Heads{}).Tensors(backbonePrefix, m.params, m.stats)
	return append(all, head.Tensors("", m.head, nil)...)
}

// save writes a detector.
func (m *model) save(ctx context.Context, path string, head *nn.Layout) error {
	m.Format = run.Format
	card, err := json.Marshal(m.Card)
	if err != nil {
		return err
	}
	return files.Write(ctx, path, func(w io.Writer) error {
		return safetensors.Write(w, m.tensors(head), map[string]string{"format": "pt", cardKey: string(card)})
	})
}

// ReadCard reads what a detector's file says of it, without its weights.
func ReadCard(ctx context.Context, path string) (c Card, err error) {
	metadata, err := inference.Metadata(ctx, path)
	if err != nil {
		return c, err
	}
	return parseCard(path, metadata)
}

func parseCard(path string, metadata map[string]string) (c Card, err error) {
	if err := json.Unmarshal([]byte(metadata[cardKey]), &c); err != nil {
		return c, fmt.Errorf("%s is no detector, such as sdr detect train writes to NET/SEED.safetensors: its metadata %q is %q", path, cardKey, metadata[cardKey])
	}
	for _, err := range []error{run.CheckFormat(c.Format), c.Detector.Validate(), c.Backbone.Validate(), c.Input.Validate()} {
		if err != nil {
			return c, fmt.Errorf("detector %s: %w", path, err)
		}
	}
	if len(c.Classes) != c.Detector.Classes || c.First < 1 || c.First > c.Backbone.Stages() {
		return c, fmt.Errorf("detector %s: %d names of %d classes, maps from stage %d on", path, len(c.Classes), c.Detector.Classes, c.First)
	}
	return c, nil
}

// open reads a detector and returns its nets for batches of images.
func open(ctx context.Context, path string, batch int, pool *kernels.Pool) (*model, *nn.Net, *detect.Net, error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("detector: %w", err)
	}
	file, err := safetensors.Read(bytes.NewReader(data))
	if err != nil {
		return nil, nil, nil, fmt.Errorf("detector %s: %w", path, err)
	}
	m := &model{}
	if m.Card, err = parseCard(path, file.Metadata); err != nil {
		return nil, nil, nil, err
	}
	backbone := nn.NewMaps(m.Backbone, m.First, m.Input.Size, batch, pool, nn.Inference)
	head := detect.New(m.Detector, maps(backbone, m.Input.Size), batch, pool, nn.Inference)
	if m.params, m.stats, err = backbone.Layout.Load(backbonePrefix, file); err == nil {
		m.head, _, err = head.Layout.Load("", file)
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("detector %s: %w", path, err)
	}
	backbone.Params, backbone.Stats, head.Params = m.params, m.stats, m.head
	return m, backbone, head, nil
}
