package detect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"slices"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// DrawnScore is the least score of the objects that Draw draws.
const DrawnScore = .3

const (
	sheetImages = 12  // per detector
	sheetSize   = 320 // of the longer side
)

// The colors of boxes: white for what is annotated, one per class for what was found.
var (
	annotatedColor = color.RGBA{255, 255, 255, 255}
	classColors    = []color.RGBA{
		{230, 159, 0, 255}, {86, 180, 233, 255}, {0, 158, 115, 255}, {240, 228, 66, 255}, {213, 94, 0, 255}, {204, 121, 167, 255}, {0, 114, 178, 255},
	} // Okabe and Ito's, which the color-blind can tell apart
)

// Drawing is a picture of an image with boxes around its objects.
type Drawing struct {
	// Source is the image's file, the file that contains it, or archive!member.
	Source string
	// JPEG is the picture.
	JPEG []byte
}

// Draw draws what each detector found with a score of at least DrawnScore, and what is annotated, in the same images for all
// of them. The images that cannot be used are left out.
func Draw(ctx context.Context, set *annotations.Set, detectors []Detector, found []Detection) ([][]Drawing, error) {
	all := make([][]Drawing, len(detectors))
	n := min(sheetImages, len(set.Images))
	for i := range n {
		at := i * len(set.Images) / n
		p, err := read(ctx, set, at, sheetSize)
		if errors.As(err, new(*brokenError)) {
			continue
		} else if err != nil {
			return nil, err
		}
		for k, d := range detectors {
			own := slices.DeleteFunc(slices.Clone(found), func(f Detection) bool {
				return f.Net != d.Net || f.Seed != d.Seed || f.Image != int64(at) || f.Score < DrawnScore
			})
			drawn, err := p.draw(set.Classes, own)
			if err != nil {
				return nil, err
			}
			all[k] = append(all[k], Drawing{set.Images[at].Source, drawn})
		}
	}
	return all, nil
}

// errDrawn ends the reading of images when there are enough pictures.
var errDrawn = errors.New("there are enough pictures")

// DrawFound draws the first images of splits in which a detector found something with Find. found is in the order of the
// images.
func DrawFound(ctx context.Context, splits []imageio.Split, card Card, found []Found) (all []Drawing, err error) {
	found = slices.DeleteFunc(slices.Clone(found), func(f Found) bool { return len(f.Classes) == 0 })
	found = found[:min(len(found), sheetImages)]
	for _, split := range splits {
		here := func() bool { return len(found) > 0 && imageio.SplitOf(found[0].Index) == split.Index }
		if !here() {
			continue
		}
		index := split.Index << 32
		err := imageio.ReadSplit(ctx, split, func(im imageio.Image) error {
			if !here() {
				return errDrawn
			}
			if index++; index <= found[0].Index {
				return nil
			}
			rgb, err := imageio.Decode(im.Data)
			if err != nil {
				return fmt.Errorf("%s: %w", im.Source, err)
			}
			drawn, err := newPicture(rgb, sheetSize).draw(card.Classes, found[0].Detections(card.Classes))
			all, found = append(all, Drawing{im.Source, drawn}), found[1:]
			return err
		})
		if err != nil && !errors.Is(err, errDrawn) {
			return nil, err
		}
	}
	return all, nil
}

// draw returns a JPEG of a picture with its objects and those that were found, the surest on top.
func (p picture) draw(classes []string, found []Detection) ([]byte, error) {
	canvas := p.rgba()
	for _, o := range p.objects {
		frame(canvas, o.Box, annotatedColor, 1)
	}
	for _, f := range slices.Backward(found) {
		box := detect.Box{}
		for side, v := range []float64{f.Left, f.Top, f.Left + f.Width, f.Top + f.Height} {
			box[side] = float32(v * p.scale)
		}
		c := classColors[max(slices.Index(classes, f.Class), 0)%len(classColors)]
		frame(canvas, box, c, 2)
		label(canvas, box, c, fmt.Sprintf("%s %.0f %%", f.Class, 100*f.Score))
	}
	var b bytes.Buffer
	err := jpeg.Encode(&b, canvas, &jpeg.Options{Quality: 90})
	return b.Bytes(), err
}

// frame draws the sides of a box.
func frame(canvas *image.RGBA, b detect.Box, c color.RGBA, width int) {
	r := image.Rect(int(b[0]), int(b[1]), int(b[2]), int(b[3]))
	for _, side := range []image.Rectangle{
		image.Rect(r.Min.X, r.Min.Y, r.Max.X, r.Min.Y+width), image.Rect(r.Min.X, r.Max.Y-width, r.Max.X, r.Max.Y),
		image.Rect(r.Min.X, r.Min.Y, r.Min.X+width, r.Max.Y), image.Rect(r.Max.X-width, r.Min.Y, r.Max.X, r.Max.Y),
	} {
		draw.Draw(canvas, side, image.NewUniform(c), image.Point{}, draw.Src)
	}
}

// label writes a box's label inside its top.
func label(canvas *image.RGBA, b detect.Box, c color.RGBA, text string) {
	face := basicfont.Face7x13
	at := image.Pt(max(int(b[0]), 0), max(int(b[1]), 0))
	draw.Draw(canvas, image.Rectangle{at, at.Add(image.Pt(7*len(text)+2, 13))}, image.NewUniform(c), image.Point{}, draw.Src)
	d := font.Drawer{Dst: canvas, Src: image.Black, Face: face, Dot: fixed.P(at.X+1, at.Y+face.Ascent)}
	d.DrawString(text)
}
