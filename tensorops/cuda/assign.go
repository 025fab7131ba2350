package cuda

import (
	"runtime"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// assignBytes is what the arrays of the rows that are assigned at a time take, at most: about as much as the L2 cache holds, so
// that products are read from there.
const assignBytes = 64 << 20

// assigning is an assignment of held rows, some rows of a parent after the other.
type assigning struct {
	kernels.Assignment
	d    *device
	held *held
	most int // rows at a time

	products, centroids      Buffer // of those rows, and those of their parent
	low, high, reach, prices Buffer
	clusters, squares        Buffer // of all rows, by parent

	order Buffer    // zero if the rows are held in their order
	block Buffer    // rows in order
	stage []float32 // the same on the CPU, for rows that are not on the device

	stride                      int // sums per centroid
	counts, list, sums, weights Buffer
	sorted                      []float32 // weights by parent
}

// assign does an assignment.
func (h *held) assign(d *device, of kernels.Assignment) {
	a := &assigning{Assignment: of, d: d, held: h}
	a.allocate()
	for p := range len(a.Starts) - 1 {
		from, end := a.Starts[p], a.Starts[p+1]
		if from < end {
			d.upload(a.centroids, unsafe.Pointer(&a.Centroids[p*a.K*h.width]), 4*a.K*h.width)
		}
		for ; from < end; from += a.most {
			a.rows(p, from, min(a.most, end-from))
		}
	}
	a.finish()
	d.free(a.products, a.centroids, a.clusters, a.low, a.high, a.reach, a.prices, a.squares, a.order, a.block, a.counts, a.list, a.sums, a.weights)
}

// allocate allocates what the assignment needs, and copies what all rows use to the device.
func (a *assigning) allocate() {
	d, rows, w := a.d, a.held.rows, a.held.width
	direct := a.held.on.Addr != 0 && a.Order == nil
	bytes := 4*a.K + 4
	if !direct {
		bytes += 4 * w
	}
	a.most = fitRows(rows, tileStep, bytes, min(assignBytes, int(d.memory.available()/4)))
	a.products, a.centroids, a.clusters = d.floats(a.most*a.K), d.floats(a.K*w), d.bytes(4*rows)
	a.low, a.high, a.reach, a.prices = toFloats(d, a.Low), toFloats(d, a.High), toFloats(d, a.Reach), d.bytes(8*len(a.Prices))
	d.upload(a.prices, unsafe.Pointer(&a.Prices[0]), 8*len(a.Prices))
	if a.Squares != nil {
		a.squares = d.bytes(8 * rows)
	}
	if !direct {
		a.block = d.floats(a.most * w)
	}
	switch {
	case direct:
	case a.held.on.Addr == 0:
		a.stage = make([]float32, a.most*w)
	default:
		a.order = d.bytes(4 * rows)
		d.upload(a.order, unsafe.Pointer(&a.Order[0]), 4*rows)
	}
	if a.Sums == nil {
		return
	}
	n := len(a.Sums.Sums)
	a.stride = n / len(a.Low)
	a.sums, a.counts, a.list = d.bytes(8*n), d.bytes(4*a.K), d.bytes(4*a.most)
	d.zero(a.sums, 8*n)
	if a.sorted = ordered(a.Sums.Weights, a.Order); a.sorted != nil {
		a.weights = toFloats(d, a.sorted)
	}
}

// vectors returns n rows from the given one on, by parent.
func (a *assigning) vectors(from, n int) Buffer {
	h, d, w := a.held, a.d, a.held.width
	switch {
	case a.stage != nil:
		_ = d.wait() // until the last rows have left it
		h.copyRows(a.stage, a.Order, from, n)
		d.upload(a.block, unsafe.Pointer(&a.stage[0]), 4*n*w)
	case a.Order != nil:
		d.launch("gather_rows", dim1(n), dim1(threads), h.on, a.order.slice(from, from+n, 4), a.block, w)
	default:
		return h.on.slice(from*w, (from+n)*w, 4)
	}
	return a.block
}

// rows assigns n rows of a parent from the given one on, and adds them up.
func (a *assigning) rows(parent, from, n int) {
	d, w, k := a.d, a.held.width, a.K
	of := func(b Buffer, size int) Buffer { return b.slice(parent*k, (parent+1)*k, size) }
	rows := func(b Buffer, size int) Buffer { return b.slice(from, from+n, size) }
	x := a.vectors(from, n)
	d.multiply(false, true, n, k, w, x, a.centroids, a.products, true)
	d.zero(a.counts, 4*k)
	d.launch("assign_rows", dim1(ceil(n*group, threads)), dim1(threads), a.products, x, a.centroids, of(a.low, 4), of(a.high, 4), of(a.reach, 4),
		of(a.prices, 8), rows(a.clusters, 4), rows(a.squares, 8), a.counts, n, k, w, a.Longest)
	if a.Sums == nil {
		return
	}
	d.launch("order_counts", dim1(1), dim1(threads), a.counts, k)
	d.launch("list_rows", dim1(ceil(n, threads)), dim1(threads), rows(a.clusters, 4), a.counts, a.list, n)
	first := w
	if a.Sums.Vectors {
		first = 0
	}
	d.launch("sum_rows", dim3{uint32(ceil(n, summed)), uint32(ceil(a.stride-first, threads)), 1}, dim1(threads), x, rows(a.clusters, 4),
		rows(a.squares, 8), rows(a.weights, 4), a.list, a.sums.slice(parent*k*a.stride, (parent+1)*k*a.stride, 8), n, w, first, a.stride,
		a.Sums.Unit, a.Sums.Square, a.Sums.Weight)
}

// finish waits for the results, and puts those of the rows into their order.
func (a *assigning) finish() {
	d, rows := a.d, a.held.rows
	found, distances := a.Clusters, a.Squares
	if a.Order != nil {
		found, distances = make([]int32, rows), make([]float64, len(a.Squares))
	}
	d.download(unsafe.Pointer(&found[0]), a.clusters, 4*rows)
	if a.Squares != nil {
		d.download(unsafe.Pointer(&distances[0]), a.squares, 8*rows)
	}
	if a.Sums != nil {
		d.download(unsafe.Pointer(&a.Sums.Sums[0]), a.sums, 8*len(a.Sums.Sums))
	}
	err := d.wait()
	runtime.KeepAlive([2][]float32{a.stage, a.sorted})
	if err != nil || a.Order == nil {
		return
	}
	for p := range len(a.Starts) - 1 {
		for i, row := range a.Order[a.Starts[p]:a.Starts[p+1]] {
			a.Clusters[row] = int32(p*a.K) + found[a.Starts[p]+i]
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
