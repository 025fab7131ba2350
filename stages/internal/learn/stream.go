package learn

import (
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Stream is the endless order in which the images of one list are drawn: one permutation after another. The order
// depends only on how many images were taken, so a checkpoint keeps only that number.
type Stream struct {
	// Rows are the images' indices.
	Rows []int32
	// Taken is the number of images drawn so far.
	Taken int64

	seed uint64
	key  uint64 // distinguishes the streams of a run

	random *rng.Generator
	epoch  int64   // of order
	order  []int32 // the rows in this epoch's order
}

// NewStream returns the stream of a list of images; key distinguishes the streams of a run.
func NewStream(seed, key uint64, rows []int32) *Stream {
	return &Stream{
		Rows: rows, seed: seed, key: key,
		random: rng.NewGenerator(), epoch: -1, order: make([]int32, len(rows)),
	}
}

// Next returns the next image's index.
func (s *Stream) Next() int32 {
	n := int64(len(s.Rows))
	if epoch := s.Taken / n; epoch != s.epoch {
		s.epoch = epoch
		copy(s.order, s.Rows)
		s.random.Seek(s.seed, rng.Order, s.key, uint64(epoch))
		s.random.Shuffle(len(s.order), func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
	}
	s.Taken++
	return s.order[(s.Taken-1)%n]
}
