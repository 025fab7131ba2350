package cuda

import (
	"runtime"
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
	return h.v.use(h.d, func(d *device) { d.assign(h, a) })
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

// assignBytes is what the arrays of the rows that are assigned at a time take, at most: about as much as the L2 cache holds, so
// that products are read from there.
const assignBytes = 64 << 20

// assign does an assignment, some rows of a parent after the other.
func (d *device) assign(h *held, a kernels.Assignment) {
	w, k, direct := h.width, a.K, h.on.Addr != 0 && a.Order == nil
	bytes := 4*k + 4
	if !direct {
		bytes += 4 * w
	}
	most := fitRows(h.rows, tileStep, bytes, min(assignBytes, int(d.memory.available()/4)))
	products, centroids, clusters := d.floats(most*k), d.floats(k*w), d.bytes(4*h.rows)
	low, high, reach, prices := toFloats(d, a.Low), toFloats(d, a.High), toFloats(d, a.Reach), d.bytes(8*len(a.Prices))
	d.upload(prices, unsafe.Pointer(&a.Prices[0]), 8*len(a.Prices))
	var squares, order, block, counts, list, sums, weights Buffer
	defer func() {
		d.free(products, centroids, clusters, low, high, reach, prices, squares, order, block, counts, list, sums, weights)
	}()
	if a.Squares != nil {
		squares = d.bytes(8 * h.rows)
	}
	var stage []float32 // rows that are not on the device
	if !direct {
		block = d.floats(most * w)
		if h.on.Addr == 0 {
			stage = make([]float32, most*w)
		} else {
			order = d.bytes(4 * h.rows)
			d.upload(order, unsafe.Pointer(&a.Order[0]), 4*h.rows)
		}
	}
	stride, sorted := 0, []float32(nil)
	if a.Sums != nil {
		stride = len(a.Sums.Sums) / len(a.Low)
		sums, counts, list = d.bytes(8*len(a.Sums.Sums)), d.bytes(4*k), d.bytes(4*most)
		d.zero(sums, 8*len(a.Sums.Sums))
		if sorted = ordered(a.Sums.Weights, a.Order); sorted != nil {
			weights = toFloats(d, sorted)
		}
	}
	for p := range len(a.Starts) - 1 {
		if a.Starts[p] < a.Starts[p+1] {
			d.upload(centroids, unsafe.Pointer(&a.Centroids[p*k*w]), 4*k*w)
		}
		of := func(b Buffer, size int) Buffer { return b.slice(p*k, (p+1)*k, size) }
		for from := a.Starts[p]; from < a.Starts[p+1]; from += most {
			n := min(most, a.Starts[p+1]-from)
			x := block
			switch {
			case direct:
				x = h.on.slice(from*w, (from+n)*w, 4)
			case stage != nil:
				_ = d.wait() // until the last rows have left it
				h.copyRows(stage, a.Order, from, n)
				d.upload(block, unsafe.Pointer(&stage[0]), 4*n*w)
			default:
				d.launch("gather_rows", dim1(n), dim1(threads), h.on, order.slice(from, from+n, 4), block, w)
			}
			d.multiply(false, true, n, k, w, x, centroids, products, true)
			rows := func(b Buffer, size int) Buffer { return b.slice(from, from+n, size) }
			d.zero(counts, 4*k)
			d.launch("assign_rows", dim1(ceil(n*group, threads)), dim1(threads), products, x, centroids, of(low, 4), of(high, 4), of(reach, 4),
				of(prices, 8), rows(clusters, 4), rows(squares, 8), counts, n, k, w, a.Longest)
			if a.Sums == nil {
				continue
			}
			d.launch("order_counts", dim1(1), dim1(threads), counts, k)
			d.launch("list_rows", dim1(ceil(n, threads)), dim1(threads), rows(clusters, 4), counts, list, n)
			first := w
			if a.Sums.Vectors {
				first = 0
			}
			d.launch("sum_rows", dim3{uint32(ceil(n, summed)), uint32(ceil(stride-first, threads)), 1}, dim1(threads), x, rows(clusters, 4),
				rows(squares, 8), rows(weights, 4), list, sums.slice(p*k*stride, (p+1)*k*stride, 8), n, w, first, stride,
				a.Sums.Unit, a.Sums.Square, a.Sums.Weight)
		}
	}
	found, distances := a.Clusters, a.Squares
	if a.Order != nil {
		found, distances = make([]int32, h.rows), make([]float64, len(a.Squares))
	}
	d.download(unsafe.Pointer(&found[0]), clusters, 4*h.rows)
	if a.Squares != nil {
		d.download(unsafe.Pointer(&distances[0]), squares, 8*h.rows)
	}
	if a.Sums != nil {
		d.download(unsafe.Pointer(&a.Sums.Sums[0]), sums, 8*len(a.Sums.Sums))
	}
	err := d.wait()
	runtime.KeepAlive([2][]float32{stage, sorted})
	if err != nil || a.Order == nil {
		return
	}
	for p := range len(a.Starts) - 1 {
		for i, row := range a.Order[a.Starts[p]:a.Starts[p+1]] {
			a.Clusters[row] = int32(p*k) + found[a.Starts[p]+i]
			if a.Squares != nil {
				a.Squares[row] = distances[a.Starts[p]+i]
			}
		}
	}
}

// toFloats copies floats to a new array on the device.
func toFloats(d *device, x []float32) Buffer {
	b := d.floats(len(x))
	d.upload(b, unsafe.Pointer(&x[0]), 4*len(x))
	return b
}

// ordered returns the weights of listed rows; all of them without a list.
func ordered(weights []float32, order []int32) []float32 {
	if order == nil || weights == nil {
		return weights
	}
	sorted := make([]float32, len(order))
	for i, row := range order {
		sorted[i] = weights[row]
	}
	return sorted
}
