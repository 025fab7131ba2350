package cuda

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"

	"github.com/dustin/go-humanize"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

const (
	smallStep = 512 // sizes up to smallMax are rounded up to a multiple of this
	smallMax  = 1 << 20
	largeStep = 2 << 20 // larger sizes are rounded up to a multiple of this, the GPU's page size
)

// allocator is a caching allocator of device memory. It keeps freed memory for reuse, because the driver's functions
// are slow and wait for all queued work, and returns it to the driver only when an allocation would fail otherwise.
// Memory is reused without waiting, since all work is queued in one stream; what others read is freed after they are done. It
// must not be used by two goroutines at once.
type allocator struct {
	*driver
	limit    uint64 // on what all allocators of the process hold
	held     uint64 // bytes allocated from the driver
	inUse    uint64 // bytes allocated to users, rounded
	peak     uint64 // of inUse
	segments []*segment
	live     map[uint64]*segment // by the address of an allocation
}

// heldByAll is the number of bytes that all allocators of the process hold.
var heldByAll atomic.Uint64

// room returns how many more bytes the limit allows to take from the driver.
func (m *allocator) room() uint64 { return m.limit - min(m.limit, heldByAll.Load()) }

// hold notes that the allocator holds more bytes, or less.
func (m *allocator) hold(more int64) {
	m.held += uint64(more)
	heldByAll.Add(uint64(more))
}

// segment is one allocation from the driver. It serves either small or large sizes, so that small arrays, which tend to
// live long, do not keep large segments from being freed.
type segment struct {
	small  bool
	blocks []block // by address, without gaps; free neighbors are merged
}

// block is a part of a segment.
type block struct {
	addr, bytes uint64
	free        bool
}

// newAllocator returns an allocator that takes at most limit bytes from the driver; 0 means no limit.
func newAllocator(a *api, limit int64) *allocator {
	m := &allocator{driver: &a.driver, limit: math.MaxUint64, live: map[uint64]*segment{}}
	if limit > 0 {
		m.limit = uint64(limit)
	}
	return m
}

// alloc allocates device memory, aligned to 512 bytes; an error says what it was for.
func (m *allocator) alloc(bytes int, what string) (addr uint64, err error) {
	need := round(uint64(max(bytes, 1)))
	if addr, ok := m.reuse(need, true); ok {
		return addr, nil
	}
	if err = m.grow(need, what); errors.Is(err, ssl.ErrOutOfMemory) {
		if err := m.trim(); err != nil {
			return 0, err
		}
		err = m.grow(need, what)
	}
	if err != nil && !errors.Is(err, ssl.ErrOutOfMemory) {
		return 0, err
	}
	if addr, ok := m.reuse(need, err == nil); ok {
		return addr, nil
	}
	return 0, m.shortage(err)
}

// free frees memory that alloc allocated.
func (m *allocator) free(addr uint64) {
	s, ok := m.live[addr]
	if !ok {
		panic(fmt.Sprintf("cuda: device memory at %#x is freed but not allocated", addr))
	}
	delete(m.live, addr)
	m.inUse -= s.release(addr)
}

// available returns the number of bytes that could be allocated if there were no fragmentation.
func (m *allocator) available() uint64 { return m.held - m.inUse + m.left() }

// left returns the number of bytes that the driver has left for any allocator.
func (m *allocator) left() uint64 {
	var free, total uint64
	if m.cuMemGetInfo(&free, &total) != 0 {
		return 0 // the next operation reports the error
	}
	return min(free, m.room())
}

// close returns all memory to the driver, even if it is allocated.
func (m *allocator) close() error {
	slog.Debug("device memory", "peak", size(m.peak), "in use at the end", size(m.inUse))
	var errs []error
	for _, s := range m.segments {
		errs = append(errs, m.check(m.cuMemFree(s.blocks[0].addr), "cuMemFree"))
	}
	m.hold(-int64(m.held))
	m.segments, m.inUse = nil, 0
	clear(m.live)
	return errors.Join(errs...)
}

