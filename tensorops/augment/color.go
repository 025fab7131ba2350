package augment

// jitter is torchvision's ColorJitter with its decisions taken.
func jitter(pix []uint8, p Params) {
	for _, op := range p.Order {
		switch op {
		case OpBrightness:
			brightness(pix, p.Brightness)
		case OpContrast:
			contrast(pix, p.Contrast)
		case OpSaturation:
			saturation(pix, p.Saturation)
		case OpHue:
			if p.Hue != 0 {
				shiftHue(pix, hueByte(p.Hue))
			}
		}
	}
}

// blend is Pillow's Image.blend of two bytes: from for alpha 0, to for alpha
// 1, beyond them for other values, truncated and clipped. It computes in
// float32 as Pillow does; the explicit conversion forbids a fused multiply-add,
// which would give other bytes on other machines.
func blend(from, to int32, alpha float32) uint8 {
	v := int32(float32(from) + float32(alpha*float32(to-from)))
	return uint8(min(max(v, 0), 255))
}

// brightness is ImageEnhance.Brightness: the blend with black.
func brightness(pix []uint8, factor float64) { blendConstant(pix, 0, factor) }

// contrast is ImageEnhance.Contrast: the blend with the image's mean luminance.
func contrast(pix []uint8, factor float64) {
	sum, n := 0, len(pix)/3
	for i := 0; i < len(pix); i += 3 {
		sum += int(luma((*[3]uint8)(pix[i:])))
	}
	blendConstant(pix, int32(float64(sum)/float64(n)+0.5), factor)
}

func blendConstant(pix []uint8, from int32, factor float64) {
	if factor == 1 {
		return
	}
	var table [256]uint8
	for v := range table {
		table[v] = blend(from, int32(v), float32(factor))
	}
	for i, v := range pix {
		pix[i] = table[v]
	}
}

// saturation is ImageEnhance.Color: the blend with the grey image.
func saturation(pix []uint8, factor float64) {
	if factor == 1 {
		return
	}
	alpha := float32(factor)
	for i := 0; i < len(pix); i += 3 {
		p := (*[3]uint8)(pix[i:])
		l := luma(p)
		p[0] = blend(l, int32(p[0]), alpha)
		p[1] = blend(l, int32(p[1]), alpha)
		p[2] = blend(l, int32(p[2]), alpha)
	}
}

// gray replaces every pixel by its luminance in three equal channels.
func gray(pix []uint8) {
	for i := 0; i < len(pix); i += 3 {
		p := (*[3]uint8)(pix[i:])
		l := uint8(luma(p))
		p[0], p[1], p[2] = l, l, l
	}
}

// luma is Pillow's conversion from RGB to L: ITU-R 601-2 in 16-bit fixed point.
func luma(p *[3]uint8) int32 {
	return (int32(p[0])*19595 + int32(p[1])*38470 + int32(p[2])*7471 + 0x8000) >> 16
}
