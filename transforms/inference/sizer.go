package inference

import (
	"math"
	"time"
)

// overhead is the target share of the fixed cost in a request's time, as in Beam's BatchElements for Python.
const overhead = .05

// trials is the number of requests that a sizer remembers.
const trials = 64

// sizer chooses the number of forward passes per request, like Beam's BatchElements for Python. It fits a line to the
// times of past requests and chooses as many passes as fit into the target time, but no more than it takes to make the
// fixed cost a small share. It starts with one pass and never more than doubles the maximum so far.
type sizer struct {
	target time.Duration
	max    int // passes
	tried  []trial
}

// trial is the number of passes and the time of a request.
type trial struct{ passes, seconds float64 }

// next returns the number of passes of the next request.
func (s *sizer) next() int {
	if len(s.tried) == 0 {
		return 1
	}
	most, least := 0., s.tried[0].passes
	for _, t := range s.tried {
		most, least = max(most, t.passes), min(least, t.passes)
	}
	limit := min(2*most, float64(s.max))
	if most == least { // one point does not determine a line
		switch seconds, target := s.tried[len(s.tried)-1].seconds, s.target.Seconds(); {
		case seconds > target:
			return max(1, int(most)/2)
		case 2*seconds > target:
			return int(most)
		}
		return int(limit)
	}
	fixed, each := line(s.tried)
	want := min((s.target.Seconds()-fixed)/each, fixed/each*(1/overhead-1))
	return max(1, int(math.Round(min(want, limit))))
}

// add remembers a request.
func (s *sizer) add(passes int, took time.Duration) {
	if len(s.tried) == trials {
		s.tried = s.tried[1:]
	}
	s.tried = append(s.tried, trial{float64(passes), took.Seconds()})
}

// line fits seconds = fixed + each*passes by least squares; both are at least a nanosecond.
func line(tried []trial) (fixed, each float64) {
	var x, y, xx, xy float64
	n := float64(len(tried))
	for _, t := range tried {
		x, y = x+t.passes/n, y+t.seconds/n
	}
	for _, t := range tried {
		xx, xy = xx+(t.passes-x)*(t.passes-x), xy+(t.passes-x)*(t.seconds-y)
	}
	each = max(xy/xx, 1e-9)
	return max(y-each*x, 1e-9), each
}
