// Package bench benchmarks the tensor engine: matrix products, convolutions, training steps, the training loop,
// augmentation, inference, k-means and nearest neighbors, by themselves or in alternation with PyTorch, scikit-learn and
// faiss on the same machine.
//
// In alternation means ours, theirs, ours, theirs, so that both sides see the same clock rates and the same load from
// other programs, and one side is idle while the other runs. PyTorch runs in a child process (torch_worker.py), which
// prepares every variant of a case, such as eager mode in both memory formats, and keeps the fastest.
//
// FLOPs are counted as in the plain algorithm: two per multiply-add of a matrix product or direct convolution, none for
// anything else. An algorithm that saves operations can therefore exceed the machine's peak.
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
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// Options says what to measure and how.
type Options struct {
	// Groups are the groups of cases to measure, from the list Groups.
	Groups []string
	// Filter selects cases by name; nil means all.
	Filter *regexp.Regexp
	// Threads is the number of threads on each side; 0 means all processors.
	Threads int
	// Rounds is the number of measurements per side; their median is reported.
	Rounds int
	// Time is the target duration of one measurement, which repeats a case as often as fits, at least once.
	Time time.Duration
	// Python is the interpreter with PyTorch; if empty, there is no comparison.
	Python string
	// Compile also lets PyTorch try torch.compile for training steps, which takes minutes.
	Compile bool
	// BF16 adds convolutions, training steps and loops in which both sides may round operands to bfloat16
	// (kernels.BF16; PyTorch's autocast, which also keeps activations in it). Steps and loops always include it if the
	// processor has bfloat16 instructions.
	BF16 bool
	// Tuning is our side's tuning table; nil means that a cost model chooses the algorithms.
	Tuning *kernels.Tuning
	// Device is where our side computes; PyTorch's side follows. On a GPU there are only the groups OnGPU.
	Device ssl.Device
	// Data is a collection of images for the loop and augment cases; empty means synthetic images.
	Data string
}

// precisions lists the precisions to train in.
func (o Options) precisions() []ssl.Precision {
	switch {
	case o.Device.Name == ssl.CUDA:
		return []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16}
	case o.BF16 || kernels.ISA() == "bf16":
		return []ssl.Precision{ssl.FP32, ssl.BF16}
	}
	return []ssl.Precision{ssl.FP32}
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
	{"kmeans", kmeanses},
	{"knn", knns},
}

// Groups lists the groups of cases in order.
func Groups() []string {
	var names []string
	for _, g := range groups {
		names = append(names, g.name)
	}
	return names
}

// OnGPU lists the groups that a GPU can compute.
var OnGPU = []string{"step", "loop", "forward", "kmeans", "knn"}

// benchmark is one case: work that both sides can run repeatedly.
type benchmark struct {
	name    string
	kind    string         // tells torch_worker.py what to run
	sizes   map[string]any // its arguments
	threads int
	flops   float64       // per run; 0 if the case has no rate in GFLOPS
	images  int           // per run; 0 if the case has no rate in images/s
	stretch int           // multiplies Options.Time; 0 means 1
	round   ssl.Precision // to which operands may be rounded
	memory  bool          // memory is measured too, on a CPU in a fresh PyTorch process
	encoded source        // the images that the case reads; nil if none
	prepare func(p *kernels.Pool, encoded [][]byte) (work, error)
}

// source returns encoded images.
type source func(context.Context) ([][]byte, error)

// work is a prepared case.
type work struct {
	run   func()
	wait  func() time.Duration // how long all runs so far have waited for data; nil if the case loads none
	held  func() uint64        // bytes of a GPU's memory that the runs need; nil for a CPU
	close func() error         // frees what the case holds; nil if that is only memory
}

// Run measures the cases one after the other and passes each result to emit. It stops at the first error.
func Run(ctx context.Context, o Options, emit func(Result) error) error {
	if o.Threads <= 0 {
		o.Threads = runtime.NumCPU()
	}
	o.Device, _ = ssl.Resolve(o.Device)
	if err := ssl.Check(o.Device); err != nil {
		return run.Usage(err)
	}
	cases, err := choose(o)
	if err != nil {
		return err
	}
	compute.Use(o.Device)
	m := meter{Options: o, peaks: map[int]float64{}}
	if m.vectors, err = ssl.OpenVectors(o.Device); err != nil {
		return err
	}
	return m.measureAll(ctx, cases, emit)
}

// choose lists the cases that the options select.
func choose(o Options) ([]benchmark, error) {
	for _, name := range o.Groups {
		if !slices.Contains(Groups(), name) {
			return nil, run.Usagef("there is no group of cases %q; want %s", name, strings.Join(Groups(), ", "))
		}
	}
	for _, name := range o.Groups {
		if o.Device.Name == ssl.CUDA && !slices.Contains(OnGPU, name) {
			return nil, run.Usagef("--device %s measures only the groups %s, not %s", o.Device.Name, strings.Join(OnGPU, ", "), name)
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
