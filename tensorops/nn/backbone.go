package nn

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/safetensors"
)

// notBackbone are the beginnings of the names of tensors that a file may have besides those of a backbone: a classifier, as
// torchvision and timm name it, and the heads of a file of SaveModel.
var notBackbone = []string{"fc.", "classifier.", "projector.", "predictor.", "prototypes."}

// LoadBackbone reads the weights and BatchNorm statistics of a backbone from a safetensors file with the names and layouts
// of torchvision or timm, or one of SaveModel. Metadata make no difference, and heads and classifiers are left out. If the
// file is of another backbone, the error lists what does not fit.
func LoadBackbone(r io.Reader, b Backbone) (*Model, error) {
	f, err := safetensors.Read(r)
	if err != nil {
		return nil, fmt.Errorf("nn: load backbone: %w", err)
	}
	l := NewLayout(b, Heads{})
	names := map[string]string{} // torchvision's, by timm's
	for _, p := range l.Params {
		names[b.TimmName(p.Name)] = p.Name
	}
	for _, s := range l.Stats {
		names[b.TimmName(s.Name)] = s.Name
	}
	found := map[string]*safetensors.Tensor{}
	for i := range f.Tensors {
		t := &f.Tensors[i]
		t.Name = cmp.Or(names[t.Name], t.Name)
		found[t.Name] = t
	}
	var misfits []string
	// take returns a tensor of a shape; nil if it does not fit.
	take := func(name string, shape []int) *safetensors.Tensor {
		t := found[name]
		delete(found, name)
		switch {
		case t == nil:
			misfits = append(misfits, fmt.Sprintf("%s is missing", name))
		case !slices.Equal(t.Shape, shape) || t.F32 == nil:
			misfits = append(misfits, fmt.Sprintf("%s has shape %v, not floats of shape %v", name, t.Shape, shape))
		case slices.ContainsFunc(t.F32, func(v float32) bool { return v-v != 0 }):
			misfits = append(misfits, fmt.Sprintf("%s has values that are no finite numbers", name))
		default:
			return t
		}
		return nil
	}
	m := &Model{Backbone: b, Params: make([]float32, l.NumParams), Stats: make([]float32, l.NumStats)}
	for _, p := range l.Params {
		if t := take(p.Name, fileShape(p)); t != nil {
			fileOrder(p, func(file, mem int) { m.Params[p.Offset+mem] = t.F32[file] })
		}
	}
	for _, s := range l.Stats {
		if t := take(s.Name, []int{s.Size}); t != nil {
			copy(m.Stats[s.Offset:], t.F32)
		}
	}
	for _, t := range f.Tensors {
		other := func(begin string) bool { return strings.HasPrefix(t.Name, begin) }
		if found[t.Name] != nil && !strings.HasSuffix(t.Name, ".num_batches_tracked") && !slices.ContainsFunc(notBackbone, other) {
			misfits = append(misfits, t.Name+" has no place")
		}
	}
	if n := len(misfits); n > 0 {
		const shown = 4
		more := ""
		if n > shown {
			more = fmt.Sprintf(", and %d more", n-shown)
		}
		return nil, fmt.Errorf("nn: load backbone: the file is not of %s of width %d with the %s stem: %s%s",
			b.Arch, b.Width, b.Stem, strings.Join(misfits[:min(n, shown)], "; "), more)
	}
	return m, nil
}
