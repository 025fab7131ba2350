package augment

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/resample"
)

// Image is the 8-bit RGB image that a sequence of operations transforms. It owns Pix: operations modify it in place or
// replace it with another buffer. It also keeps scratch buffers, so that operations do not allocate once these have
// grown.
type Image struct {
	Pix           []uint8 // [Height, Width, 3]
	Height, Width int     // in pixels
	Size          int     // height and width of the view in pixels, to which a Resizer resizes the image

	spare   []uint8 // is swapped with Pix
	resizer resample.Scratch
	blurrer blurrer
}

// check panics if the height and width that the operations leave are not the view's.
func (m *Image) check(height, width int) {
	if height != m.Size || width != m.Size {
		panic(fmt.Sprintf("augment: the operations leave an image of [%d %d 3], not the view's [%d %d 3]", height, width, m.Size, m.Size))
	}
}
