package kernels

import (
	"cmp"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/klauspost/cpuid/v2"
)

// pass is one of a convolution's three computations.
type pass int

const (
	forward         pass = iota // y from x and w
	backwardData                // dx from dy and w
	backwardWeights             // dw from x and dy
)

func (p pass) String() string {
	return [...]string{"forward", "backward data", "backward weights"}[p]
}

// algorithm is a way to compute a pass: Winograd's F(mxm, 3x3) if m is not 0, else gathered, depthwise or direct.
type algorithm struct {
	m         int
	staged    bool // Winograd: all transforms, then all products of many tiles, rather than fused per block
	gathered  bool
	depthwise bool
	pairs     bool // multiplies pairs of bfloat16
}

func (a algorithm) String() string {
	switch {
	case a.pairs:
		a.pairs = false
		return a.String() + " bf16"
	case a.gathered:
		return "gathered"
	case a.depthwise:
		return "depthwise"
	case a.m == 0:
		return "direct"
	}
	return fmt.Sprintf("winograd%d", a.m) + map[bool]string{true: " staged"}[a.staged]
}

// algorithms lists the algorithms that can compute a pass of c.
func algorithms(c Conv, p pass, precision Precision) (all []algorithm) {
	if c.Depthwise { // there is no product of matrices in which to round
		return []algorithm{{depthwise: true}}
	}
	if !c.isLinear() {
		all = append(all, algorithm{})
	}
	if p == backwardWeights && c.Cin >= transformLanes || c.isPixelwise() {
		all = append(all, algorithm{gathered: true})
	}
	if precision == BF16 {
		gathered := p == backwardWeights || c.isPixelwise()
		all = append(all, algorithm{gathered: gathered, pairs: true})
	}
	if !suitsWinograd(c) {
		return all
	}
	for _, m := range []int{2, 3, 4} {
		all = append(all, algorithm{m: m, staged: true})
		if p != backwardWeights {
			all = append(all, algorithm{m: m})
		}
	}
	return all
}

// computation is a prepared pass. It computes c from a and b, in the argument order of ConvPlan's methods.
type computation interface {
	compute(a, b, c []float32)
}

// prepare prepares a pass of c to run on p by this algorithm.
func (a algorithm) prepare(c Conv, what pass, p *Pool) computation {
	switch {
	case a.depthwise && what == backwardWeights:
		return newDepthwiseGradient(c, p)
	case a.depthwise:
		return newDepthwise(c, what, p)
	case a.m > 0 && what == backwardWeights:
		return newWinogradGradient(c, a.m, p)
	case a.m > 0:
		return newWinogradConv(c, a.m, what == backwardData, a.staged, p)
	case a.gathered && c.isPixelwise():
		return &product{p, what, a.pairs, c.N * c.H * c.W, c.Cin, c.Cout}
	case a.gathered:
		return newGatheredGradient(c, a.pairs, p)
	}
	if c.isPixelwise() {
		c.H, c.W = 1, c.H*c.W // pixels are independent: treat each image as one long row
	}
	switch what {
	case forward:
		return newForward(c, a.pairs, p)
	case backwardData:
		return newBackwardData(c, a.pairs, p)
	}
	return newWeightGradient(c, p)
}

// isPixelwise reports whether each output pixel depends only on the input pixel at its position.
func (c Conv) isPixelwise() bool { return c.KH == 1 && c.KW == 1 && c.Stride == 1 && c.Pad == 0 }

// isLinear reports whether images are single pixels.
func (c Conv) isLinear() bool { return c.isPixelwise() && c.H == 1 && c.W == 1 }

