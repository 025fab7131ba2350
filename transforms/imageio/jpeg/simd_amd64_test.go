//go:build unix

package jpeg

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// guarded returns n bytes next to a page that faults when accessed: after them, or before them if front is set.
func guarded(t *testing.T, n int, front bool) []uint8 {
	page := unix.Getpagesize()
	size := (n + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	guard, bytes := mem[size:], mem[size-n:size:size]
	if front {
		guard, bytes = mem[:page], mem[page:page+n:page+n]
	}
	require.NoError(t, unix.Mprotect(guard, unix.PROT_NONE))
	return bytes
}

// copied returns a guarded copy.
func copied(t *testing.T, b []uint8, front bool) []uint8 {
	g := guarded(t, len(b), front)
	copy(g, b)
	return g
}

// The assembly loops compute the same as the Go loops and access nothing outside their slices.
func TestRowsInAssembly(t *testing.T) {
	if !simd {
		t.Skip("not chosen")
	}
	for n := 1; n < 90; n++ {
		var plane [3][]uint8
		gen := rapid.SliceOfN(rapid.Byte(), n, n)
		for i := range plane {
			plane[i] = gen.Example(3*n + i)
		}
		for _, front := range []bool{false, true} {
			a, b, c := copied(t, plane[0], front), copied(t, plane[1], front), copied(t, plane[2], front)
			want, got := make([]uint8, 3*n), guarded(t, 3*n, front)
			convertPixels(want, a, b, c)
			convertYCC(got, a, b, c)
			require.Equal(t, want, got, "%d pixels", n)

			want, got = make([]uint8, 2*n), guarded(t, 2*n, front)
			for _, bias := range [][2]int{{8, 7}, {4, 8}} {
				expandRange(want, a, b, bias[0], bias[1], 0, n)
				expand(got, a, b, bias[0], bias[1])
				require.Equal(t, want, got, "%d samples", n)
			}
		}
	}
}

func TestBlocksInAssembly(t *testing.T) {
	if !simd {
		t.Skip("not chosen")
	}
	const stride = 11
	before, behind := guarded(t, 7*stride+8, true), guarded(t, 7*stride+8, false)
	rapid.Check(t, func(t *rapid.T) {
		var b block
		// Up to what overflows the fixed-point numbers.
		limit := 1 << rapid.IntRange(0, 15).Draw(t, "bits")
		for range rapid.IntRange(0, 64).Draw(t, "coefficients") {
			b[rapid.IntRange(0, 63).Draw(t, "place")] = int16(rapid.IntRange(-limit, limit-1).Draw(t, "coefficient"))
		}
		for _, f := range []struct {
			size         int
			inGo, chosen func([]uint8, int, *block)
		}{{8, idct8Pixels, idct8}, {4, idct4Pixels, idct4}} {
			n := (f.size-1)*stride + f.size
			want := make([]uint8, n)
			f.inGo(want, stride, &b)
			for _, dst := range [][]uint8{before[:n], behind[len(behind)-n:]} {
				clear(dst)
				f.chosen(dst, stride, &b)
				require.Equal(t, want, dst, "with what lies between the rows")
			}
		}
	})
}
