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

// Tile is a square of an image with a label: a row of a classification task, to which a backbone can be customized.
type Tile struct {
	// Image is a PNG.
	Image []byte `arrow:"image"`
	// Label is the name of the class of the smallest object over the middle, or Background.
	Label string `arrow:"label"`
}

// Background is the label of a tile without an object over its middle.
const Background = "background"

// TileConfig says which tiles to cut.
type TileConfig struct {
	// Size is the length in pixels to which the longer side of an image is scaled, as for a detector.
	Size int
	// Side is the least length of a tile in pixels; the greatest is half as much again.
	Side int
	// PerImage is the number of tiles of an image, and Images the largest number of images, drawn at random.
	PerImage, Images int
	// Limit says what becomes of images that cannot be used.
	Limit Limit
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
// customize it on.
func Tiles(ctx context.Context, set *annotations.Set, cfg TileConfig) (tiles []Tile, err error) {
	drawn := rng.New(0, rng.Sample).Perm(len(set.Images))[:min(len(set.Images), cfg.Images)]
	var errs []error
	for _, i := range drawn {
		p, err := read(ctx, set, i, cfg.Size)
		if errs = append(errs, err); err != nil {
			continue
		}
		r, whole := rng.New(0, rng.Sample, rng.Name("tiles"), uint64(i)), p.rgba()
		for range cfg.PerImage {
			tile, err := p.tile(whole, min(cfg.Side+r.IntN(cfg.Side/2+1), p.Width, p.Height), set.Classes, r)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", set.Images[i].Source, err)
			}
			tiles = append(tiles, tile)
		}
	}
	_, err = cfg.Limit.check(ctx, len(drawn), errs)
	return tiles, err
}

// tile cuts a square out of the whole picture.
func (p picture) tile(whole *image.RGBA, side int, classes []string, r *rand.Rand) (Tile, error) {
	at := image.Pt(r.IntN(p.Width-side+1), r.IntN(p.Height-side+1))
	x, y := float32(at.X)+float32(side)/2, float32(at.Y)+float32(side)/2
	label, area := Background, float32(math.Inf(1))
	for _, o := range p.objects {
		if b := o.Box; b[0] < x && x < b[2] && b[1] < y && y < b[3] && b.Area() < area {
			label, area = classes[o.Class], b.Area()
		}
	}
	var b bytes.Buffer
	err := png.Encode(&b, whole.SubImage(image.Rectangle{Min: at, Max: at.Add(image.Pt(side, side))}))
	return Tile{b.Bytes(), label}, err
}
