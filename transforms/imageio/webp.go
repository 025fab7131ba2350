package imageio

import (
	"bytes"
	"encoding/binary"
	"image"

	"golang.org/x/image/webp"
)

var webpFormat = format{
	name:       "WebP",
	extensions: []string{".webp"},
	magic:      []string{"RIFF????WEBP"},
	size:       sizeBy(webp.DecodeConfig),
	decode:     decodeWebP,
	metadata:   metadataWebP,
}

func decodeWebP(data []byte, _ int) (RGB, error) {
	img, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	switch img := img.(type) {
	case *image.YCbCr:
		return fromWebP(img), nil
	case *image.NYCbCrA:
		return fromWebP(&img.YCbCr), nil
	}
	return fromImage(img)
}

// fromWebP converts 4:2:0 YCbCr planes like libwebp (upsampling.c, yuv.h). Go's image/color would repeat each chroma
// sample.
func fromWebP(img *image.YCbCr) RGB {
	out := newRGB(img.Rect)
	us, vs := make([]int32, out.Width+2), make([]int32, out.Width+2)
	for y := range out.Height {
		interpolate(us, chromaRow(img, img.Cb, y/2), chromaRow(img, img.Cb, y/2-1+y%2*2))
		interpolate(vs, chromaRow(img, img.Cr, y/2), chromaRow(img, img.Cr, y/2-1+y%2*2))
		luma := img.Y[y*img.YStride:][:out.Width]
		for x, l := range luma {
			l, u, v := int32(l)*19077>>8, us[x], vs[x]
			r := l + v*26149>>8 - 14234
			g := l - u*6419>>8 - v*13320>>8 + 8708
			b := l + u*33050>>8 - 17685
			out.set(y*out.Width+x, clip8(r>>6), clip8(g>>6), clip8(b>>6))
		}
	}
	return out
}

func clip8(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// chromaRow returns row y of a chroma plane, or the nearest one that exists.
func chromaRow(img *image.YCbCr, plane []uint8, y int) []uint8 {
	width, height := (img.Rect.Dx()+1)/2, (img.Rect.Dy()+1)/2
	return plane[min(max(y, 0), height-1)*img.CStride:][:width]
}

// interpolate upsamples chroma to a row of pixels between two rows of samples: each output is 9/16, 3/16, 3/16 and 1/16
// of the four samples around it, rounded like libwebp.
func interpolate(out []int32, near, far []uint8) {
	edge := func(x int) int32 { return (3*int32(near[x]) + int32(far[x]) + 2) >> 2 }
	out[0] = edge(0)
	for x := 1; x < len(near); x++ {
		a, b := int32(near[x-1]), int32(near[x])
		c, d := int32(far[x-1]), int32(far[x])
		sum := a + b + c + d + 8
		out[2*x-1] = ((sum+2*(b+c))>>3 + a) >> 1
		out[2*x] = ((sum+2*(a+d))>>3 + b) >> 1
	}
	out[2*len(near)-1] = edge(len(near) - 1)
}

// metadataWebP finds the chunks that the extended header announces.
func metadataWebP(data []byte) (m metadata) {
	const exif, xmp = 8, 4
	if extended := webpChunk(data, "VP8X"); len(extended) > 0 {
		if extended[0]&exif != 0 {
			m.exif = webpChunk(data, "EXIF")
		}
		if extended[0]&xmp != 0 {
			m.xmp = webpChunk(data, "XMP ")
		}
	}
	return m
}

// webpChunk returns the first chunk with a name.
func webpChunk(data []byte, name string) []byte {
	for data = data[12:]; len(data) >= 8; {
		n := int(binary.LittleEndian.Uint32(data[4:]))
		chunk := data[8:]
		if n > len(chunk) {
			return nil
		}
		if string(data[:4]) == name {
			return chunk[:n]
		}
		data = chunk[min(n+n%2, len(chunk)):]
	}
	return nil
}
