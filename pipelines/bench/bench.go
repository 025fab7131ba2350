// Package bench measures the tensor engine: matrix products, convolutions, training steps, the training loop,
// augmentation and inference; by itself, or in alternation with PyTorch on the same machine.
//
// In alternation means ours, theirs, ours, theirs, so that both meet the same clock rates and neighbours, and that one
// side is idle while the other runs. PyTorch runs in one child process (torch_worker.py) that prepares every variant it
// has of a case, eager in both memory formats and what else applies, and goes on with its fastest.
//
// A floating-point operation is counted where the plain algorithm has one: two for each multiply-add of a matrix
// product or direct convolution, none for anything else. An algorithm that saves operations can therefore exceed the
// machine's peak.
package bench

import (
	"context"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Options says what to measure and how.
type Options struct {
	// Groups are the groups of cases to measure, of Groups.
	Groups []string
	// Filter chooses cases by their names; nil means all.
	Filter *regexp.Regexp
	// Threads is the number of threads of either side; 0 means all processors.
	Threads int
	// Rounds is how many measurements a side has. What is reported is their median.
	Rounds int
	// Time is how long one measurement shall take: a case is repeated that long, and at least once.
	Time time.Duration
	// Python is the interpreter that has torch; empty means that there is nothing to compare with.
	Python string
	// Compile lets PyTorch also try torch.compile for training steps, which takes minutes.
	Compile bool
	// BF16 adds convolutions, training steps and loops for which both sides may round operands to bfloat16 (kernels.BF16;
	// PyTorch's autocasting, which also keeps activations in it). Steps and loops have them anyway where the processor
	// has instructions for it.
	BF16 bool
	// Tuning is the table by which our side chooses algorithms; nil means by estimate.
	Tuning *kernels.Tuning
	// Data is a collection of images for the training loop; empty means images made up.
	Data string
}

// precisions of training: whether bfloat16 is allowed.
func (o Options) precisions() []bool {
	if o.BF16 || kernels.ISA() == "bf16" {
		return []bool{false, true}
	}
	return []bool{false}
}

// group is a kind of cases.
type group struct {
	name  string
	cases func(o Options, data *pictures) []benchmark
}

var groups = []group{
	{"gemm", gemms},
	{"conv", convs},
	{"step", steps},
	{"loop", loops},
	{"augment", augments},
	{"forward", forwards},
}

// Groups names the groups of cases in their order.
func Groups() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// benchmark is one case: something that both sides can run again and again.
type benchmark struct {
	name    string
	kind    string         // by which torch_worker.py knows what to run
	sizes   map[string]any // its arguments
	threads int
	flops   float64 // of one run; 0 where they are not what counts
	images  int     // of one run; 0 where they are not what counts
	stretch int     // how many times Options.Time a measurement takes; 0 counts as 1
	bf16    bool    // operands may be rounded to bfloat16
	memory  bool    // the memory it takes counts too: it gets processes without a past
	encoded source  // the images that it reads; nil if none
	prepare func(p *kernels.Pool, encoded [][]byte) (work, error)
}

// source gives encoded images.
type source func(context.Context) ([][]byte, error)

// work is a prepared case.
type work struct {
	run  func()
	wait func() time.Duration // how long all runs so far have waited for their data; nil where there is none
}

// Run measures the cases one after the other and gives each result to emit. It stops at the first error.
func Run(ctx context.Context, o Options, emit func(Result) error) error {
	if o.Threads <= 0 {
		o.Threads = runtime.NumCPU()
	}
	cases, err := choose(o)
	if err != nil {
		return err
	}
	m := meter{Options: o, peaks: map[int]float64{}}
	return m.measureAll(ctx, cases, emit)
}

// choose lists the cases that are asked for.
func choose(o Options) ([]benchmark, error) {
	for _, name := range o.Groups {
		if !slices.Contains(Groups(), name) {
			return nil, run.Usagef("there is no group of cases %q; want %s", name, strings.Join(Groups(), ", "))
		}
	}
	data := &pictures{path: o.Data}
	var cases []benchmark
	for _, g := range groups {
		if !slices.Contains(o.Groups, g.name) {
			continue
		}
		for _, b := range g.cases(o, data) {
			if o.Filter == nil || o.Filter.MatchString(b.name) {
				cases = append(cases, b)
			}
		}
	}
	if len(cases) == 0 {
		return nil, run.Usagef("no case of %s has a name that matches %s", strings.Join(o.Groups, ", "), o.Filter)
	}
	return cases, nil
}
