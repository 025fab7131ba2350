package resample_test

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"os"
	"slices"
	"testing"

	"github.com/sdr-ml/sdr/tensorops/resample"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

var filters = map[string]resample.Filter{}

func init() {
	for _, f := range []resample.Filter{resample.Bilinear, resample.Bicubic} {
		filters[f.String()] = f
	}
}

// noise returns the same image as noise in testdata/make_golden.py.
func noise(w, h int) []uint8 {
	out := make([]uint8, w*h*3)
	x := uint32(1)
	for i := range out {
		x = x*1664525 + 1013904223
		switch v := uint8(x >> 24); {
		case v > 215:
			out[i] = 255
		case v >= 40:
			out[i] = v
		}
	}
	return out
}

// TestResizeEqualsPillow uses one Scratch for all cases, so that it finds stale weights or pixels.
func TestResizeEqualsPillow(t *testing.T) {
	file, err := os.Open("testdata/golden.txt")
	require.NoError(t, err)
	defer file.Close()
	var scratch resample.Scratch
	lines := bufio.NewScanner(file)
	n := 0
	for ; lines.Scan(); n++ {
		var name string
		var sw, sh, w, h int
		var box [4]float64
		var want uint64
		_, err := fmt.Sscanf(lines.Text(), "%s %d %d %d %d %g %g %g %g %x", &name, &sw, &sh, &w, &h, &box[0], &box[1], &box[2], &box[3], &want)
		require.NoError(t, err, lines.Text())
		require.Contains(t, filters, name)
		dst := make([]uint8, w*h*3)
		resample.Resize(dst, w, h, noise(sw, sh), sw, sh, box, filters[name], &scratch)
		hash := fnv.New64a()
		hash.Write(dst)
		require.Equal(t, want, hash.Sum64(), lines.Text())
	}
	require.NoError(t, lines.Err())
	require.Equal(t, 106, n)
}

// TestResizeKeepsFlatImages checks that a flat image stays flat, whatever the geometry.
func TestResizeKeepsFlatImages(t *testing.T) {
	var scratch resample.Scratch
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 40)
		sw, sh, dw, dh := size.Draw(t, "sw"), size.Draw(t, "sh"), size.Draw(t, "dw"), size.Draw(t, "dh")
		l := rapid.Float64Range(0, float64(sw)*0.9).Draw(t, "left")
		u := rapid.Float64Range(0, float64(sh)*0.9).Draw(t, "top")
		box := [4]float64{l, u, rapid.Float64Range(l+0.05*float64(sw), float64(sw)).Draw(t, "right"), rapid.Float64Range(u+0.05*float64(sh), float64(sh)).Draw(t, "bottom")}
		color := rapid.SliceOfN(rapid.Byte(), 3, 3).Draw(t, "color")
		filter := rapid.SampledFrom([]resample.Filter{resample.Bilinear, resample.Bicubic}).Draw(t, "filter")
		dst := make([]uint8, dw*dh*3)
		resample.Resize(dst, dw, dh, slices.Repeat(color, sw*sh), sw, sh, box, filter, &scratch)
		if !slices.Equal(dst, slices.Repeat(color, dw*dh)) {
			t.Fatalf("%v became %v", color, dst)
		}
	})
}

func TestResizeRefusesWrongSizes(t *testing.T) {
	var scratch resample.Scratch
	for name, f := range map[string]func(){
		"destination": func() {
			resample.Resize(make([]uint8, 5), 2, 1, noise(2, 2), 2, 2, [4]float64{0, 0, 2, 2}, resample.Bilinear, &scratch)
		},
		"source": func() {
			resample.Resize(make([]uint8, 6), 2, 1, noise(2, 1), 2, 2, [4]float64{0, 0, 2, 2}, resample.Bilinear, &scratch)
		},
		"empty box": func() {
			resample.Resize(make([]uint8, 6), 2, 1, noise(2, 2), 2, 2, [4]float64{1, 0, 1, 2}, resample.Bilinear, &scratch)
		},
		"large box": func() {
			resample.Resize(make([]uint8, 6), 2, 1, noise(2, 2), 2, 2, [4]float64{0, 0, 2.1, 2}, resample.Bilinear, &scratch)
		},
	} {
		require.Panics(t, f, name)
	}
}

func TestResizeDoesNotAllocate(t *testing.T) {
	var scratch resample.Scratch
	src, dst := noise(32, 32), make([]uint8, 20*20*3)
	i := 0
	run := func() {
		i = i%8 + 1
		resample.Resize(dst, 20, 20, src, 32, 32, [4]float64{float64(i), 0, 32, 32}, resample.Bicubic, &scratch)
	}
	for range 8 {
		run()
	}
	require.Zero(t, testing.AllocsPerRun(100, run))
}

func BenchmarkResize(b *testing.B) {
	for _, c := range []struct {
		filter  resample.Filter
		in, out int
	}{{resample.Bilinear, 32, 20}, {resample.Bilinear, 20, 20}, {resample.Bilinear, 16, 20}, {resample.Bilinear, 64, 64}, {resample.Bicubic, 64, 32}, {resample.Bicubic, 256, 32}} {
		b.Run(fmt.Sprintf("%v/%dto%d", c.filter, c.in, c.out), func(b *testing.B) {
			var scratch resample.Scratch
			src, dst := noise(c.in, c.in), make([]uint8, c.out*c.out*3)
			i := 0
			for b.Loop() {
				i++ // another box each time, so that weights are recomputed
				resample.Resize(dst, c.out, c.out, src, c.in, c.in, [4]float64{float64(i&1) / 4, float64(i&1) / 4, float64(c.in), float64(c.in)}, c.filter, &scratch)
			}
		})
	}
}
