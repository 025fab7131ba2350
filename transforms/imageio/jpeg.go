package imageio

import (
	"image"

	"github.com/bep/imagemeta"

	"github.com/sdr-ml/sdr/transforms/imageio/jpeg"
)

var jpegFormat = format{
	name:       "JPEG",
	extensions: []string{".jpg", ".jpeg", ".jpe", ".jfif"},
	magic:      []string{"\xff\xd8\xff"},
	size:       jpeg.Size,
	decode:     decodeJPEG,
	orientation: func(data []byte) int {
		return tagged(data, imagemeta.JPEG, "Exif\x00", "tiff:Orientation")
	},
	reduces: true,
}

func decodeJPEG(data []byte, scale int) (RGB, error) {
	img, err := jpeg.Decode(data, scale)
	if err != nil || img.Channels == 3 {
		return RGB{img.Width, img.Height, img.Pix}, err
	}
	out := newRGB(image.Rect(0, 0, img.Width, img.Height))
	for i := range img.Width * img.Height {
		if img.Channels == 1 {
			out.gray(i, img.Pix[i])
			continue
		}
		p := img.Pix[4*i:][:4]
		out.set(i, ink(p[0], p[3]), ink(p[1], p[3]), ink(p[2], p[3]))
	}
	return out, nil
}
