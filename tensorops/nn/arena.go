package nn

import (
	"cmp"
	"math"
	"slices"
)

// value is an array, in a device's memory, that one operation of a pass makes and others read or overwrite.
type value[M any] struct {
	data        M
	size        int
	first, last int // operations that touch it, in the order of a step
}

// arena is one block of memory for all values of a step. The passes are walked once without computing, to learn which
// operation touches what; values that are never needed at the same time then share memory.
type arena[M any] struct {
	values   []*value[M]
	size     int // elements of all memory
	planning bool
	op       int
}

// value adds an array of so many elements, without memory so far.
func (a *arena[M]) value(size int) *value[M] {
	v := &value[M]{size: size, first: -1}
	a.values = append(a.values, v)
	return v
}

// touch begins an operation that touches some values; nil ones do not count. It reports whether to compute: while the
// arena is planned, it only takes notes.
func (a *arena[M]) touch(values ...*value[M]) bool {
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
func (a *arena[M]) keep(v *value[M]) { v.last = math.MaxInt }

// place gives every value that was touched its memory on the device: the largest first, each as far down as it fits
// between those that live at the same time.
func (a *arena[M]) place(dev Device[M]) {
	line := dev.Alignment()
	placed := make([]*value[M], 0, len(a.values))
	offsets := map[*value[M]]int{}
	order := slices.Clone(a.values)
	slices.SortStableFunc(order, func(v, w *value[M]) int { return cmp.Compare(w.size, v.size) })
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
		at, _ := slices.BinarySearchFunc(placed, offset, func(w *value[M], offset int) int { return cmp.Compare(offsets[w], offset) })
		placed = slices.Insert(placed, at, v)
		a.size = max(a.size, offset+v.size)
	}
	cut := dev.Memory(a.size)
	for v, offset := range offsets {
		v.data = cut(offset, offset+v.size)
	}
}

// get is the value's memory, none for no value.
func (v *value[M]) get() (none M) {
	if v == nil {
		return none
	}
	return v.data
}
