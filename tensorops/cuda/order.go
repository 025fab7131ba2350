package cuda

import (
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// align is the alignment of arrays and parameters, in elements: 256 bytes of bfloat16, as cublasLt requires.
const align = 128

// flat is the layout of a network's flat parameter vector on the device: nn's order with each parameter aligned, and
// convolution weights in [Cout, KH, KW, Cin], cuDNN's layout for NHWC images.
type flat struct {
	// order maps each element to its index in nn's vector; padding is -1.
	order []int32
	// offsets maps the parameters' offsets in nn's vector to those on the device.
	offsets map[int]int
}

func newFlat(l *nn.Layout) *flat {
	f := &flat{offsets: map[int]int{}}
	for _, p := range l.Params {
		f.offsets[p.Offset] = len(f.order)
		step := 1
		if p.Kind == nn.ConvWeight {
			step = p.Filters
		}
		for first := range step {
			for i := first; i < p.Size; i += step {
				f.order = append(f.order, int32(p.Offset+i))
			}
		}
		for len(f.order)%align != 0 {
			f.order = append(f.order, -1)
		}
	}
	return f
}

// span returns the elements of b, each of size bytes, that hold a span of nn's vector, which must be a whole parameter.
func (f *flat) span(b Buffer, s nn.Span, size int) Buffer {
	if s.Len() == 0 {
		return Buffer{}
	}
	from := f.offsets[s.From]
	return b.slice(from, from+s.Len(), size)
}

// partition describes how a sub-net's flat vector is composed of shared elements and of the groups of its levels.
type partition struct {
	*flat
	// chunks partition the flat vector.
	chunks []chunk
	// tensors is the number of parameters.
	tensors int
	// groups[l] is order for a group of level l: it maps the device's elements to sdrnet's.
	groups [][]int32
	// memory is order for a sub-net's memory: the same.
	memory []int32
}

// newPartition returns the partition of all sub-nets of nets.
func newPartition(nets *sdrnet.Net) *partition {
	l := nets.Layout()
	p := &partition{flat: newFlat(l), tensors: len(l.Params), groups: make([][]int32, nets.Levels())}
	for _, v := range nets.State() {
		if v.Kind == sdrnet.Memory && p.memory == nil {
			for i := range v.Values {
				p.memory = append(p.memory, int32(i))
			}
		}
	}
	owner := make([]int32, l.NumParams) // level of each of nn's elements; -1 if shared
	index := make([]int32, l.NumParams) // within sdrnet's group
	for i := range owner {
		owner[i] = -1
	}
	for level := range p.groups {
		at := int32(0)
		for _, s := range nets.Individual(level) {
			for i := s.From; i < s.To; i++ {
				owner[i], index[i] = int32(level), at
				at++
			}
		}
	}
	for t, param := range l.Params {
		var flags int32
		if param.Kind == nn.ConvWeight || param.Kind == nn.LinearWeight {
			flags = chunkProduct | chunkAdapt
		}
		offset := p.offsets[param.Offset]
		for i := offset; i < offset+param.Size; i++ {
			element := p.order[i]
			level, pos := owner[element], int32(0)
			if level >= 0 {
				pos = int32(len(p.groups[level]))
				p.groups[level] = append(p.groups[level], index[element])
			}
			if n := len(p.chunks); i > offset && p.chunks[n-1].Level == level && p.chunks[n-1].Count < chunkLen {
				p.chunks[n-1].Count++
				continue
			}
			p.chunks = append(p.chunks, chunk{Offset: int32(i), Count: 1, Tensor: int32(t), Flags: flags, Level: level, Pos: pos})
		}
	}
	return p
}
