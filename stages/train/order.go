package train

import (
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// stream is the endless order in which the images of one list are drawn: one permutation after another. The order
// depends only on how many images were taken, so a checkpoint keeps only that number.
type stream struct {
	seed  uint64
	key   uint64 // distinguishes the streams of a run
	rows  []int32
	taken int64

	random *rng.Generator
	epoch  int64   // of order
	order  []int32 // the rows in this epoch's order
}

func newStream(seed, key uint64, rows []int32) *stream {
	return &stream{
		seed: seed, key: key, rows: rows,
		random: rng.NewGenerator(), epoch: -1, order: make([]int32, len(rows)),
	}
}

// next returns the next image's index.
func (s *stream) next() int32 {
	n := int64(len(s.rows))
	if epoch := s.taken / n; epoch != s.epoch {
		s.epoch = epoch
		copy(s.order, s.rows)
		s.random.Seek(s.seed, rng.Order, s.key, uint64(epoch))
		s.random.Shuffle(len(s.order), func(i, j int) { s.order[i], s.order[j] = s.order[j], s.order[i] })
	}
	s.taken++
	return s.order[(s.taken-1)%n]
}
