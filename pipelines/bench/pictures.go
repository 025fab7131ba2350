package bench

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"math"
	"math/rand/v2"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/resample"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// pictures are the images that cases read.
type pictures struct {
	path  string        // of a collection; empty for synthetic images
	small []imageio.RGB // empty until read
}

const (
	smallSize  = 32  // height and width in pixels of a small image
	smallCount = 512 // number of small images
)

// encode returns the small images as files in a format, jpeg or png.
func (p *pictures) encode(format string) source {
	return func(ctx context.Context) ([][]byte, error) {
		if err := p.read(ctx); err != nil {
			return nil, err
		}
		var files [][]byte
		for _, m := range p.small {
			data, err := encode(m, format)
			if err != nil {
				return nil, err
			}
			files = append(files, data)
		}
		return files, nil
	}
}

// read loads the small images, evenly spaced over the collection, or makes synthetic ones.
func (p *pictures) read(ctx context.Context) error {
	if len(p.small) > 0 {
		return nil
	}
	if p.path == "" {
		for i := range smallCount {
			p.small = append(p.small, scene(rng.New(1, rng.Sample, uint64(i)), smallSize, smallSize))
		}
		return nil
	}
	const perSplit = 16
	splits, err := imageio.Plan(ctx, []string{p.path}, perSplit)
	if err != nil {
		return run.Usage(err)
	}
	const wanted = smallCount / perSplit
	for i := range min(wanted, len(splits)) {
		split := splits[i*len(splits)/min(wanted, len(splits))]
		err := imageio.Squares(ctx, split, smallSize, func(im imageio.Image, square imageio.RGB, damage error) error {
			if damage != nil {
				return fmt.Errorf("%s: %w", im.Source, damage)
			}
			p.small = append(p.small, square)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// photo returns one large synthetic JPEG file.
func photo(context.Context) ([][]byte, error) {
	data, err := encode(scene(rng.New(1, rng.Sample), photoWidth, photoHeight), "jpeg")
	return [][]byte{data}, err
}

const photoWidth, photoHeight = 1024, 768

// encode encodes an image as a file.
func encode(m imageio.RGB, format string) ([]byte, error) {
	img := image.NewRGBA(image.Rect(0, 0, m.Width, m.Height))
	for i := range m.Width * m.Height {
		copy(img.Pix[4*i:], m.Pix[3*i:3*i+3])
		img.Pix[4*i+3] = 255
	}
	var b bytes.Buffer
	var err error
	if format == "png" {
		err = png.Encode(&b, img)
	} else {
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: 90})
	}
	return b.Bytes(), err
}

// scene makes a synthetic image: noise whose amplitude falls with its frequency, as in photos, behind some discs.
func scene(r *rand.Rand, width, height int) imageio.RGB {
	sum := make([]float64, width*height*3)
	var scratch resample.Scratch
	layer := make([]uint8, len(sum))
	for cells := 2; cells <= max(width, height)/2; cells *= 2 {
		noise := make([]uint8, cells*cells*3)
		for i := range noise {
			noise[i] = uint8(r.IntN(256))
			if i%3 > 0 {
				noise[i] = uint8((3*int(noise[i-i%3]) + int(noise[i])) / 4) // correlates the channels
			}
		}
		whole := [4]float64{0, 0, float64(cells), float64(cells)}
		resample.Resize(layer, width, height, noise, cells, cells, whole, resample.Bicubic, &scratch)
		for i, v := range layer {
			sum[i] += (float64(v) - 128) * 2 / float64(cells)
		}
	}
	m := imageio.RGB{Width: width, Height: height, Pix: make([]uint8, len(sum))}
	for i, v := range sum {
		m.Pix[i] = uint8(math.Max(0, math.Min(255, 128+v)))
	}
	for range 4 {
		disc(m, r)
	}
	return m
}

// disc draws a slightly transparent disc of one color on an image.
func disc(m imageio.RGB, r *rand.Rand) {
	cx, cy := r.IntN(m.Width), r.IntN(m.Height)
	radius := 1 + r.IntN(max(m.Width, m.Height)/4)
	color := [3]int{r.IntN(256), r.IntN(256), r.IntN(256)}
	for i := range m.Width * m.Height {
		dx, dy := i%m.Width-cx, i/m.Width-cy
		if dx*dx+dy*dy > radius*radius {
			continue
		}
		for c, v := range color {
			m.Pix[3*i+c] = uint8((int(m.Pix[3*i+c]) + 3*v) / 4)
		}
	}
}
