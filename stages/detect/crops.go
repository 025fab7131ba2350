package detect

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"

	"github.com/sdr-ml/sdr/transforms/annotations"
)

// Crop is a labeled image of one object: a row of a classification task, which the router can choose a sub-net for.
type Crop struct {
	// Image is a PNG of the square around the object, as far as it is in the image.
	Image []byte `arrow:"image"`
	// Label is the name of its class.
	Label string `arrow:"label"`
}

// largestCrop is the length in pixels to which a larger crop is scaled.
const largestCrop = 128

// Crops cuts the objects out of the images of a set, at most so many of each class, evenly spaced over the set.
func Crops(ctx context.Context, set *annotations.Set, most int) (crops []Crop, err error) {
	total := make([]int, len(set.Classes))
	usable := func(o annotations.Object) bool { return !o.Crowd && o.Box[2] >= 1 && o.Box[3] >= 1 }
	for _, im := range set.Images {
		for _, o := range im.Objects {
			if usable(o) {
				total[o.Class]++
			}
		}
	}
	seen := make([]int, len(set.Classes))
	for i, im := range set.Images {
		var p *picture
		for _, o := range im.Objects {
			if !usable(o) {
				continue
			}
			n, all := seen[o.Class], total[o.Class]
			if seen[o.Class]++; all > most && n > 0 && n*most/all == (n-1)*most/all {
				continue
			}
			if p == nil {
				read, err := read(ctx, set, i, 0)
				if err != nil {
					return nil, err
				}
				p = &read
			}
			data, err := p.crop(o)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", im.Source, err)
			}
			crops = append(crops, Crop{data, set.Classes[o.Class]})
		}
	}
	return crops, nil
}

// crop returns the square around an object as PNG.
func (p *picture) crop(o annotations.Object) ([]byte, error) {
	x, y, side := o.Box[0]+o.Box[2]/2, o.Box[1]+o.Box[3]/2, max(o.Box[2], o.Box[3])
	in := image.Rect(int(x-side/2), int(y-side/2), int(x+side/2+.5), int(y+side/2+.5)).Intersect(image.Rect(0, 0, p.Width, p.Height))
	if in.Empty() {
		return nil, fmt.Errorf("the box %v is outside of the image", o.Box)
	}
	cut := picture{}
	cut.Width, cut.Height = in.Dx(), in.Dy()
	for row := in.Min.Y; row < in.Max.Y; row++ {
		cut.Pix = append(cut.Pix, p.Pix[3*(row*p.Width+in.Min.X):3*(row*p.Width+in.Max.X)]...)
	}
	if longer := max(cut.Width, cut.Height); longer > largestCrop {
		cut.RGB = cut.Resize(max(1, cut.Width*largestCrop/longer), max(1, cut.Height*largestCrop/longer))
	}
	var b bytes.Buffer
	err := png.Encode(&b, cut.rgba())
	return b.Bytes(), err
}
