package cuda

import (
	"fmt"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// maxLevels is the number of levels that a step has room for: one per residual stage.
const maxLevels = 4

// store keeps the weights of all sub-nets of an SDRnet in device memory, and their training state if they are trained.
type store struct {
	d       *device
	nets    *sdrnet.Net
	part    *partition
	vectors map[vectorKey]Buffer
	scratch []float32
}

// vectorKey identifies a vector: level and choice of its group, -1 for the base, and whether it is training state.
type vectorKey struct {
	level, choice int
	state         bool
}

// newStore copies the weights to the device and, if trained, the training state.
func newStore(d *device, nets *sdrnet.Net, part *partition, trained bool) (*store, error) {
	if nets.Levels() > maxLevels {
		return nil, fmt.Errorf("cuda: an SDRnet of %d levels; GPUs support at most %d", nets.Levels(), maxLevels)
	}
	s := &store{d: d, nets: nets, part: part, vectors: map[vectorKey]Buffer{}}
	for _, v := range nets.State() {
		if v.State && !trained {
			continue
		}
		device, own := s.order(v)
		copies := len(v.Values) / own
		b := d.alloc(copies*len(device), 4*copies*len(device), "weights of all sub-nets")
		s.vectors[vectorKey{v.Level, v.Choice, v.State}] = b
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
	if v.Level < 0 {
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

// sync copies weights and training state back.
func (s *store) sync() error {
	for _, v := range s.nets.State() {
		b := s.vectors[vectorKey{v.Level, v.Choice, v.State}]
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

// point writes the addresses of a sub-net's weights to a step.
func (s *store) point(to *step, code string) {
	base, state := s.vectors[vectorKey{-1, -1, false}], s.vectors[vectorKey{-1, -1, true}]
	to.Levels, to.Params = int32(len(code)), int32(len(s.part.order))
	to.Vectors = int32(state.Len / len(s.part.order))
	to.Base, to.State = base.Addr, state.Addr
	for level := range len(code) {
		c := s.nets.Choice(code, level)
		to.Group[level] = s.vectors[vectorKey{level, c, false}].Addr
		to.GroupState[level] = s.vectors[vectorKey{level, c, true}].Addr
		to.GroupSize[level] = int32(len(s.part.groups[level]))
	}
}

// free frees the device memory.
func (s *store) free() {
	for _, b := range s.vectors {
		s.d.free(b)
	}
}