// cost estimates the time of a pass, in multiply-adds.
func (a algorithm) cost(c Conv, what pass, isa *isa) float64 {
	const copyCost = 24 // per value
	if a.m == 0 {
		outputs := float64(c.N * c.OutH() * c.OutW())
		cost := outputs * float64(c.KH*c.KW*c.Cin*c.Cout)
		if a.pairs {
			cost /= isa.pairSpeed
		}
		switch {
		case !a.gathered && what == backwardWeights:
			return 2 * cost // x and dy are far apart in memory
		case a.gathered:
			return cost + copyCost*outputs*float64(c.KH*c.KW*c.Cin+c.Cout)
		case a.pairs:
			return cost + copyCost*float64(c.N*c.H*c.W*c.Cin)
		}
		return cost
	}
	const (
		transformCost = 10  // per value
		productSpeed  = 0.8 // of the products, relative to a direct convolution
		stagedSpeed   = 0.9 // of everything if planes go through the L3 cache
	)
	values := (a.m + 2) * (a.m + 2)
	tiles := c.N * ((c.OutH() + a.m - 1) / a.m) * ((c.OutW() + a.m - 1) / a.m)
	cost := float64(tiles*values) * (float64(c.Cin*c.Cout)/productSpeed + transformCost*float64(c.Cin+c.Cout))
	filters := float64(values * c.Cin * c.Cout)
	cost += transformCost * filters
	if a.staged {
		return cost / stagedSpeed
	}
	// Each block of tiles reads all filters again.
	block := max(12, fusedFloats/(values*(c.Cin+c.Cout)))
	return cost + filters*float64(tiles)/float64(block)
}

// choose returns the algorithm for a pass of c: the tuning table's choice or, without a table, the cost model's.
func (p *Pool) choose(c Conv, what pass, precision Precision) algorithm {
	all := algorithms(c, what, precision)
	slices.SortStableFunc(all, func(a, b algorithm) int {
		return cmp.Compare(a.cost(c, what, p.isa), b.cost(c, what, p.isa))
	})
	if len(all) == 1 || p.tuning == nil {
		return all[0]
	}
	byName := map[string]algorithm{}
	for _, a := range all {
		byName[a.String()] = a
	}
	name, err := p.tuning.Choose(p.machine(), shapeOf(c, what, precision),
		func(name string) bool { _, ok := byName[name]; return ok },
		func() (string, error) {
			if p.tuning.preferred != nil {
				return all[0].String(), nil
			}
			return fastest(all, c, what, p.Threads()).String(), nil
		})
	if err != nil {
		slog.Warn("autotuning failed; the cost model chooses the algorithm", "error", err)
		return all[0]
	}
	return byName[name]
}

// machine begins the keys of the tuning table, before a colon.
func (p *Pool) machine() string {
	return fmt.Sprintf("%s, %d threads", p.processor(), p.Threads())
}

// processor names the type of processor, and the instruction set that is used of it.
func (p *Pool) processor() string { return cpuid.CPU.BrandName + ", " + p.isa.name }

// shapeOf is the rest of a key of the tuning table.
func shapeOf(c Conv, what pass, precision Precision) string {
	return fmt.Sprintf("%s of %dx%dx%dx%d to %d by %dx%d, stride %d, pad %d",
		what, c.N, c.H, c.W, c.Cin, c.Cout, c.KH, c.KW, c.Stride, c.Pad) + map[Precision]string{BF16: ", bf16"}[precision]
}

// fastest measures the algorithms, which are sorted by cost, and returns the fastest. It skips those that the cost
// model rules out.
func fastest(all []algorithm, c Conv, what pass, threads int) algorithm {
	const (
		slack  = 2.5 // factor by which the cost model may be wrong
		rounds = 3
	)
	pool := NewPool(threads) // for scratch of its own
	defer pool.Close()
	most := slack * all[0].cost(c, what, pool.isa)
	all = slices.DeleteFunc(slices.Clone(all), func(a algorithm) bool { return a.cost(c, what, pool.isa) > most })
	in := NewFloats(c.N * c.H * c.W * c.Cin)
	w := NewFloats(c.Weights())
	out := NewFloats(c.N * c.OutH() * c.OutW() * c.Cout)
	operands := [...][3][]float32{{in, w, out}, {out, w, in}, {in, out, w}}[what]
	passes := make([]computation, len(all))
	best := make([]time.Duration, len(all))
	for round := range rounds + 1 {
		for i, a := range all {
			if round == 0 {
				passes[i] = a.prepare(c, what, pool)
			}
			start := time.Now()
			pool.compute(passes[i], operands[0], operands[1], operands[2])
			if took := time.Since(start); round == 1 || round > 1 && took < best[i] {
				best[i] = took
			}
		}
	}
	winner := 0
	for i := range best {
		if best[i] < best[winner] {
			winner = i
		}
	}
	return all[winner]
}

// compute runs a prepared pass.
func (p *Pool) compute(c computation, a, b, out []float32) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.compute(a, b, out)
}
