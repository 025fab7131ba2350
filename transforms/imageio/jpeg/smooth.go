package jpeg

// known is how well the coefficients of a progressive image are known.
type known struct {
	// low is, for each component and coefficient in zigzag order, the lowest bit that is known, -1 if none is. before is the
	// same before the last scan of the component.
	low, before [4][64]int
	// row is the row of MCUs until which there were data in the last scan.
	row int
}

func unknown() (k known) {
	for i := range k.low {
		for j := range k.low[i] {
			k.low[i][j] = -1
		}
	}
	return k
}

var nothing = unknown()

// scan notes what a scan is about to tell.
func (k *known) scan(s *scan) {
	for _, c := range s.components[:s.n] {
		low, before := &k.low[c.index], &k.before[c.index]
		for i := min(s.first, 1); i <= max(s.last, 9); i++ {
			before[i] = low[i]
			if s.d.scans == 1 {
				before[i] = 0
			}
		}
		for i := s.first; i <= s.last; i++ {
			low[i] = s.low
		}
	}
}

// smooths reports whether the image gets better by smoothing: where the DC coefficients of all components are known, but
// not all bits of the first AC coefficients.
func (d *decoder) smooths() bool {
	useful := false
	for i := range d.n {
		c := &d.components[i]
		if !c.quant.defined || d.known.low[i][0] < 0 {
			return false
		}
		for k, low := range d.known.low[i][:10] {
			if c.quant.factors[k] == 0 {
				return false
			}
			useful = useful || k > 0 && low != 0
		}
	}
	return useful
}

// kernel is the factors of the DC coefficients of a block and the 24 around it.
type kernel [5][5]int

func (k kernel) transposed() (t kernel) {
	for y := range k {
		for x := range k {
			t[x][y] = k[y][x]
		}
	}
	return t
}

var (
	slope     = kernel{{-1, -1, 0, 1, 1}, {-3, 13, 0, -13, 3}, {-3, 38, 0, -38, 3}, {-3, 13, 0, -13, 3}, {-1, -1, 0, 1, 1}}
	curve     = kernel{1: {0, 2, -5, 2, 0}, 2: {1, 7, -14, 7, 1}, 3: {0, 2, -5, 2, 0}}
	ripple    = kernel{1: {0, 1, 0, -1, 0}, 2: {0, 2, 0, -2, 0}, 3: {0, 1, 0, -1, 0}}
	saddle    = kernel{1: {0, 1, -3, 1, 0}, 3: {0, -1, 3, -1, 0}}
	flatSlope = kernel{2: {-7, 50, 0, -50, 7}}
	flatCurve = kernel{2: {-1, 13, -24, 13, -1}}
)

// alone estimate the first 10 coefficients in zigzag order if nothing is known but DC coefficients: DC itself then becomes
// an average. beside estimate 5 of them if some bits of AC coefficients are known.
var (
	alone = [10]kernel{
		{{-2, -6, -8, -6, -2}, {-6, 6, 42, 6, -6}, {-8, 42, 152, 42, -8}, {-6, 6, 42, 6, -6}, {-2, -6, -8, -6, -2}},
		slope, slope.transposed(), curve.transposed(),
		{{-1, 0, 0, 0, 1}, {0, 9, 0, -9, 0}, {}, {0, -9, 0, 9, 0}, {1, 0, 0, 0, -1}},
		curve, ripple, saddle, saddle.transposed(), ripple.transposed(),
	}
	beside = [10]kernel{
		1: flatSlope, 2: flatSlope.transposed(), 3: flatCurve.transposed(),
		4: {{0, -1, 0, 1, 0}, {-1, 10, 0, -10, 1}, {}, {1, -10, 0, 10, -1}, {0, 1, 0, -1, 0}},
		5: flatCurve,
	}
)

// smooth estimates the coefficients of a block that are not known, from the DC coefficients around it.
func (d *decoder) smooth(c *component, x, y int) (b [64]int16) {
	across := c.stride / c.dctSize
	b = c.coeffs[y*across+x]
	low := &d.known.low[c.index]
	switch {
	case y/c.v <= d.known.row:
	case d.scans == 1:
		low = &nothing.low[c.index]
	default:
		low = &d.known.before[c.index]
	}
	kernels, change := &beside, true
	for _, l := range low[1:10] {
		change = change && l == -1
	}
	if change {
		kernels = &alone
	}
	// Of the last MCUs, libjpeg counts only the rows of blocks that the image needs, for all MCUs.
	rows, row := c.v*d.mcusY, y
	if y/c.v == d.mcusY-1 && c.blocksY%c.v != 0 {
		rows = c.blocksY % c.v * d.mcusY
		row = y/c.v*(c.blocksY%c.v) + y%c.v
	}
	var dc kernel
	for dy := range 5 {
		at := y - row + min(max(row+dy-2, 0), rows-1)
		if row == 1 && dy == 0 {
			at = y - 1
		}
		for dx := range 5 {
			dc[dy][dx] = int(c.coeffs[at*across+min(max(x+dx-2, 0), c.blocksX-1)][0])
		}
	}
	for k := 9; k >= 0; k-- {
		if k > 0 && (low[k] == 0 || b[k] != 0) || k == 0 && !change || !change && k > 5 {
			continue
		}
		sum := 0
		for dy, factors := range kernels[k] {
			for dx, f := range factors {
				sum += f * dc[dy][dx]
			}
		}
		sum *= int(c.quant.factors[0])
		q := int(c.quant.factors[k])
		v := (q<<7 + max(sum, -sum)) / (q << 8)
		if k > 0 && low[k] > 0 {
			v = min(v, 1<<low[k]-1)
		}
		if sum < 0 {
			v = -v
		}
		b[k] = int16(v)
	}
	return b
}
