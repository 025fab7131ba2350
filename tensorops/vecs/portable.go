package vecs

import "math"

// rectify returns min(max(v, 0), top) without a branch. NaN stays NaN.
func rectify(v, top float32) float32 {
	b := math.Float32bits(v)
	if b-1<<31 <= 0x7f800000 { // negative, not NaN
		b = 0
	}
	return min(math.Float32frombits(b), top)
}

// gate returns g if y is neither 0 nor top, else 0, without a branch.
func gate(g, y, top float32) float32 {
	b := math.Float32bits(g)
	if math.Float32bits(y)<<1 == 0 {
		b = 0
	}
	if y == top {
		b = 0
	}
	return math.Float32frombits(b)
}

func scaleShift(y, x, a, b []float32) {
	for len(x) > 0 {
		n := min(len(a), len(x))
		y1, a, b := y[:n], a[:n], b[:n]
		for i, v := range x[:n] {
			y1[i] = a[i]*v + b[i]
		}
		x, y = x[n:], y[n:]
	}
}

func scaleShiftReLU(y, x, a, b []float32, top float32) {
	for len(x) > 0 {
		n := min(len(a), len(x))
		y1, a, b := y[:n], a[:n], b[:n]
		for i, v := range x[:n] {
			y1[i] = rectify(a[i]*v+b[i], top)
		}
		x, y = x[n:], y[n:]
	}
}

func scaleShiftAdd(y, x, r, a, b []float32) {
	for len(x) > 0 {
		n := min(len(a), len(x))
		y1, r1, a, b := y[:n], r[:n], a[:n], b[:n]
		for i, v := range x[:n] {
			y1[i] = a[i]*v + b[i] + r1[i]
		}
		x, y, r = x[n:], y[n:], r[n:]
	}
}

func scaleShiftAddReLU(y, x, r, a, b []float32, top float32) {
	for len(x) > 0 {
		n := min(len(a), len(x))
		y1, r1, a, b := y[:n], r[:n], a[:n], b[:n]
		for i, v := range x[:n] {
			y1[i] = rectify(a[i]*v+b[i]+r1[i], top)
		}
		x, y, r = x[n:], y[n:], r[n:]
	}
}

func combine(y, g, x, a, b, c, mean []float32) {
	for len(g) > 0 {
		n := min(len(a), len(g))
		y1, x1, a, b, c, mean := y[:n], x[:n], a[:n], b[:n], c[:n], mean[:n]
		for i, v := range g[:n] {
			y1[i] = a[i]*v + b[i]*(x1[i]-mean[i]) + c[i]
		}
		y, g, x = y[n:], g[n:], x[n:]
	}
}

func step(w, g, v []float32, scale, decay, momentum, a, b float32) {
	g, v = g[:len(w)], v[:len(w)]
	for i, wi := range w {
		d := scale * (g[i] + decay*wi)
		vi := momentum*v[i] + d
		v[i] = vi
		w[i] = wi - a*vi - b*d
	}
}

func adamW(w, g, m, v []float32, keep, a, b, size, floor float32) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	for i, wi := range w {
		gi, mi, vi := g[i], m[i], v[i]
		mi += a * (gi - mi)
		vi += b * (gi*gi - vi)
		m[i], v[i] = mi, vi
		w[i] = keep*wi - size*(mi/(float32(math.Sqrt(float64(vi)))+floor))
	}
}

func moments(s, q, x, pivot []float32) {
	for len(x) > 0 {
		n := len(pivot)
		s, q := s[:n], q[:n]
		for i, v := range x[:n] {
			d := v - pivot[i]
			s[i] += d
			q[i] += d * d
		}
		x = x[n:]
	}
}

func gradMoments(s, q, _, g, _, _, x, mean []float32, _ float32) {
	for len(g) > 0 {
		n := len(mean)
		x1, s, q := x[:n], s[:n], q[:n]
		for i, v := range g[:n] {
			s[i] += v
			q[i] += v * (x1[i] - mean[i])
		}
		g, x = g[n:], x[n:]
	}
}

func addGradMoments(s, q, d, g, h, _, x, mean []float32, _ float32) {
	d, h = d[:len(g)], h[:len(g)]
	for i, v := range g {
		d[i] = v + h[i]
	}
	gradMoments(s, q, nil, d, nil, nil, x, mean, 0)
}

func gateGradMoments(s, q, d, g, _, y, x, mean []float32, top float32) {
	d, y = d[:len(g)], y[:len(g)]
	for i, v := range g {
		d[i] = gate(v, y[i], top)
	}
	gradMoments(s, q, nil, d, nil, nil, x, mean, 0)
}

func gateAddGradMoments(s, q, d, g, h, y, x, mean []float32, top float32) {
	d, h, y = d[:len(g)], h[:len(g)], y[:len(g)]
	for i, v := range g {
		d[i] = gate(v+h[i], y[i], top)
	}
	gradMoments(s, q, nil, d, nil, nil, x, mean, 0)
}
