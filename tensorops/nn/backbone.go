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
	m, misfits := fit(b, f)
	if n := len(misfits); n > 0 {
		const shown = 4
		more := ""
		if n > shown {
			more = fmt.Sprintf(", and %d more", n-shown)
		}
		return nil, fmt.Errorf("nn: load backbone: the file is not of %s: %s%s", b, strings.Join(misfits[:min(n, shown)], "; "), more)
	}
	return m, nil
}

// IdentifyBackbone returns the backbone that a file for LoadBackbone is of, if it is one. Files of a MobileNetV2 do not tell
// the stem, for which it then returns the given one.
func IdentifyBackbone(r io.Reader, stem string) (b Backbone, ok bool) {
	f, err := safetensors.Read(r)
	if err != nil {
		return b, false
	}
	channels := map[int]bool{} // that a first convolution of images may have
	for _, t := range f.Tensors {
		if len(t.Shape) == 4 && t.Shape[1] == 3 {
			channels[t.Shape[0]] = true
		}
	}
	stems := slices.DeleteFunc(Stems(), func(s string) bool { return s == stem })
	for _, b.Arch = range Architectures() {
		for _, b.Stem = range slices.Insert(stems, 0, stem) {
			for c := range channels {
				for b.Width = c; b.Width <= 2*(c+8); b.Width++ { // of a MobileNetV2, half of it, rounded to a multiple of 8
					if NewLayout(b, Heads{}).Params[0].Filters != c {
						continue
					}
					if _, misfits := fit(b, f); len(misfits) == 0 {
						return b, true
					}
				}
			}
		}
	}
	return Backbone{}, false
}

// fit returns a backbone with the weights and statistics of a file, and what does not fit.
func fit(b Backbone, f *safetensors.File) (m *Model, misfits []string) {
	l := NewLayout(b, Heads{})
	names := map[string]string{} // torchvision's, by timm's
	for _, p := range l.Params {
		names[b.TimmName(p.Name)] = p.Name
	}
	for _, s := range l.Stats {
		names[b.TimmName(s.Name)] = s.Name
	}
	found := map[string]*safetensors.Tensor{} // by torchvision's names
	for i := range f.Tensors {
		t := &f.Tensors[i]
		found[cmp.Or(names[t.Name], t.Name)] = t
	}
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
	m = &Model{Backbone: b, Params: make([]float32, l.NumParams), Stats: make([]float32, l.NumStats)}
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
	return m, misfits
}
