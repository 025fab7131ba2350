package nn

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/safetensors"
)

// Model is the content of a model file.
type Model struct {
	Backbone Backbone
	Heads    Heads
	Params   []float32 // laid out by NewLayout(Backbone, Heads)
	Stats    []float32
	Meta     map[string]string // other metadata of the file
}

// WithoutHeads returns the backbone alone; it shares the model's memory.
func (m *Model) WithoutHeads() *Model {
	l := NewLayout(m.Backbone, Heads{})
	return &Model{Backbone: m.Backbone, Params: m.Params[:l.NumParams], Stats: m.Stats[:l.NumStats], Meta: m.Meta}
}

// Metadata keys of a model file.
const (
	backboneKey = "backbone"
	headsKey    = "heads"
	formatKey   = "sdr.format"
)

// modelFormat is the version of model files. It rises when a program of the version before would read one wrongly. Files
// of the first programs state none.
const modelFormat = "1"

// SaveModel writes a safetensors file with torchvision's names and layouts: convolutions [out, in, height, width],
// linear layers [out, in], BatchNorm running statistics with num_batches_tracked. It stores the architecture as JSON in
// the metadata "backbone" and "heads", in addition to meta. The same model gives the same bytes.
func SaveModel(w io.Writer, b Backbone, h Heads, params, stats []float32, meta map[string]string) error {
	l := NewLayout(b, h)
	mustLen("SaveModel: params", len(params), l.NumParams)
	mustLen("SaveModel: stats", len(stats), l.NumStats)
	tensors := l.Tensors("", params, stats)
	metadata := map[string]string{"format": "pt", formatKey: modelFormat}
	maps.Copy(metadata, meta)
	for key, value := range map[string]any{backboneKey: b, headsKey: h} {
		text, err := json.Marshal(value)
		if err != nil {
			return fmt.Errorf("nn: save model: %w", err)
		}
		metadata[key] = string(text)
	}
	if err := safetensors.Write(w, tensors, metadata); err != nil {
		return fmt.Errorf("nn: save model: %w", err)
	}
	return nil
}

// Tensors returns parameters and statistics as they are in a model file, with a prefix to their names.
func (l *Layout) Tensors(prefix string, params, stats []float32) (tensors []safetensors.Tensor) {
	for _, p := range l.Params {
		shape, data := toFile(p, params[p.Offset:p.Offset+p.Size])
		tensors = append(tensors, safetensors.Tensor{Name: prefix + p.Name, Shape: shape, F32: data})
	}
	for _, s := range l.Stats {
		tensors = append(tensors, safetensors.Tensor{Name: prefix + s.Name, Shape: []int{s.Size}, F32: stats[s.Offset : s.Offset+s.Size]})
		if bn, ok := strings.CutSuffix(s.Name, ".running_var"); ok {
			tensors = append(tensors, safetensors.Tensor{Name: prefix + bn + ".num_batches_tracked", I64: []int64{0}})
		}
	}
	return tensors
}

// Load reads parameters and statistics from a file that has them as Tensors returns them.
func (l *Layout) Load(prefix string, f *safetensors.File) (params, stats []float32, err error) {
	for _, p := range l.Params {
		t, err := f.Tensor(prefix + p.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("nn: load model: %w", err)
		}
		if len(t.F32) != p.Size { // before memory is taken
			return nil, nil, shapeError(t, fileShape(p))
		}
		params = append(params, make([]float32, p.Offset+p.Size-len(params))...)
		if err := fromFile(p, t, params[p.Offset:]); err != nil {
			return nil, nil, err
		}
	}
	stats = make([]float32, l.NumStats) // fewer than the parameters
	for _, s := range l.Stats {
		t, err := f.Tensor(prefix + s.Name)
		if err != nil {
			return nil, nil, fmt.Errorf("nn: load model: %w", err)
		}
		if len(t.F32) != s.Size {
			return nil, nil, shapeError(t, []int{s.Size})
		}
		copy(stats[s.Offset:], t.F32)
	}
	return params, stats, nil
}

