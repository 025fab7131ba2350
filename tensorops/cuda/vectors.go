package cuda

import (
	"errors"
	"log/slog"
	"runtime"
	"sync"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// vectors is kernels.Vectors on a GPU, which it opens when there is work that pays and then keeps open. It takes memory of
// the GPU only during a call and for the rows that it holds.
type vectors struct {
	*gpus
	opts         ssl.Device
	least, reuse int // what pays

	mu   sync.Mutex
	d    *device // nil until there is work, and after an error
	held int     // the number of held that are open
}

// What pays on a GPU, by what is known of the hardware: at least so many multiply-adds, since allocating, launching and waiting
// take some milliseconds, in which a few processors compute as many; and of a search at least so many for each value that is
// copied to the GPU, which takes as long as a processor with wide vectors needs for them. The rows of a clustering are copied
// once for many passes.
const (
	leastProducts = 1 << 29
	leastReuse    = 256
)

// vectorWorkspace is the workspace of products of vectors, in bytes. It is always the same, so that cublasLt's choice of an
// algorithm does not depend on how much memory is free.
const vectorWorkspace = 32 << 20

// use calls work with the open device, which must be the given one unless that is nil, and gives its memory back to the driver.
// It reports false if there is too little memory or that device was closed.
func (v *vectors) use(on *device, work func(d *device)) (done bool, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if on != nil && v.d != on {
		return false, nil
	}
	if v.d == nil {
		if v.d, err = onDevice(v.gpus, v.opts, ssl.FP32, func(d *device) (*device, error) { return d, nil }); err != nil {
			return false, short(err)
		}
	}
	leave, err := v.d.enter()
	if err != nil {
		return false, err
	}
	defer leave()
	v.d.workspace = v.d.bytes(vectorWorkspace)
	work(v.d)
	err = v.d.wait()
	runtime.KeepAlive(work) // and what it copied from
	v.d.free(v.d.workspace)
	switch {
	case err == nil && v.held > 0: // which soon asks for the same memory again
		return true, nil
	case err == nil:
		return true, v.d.memory.trim()
	}
	return false, short(errors.Join(err, v.close()))
}

// short returns nil for a lack of memory, which it logs.
func short(err error) error {
	if errors.Is(err, ssl.ErrOutOfMemory) {
		slog.Warn("too little GPU memory for clustering or nearest neighbors; the CPU computes them", "error", err)
		return nil
	}
	return err
}

// close closes the device.
func (v *vectors) close() error {
	if v.d == nil {
		return nil
	}
	d := v.d
	v.d, v.held = nil, 0
	return d.close()
}

// The largest tile of products: 256 MiB.
const (
	tileQueries = 1 << 12
	tileRows    = 1 << 14
)

// tileStep divides the first row of every tile, so that its address is aligned for cublasLt.
const tileStep = align

// Search implements kernels.Vectors.
func (v *vectors) Search(s kernels.Search) (done bool, err error) {
	rows, queries := len(s.Base)/s.Width, len(s.Query)/s.Width
	if s.K > top || rows*queries*s.Width < v.least || rows*queries < v.reuse*(rows+queries) {
		return false, nil
	}
	return v.use(nil, func(d *device) { d.search(s) })
}

// search does a search, tile by tile. Operands that do not fit into half of the free memory are copied in parts.
func (d *device) search(s kernels.Search) {
	w, k := s.Width, s.K
	rows, queries := len(s.Base)/w, len(s.Query)/w
	room := int(d.memory.available() / 2)
	tileQ, tileB := fitTile(min(queries, tileQueries), min(rows, tileRows), room/4)
	partQ, partB := fitRows(queries, tileQ, 4*w+8*k, room*3/8), fitRows(rows, tileB, 4*w, room*3/8)
	products, base := d.floats(tileQ*tileB), d.floats(partB*w)
	query, best, index := base, d.floats(partQ*k), d.floats(partQ*k)
	if shared := s.Others && partQ == partB && partQ == queries; !shared {
		query = d.floats(partQ * w)
		defer func() { d.free(query) }()
	}
	defer func() { d.free(products, base, best, index) }()
	for fromQ := 0; fromQ < queries; fromQ += partQ {
		nQ := min(partQ, queries-fromQ)
		found, numbers := unsafe.Pointer(&s.Similarity[fromQ*k]), unsafe.Pointer(&s.Index[fromQ*k])
		d.upload(query, unsafe.Pointer(&s.Query[fromQ*w]), 4*nQ*w)
		d.upload(best, found, 4*nQ*k)
		d.upload(index, numbers, 4*nQ*k)
		for fromB := 0; fromB < rows; fromB += partB {
			nB := min(partB, rows-fromB)
			if query != base && (fromQ == 0 || partB < rows) {
				d.upload(base, unsafe.Pointer(&s.Base[fromB*w]), 4*nB*w)
			}
			for i := 0; i < nQ; i += tileQ {
				for j := 0; j < nB; j += tileB {
					m, n := min(tileQ, nQ-i), min(tileB, nB-j)
					d.multiply(false, true, m, n, w, query.slice(i*w, (i+m)*w, 4), base.slice(j*w, (j+n)*w, 4), products, true)
					d.launch("search_rows", dim1(m), dim1(threads), products, best.slice(i*k, (i+m)*k, 4), index.slice(i*k, (i+m)*k, 4),
						n, k, fromB+j, s.Others, fromQ+i)
				}
			}
		}
		d.download(found, best, 4*nQ*k)
		d.download(numbers, index, 4*nQ*k)
	}
}

// fitTile halves a tile of products until it takes no more than room bytes.
func fitTile(rows, columns, room int) (int, int) {
	for 4*rows*columns > room && max(rows, columns) > tileStep {
		if rows > columns {
			rows = ceil(rows, 2*tileStep) * tileStep
		} else {
			columns = ceil(columns, 2*tileStep) * tileStep
		}
	}
	return rows, columns
}

// fitRows returns how many of n rows fit into room bytes: all of them, or a multiple of a tile's, at least one tile.
func fitRows(n, tile, bytes, room int) int {
	if fit := room / bytes; fit < n {
		return max(1, fit/tile) * tile
	}
	return n
}
