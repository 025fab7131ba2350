// Package augment makes views of 8-bit RGB images for self-supervised learning.
//
// A view is the result of a sequence of random operations, followed by normalization. The operations are byte-for-byte
// equal to those of torchvision.transforms on PIL images, including the rounding to 8 bits between operations, so
// models trained with either see the same images. Every operation draws from its own random stream: adding, removing or
// changing one does not affect the others.
package augment

import (
	"fmt"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Worker makes views. It keeps its buffers, so making a view does not allocate once they have grown to the largest
// image seen. A Worker is not safe for concurrent use.
type Worker struct {
	operations []Operation
	streams    [][2]uint64 // stream keys of the operations
	table      normTable
	image      Image
}

// NewWorker returns a worker for views of size x size pixels. The operations must be valid. Normalization subtracts
// mean from R, G and B, scaled to 0..1, and divides by std.
func NewWorker(operations []Operation, size int, mean, std [3]float32) *Worker {
	return &Worker{
		operations: slices.Clone(operations),
		streams:    streams(operations),
		table:      newNormTable(mean, std),
		image:      Image{Size: size},
	}
}

// streams keys each operation by its name and the number of earlier operations with that name.
func streams(operations []Operation) (keys [][2]uint64) {
	seen := map[string]uint64{}
	for _, o := range operations {
		keys = append(keys, [2]uint64{rng.Name(o.Name()), seen[o.Name()]})
		seen[o.Name()]++
	}
	return keys
}

// View writes a normalized view of the image src [height, width, 3] to dst [size, size, 3]. It draws from streams below
// the one of random's last Seek (see [rng.Generator.Below]). It panics if a buffer's length does not match its shape,
// or if no operation resizes and the image does not have the size of a view.
func (w *Worker) View(dst []float32, src []uint8, height, width int, random *rng.Generator) {
	size := w.image.Size
	if len(dst) != size*size*3 {
		panic(fmt.Sprintf("augment: destination of %d values is not [%d %d 3]", len(dst), size, size))
	}
	w.table.apply(dst, w.pixels(src, height, width, random))
}

// pixels is View without normalization. The result is valid until the next call.
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
	m.check(m.Height, m.Width)
	return m.Pix
}

// Plan draws what View would draw for an image of height x width and appends the steps that make the same pixels. It
// panics if an operation is not [Portable], or if View would for the size.
func (w *Worker) Plan(to []Step, height, width int, random *rng.Generator) []Step {
	for i, o := range w.operations {
		random.Below(w.streams[i][0], w.streams[i][1])
		to = o.(Portable).Plan(to, random.Rand, height, width)
		if _, resizes := o.(Resizer); resizes {
			height, width = w.image.Size, w.image.Size
		}
	}
	w.image.check(height, width)
	return to
}

// Fill is Plan for a list of fixed length, which it ends with zero Steps. It panics if the list is too short.
func (w *Worker) Fill(list []Step, height, width int, random *rng.Generator) {
	clear(list[len(w.Plan(list[:0], height, width, random)):])
}
