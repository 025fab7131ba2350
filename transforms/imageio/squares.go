package imageio

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"
	"sync"
)

// Limits for reading ahead of the next image to yield.
const (
	aheadSquares = 128
	aheadBytes   = 64 << 20 // of encoded images
)

// Squares reads the images of a split like [ReadSplit] and decodes them like [DecodeSquare], on all cores. It calls
// yield with the images in order, one at a time; damage is the error of an image that cannot be decoded, or nil.
// Squares stops at the first error of yield and returns it.
func Squares(ctx context.Context, split Split, size int, yield func(im Image, square RGB, damage error) error) error {
	return decodeAhead(ctx, split, aheadSquares, func(data []byte) (RGB, error) { return DecodeSquare(data, size) }, yield)
}

// decodeAhead is Squares with any decode function, at most ahead images ahead.
func decodeAhead(ctx context.Context, split Split, ahead int, decode func([]byte) (RGB, error), yield func(im Image, rgb RGB, damage error) error) error {
	var (
		queue  []*decoding
		bytes  int
		failed error
		group  sync.WaitGroup
	)
	defer group.Wait()
	next := func() {
		d := queue[0]
		queue[0] = nil
		queue, bytes = queue[1:], bytes-len(d.image.Data)
		<-d.done
		failed = yield(d.image, d.rgb, d.damage)
	}
	err := ReadSplit(ctx, split, func(im Image) error {
		for len(queue) > 0 && (len(queue) == ahead || bytes+len(im.Data) > aheadBytes) {
			if next(); failed != nil {
				return failed
			}
		}
		d := &decoding{image: im, done: make(chan struct{})}
		queue, bytes = append(queue, d), bytes+len(im.Data)
		group.Go(func() {
			defer close(d.done)
			if im.Damage != "" {
				d.damage = errors.New(im.Damage)
				return
			}
			d.rgb, d.damage = decode(im.Data)
		})
		if bytes > aheadBytes { // a large file is no garbage when the next one is read
			next()
			debug.FreeOSMemory()
		}
		return failed
	})
	for len(queue) > 0 && failed == nil && ctx.Err() == nil {
		next() // including the images before the damage in a damaged collection
	}
	if len(queue) > 0 {
		err = cmp.Or(err, ctx.Err())
	}
	return cmp.Or(failed, err)
}

// decoding is an image that is being decoded, until done is closed.
type decoding struct {
	image  Image
	rgb    RGB
	damage error
	done   chan struct{}
}
