// Package augment makes the views of self-supervised learning from 8-bit RGB
// images: crop and resize, colour jitter, grey, blur, flip, normalise.
//
// A view is made in two steps. Recipe.Draw turns random numbers into Params,
// and Worker.Apply, which is deterministic, turns an image and Params into a
// view. The chain is SimSiam's (Chen and He, arXiv 2011.10566; MoCo v2's recipe)
// and each operation equals torchvision.transforms on a PIL image byte for
// byte, including the rounding to 8 bits between operations, so that models
// trained here and there see the same images.
package augment

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/resample"
)

// Worker makes views of one recipe. It keeps the buffers they need, so making
// a view does not allocate once they have grown to the largest image seen. A
// Worker must not be used by two goroutines at once.
type Worker struct {
	size    int
	table   normTable
	resizer resample.Scratch
	blurrer blurrer
	crop    []uint8 // the pixels of Params.Box, without the rest of the image
	view    []uint8 // [size, size, 3]
}

// NewWorker returns a worker for a valid recipe, of which it needs the size
// and the normalisation only.
func NewWorker(r *Recipe) *Worker {
	return &Worker{
		size:  r.Size,
		table: newNormTable(r.Mean, r.Std),
		view:  make([]uint8, r.Size*r.Size*3),
	}
}

// Apply writes the normalised view that p describes of the image src
// [height, width, 3] to dst [Size, Size, 3]. It panics if a buffer's length
// does not fit its shape or p.Box leaves the image.
func (w *Worker) Apply(dst []float32, src []uint8, height, width int, p Params) {
	if len(dst) != len(w.view) {
		panic(fmt.Sprintf("augment: destination of %d values is not [%d %d 3]", len(dst), w.size, w.size))
	}
	w.Pixels(w.view, src, height, width, p)
	w.table.apply(dst, w.view)
}

// Pixels is Apply without the normalisation: it writes the view's bytes to dst
// [Size, Size, 3].
func (w *Worker) Pixels(dst, src []uint8, height, width int, p Params) {
	if len(dst) != w.size*w.size*3 {
		panic(fmt.Sprintf("augment: destination of %d bytes is not [%d %d 3]", len(dst), w.size, w.size))
	}
	if len(src) != height*width*3 {
		panic(fmt.Sprintf("augment: source of %d bytes is not [%d %d 3]", len(src), height, width))
	}
	cropped := w.cut(src, height, width, p.Box)
	box := [4]float64{0, 0, float64(p.Box.Width), float64(p.Box.Height)}
	resample.Resize(dst, w.size, w.size, cropped, p.Box.Width, p.Box.Height, box, resample.Bilinear, &w.resizer)
	if p.Jitter {
		jitter(dst, p)
	}
	if p.Gray {
		gray(dst)
	}
	if p.Blur {
		w.blurrer.gaussian(dst, w.size, w.size, p.Sigma)
	}
	if p.Flip {
		flip(dst, w.size)
	}
}

// cut returns the pixels of the box. The resize filter must not see the pixels
// around it, because torchvision crops before it resizes.
func (w *Worker) cut(src []uint8, height, width int, b Box) []uint8 {
	if b.Top < 0 || b.Left < 0 || b.Height <= 0 || b.Width <= 0 || b.Top+b.Height > height || b.Left+b.Width > width {
		panic(fmt.Sprintf("augment: crop %+v is empty or not inside the [%d %d 3] image", b, height, width))
	}
	if b.Width == width {
		return src[b.Top*width*3 : (b.Top+b.Height)*width*3]
	}
	w.crop = w.crop[:0]
	for y := b.Top; y < b.Top+b.Height; y++ {
		w.crop = append(w.crop, src[(y*width+b.Left)*3:(y*width+b.Left+b.Width)*3]...)
	}
	return w.crop
}

// flip mirrors an image [H, width, 3] left to right.
func flip(pix []uint8, width int) {
	for ; len(pix) > 0; pix = pix[width*3:] {
		for l, r := 0, (width-1)*3; l < r; l, r = l+3, r-3 {
			a, b := (*[3]uint8)(pix[l:]), (*[3]uint8)(pix[r:])
			*a, *b = *b, *a
		}
	}
}
