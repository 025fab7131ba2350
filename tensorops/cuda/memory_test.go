package cuda

import (
	"testing"

	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// fakeMemory simulates a device's memory: it tracks allocations, without any bytes.
type fakeMemory struct {
	total, used, next uint64
	blocks            map[uint64]uint64 // bytes by address
	calls             int               // to cuMemAlloc
}

// api returns the driver's memory functions.
func (f *fakeMemory) api() *api {
	f.blocks, f.next = map[uint64]uint64{}, 1<<40
	name, text := []byte("CUDA_ERROR_OUT_OF_MEMORY\x00"), []byte("out of memory\x00")
	a := &api{}
	a.cuGetErrorName = func(_ status, to **byte) status { *to = &name[0]; return 0 }
	a.cuGetErrorString = func(_ status, to **byte) status { *to = &text[0]; return 0 }
	a.cuMemGetInfo = func(free, total *uint64) status { *free, *total = f.total-f.used, f.total; return 0 }
	a.cuMemAlloc = func(addr *uint64, bytes uint64) status {
		f.calls++
		if bytes > f.total-f.used {
			return errorOutOfMemory
		}
		*addr = f.next
		f.blocks[f.next] = bytes
		f.next += bytes + 512 // never adjacent
		f.used += bytes
		return 0
	}
	a.cuMemFree = func(addr uint64) status {
		bytes, ok := f.blocks[addr]
		if !ok {
			return 1
		}
		f.used -= bytes
		delete(f.blocks, addr)
		return 0
	}
	return a
}

// TestAllocator allocates and frees at random: allocations are within the driver's and never overlap, the limit is
// kept, all failures are out-of-memory errors, and everything is freed in the end.
func TestAllocator(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := &fakeMemory{total: uint64(rapid.IntRange(4, 64).Draw(t, "total")) << 20}
		limit := int64(rapid.IntRange(0, 64).Draw(t, "limit")) << 20
		p := newAllocator(f.api(), limit)
		type lent struct{ addr, bytes uint64 }
		var live []lent
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			if len(live) > 0 && rapid.Bool().Draw(t, "free") {
				i := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				p.free(live[i].addr)
				live = append(live[:i], live[i+1:]...)
			} else {
				shift := rapid.IntRange(0, 24).Draw(t, "shift")
				bytes := uint64(rapid.IntRange(1, 1<<shift).Draw(t, "bytes"))
				addr, err := p.alloc(int(bytes), "a test")
				if err != nil {
					require.ErrorIs(t, err, ssl.ErrOutOfMemory)
					continue
				}
				require.Zero(t, addr%512)
				inside := false
				for from, n := range f.blocks {
					inside = inside || addr >= from && addr+bytes <= from+n
				}
				require.True(t, inside)
				for _, l := range live {
					require.True(t, addr+bytes <= l.addr || l.addr+l.bytes <= addr)
				}
				live = append(live, lent{addr, bytes})
			}
			require.Equal(t, f.used, p.held)
			if limit > 0 {
				require.LessOrEqual(t, p.held, uint64(limit))
			}
			var sum uint64
			for _, l := range live {
				sum += round(l.bytes)
			}
			require.Equal(t, sum, p.inUse)
			require.GreaterOrEqual(t, p.peak, sum)
		}
		require.NoError(t, p.close())
		require.Empty(t, f.blocks)
	})
}

// TestAllocatorReuse checks that memory is reused without calling the driver, and that unused memory is freed before
// giving up.
func TestAllocatorReuse(t *testing.T) {
	f := &fakeMemory{total: 32 << 20}
	p := newAllocator(f.api(), 0)
	alloc := func(bytes int) uint64 {
		addr, err := p.alloc(bytes, "a test")
		require.NoError(t, err)
		return addr
	}
	first := alloc(8 << 20)
	p.free(first)
	require.Equal(t, first, alloc(3<<20), "split")
	second := alloc(4 << 20)
	require.Equal(t, first+4<<20, second)
	require.Equal(t, 1, f.calls)
	small := alloc(100)
	require.Equal(t, small+512, alloc(512), "one segment for small arrays")
	require.Equal(t, 2, f.calls)
	require.Equal(t, uint64(32<<20-8<<20-1024), p.available())
	p.free(first)
	p.free(second)
	alloc(28 << 20) // unused memory is returned to the driver
	require.Panics(t, func() { p.free(first) })
	require.NoError(t, p.close())
}

// TestAllocatorShortage checks the error when a device's memory, or the limit, is too small.
func TestAllocatorShortage(t *testing.T) {
	f := &fakeMemory{total: 32 << 20}
	p := newAllocator(f.api(), 0)
	_, err := p.alloc(10<<20, "weights")
	require.NoError(t, err)
	_, err = p.alloc(23<<20, "activations")
	require.EqualError(t, err, "cuda: cuMemAlloc of 24 MiB for activations: CUDA_ERROR_OUT_OF_MEMORY (out of memory); "+
		"10 MiB in use, peak 10 MiB, no limit, 22 MiB of 32 MiB free on the device")
	require.ErrorIs(t, err, ssl.ErrOutOfMemory)
	p = newAllocator(f.api(), 5<<20)
	_, err = p.alloc(6<<20, "activations")
	require.EqualError(t, err, "cuda: cuMemAlloc of 6.0 MiB for activations: exceeds the memory limit; "+
		"0 B in use, peak 0 B, limit 5.0 MiB, 22 MiB of 32 MiB free on the device")
	require.ErrorIs(t, err, ssl.ErrOutOfMemory)
	a := f.api()
	a.cuMemAlloc = func(*uint64, uint64) status { return 700 }
	_, err = newAllocator(a, 0).alloc(1, "activations")
	require.Error(t, err)
	require.NotErrorIs(t, err, ssl.ErrOutOfMemory)
}
