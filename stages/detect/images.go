package detect

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io/fs"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// picture is an image whose longer side has the size of a detector's input.
type picture struct {
	imageio.RGB
	number  int64   // of the image in its set
	scale   float64 // its pixels per pixel of the image
	objects []detect.Object
}

// newPicture scales an image so that its longer side has a size.
func newPicture(rgb imageio.RGB, size int) picture {
	scale := float64(size) / float64(max(rgb.Width, rgb.Height))
	side := func(n int) int { return min(max(1, int(float64(n)*scale+.5)), size) }
	return picture{RGB: rgb.Resize(side(rgb.Width), side(rgb.Height)), scale: scale}
}

// read decodes and scales an image. The error of one that is broken, or whose annotation is, is a brokenError.
func read(ctx context.Context, set *annotations.Set, i, size int) (p picture, err error) {
	im := set.Images[i]
	because := func(format string, args ...any) error {
		return &brokenError{Index: int64(i), Source: im.Source, Reason: fmt.Sprintf(format, args...)}
	}
	if im.Reason != "" {
		return p, because("%s", im.Reason)
	}
	data, err := set.Read(ctx, i)
	if errors.Is(err, fs.ErrNotExist) {
		return p, because("there is no such image, though it is annotated")
	} else if err != nil {
		return p, err
	}
	rgb, err := imageio.Decode(data)
	if err != nil {
		return p, because("%v", err)
	}
	if im.Width > 0 && (im.Width != rgb.Width || im.Height != rgb.Height) {
		return p, because("it has %d x %d pixels, but its boxes are for %d x %d", rgb.Width, rgb.Height, im.Width, im.Height)
	}
	p = newPicture(rgb, size)
	p.number = int64(i)
	for k, o := range im.Objects {
		if o.Crowd || !(o.Box[2] > 0 && o.Box[3] > 0) {
			continue // nothing to learn
		}
		b := o.Box
		if b[0] >= float64(rgb.Width) || b[1] >= float64(rgb.Height) || b[0]+b[2] <= 0 || b[1]+b[3] <= 0 {
			return p, because("object %d, a %s, is outside the image: %v", k, set.Classes[o.Class], b)
		}
		p.objects = append(p.objects, detect.Object{Class: o.Class, Box: detect.Box{
			float32(b[0] * p.scale), float32(b[1] * p.scale), float32((b[0] + b[2]) * p.scale), float32((b[1] + b[3]) * p.scale),
		}})
	}
	return p, nil
}

// original returns a box of the picture in pixels of the image.
func (p picture) original(b detect.Box) metrics.Box {
	return metrics.Box{
		float64(b[0]) / p.scale, float64(b[1]) / p.scale, float64(b[2]-b[0]) / p.scale, float64(b[3]-b[1]) / p.scale,
	}
}

// put writes a normalized picture to the left top of an input of size x size pixels; the rest is zeros. It returns the
// objects in it. A mirrored picture has left and right exchanged.
func (p picture) put(dst []float32, size int, in inference.Input, mirrored bool) []detect.Object {
	clear(dst)
	row := make([]uint8, 3*p.Width)
	for y := range p.Height {
		copy(row, p.Pix[y*3*p.Width:])
		if mirrored {
			for a, b := 0, p.Width-1; a < b; a, b = a+1, b-1 {
				for c := range 3 {
					row[3*a+c], row[3*b+c] = row[3*b+c], row[3*a+c]
				}
			}
		}
		augment.Normalize(dst[3*y*size:3*(y*size+p.Width)], row, in.Mean, in.Std)
	}
	return p.mirror(mirrored)
}

// mirror returns the objects of a picture or, if mirrored, of its mirror image.
func (p picture) mirror(mirrored bool) []detect.Object {
	if !mirrored {
		return p.objects
	}
	objects := make([]detect.Object, len(p.objects))
	for i, o := range p.objects {
		width := float32(p.Width)
		objects[i] = detect.Object{Class: o.Class, Box: detect.Box{width - o.Box[2], o.Box[1], width - o.Box[0], o.Box[3]}}
	}
	return objects
}

// rgba returns a picture for drawing.
func (p picture) rgba() *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, p.Width, p.Height))
	for i := range p.Width * p.Height {
		copy(out.Pix[4*i:], p.Pix[3*i:3*i+3])
		out.Pix[4*i+3] = 255
	}
	return out
}