// LoadModel reads a file that SaveModel wrote, or one with the same names, layouts and metadata. It ignores tensors
// that the architecture does not have.
func LoadModel(r io.Reader) (*Model, error) {
	f, err := safetensors.Read(r)
	if err != nil {
		return nil, fmt.Errorf("nn: load model: %w", err)
	}
	m := &Model{Meta: maps.Clone(f.Metadata)}
	if format := f.Metadata[formatKey]; format != "" && format != modelFormat {
		return nil, fmt.Errorf("nn: load model: format %s is of a newer version of sdr, which has to read it (this one reads format %s)", format, modelFormat)
	}
	for key, value := range map[string]any{backboneKey: &m.Backbone, headsKey: &m.Heads} {
		if f.Metadata[key] == "" {
			return nil, fmt.Errorf("nn: load model: the file has no metadata %q, so it is none of sdr; sdr pretrain --init begins with weights of torchvision and timm", key)
		}
		if err := json.Unmarshal([]byte(f.Metadata[key]), value); err != nil {
			return nil, fmt.Errorf("nn: load model: metadata %q is %q, want a JSON object as written by SaveModel", key, f.Metadata[key])
		}
		delete(m.Meta, key)
	}
	delete(m.Meta, "format")
	delete(m.Meta, formatKey)
	for _, err := range []error{m.Backbone.Validate(), m.Heads.Validate()} {
		if err != nil {
			return nil, fmt.Errorf("nn: load model: metadata: %w", err)
		}
	}
	if m.oversized() {
		return nil, fmt.Errorf("nn: load model: metadata: %+v and %+v are too large for any net", m.Backbone, m.Heads)
	}
	m.Params, m.Stats, err = NewLayout(m.Backbone, m.Heads).Load("", f)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// oversized reports whether the sizes are beyond those of any net, so that a damaged file is meant.
func (m *Model) oversized() bool {
	const most, layers = 1 << 20, 1 << 10
	h := m.Heads
	return max(m.Backbone.Width, h.ProjectorHidden, h.ProjectorDim, h.PredictorHidden, h.Prototypes, h.Classes) > most || h.ProjectorLayers > layers
}

// fileShape returns a parameter's shape in a file, with the filters first.
func fileShape(p Param) []int {
	switch p.Kind {
	case ConvWeight:
		return []int{p.Shape[3], p.Shape[2], p.Shape[0], p.Shape[1]}
	case LinearWeight:
		return []int{p.Shape[1], p.Shape[0]}
	}
	return p.Shape
}

// toFile returns a parameter in the file's layout.
func toFile(p Param, memory []float32) (shape []int, data []float32) {
	data = make([]float32, len(memory))
	fileOrder(p, func(file, mem int) { data[file] = memory[mem] })
	return fileShape(p), data
}

// fromFile copies a parameter from a file to memory.
func fromFile(p Param, t *safetensors.Tensor, memory []float32) error {
	if want := fileShape(p); !slices.Equal(t.Shape, want) || len(t.F32) != p.Size {
		return shapeError(t, want)
	}
	fileOrder(p, func(file, mem int) { memory[mem] = t.F32[file] })
	return nil
}

func shapeError(t *safetensors.Tensor, want []int) error {
	return fmt.Errorf("nn: load model: tensor %q has shape %v, but the architecture in the metadata has floats of shape %v", t.Name, t.Shape, want)
}

// fileOrder calls f with each element's index in the file and in memory.
func fileOrder(p Param, f func(file, mem int)) {
	in, pixels := 1, 1
	switch p.Kind {
	case ConvWeight:
		in, pixels = p.Shape[2], p.Shape[0]*p.Shape[1]
	case LinearWeight:
		in = p.Shape[0]
	}
	file := 0
	for out := range p.Filters {
		for i := range in {
			for pixel := range pixels {
				f(file, (pixel*in+i)*p.Filters+out)
				file++
			}
		}
	}
}
