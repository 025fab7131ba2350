package detect

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"io"
	"slices"

	"golang.org/x/image/font"
	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"

	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/transforms/annotations"
)

const (
	sheetImages = 12  // per detector
	sheetSize   = 320 // of the longer side
	sheetScore  = .3  // of the objects that are drawn
)

// The colors of boxes: white for what is annotated, one per class for what was found.
var (
	annotatedColor = color.RGBA{255, 255, 255, 255}
	classColors    = []color.RGBA{
		{230, 159, 0, 255}, {86, 180, 233, 255}, {0, 158, 115, 255}, {240, 228, 66, 255}, {213, 94, 0, 255}, {204, 121, 167, 255}, {0, 114, 178, 255},
	} // Okabe and Ito's, which the color-blind can tell apart
)

//go:embed sheet.html
var sheetText string

var sheetPage = template.Must(template.New("sheet").Parse(sheetText))

// WriteSheet writes a page of HTML with pictures of what each detector found, in the same images for all of them.
func WriteSheet(ctx context.Context, w io.Writer, set *annotations.Set, detectors []Detector, found []Detection) error {
	type drawing struct {
		Source string
		Image  template.URL
	}
	type section struct {
		Net      string
		Seed     int64
		Drawings []drawing
	}
	page := struct {
		Split    string
		Score    float64
		Sections []section
	}{set.Split, sheetScore, nil}
	n := min(sheetImages, len(set.Images))
	for _, d := range detectors {
		s := section{Net: d.Net, Seed: d.Seed}
		for i := range n {
			at := i * len(set.Images) / n
			p, err := read(ctx, set, at, sheetSize)
			if errors.As(err, new(*brokenError)) {
				continue
			} else if err != nil {
				return err
			}
			own := slices.DeleteFunc(slices.Clone(found), func(f Detection) bool {
				return f.Net != d.Net || f.Seed != d.Seed || f.Image != int64(at) || f.Score < sheetScore
			})
			image, err := p.draw(set.Classes, own)
			if err != nil {
				return err
			}
			s.Drawings = append(s.Drawings, drawing{set.Images[at].Source, image})
		}
		page.Sections = append(page.Sections, s)
	}
	return sheetPage.Execute(w, page)
}

// draw returns a picture with its objects and those that were found, the surest on top.
func (p picture) draw(classes []string, found []Detection) (template.URL, error) {
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
	if err := jpeg.Encode(&b, canvas, &jpeg.Options{Quality: 90}); err != nil {
		return "", err
	}
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(b.Bytes())), nil
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
