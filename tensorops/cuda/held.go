package cuda

import (
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// held is kernels.Held on a GPU.
type held struct {
	v           *vectors
	d           *device // that the rows are on
	parts       [][]float32
	rows, width int
	on          Buffer // float32 [rows, width]; zero if the rows do not fit
}

// Hold implements kernels.Vectors.
func (v *vectors) Hold(parts [][]float32, width, k int) (_ kernels.Held, done bool, err error) {
	rows := 0
	for _, p := range parts {
		rows += len(p) / width
	}
	if rows*width*k < v.least {
		return nil, false, nil
	}
	return v.hold(parts, rows, width)
}

// hold takes rows to the GPU, or keeps the parts if they would take more than half of the free memory.
func (v *vectors) hold(parts [][]float32, rows, width int) (_ kernels.Held, done bool, err error) {
	h := &held{v: v, parts: parts, rows: rows, width: width}
	done, err = v.use(nil, func(d *device) {
		h.d = d
		v.held++
		if uint64(4*rows*width) > d.memory.available()/2 {
			return
		}
		h.on = d.floats(rows * width)
		at := 0
		for _, p := range parts {
			d.upload(h.on.slice(at, at+len(p), 4), unsafe.Pointer(&p[0]), 4*len(p))
			at += len(p)
		}
	})
	if !done {
		return nil, false, err
	}
	return h, true, nil
}

// Assign implements kernels.Held. After an error of the device, the rows are no longer on it.
func (h *held) Assign(a kernels.Assignment) (done bool, err error) {
	return h.v.use(h.d, func(d *device) { h.assign(d, a) })
}

// Close implements kernels.Held.
func (h *held) Close() error {
	_, err := h.v.use(h.d, func(d *device) {
		d.free(h.on)
		h.v.held--
	})
	return err
}

// copyRows copies n rows from the given one on; with an order, those that are listed from there on.
func (h *held) copyRows(to []float32, order []int32, from, n int) {
	part, first := 0, 0
	for i := range n {
		row := from + i
		if order != nil {
			row = int(order[from+i])
		}
		if row < first {
			part, first = 0, 0
		}
		for ; row >= first+len(h.parts[part])/h.width; part++ {
			first += len(h.parts[part]) / h.width
		}
		copy(to[i*h.width:][:h.width], h.parts[part][(row-first)*h.width:])
	}
}
