package imageio

import "encoding/binary"

// withAdobe gives a JPEG of four components that lacks Adobe's marker one that
// says "CMYK", which is what libjpeg assumes and Go's decoder wants spelled
// out. Other data are returned as they are.
func withAdobe(data []byte) []byte {
	for at := 2; at+10 <= len(data) && data[at] == 0xff; {
		marker := data[at+1]
		switch {
		case marker == 0xff: // padding
			at++
			continue
		case marker == 0xee:
			return data
		case marker >= 0xc0 && marker <= 0xc2: // frame header; components at +9
			if data[at+9] != 4 {
				return data
			}
			const app14 = "\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
			return append([]byte("\xff\xd8"+app14), data[2:]...)
		}
		at += 2 + int(binary.BigEndian.Uint16(data[at+2:]))
	}
	return data
}
