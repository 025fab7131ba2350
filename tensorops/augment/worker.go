// Package augment makes the views of self-supervised learning from 8-bit RGB
// images.
//
// A view is made by operations, one after the other, each of which draws from
// random numbers what it then applies; normalisation comes last. The operations
// equal those of torchvision.transforms on a PIL image byte for byte, including
// the rounding to 8 bits between operations, so that models trained here and
// there see the same images. Every operation has its own stream of random
// numbers: adding, removing or changing one leaves what the others draw.
package augment

import (
	"fmt"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Worker makes views. It keeps the buffers they need, so making a view does not
// allocate once they have grown to the largest image seen. A Worker must not be
// used by two goroutines at once.
type Worker struct {
	operations []Operation
	streams    [][2]uint64 // of each operation
	table      normTable
	image      Image
}

// NewWorker returns a worker for views of size x size pixels that operations
// make, which must be valid. The mean, of R, G and B scaled to 0..1, is then
// subtracted from them, and the rest divided by std.
func NewWorker(operations []Operation, size int, mean, std [3]float32) *Worker {
	return &Worker{
		operations: slices.Clone(operations),
		streams:    streams(operations),
		table:      newNormTable(mean, std),
		image:      Image{Size: size},
	}
}

// streams keys each operation by its name and by how many of that name come
// before it.
func streams(operations []Operation) (keys [][2]uint64) {
	seen := map[string]uint64{}
	for _, o := range operations {
		keys = append(keys, [2]uint64{rng.Name(o.Name()), seen[o.Name()]})
		seen[o.Name()]++
	}
	return keys
}

// View writes to dst [size, size, 3] the normalised view of the image src
// [height, width, 3]. The random numbers are from streams below the one that
// random was last made to Seek. It panics if a buffer's length does not fit its
// shape, or if no operation resizes and the image has not the size of a view.
func (w *Worker) View(dst []float32, src []uint8, height, width int, random *rng.Generator) {
	size := w.image.Size
	if len(dst) != size*size*3 {
		panic(fmt.Sprintf("augment: destination of %d values is not [%d %d 3]", len(dst), size, size))
	}
	w.table.apply(dst, w.pixels(src, height, width, random))
}

// pixels is View without the normalisation. What it returns is valid until the
// next view.
func (w *Worker) pixels(src []uint8, height, width int, random *rng.Generator) []uint8 {
	if len(src) != height*width*3 {
		panic(fmt.Sprintf("augment: source of %d bytes is not [%d %d 3]", len(src), height, width))
	}
	m := &w.image
	m.Pix, m.Height, m.Width = append(m.Pix[:0], src...), height, width
	for i, o := range w.operations {
		random.Below(w.streams[i][0], w.streams[i][1])
		o.Transform(m, random.Rand)
	}
	if m.Height != m.Size || m.Width != m.Size {
		panic(fmt.Sprintf("augment: the operations leave an image of [%d %d 3], not the view's [%d %d 3]", m.Height, m.Width, m.Size, m.Size))
	}
	return m.Pix
}
