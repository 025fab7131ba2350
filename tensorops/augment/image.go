package augment

import "github.com/sdr-ml/sdr/tensorops/resample"

// Image is the 8-bit RGB image that operations work on, one after the other. It
// owns Pix: an operation overwrites it, and may put another buffer in its
// place. It also keeps the buffers that operations need, so that they do not
// allocate once these have grown.
type Image struct {
	Pix           []uint8 // [Height, Width, 3]
	Height, Width int     // in pixels
	Size          int     // height and width in pixels of a view, which a Resizer makes of the image

	spare   []uint8 // changes places with Pix
	resizer resample.Scratch
	blurrer blurrer
}
