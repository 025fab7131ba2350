package detect

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/png"
	"math"
	"math/rand/v2"

	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/annotations"
)

// Crop is a labeled part of an image: a row of a classification task, for which the router can choose a sub-net, and to which
// one can be customized.
type Crop struct {
	// Image is a PNG of the part, such as the square around an object, as far as it is in the image.
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
	return p.cut(in, largestCrop)
}

// cut returns a part of the picture as PNG, scaled so that it has at most so many pixels per side.
func (p *picture) cut(in image.Rectangle, most int) ([]byte, error) {
	part := picture{}
	part.Width, part.Height = in.Dx(), in.Dy()
	for row := in.Min.Y; row < in.Max.Y; row++ {
		part.Pix = append(part.Pix, p.Pix[3*(row*p.Width+in.Min.X):3*(row*p.Width+in.Max.X)]...)
	}
	if longer := max(part.Width, part.Height); longer > most {
		part.RGB = part.Resize(max(1, part.Width*most/longer), max(1, part.Height*most/longer))
	}
	var b bytes.Buffer
	err := png.Encode(&b, part.rgba())
	return b.Bytes(), err
}

// Background is the label of a tile without an object in its middle.
const Background = "background"

// TileConfig says which tiles to cut.
type TileConfig struct {
	// Size is the length in pixels to which the longer side of an image is scaled, as for a detector.
	Size int
	// Side is the least length of a tile in pixels; the greatest is half as much again.
	Side int
	// PerImage is the number of tiles of an image, and Images the largest number of images, drawn at random.
	PerImage, Images int
}

// Validate returns an error for a value out of range.
func (c TileConfig) Validate() error {
	if c.Side < 8 || c.Size < c.Side || c.PerImage < 1 || c.Images < 1 {
		return fmt.Errorf("%d tiles of %d px per image of %d px, %d images; want at least 1 of each, and tiles of 8 px up to the image's size",
			c.PerImage, c.Side, c.Size, c.Images)
	}
	return nil
}

// Tiles cuts squares out of the scaled images of a set, at random places: what a detector's backbone sees, as images to
// customize it on. The label is the class of the smallest object over the middle, or Background.
func Tiles(ctx context.Context, set *annotations.Set, cfg TileConfig) (tiles []Crop, err error) {
	for _, i := range rng.New(0, rng.Sample).Perm(len(set.Images))[:min(len(set.Images), cfg.Images)] {
		p, err := read(ctx, set, i, cfg.Size)
		if err != nil {
			return nil, err
		}
		r := rng.New(0, rng.Sample, rng.Name("tiles"), uint64(i))
		for range cfg.PerImage {
			tile, err := p.tile(min(cfg.Side+r.IntN(cfg.Side/2+1), p.Width, p.Height), set.Classes, r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", set.Images[i].Source, err)
			}
			tiles = append(tiles, tile)
		}
	}
	return tiles, nil
}

// tile cuts out a square.
func (p *picture) tile(side int, classes []string, r *rand.Rand) (Crop, error) {
	at := image.Pt(r.IntN(p.Width-side+1), r.IntN(p.Height-side+1))
	x, y := float32(at.X)+float32(side)/2, float32(at.Y)+float32(side)/2
	label, area := Background, float32(math.Inf(1))
	for _, o := range p.objects {
		if b := o.Box; b[0] < x && x < b[2] && b[1] < y && y < b[3] && b.Area() < area {
			label, area = classes[o.Class], b.Area()
		}
	}
	data, err := p.cut(image.Rectangle{Min: at, Max: at.Add(image.Pt(side, side))}, side)
	return Crop{data, label}, err
}
