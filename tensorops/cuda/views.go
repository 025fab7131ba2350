package cuda

import (
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// viewBlocks is the most blocks for views of any size: together they fill a large GPU, and each has a part of work.
const viewBlocks = 256

// viewMaker makes the views of a batch on the GPU.
type viewMaker struct {
	q           queue
	of          ssl.Views
	batch, size int
	sources     Buffer // bytes: the steps of all views, then the images
	work        Buffer // bytes, of the blocks; zero if shared memory suffices
	room        int    // bytes of work per block
}

// newViewMaker returns a maker of views of size x size pixels of batch images.
func newViewMaker(q queue, m memory, of ssl.Views, batch, size int) *viewMaker {
	v := &viewMaker{q: q, of: of, batch: batch, size: size}
	v.sources = m.bytes(v.stepBytes() + batch*of.Size*of.Size*3)
	if most := max(of.Size, size); most > viewSide {
		weights := 2 * 4 * (2*most + 3*size) // VIEW_WEIGHTS in views.cu
		v.room = ceil(weights+2*3*most*most, lanes) * lanes
		v.work = m.bytes(min(2*batch, viewBlocks) * v.room)
	}
	return v
}

// stepBytes returns the size of the steps of all views.
func (v *viewMaker) stepBytes() int {
	return 2 * v.batch * v.of.Steps * int(unsafe.Sizeof(augment.Step{}))
}

// in returns the sources in host memory that is laid out as in the device's.
func (v *viewMaker) in(host []byte) ssl.Sources {
	at := v.stepBytes()
	return ssl.Sources{
		Steps:  unsafe.Slice((*augment.Step)(unsafe.Pointer(&host[0])), 2*v.batch*v.of.Steps),
		Images: host[at:],
	}
}

// run writes the normalized views to activations [2·batch, size, size, 3].
func (v *viewMaker) run(to Buffer) {
	n, blocks := v.of, 2*v.batch
	if v.room > 0 {
		blocks = min(blocks, viewBlocks)
	}
	v.q.launch("views", dim1(blocks), dim1(viewThreads), v.sources.slice(v.stepBytes(), v.sources.Len, 1), v.sources, to,
		2*v.batch, n.Steps, n.Size, v.size, n.Mean[0], n.Mean[1], n.Mean[2], n.Std[0], n.Std[1], n.Std[2], v.work, v.room)
}