// reuse allocates from the smallest free block that is large enough, if any, and splits off the rest. With apart, it
// only considers segments for sizes like this one.
func (m *allocator) reuse(need uint64, apart bool) (addr uint64, ok bool) {
	var from *segment
	best, at := uint64(math.MaxUint64), 0
	for _, s := range m.segments {
		if apart && s.small != (need <= smallMax) {
			continue
		}
		for i, b := range s.blocks {
			if b.free && b.bytes >= need && b.bytes < best {
				from, best, at = s, b.bytes, i
			}
		}
	}
	if from == nil {
		return 0, false
	}
	addr = from.take(at, need)
	m.live[addr] = from
	m.inUse += need
	m.peak = max(m.peak, m.inUse)
	return addr, true
}

// grow takes a segment from the driver that is large enough.
func (m *allocator) grow(need uint64, what string) error {
	bytes := max(need, largeStep) // small arrays share a segment
	asked := fmt.Sprintf("cuMemAlloc of %s for %s", size(need), what)
	if bytes > m.room() {
		return &statusError{asked, "exceeds the memory limit", true}
	}
	var addr uint64
	if err := m.check(m.cuMemAlloc(&addr, bytes), "%s", asked); err != nil {
		return err
	}
	m.segments = append(m.segments, &segment{need <= smallMax, []block{{addr, bytes, true}}})
	m.hold(int64(bytes))
	return nil
}

// trim returns unused segments to the driver.
func (m *allocator) trim() error {
	kept := m.segments[:0]
	var errs []error
	for _, s := range m.segments {
		if len(s.blocks) > 1 || !s.blocks[0].free {
			kept = append(kept, s)
			continue
		}
		m.hold(-int64(s.blocks[0].bytes))
		errs = append(errs, m.check(m.cuMemFree(s.blocks[0].addr), "cuMemFree"))
	}
	clear(m.segments[len(kept):])
	m.segments = kept
	return errors.Join(errs...)
}

// shortage adds the state of the memory to an error.
func (m *allocator) shortage(err error) error {
	limit := "no limit"
	if m.limit != math.MaxUint64 {
		limit = "limit " + size(m.limit)
	}
	device := ""
	var free, total uint64
	if m.cuMemGetInfo(&free, &total) == 0 {
		device = fmt.Sprintf(", %s of %s free on the device", size(free), size(total))
	}
	return fmt.Errorf("%w; %s in use, peak %s, %s%s", err, size(m.inUse), size(m.peak), limit, device)
}

// take allocates the first bytes of a free block.
func (s *segment) take(i int, bytes uint64) (addr uint64) {
	b := &s.blocks[i]
	b.free = false
	rest := block{b.addr + bytes, b.bytes - bytes, true}
	addr, b.bytes = b.addr, bytes
	if rest.bytes > 0 {
		s.blocks = append(s.blocks[:i+1], append([]block{rest}, s.blocks[i+1:]...)...)
	}
	return addr
}

// release frees the block at an address, merges it with free neighbors, and returns its size.
func (s *segment) release(addr uint64) (bytes uint64) {
	merged := make([]block, 0, len(s.blocks))
	for _, b := range s.blocks {
		if b.addr == addr {
			b.free, bytes = true, b.bytes
		}
		if n := len(merged); n > 0 && b.free && merged[n-1].free {
			merged[n-1].bytes += b.bytes
			continue
		}
		merged = append(merged, b)
	}
	s.blocks = merged
	return bytes
}

// round returns the size that is allocated for a requested size.
func round(bytes uint64) uint64 {
	step := uint64(smallStep)
	if bytes > smallMax {
		step = largeStep
	}
	return (bytes + step - 1) / step * step
}

// size formats a number of bytes.
func size(bytes uint64) string { return humanize.IBytes(bytes) }
