package nn

import (
	"cmp"
	"math"
	"slices"
)

// value is an array in device memory that one operation of a pass writes and others read or overwrite.
type value[M any] struct {
	data        M
	size        int
	first, last int  // operations that touch it, in the order of a step
	part        Part // of the first one
}

// arena is one block of memory for all values of a step. A dry run of both passes records which operation touches which
// values; values that are never live at the same time then share memory.
type arena[M any] struct {
	values   []*value[M]
	size     int // elements of the block
	planning bool
	op       int
	part     Part // of the operation
	byPart   bool // a value that another part reads is kept, so that a pass can begin there
}

// value adds an array of size elements. place gives it memory.
func (a *arena[M]) value(size int) *value[M] {
	v := &value[M]{size: size, first: -1}
	a.values = append(a.values, v)
	return v
}

// touch starts an operation that touches some values; nil ones are ignored. It reports whether to compute: in the dry
// run it only records the values.
func (a *arena[M]) touch(values ...*value[M]) bool {
	if !a.planning {
		return true
	}
	for _, v := range values {
		if v == nil {
			continue
		}
		if v.first < 0 {
			v.first, v.part = a.op, a.part
		}
		v.last = max(v.last, a.op)
		if a.byPart && v.part != a.part {
			a.keep(v)
		}
	}
	a.op++
	return false
}

// keep keeps a value live until the next step overwrites it.
func (a *arena[M]) keep(v *value[M]) { v.last = math.MaxInt }

// place assigns device memory to all values that were touched. It places the largest first, each at the lowest offset
// that is free during its lifetime.
func (a *arena[M]) place(dev Device[M]) {
	align := dev.Alignment()
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
			// A gap between values keeps loops over two of them from hitting the same cache sets.
			offset = max(offset, (offsets[w]+w.size+align-1)/align*align+align)
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

// get returns the value's memory; M's zero value for a nil value.
func (v *value[M]) get() (none M) {
	if v == nil {
		return none
	}
	return v.data
}
