package cuda

import (
	"fmt"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// maxLevels is the number of levels that a step has room for: one per residual stage.
const maxLevels = 4

// store keeps the weights of all sub-nets of an SDRnet in device memory and, if they are trained, their training state
// and memories.
type store struct {
	d       *device
	nets    *sdrnet.Net
	part    *partition
	vectors map[vectorKey]Buffer
	scratch []float32
}

// vectorKey identifies a vector of an SDRnet's state.
type vectorKey struct {
	level, choice int
	kind          sdrnet.Kind
}

// newStore copies the weights to the device and, if trained, the training state and the memories.
func newStore(d *device, nets *sdrnet.Net, part *partition, trained bool) (*store, error) {
	if nets.Levels() > maxLevels {
		return nil, fmt.Errorf("cuda: an SDRnet of %d levels; GPUs support at most %d", nets.Levels(), maxLevels)
	}
	s := &store{d: d, nets: nets, part: part, vectors: map[vectorKey]Buffer{}}
	for _, v := range nets.State() {
		if v.Kind != sdrnet.Weights && !trained {
			continue
		}
		device, own := s.order(v)
		copies := len(v.Values) / own
		b := d.alloc(copies*len(device), 4*copies*len(device), "weights of all sub-nets")
		s.vectors[vectorKey{v.Level, v.Choice, v.Kind}] = b
		host := s.host(copies * len(device))
		for c := range copies {
			for i, from := range device {
				host[c*len(device)+i] = 0
				if from >= 0 {
					host[c*len(device)+i] = v.Values[c*own+int(from)]
				}
			}
		}
		if len(host) > 0 {
			d.upload(b, unsafe.Pointer(&host[0]), 4*len(host))
		}
		if err := d.wait(); err != nil { // the next vector reuses host
			return nil, err
		}
	}
	return s, nil
}

// order returns the order of a vector's elements on the device, and their number in nn's order.
func (s *store) order(v sdrnet.Vector) (device []int32, own int) {
	switch {
	case v.Kind == sdrnet.Memory:
		return s.part.memory, len(s.part.memory)
	case v.Level < 0:
		return s.part.order, s.nets.Layout().NumParams
	}
	return s.part.groups[v.Level], len(s.part.groups[v.Level])
}

// host returns host memory for n floats.
func (s *store) host(n int) []float32 {
	if cap(s.scratch) < n {
		s.scratch = make([]float32, n)
	}
	return s.scratch[:n]
}

// sync copies everything back.
func (s *store) sync() error {
	for _, v := range s.nets.State() {
		b := s.vectors[vectorKey{v.Level, v.Choice, v.Kind}]
		if b.Len == 0 {
			continue
		}
		host := s.host(b.Len)
		s.d.download(unsafe.Pointer(&host[0]), b, 4*b.Len)
		if err := s.d.wait(); err != nil {
			return err
		}
		device, own := s.order(v)
		for c := range len(v.Values) / own {
			for i, to := range device {
				if to >= 0 {
					v.Values[c*own+int(to)] = host[c*len(device)+i]
				}
			}
		}
	}
	return nil
}

// point writes the addresses of what is a sub-net's to a step.
func (s *store) point(to *step, code string) {
	base, state := s.vectors[vectorKey{-1, -1, sdrnet.Weights}], s.vectors[vectorKey{-1, -1, sdrnet.Training}]
	to.Levels, to.Params = int32(len(code)), int32(len(s.part.order))
	to.Split = int32(s.nets.Level())
	to.Vectors = int32(state.Len / len(s.part.order))
	to.Base, to.State = base.Addr, state.Addr
	to.Memory = s.vectors[vectorKey{len(code), s.nets.Index(code), sdrnet.Memory}].Addr
	for level := range len(code) {
		c := s.nets.Choice(code, level)
		to.Group[level] = s.vectors[vectorKey{level, c, sdrnet.Weights}].Addr
		to.GroupState[level] = s.vectors[vectorKey{level, c, sdrnet.Training}].Addr
		to.GroupSize[level] = int32(len(s.part.groups[level]))
	}
}

// free frees the device memory.
func (s *store) free() {
	for _, b := range s.vectors {
		s.d.free(b)
	}
}
