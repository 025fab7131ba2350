package cuda

import (
	"fmt"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// maxLevels is the number of levels that a step has room for: one a residual stage.
const maxLevels = 4

// store keeps the weights of all sub-nets of an SDRnet in device memory, and the state beside them where they are
// trained.
type store struct {
	d       *device
	nets    *sdrnet.Net
	part    *partition
	vectors map[place]Buffer
	scratch []float32
}

// place is the level and choice of a group, -1 for the base, and whether it is the state beside the weights.
type place struct {
	level, choice int
	state         bool
}

// newStore copies the weights to the device, and the state beside them if trained.
func newStore(d *device, nets *sdrnet.Net, part *partition, trained bool) (*store, error) {
	if nets.Levels() > maxLevels {
		return nil, fmt.Errorf("cuda: an SDRnet of %d levels; the GPU's kernels know %d", nets.Levels(), maxLevels)
	}
	s := &store{d: d, nets: nets, part: part, vectors: map[place]Buffer{}}
	for _, v := range nets.State() {
		if v.State && !trained {
			continue
		}
		device, own := s.order(v)
		copies := len(v.Values) / own
		b := d.alloc(copies*len(device), 4*copies*len(device), "weights of all sub-nets")
		s.vectors[place{v.Level, v.Choice, v.State}] = b
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
		if err := d.wait(); err != nil { // the next vector needs host
			return nil, err
		}
	}
	return s, nil
}

// order is the order of a vector's elements on the device, and how many they are in nn's order.
func (s *store) order(v sdrnet.Vector) (device []int32, own int) {
	if v.Level < 0 {
		return s.part.order, s.nets.Layout().NumParams
	}
	return s.part.groups[v.Level], len(s.part.groups[v.Level])
}

// host is host memory for so many floats.
func (s *store) host(n int) []float32 {
	if cap(s.scratch) < n {
		s.scratch = make([]float32, n)
	}
	return s.scratch[:n]
}

// sync copies the weights and the state back.
func (s *store) sync() error {
	for _, v := range s.nets.State() {
		b := s.vectors[place{v.Level, v.Choice, v.State}]
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

// point fills in where the weights of a sub-net lie.
func (s *store) point(to *step, code string) {
	base, state := s.vectors[place{-1, -1, false}], s.vectors[place{-1, -1, true}]
	to.Levels, to.Params = int32(len(code)), int32(len(s.part.order))
	to.Vectors = int32(state.Len / len(s.part.order))
	to.Base, to.State = base.Addr, state.Addr
	for level := range len(code) {
		c := s.nets.Choice(code, level)
		to.Group[level] = s.vectors[place{level, c, false}].Addr
		to.GroupState[level] = s.vectors[place{level, c, true}].Addr
		to.GroupSize[level] = int32(len(s.part.groups[level]))
	}
}

// free gives the device's memory back.
func (s *store) free() {
	for _, b := range s.vectors {
		s.d.free(b)
	}
}
