package inference

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// simulate runs a sizer against a model with a fixed cost and a cost per pass.
func simulate(s *sizer, requests int, fixed, each time.Duration) (chosen []int) {
	for range requests {
		n := s.next()
		chosen = append(chosen, n)
		s.add(n, fixed+time.Duration(n)*each)
	}
	return chosen
}

func TestSizer(t *testing.T) {
	for _, c := range []struct {
		what        string
		max         int
		fixed, each time.Duration
		want        []int
	}{
		{"the target leaves time for 9 passes", 1000, 100 * time.Millisecond, 100 * time.Millisecond, []int{1, 2, 4, 8, 9, 9}},
		{"a small fixed cost is small at 4 passes", 1000, 20 * time.Millisecond, 95 * time.Millisecond, []int{1, 2, 4, 4}},
		{"no fixed cost is worth more than one pass", 1000, 0, time.Millisecond, []int{1, 2, 1, 1}},
		{"a pass that takes longer than the target", 1000, time.Second, time.Second, []int{1, 1, 1}},
		{"no more than there may be", 3, 100 * time.Millisecond, time.Millisecond, []int{1, 2, 3, 3}},
		{"only one", 1, 100 * time.Millisecond, time.Millisecond, []int{1, 1, 1}},
	} {
		s := &sizer{target: time.Second, max: c.max}
		require.Equal(t, c.want, simulate(s, len(c.want), c.fixed, c.each), c.what)
	}
}

// TestSizerAdapts has a model that becomes four times as slow: the sizer forgets old requests.
func TestSizerAdapts(t *testing.T) {
	s := &sizer{target: time.Second, max: 1000}
	fast := simulate(s, 2*trials, 40*time.Millisecond, 10*time.Millisecond)
	require.Equal(t, 76, fast[len(fast)-1], "19 times the fixed cost")
	slow := simulate(s, 4*trials, 40*time.Millisecond, 40*time.Millisecond)
	require.LessOrEqual(t, slow[len(slow)-1], 24)
	require.Len(t, s.tried, trials)
}
