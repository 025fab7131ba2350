package imageio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"image"
	"io"

	"golang.org/x/image/webp"
)

var webpFormat = format{
	name:       "WebP",
	extensions: []string{".webp"},
	magic:      []string{"RIFF????WEBP"},
	size:       webpSize,
	decode:     decodeWebP,
	metadata:   metadataWebP,
}

// webpFile is what the chunks of a WebP hold.
type webpFile struct {
	width, height int // of the canvas
	flags         uint8
	exif, xmp     []byte
	frames        []webpFrame
}

// webpFrame is a frame of an animation, or the image.
type webpFrame struct {
	at    image.Rectangle // on the canvas
	alpha []byte          // chunk of a lossy frame's alpha, nil if there is none
	kind  string          // VP8 or VP8L
	data  []byte          // chunk with the pixels
}

// The flags of a WebP's extended header.
const (
	webpAnimated = 2
	webpXMP      = 4
	webpExif     = 8
	webpAlpha    = 16
)

var errWebP = errors.New("damaged structure")

// readWebP reads the structure of a file, as strictly as libwebp: all of it must be there, to the last frame.
func readWebP(data []byte) (*webpFile, error) {
	if len(data) < 20 {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(binary.LittleEndian.Uint32(data[4:])) + 8
	if n > len(data) {
		return nil, io.ErrUnexpectedEOF
	}
	if n < 20 {
		return nil, errWebP
	}
	f := &webpFile{}
	data = data[12:n]
	if string(data[:4]) != "VP8X" {
		frame, _, err := readWebPFrame(data)
		if err == nil && frame.data == nil {
			err = errWebP
		}
		f.width, f.height = frame.at.Dx(), frame.at.Dy()
		f.frames = []webpFrame{frame}
		return f, err
	}
	_, head, data, err := webpChunk(data)
	if err != nil || len(head) < 10 || len(data) < 8 {
		return nil, errWebP
	}
	f.flags, f.width, f.height = head[0], 1+uint24(head[4:]), 1+uint24(head[7:])
	if err := f.read(data); err != nil {
		return nil, err
	}
	if len(f.frames) == 0 || f.flags&1 != 0 || f.flags&0xc0 != 0 {
		return nil, errWebP
	}
	canvas := image.Rect(0, 0, f.width, f.height)
	for _, frame := range f.frames {
		if frame.data == nil && frame.alpha == nil || !frame.at.In(canvas) || f.flags&webpAnimated == 0 && frame.at != canvas {
			return nil, errWebP
		}
	}
	return f, nil
}

// read reads the chunks behind the extended header.
func (f *webpFile) read(data []byte) error {
	began, animated := false, f.flags&webpAnimated != 0
	for len(data) > 0 {
		kind, chunk, rest, err := webpChunk(data)
		if err != nil {
			return err
		}
		switch kind {
		case "VP8X":
			return errWebP
		case "ALPH", "VP8 ", "VP8L":
			if began || animated || len(f.frames) > 0 {
				return errWebP
			}
			frame, behind, err := readWebPFrame(data)
			if err != nil {
				return err
			}
			if f.flags&webpAlpha == 0 {
				frame.alpha = nil
			}
			f.frames, rest = append(f.frames, frame), behind
		case "ANIM":
			if len(chunk) < 6 {
				return errWebP
			}
			began = true
		case "ANMF":
			if !began || len(chunk) < 16+8 {
				return errWebP
			}
			frame, behind, err := readWebPFrame(data[8+16:])
			inside := len(data) - 8 - 16 - len(behind)
			if err != nil || inside > len(chunk)+len(chunk)%2-16 {
				return errWebP
			}
			frame.at = frame.at.Add(image.Pt(2*uint24(chunk), 2*uint24(chunk[3:])))
			if rest = behind; animated && (frame.data != nil || frame.alpha != nil) {
				f.frames = append(f.frames, frame)
			}
		case "EXIF":
			if f.exif == nil && f.flags&webpExif != 0 {
				f.exif = chunk
			}
		case "XMP ":
			if f.xmp == nil && f.flags&webpXMP != 0 {
				f.xmp = chunk
			}
		}
		data = rest
	}
	return nil
}

// readWebPFrame reads the chunks of one frame and returns what is behind it.
func readWebPFrame(data []byte) (f webpFrame, behind []byte, err error) {
	for len(data) > 0 {
		kind, chunk, rest, err := webpChunk(data)
		if err != nil {
			return f, nil, err
		}
		switch {
		case kind == "ALPH" && f.alpha == nil:
			f.alpha = chunk
		case (kind == "VP8 " || kind == "VP8L") && f.data == nil:
			if f.kind, f.data = kind, chunk; kind == "VP8L" && f.alpha != nil {
				return f, nil, errWebP
			}
			if f.at, err = f.bounds(); err != nil {
				return f, nil, err
			}
		default:
			return f, data, nil
		}
		data = rest
	}
	return f, data, nil
}

// bounds reads the size of a frame.
func (f *webpFrame) bounds() (image.Rectangle, error) {
	c := f.data
	if f.kind == "VP8L" {
		if len(c) < 5 || c[0] != 0x2f || c[4]>>5 != 0 {
			return image.Rectangle{}, errWebP
		}
		v := int(binary.LittleEndian.Uint32(c[1:]))
		return image.Rect(0, 0, 1+v&0x3fff, 1+v>>14&0x3fff), nil
	}
	if len(c) < 10 || string(c[3:6]) != "\x9d\x01\x2a" {
		return image.Rectangle{}, errWebP
	}
	head := uint24(c) // the inverse of "key frame", the profile, "visible", the size of the first partition
	width, height := int(c[6])|int(c[7]&0x3f)<<8, int(c[8])|int(c[9]&0x3f)<<8
	if head&1 != 0 || head>>1&7 > 3 || head>>4&1 == 0 || head>>5 >= len(c) || width == 0 || height == 0 {
		return image.Rectangle{}, errWebP
	}
	return image.Rect(0, 0, width, height), nil
}

// webpChunk splits off the first chunk, whose content is padded to an even length.
func webpChunk(data []byte) (kind string, content, rest []byte, err error) {
	if len(data) < 8 {
		return "", nil, nil, errWebP
	}
	n := int(binary.LittleEndian.Uint32(data[4:]))
	if n+n%2 > len(data)-8 {
		return "", nil, nil, errWebP
	}
	return string(data[:4]), data[8 : 8+n], data[8+n+n%2:], nil
}

func uint24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func webpSize(data []byte) (width, height int, err error) {
	f, err := readWebP(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

// decodeWebP decodes the image or the first frame of an animation, which is black where the frame does not cover it.
func decodeWebP(data []byte, _ int) (RGB, error) {
	f, err := readWebP(data)
	if err != nil {
		return RGB{}, err
	}
	frame, err := f.frames[0].decode()
	if err != nil {
		return RGB{}, err
	}
	if frame.Width == f.width && frame.Height == f.height {
		return frame, nil
	}
	out, at := newRGB(image.Rect(0, 0, f.width, f.height)), f.frames[0].at.Min
	for y := range frame.Height {
		copy(out.Pix[((at.Y+y)*out.Width+at.X)*3:], frame.Pix[y*frame.Width*3:(y+1)*frame.Width*3])
	}
	return out, nil
}

// decode decodes a frame as a file of its own, which the decoder of golang.org/x/image reads.
func (f *webpFrame) decode() (RGB, error) {
	chunk := func(file []byte, kind string, content []byte) []byte {
		file = binary.LittleEndian.AppendUint32(append(file, kind...), uint32(len(content)))
		return append(append(file, content...), make([]byte, len(content)%2)...)
	}
	var chunks []byte
	if f.alpha != nil {
		width, height := f.at.Dx()-1, f.at.Dy()-1
		chunks = chunk(nil, "VP8X", []byte{webpAlpha, 0, 0, 0, uint8(width), uint8(width >> 8), 0, uint8(height), uint8(height >> 8), 0})
		chunks = chunk(chunks, "ALPH", f.alpha)
	}
	chunks = chunk(chunks, f.kind, f.data)
	img, err := webp.Decode(bytes.NewReader(chunk(nil, "RIFF", append([]byte("WEBP"), chunks...))))
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

// metadataWebP returns the chunks that the extended header announces.
func metadataWebP(data []byte) metadata {
	f, err := readWebP(data)
	if err != nil {
		return metadata{}
	}
	return metadata{f.exif, f.xmp}
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
