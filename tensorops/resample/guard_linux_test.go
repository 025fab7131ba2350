package resample_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/resample"
)

// guarded returns a function that returns n bytes, at most most, next to a page that faults when touched: after them,
// or before them if front is set.
func guarded(t *testing.T, most int) func(n int, front bool) []uint8 {
	page := unix.Getpagesize()
	size := (most + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	require.NoError(t, unix.Mprotect(mem[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(mem[page+size:], unix.PROT_NONE))
	return func(n int, front bool) []uint8 {
		if front {
			return mem[page : page+n : page+n]
		}
		return mem[page+size-n : page+size : page+size]
	}
}

// TestNothingOutsideTheImagesIsTouched puts source and result next to unmapped pages.
func TestNothingOutsideTheImagesIsTouched(t *testing.T) {
	const most = 40
	source, result := guarded(t, most*most*3), guarded(t, most*most*3)
	var scratch resample.Scratch
	rapid.Check(t, func(t *rapid.T) {
		side := rapid.IntRange(1, most)
		sw, sh, dw, dh := side.Draw(t, "sw"), side.Draw(t, "sh"), side.Draw(t, "dw"), side.Draw(t, "dh")
		front := rapid.Bool().Draw(t, "front")
		src := source(sw*sh*3, front)
		copy(src, noise(sw, sh))
		filter := rapid.SampledFrom([]resample.Filter{resample.Bilinear, resample.Bicubic}).Draw(t, "filter")
		resample.Resize(result(dw*dh*3, front), dw, dh, src, sw, sh, [4]float64{0, 0, float64(sw), float64(sh)}, filter, &scratch)
	})
}
