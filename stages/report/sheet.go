package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"image"
	"image/color"
	"image/jpeg"
	"maps"
	"slices"

	"golang.org/x/image/draw"

	"github.com/sdr-ml/sdr/stages/run/shards"
)

// Sheet is a sample of a subset's images.
type Sheet struct {
	// Code is the subset's code.
	Code string
	// Size is the number of images in the subset.
	Size int64
	// Pixels are the sampled images, [Side,Side,3] bytes each.
	Pixels [][]uint8
	// Side is the height and width of the images in pixels.
	Side int
}

// Sheets samples the subsets that refs name: up to sample images per subset, evenly spaced over it. The sheets are
// sorted by code.
func Sheets(ctx context.Context, refs []shards.Ref, sample int) (sheets []Sheet, err error) {
	if len(refs) == 0 {
		return nil, nil
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	members := map[string][]int{} // indices of each subset's images
	for b, ref := range images.Refs {
		for begin, end := images.Range(b); begin < end; begin++ {
			members[ref.Subset] = append(members[ref.Subset], begin)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(members)) {
		all := members[code]
		s := Sheet{Code: code, Size: int64(len(all)), Side: images.Size()}
		n := min(sample, len(all))
		for i := range n {
			s.Pixels = append(s.Pixels, slices.Clone(images.At(all[i*len(all)/n])))
		}
		sheets = append(sheets, s)
	}
	return sheets, nil
}

const (
	columns = 8  // of images in a contact sheet
	gap     = 1  // pixels between its images
	largest = 64 // height and width in pixels; larger images are scaled down to it
)

// contact is a contact sheet as the page shows it.
type contact struct {
	Sheet
	// Image is a data URI.
	Image template.URL
	// Width and Height are its size in pixels.
	Width, Height int
	// Shown is the number of images on the sheet.
	Shown int
	// Small is true if the page shows the sheet enlarged.
	Small bool
}

// newContact draws a contact sheet.
func newContact(s Sheet) (contact, error) {
	if s.Side < 1 || len(s.Pixels) == 0 {
		return contact{}, fmt.Errorf("a sheet of %d images of %d px; want one at least", len(s.Pixels), s.Side)
	}
	cell := min(s.Side, largest)
	across := min(columns, len(s.Pixels))
	down := (len(s.Pixels) + columns - 1) / columns
	sheet := image.NewRGBA(image.Rect(0, 0, across*(cell+gap)-gap, down*(cell+gap)-gap))
	draw.Draw(sheet, sheet.Rect, image.NewUniform(color.Gray{128}), image.Point{}, draw.Src)
	for i, pixels := range s.Pixels {
		if len(pixels) != s.Side*s.Side*3 {
			return contact{}, fmt.Errorf("image %d has %d bytes; want %d x %d x 3", i, len(pixels), s.Side, s.Side)
		}
		at := image.Pt(i%columns*(cell+gap), i/columns*(cell+gap))
		draw.CatmullRom.Scale(sheet, image.Rectangle{at, at.Add(image.Pt(cell, cell))}, rgba(pixels, s.Side), image.Rect(0, 0, s.Side, s.Side), draw.Src, nil)
	}
	url, err := jpegURL(sheet, 92)
	if err != nil {
		return contact{}, err
	}
	return contact{
		Sheet:  s,
		Image:  url,
		Width:  sheet.Rect.Dx(),
		Height: sheet.Rect.Dy(),
		Shown:  len(s.Pixels),
		Small:  cell <= largest/2,
	}, nil
}

// jpegURL is an image of a quality from 1 to 100 as a data URI.
func jpegURL(im image.Image, quality int) (template.URL, error) {
	var b bytes.Buffer
	if err := jpeg.Encode(&b, im, &jpeg.Options{Quality: quality}); err != nil {
		return "", err
	}
	return dataURL(b.Bytes()), nil
}

// dataURL is a JPEG as a data URI.
func dataURL(jpeg []byte) template.URL {
	return template.URL("data:image/jpeg;base64," + base64.StdEncoding.EncodeToString(jpeg))
}

func rgba(pixels []uint8, side int) *image.RGBA {
	im := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		copy(im.Pix[4*i:], pixels[3*i:3*i+3])
		im.Pix[4*i+3] = 255
	}
	return im
}
