package cuda

import (
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// align is the number of elements to whose multiples arrays and parameters are aligned: 256 bytes of bfloat16, which
// cublasLt asks for.
const align = 128

// flat is the flat vector of a network's parameters as it lies on the device: in nn's order, each parameter aligned,
// the weights of a convolution [Cout, KH, KW, Cin], as cuDNN has them beside NHWC images.
type flat struct {
	// order tells for every element which of nn's it is, -1 for what fills gaps.
	order []int32
	// offsets are those of the parameters, by their offsets in nn's flat vector.
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

// span is where a span of nn's flat vector, one whole parameter, lies: elements of a vector of so many bytes each.
func (f *flat) span(b Buffer, s nn.Span, size int) Buffer {
	if s.Len() == 0 {
		return Buffer{}
	}
	from := f.offsets[s.From]
	return b.slice(from, from+s.Len(), size)
}

// partition tells how the flat vector of a sub-net is made up of what all sub-nets share and of the groups that it
// takes at every level.
type partition struct {
	*flat
	// chunks cut the flat vector.
	chunks []chunk
	// tensors is the number of parameters.
	tensors int
	// groups[l] is order for a group of level l: which element of sdrnet's each of the device's is.
	groups [][]int32
}

// newPartition finds the partition of all nets that split as the given one.
func newPartition(nets *sdrnet.Net) *partition {
	l := nets.Layout()
	p := &partition{flat: newFlat(l), tensors: len(l.Params), groups: make([][]int32, nets.Levels())}
	owner := make([]int32, l.NumParams) // level by nn's element, -1 for shared
	place := make([]int32, l.NumParams) // within sdrnet's group
	for i := range owner {
		owner[i] = -1
	}
	for level := range p.groups {
		at := int32(0)
		for _, s := range nets.Individual(level) {
			for i := s.From; i < s.To; i++ {
				owner[i], place[i] = int32(level), at
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
				p.groups[level] = append(p.groups[level], place[element])
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
