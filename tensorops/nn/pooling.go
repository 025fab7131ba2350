package nn

import "github.com/sdr-ml/sdr/tensorops/kernels"

// maxPool is 3x3 max-pooling with stride 2 and padding 1, one task per image.
type maxPool struct {
	size, out, c, batch int
	pool                *kernels.Pool
	argmax              []uint8   // [batch, out, out, c] position in the window; nil without a backward pass
	x, y, g1, g2, dx    []float32 // arguments of the current pass

	forwardTask, backwardTask func(worker, i int)
}

func newMaxPool(size, channels, batch int, train bool, p *kernels.Pool) *maxPool {
	m := &maxPool{size: size, out: (size-1)/2 + 1, c: channels, batch: batch, pool: p}
	if train {
		m.argmax = make([]uint8, batch*m.out*m.out*channels)
	}
	m.forwardTask, m.backwardTask = m.forwardImage, m.backwardImage
	return m
}

// Forward computes y [batch, out, out, c] from x [batch, size, size, c].
func (m *maxPool) Forward(x, y []float32) {
	m.x, m.y = x, y
	m.pool.For(m.batch, m.forwardTask)
}

func (m *maxPool) forwardImage(_, image int) {
	x := m.x[image*m.size*m.size*m.c:][:m.size*m.size*m.c]
	for oy := range m.out {
		for ox := range m.out {
			at := ((image*m.out+oy)*m.out + ox) * m.c
			best := m.y[at:][:m.c]
			var arg []uint8
			if m.argmax != nil {
				arg = m.argmax[at:][:m.c]
			}
			first := true
			for tap := range 9 {
				iy, ix := 2*oy-1+tap/3, 2*ox-1+tap%3
				if iy < 0 || ix < 0 || iy >= m.size || ix >= m.size {
					continue
				}
				for c, v := range x[(iy*m.size+ix)*m.c:][:m.c] {
					if first || v > best[c] || v != v {
						best[c] = v
						if arg != nil {
							arg[c] = uint8(tap)
						}
					}
				}
				first = false
			}
		}
	}
}

// Backward computes dx from the gradient g1 (+ g2 unless nil) of y.
func (m *maxPool) Backward(g1, g2, dx []float32) {
	m.g1, m.g2, m.dx = g1, g2, dx
	m.pool.For(m.batch, m.backwardTask)
}

func (m *maxPool) backwardImage(_, image int) {
	dx := m.dx[image*m.size*m.size*m.c:][:m.size*m.size*m.c]
	clear(dx)
	for oy := range m.out {
		for ox := range m.out {
			at := ((image*m.out+oy)*m.out + ox) * m.c
			for c, tap := range m.argmax[at:][:m.c] {
				g := m.g1[at+c]
				if m.g2 != nil {
					g += m.g2[at+c]
				}
				iy, ix := 2*oy-1+int(tap)/3, 2*ox-1+int(tap)%3
				dx[(iy*m.size+ix)*m.c+c] += g
			}
		}
	}
}

// avgPool is global average pooling, one task per image.
type avgPool struct {
	pixels, c, batch int
	pool             *kernels.Pool
	x, y, dy, dx     []float32 // arguments of the current pass

	forwardTask, backwardTask func(worker, i int)
}

func newAvgPool(pixels, channels, batch int, p *kernels.Pool) *avgPool {
	a := &avgPool{pixels: pixels, c: channels, batch: batch, pool: p}
	a.forwardTask, a.backwardTask = a.forwardImage, a.backwardImage
	return a
}

// Forward computes y [batch, c] from x [batch, pixels, c].
func (a *avgPool) Forward(x, y []float32) {
	a.x, a.y = x, y
	a.pool.For(a.batch, a.forwardTask)
}

func (a *avgPool) forwardImage(_, image int) {
	y := a.y[image*a.c:][:a.c]
	clear(y)
	for p := range a.pixels {
		for c, v := range a.x[(image*a.pixels+p)*a.c:][:a.c] {
			y[c] += v
		}
	}
	for c := range y {
		y[c] /= float32(a.pixels)
	}
}

// Backward computes dx [batch, pixels, c] from dy [batch, c].
func (a *avgPool) Backward(dy, dx []float32) {
	a.dy, a.dx = dy, dx
	a.pool.For(a.batch, a.backwardTask)
}

func (a *avgPool) backwardImage(_, image int) {
	dx, dy := a.dx[image*a.pixels*a.c:][:a.pixels*a.c], a.dy[image*a.c:][:a.c]
	for c, g := range dy {
		dx[c] = g / float32(a.pixels)
	}
	for p := 1; p < a.pixels; p++ {
		copy(dx[p*a.c:], dx[:a.c])
	}
}
