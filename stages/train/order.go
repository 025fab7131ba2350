package train

import (
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// stream is the endless order in which the images of one list are seen: one
// permutation after the other. What comes next follows from how many were
// taken, so that number is all a checkpoint keeps.
type stream struct {
	seed  uint64
	key   uint64 // tells the streams of one run apart
	rows  []int32
	taken int64

	epoch int64 // of perm
	perm  []int
}

func newStream(seed, key uint64, rows []int32) *stream {
	return &stream{seed: seed, key: key, rows: rows, epoch: -1}
}

// next returns the next image's index.
func (s *stream) next() int32 {
	n := int64(len(s.rows))
	epoch, at := s.taken/n, s.taken%n
	if epoch != s.epoch {
		s.epoch = epoch
		s.perm = rng.New(s.seed, rng.Order, s.key, uint64(epoch)).Perm(len(s.rows))
	}
	s.taken++
	return s.rows[s.perm[at]]
}
