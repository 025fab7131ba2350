package cuda

import (
	"errors"
	"fmt"
	"log/slog"
	"math"

	"github.com/dustin/go-humanize"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

const (
	smallStep = 512 // sizes up to smallMax are rounded up to multiples of this
	smallMax  = 1 << 20
	largeStep = 2 << 20 // and larger ones to multiples of this, the size of the GPU's pages
)

// pool lends device memory. What is given back is kept to be lent again, since the driver's own functions are slow and
// wait for all queued work; it goes back to the driver when other memory is wanted that is not there. Memory is lent
// again without waiting, as all work is queued in one stream. A pool is not for concurrent use.
type pool struct {
	*driver
	limit    uint64 // of held
	held     uint64 // taken from the driver
	inUse    uint64 // lent, after rounding
	peak     uint64 // of inUse
	segments []*segment
	lent     map[uint64]*segment // by the address of what is lent
}

// segment is memory taken from the driver in one piece. It serves either small sizes or large ones, so that small
// arrays, which tend to stay, do not keep large pieces from being given back.
type segment struct {
	small  bool
	blocks []block // in the order of addresses, without gaps, no two free ones side by side
}

// block is a part of a segment.
type block struct {
	addr, bytes uint64
	free        bool
}

// newPool returns a pool that takes at most limit bytes from the driver; 0 is no limit.
func newPool(a *api, limit int64) *pool {
	p := &pool{driver: &a.driver, limit: math.MaxUint64, lent: map[uint64]*segment{}}
	if limit > 0 {
		p.limit = uint64(limit)
	}
	return p
}

// alloc lends bytes of device memory, aligned to 512 bytes, for a purpose that an error names.
func (p *pool) alloc(bytes int, what string) (addr uint64, err error) {
	need := round(uint64(max(bytes, 1)))
	if addr, ok := p.reuse(need, true); ok {
		return addr, nil
	}
	if err = p.grow(need, what); errors.Is(err, ssl.ErrOutOfMemory) {
		if err := p.trim(); err != nil {
			return 0, err
		}
		err = p.grow(need, what)
	}
	if err != nil && !errors.Is(err, ssl.ErrOutOfMemory) {
		return 0, err
	}
	if addr, ok := p.reuse(need, err == nil); ok {
		return addr, nil
	}
	return 0, p.shortage(err)
}

// free takes back what alloc lent.
func (p *pool) free(addr uint64) {
	s, ok := p.lent[addr]
	if !ok {
		panic(fmt.Sprintf("cuda: device memory at %#x is given back that was not lent", addr))
	}
	delete(p.lent, addr)
	p.inUse -= s.release(addr)
}

// available is how many bytes could be lent, if they were all in one piece.
func (p *pool) available() uint64 {
	var free, total uint64
	if p.cuMemGetInfo(&free, &total) != 0 {
		free = 0 // the operation that fails next will tell why
	}
	return p.held - p.inUse + min(free, p.limit-p.held)
}

// close gives everything back to the driver, what is still lent too.
func (p *pool) close() error {
	slog.Debug("device memory", "peak", size(p.peak), "lent at the end", size(p.inUse))
	var errs []error
	for _, s := range p.segments {
		errs = append(errs, p.check(p.cuMemFree(s.blocks[0].addr), "cuMemFree"))
	}
	p.segments, p.held, p.inUse = nil, 0, 0
	clear(p.lent)
	return errors.Join(errs...)
}

// reuse lends the smallest free block that is large enough, if there is one, and keeps the rest of it free. It looks
// in segments for such sizes, or in all of them if not apart.
func (p *pool) reuse(need uint64, apart bool) (addr uint64, ok bool) {
	var from *segment
	best, at := uint64(math.MaxUint64), 0
	for _, s := range p.segments {
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
	p.lent[addr] = from
	p.inUse += need
	p.peak = max(p.peak, p.inUse)
	return addr, true
}

// grow takes a segment from the driver that has room for a size.
func (p *pool) grow(need uint64, what string) error {
	bytes := max(need, largeStep) // small arrays share one
	asked := fmt.Sprintf("cuMemAlloc of %s for %s", size(need), what)
	if bytes > p.limit-p.held {
		return &statusError{asked, "beyond the limit that was set", true}
	}
	var addr uint64
	if err := p.check(p.cuMemAlloc(&addr, bytes), "%s", asked); err != nil {
		return err
	}
	p.segments = append(p.segments, &segment{need <= smallMax, []block{{addr, bytes, true}}})
	p.held += bytes
	return nil
}

// trim gives the segments back to the driver of which nothing is lent.
func (p *pool) trim() error {
	kept := p.segments[:0]
	var errs []error
	for _, s := range p.segments {
		if len(s.blocks) > 1 || !s.blocks[0].free {
			kept = append(kept, s)
			continue
		}
		p.held -= s.blocks[0].bytes
		errs = append(errs, p.check(p.cuMemFree(s.blocks[0].addr), "cuMemFree"))
	}
	clear(p.segments[len(kept):])
	p.segments = kept
	return errors.Join(errs...)
}

// shortage adds to an error how memory stands.
func (p *pool) shortage(err error) error {
	limit := "there is no limit"
	if p.limit != math.MaxUint64 {
		limit = "the limit is " + size(p.limit)
	}
	device := ""
	var free, total uint64
	if p.cuMemGetInfo(&free, &total) == 0 {
		device = fmt.Sprintf(", %s of the device's %s are free", size(free), size(total))
	}
	return fmt.Errorf("%w; %s are in use, %s at most so far, %s%s", err, size(p.inUse), size(p.peak), limit, device)
}

// take lends the first bytes of a free block.
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

// release makes the block at an address free and one with those beside it that are. It returns the block's size.
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

// round is what is taken for a size.
func round(bytes uint64) uint64 {
	step := uint64(smallStep)
	if bytes > smallMax {
		step = largeStep
	}
	return (bytes + step - 1) / step * step
}

// size writes a number of bytes.
func size(bytes uint64) string { return humanize.IBytes(bytes) }
