package imageio

import (
	"cmp"
	"context"
	"errors"
	"sync"
)

// What is read ahead of the image that is next: no more squares, nor more bytes of
// encoded images, than these.
const (
	aheadSquares = 128
	aheadBytes   = 64 << 20
)

// Squares reads the images of a split as ReadSplit does and decodes them as
// DecodeSquare does, on all processors. It gives them to yield in order, one at a
// time, each with what is wrong with it if it is damaged, and stops at the
// first error of yield, which it returns.
func Squares(ctx context.Context, split Split, size int, yield func(im Image, square RGB, damage error) error) error {
	return decodeAhead(ctx, split, aheadSquares, func(data []byte) (RGB, error) { return DecodeSquare(data, size) }, yield)
}

// decodeAhead is Squares for any way to decode, at most so many images ahead.
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
		return nil
	})
	for len(queue) > 0 && failed == nil && ctx.Err() == nil {
		next() // also what comes before the place where a collection is damaged
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
