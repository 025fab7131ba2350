package imageio

import (
	"cmp"
	"context"
	"errors"
	"sync"
)

// What Squares reads ahead of the image that is next: no more images, nor more
// bytes of encoded ones, than these.
const (
	aheadImages = 128
	aheadBytes  = 64 << 20
)

// Squares reads the images of a split as Read does and decodes them as
// DecodeSquare does, on all processors. It gives them to yield in order, one at a
// time, each with what is wrong with it if it is damaged, and stops at the
// first error of yield, which it returns.
func Squares(ctx context.Context, split Split, size int, yield func(im Image, square RGB, damage error) error) error {
	var (
		queue  []*square
		bytes  int
		failed error
		group  sync.WaitGroup
	)
	defer group.Wait()
	next := func() {
		s := queue[0]
		queue[0] = nil
		queue, bytes = queue[1:], bytes-len(s.image.Data)
		<-s.done
		failed = yield(s.image, s.rgb, s.damage)
	}
	err := Read(ctx, split, func(im Image) error {
		for len(queue) > 0 && (len(queue) == aheadImages || bytes+len(im.Data) > aheadBytes) {
			if next(); failed != nil {
				return failed
			}
		}
		s := &square{image: im, done: make(chan struct{})}
		queue, bytes = append(queue, s), bytes+len(im.Data)
		group.Go(func() { s.decode(size) })
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

// square is an image that is being decoded, until done is closed.
type square struct {
	image  Image
	rgb    RGB
	damage error
	done   chan struct{}
}

func (s *square) decode(size int) {
	defer close(s.done)
	if s.image.Damage != "" {
		s.damage = errors.New(s.image.Damage)
		return
	}
	s.rgb, s.damage = DecodeSquare(s.image.Data, size)
}
