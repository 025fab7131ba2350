package nn

import (
	"cmp"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// value is an array of floats that one operation of a pass makes and others read or overwrite.
type value struct {
	data        []float32
	size        int
	first, last int // operations that touch it, in the order of a step
}

// arena is one block of memory for all values of a step. The passes are walked once without computing, to learn which
// operation touches what; values that are never needed at the same time then share memory.
type arena struct {
	values   []*value
	size     int // floats of all memory
	planning bool
	op       int
}

// value adds an array of so many floats, without memory so far.
func (a *arena) value(size int) *value {
	v := &value{size: size, first: -1}
	a.values = append(a.values, v)
	return v
}

// touch begins an operation that touches some values; nil ones do not count. It reports whether to compute: while the
// arena is planned, it only takes notes.
func (a *arena) touch(values ...*value) bool {
	if !a.planning {
		return true
	}
	for _, v := range values {
		if v == nil {
			continue
		}
		if v.first < 0 {
			v.first = a.op
		}
		v.last = max(v.last, a.op)
	}
	a.op++
	return false
}

// keep makes a value stay until the next step overwrites it.
func (a *arena) keep(v *value) { v.last = math.MaxInt }

// place gives every value that was touched its memory: the largest first, each as far down as it fits between those
// that live at the same time.
func (a *arena) place() {
	const line = 16 // floats of a cache line
	placed := make([]*value, 0, len(a.values))
	offsets := map[*value]int{}
	order := slices.Clone(a.values)
	slices.SortStableFunc(order, func(v, w *value) int { return cmp.Compare(w.size, v.size) })
	for _, v := range order {
		if v.first < 0 {
			continue
		}
		offset := 0
		for _, w := range placed { // by offset
			if w.first > v.last || w.last < v.first {
				continue
			}
			if offset+v.size <= offsets[w] {
				break
			}
			// A line between values keeps passes over two of them out of the same cache sets.
			offset = max(offset, (offsets[w]+w.size+line-1)/line*line+line)
		}
		offsets[v] = offset
		at, _ := slices.BinarySearchFunc(placed, offset, func(w *value, offset int) int { return cmp.Compare(offsets[w], offset) })
		placed = slices.Insert(placed, at, v)
		a.size = max(a.size, offset+v.size)
	}
	memory := kernels.NewFloats(a.size)
	for v, offset := range offsets {
		v.data = memory[offset : offset+v.size : offset+v.size]
	}
}

// floats is the value's memory, nil for no value.
func (v *value) floats() []float32 {
	if v == nil {
		return nil
	}
	return v.data
}
