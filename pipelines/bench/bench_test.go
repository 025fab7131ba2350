package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

func TestMain(m *testing.M) {
	if mode := os.Getenv(fakeMode); mode != "" {
		beWorker(mode)
		return
	}
	ptest.Main(m)
}

// tiny returns cases of every kind, with sizes that take almost no time.
func tiny() []benchmark {
	data := &pictures{}
	cases := []benchmark{
		matrices{m: 3, k: 5, n: 7}.benchmark(2),
		matrices{m: 3, k: 5, n: 7, transA: true}.benchmark(1),
		matrices{m: 3, k: 5, n: 7, transB: true}.benchmark(1),
		features("forward/tiny", nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 2}, 32, 2, Options{Threads: 2}),
		clustering{50, 6, 4, 0}.benchmark(2),
		clustering{50, 6, 4, 3}.benchmark(2),
		searching{7, 20, 5, 3}.benchmark(2),
	}
	mobile := newMobile(2, ssl.FP32)
	mobile.images, mobile.size = 4, 16
	cases = append(cases, mobile.benchmark(2))
	cases = append(cases, layers(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}, 8, 4, Options{Threads: 2, BF16: true})...)
	for _, method := range []string{"simsiam", "ntxent"} {
		t := newTraining(method, 2, map[string]ssl.Precision{"simsiam": ssl.FP32, "ntxent": ssl.BF16}[method])
		t.images, t.size = 4, 16
		t.heads.ProjectorHidden, t.heads.ProjectorDim = 16, 12
		cases = append(cases, t.benchmark(2), t.loop(2, "jpeg", data.encode("jpeg")), t.loop(2, decoded, data.encode("png")))
	}
	return append(cases, augments(Options{}, data)...)
}

// quick returns a meter that does not measure the peak.
func quick(o Options) *meter {
	return &meter{Options: o, peaks: map[int]float64{1: 100, 2: 200}}
}

func TestPeak(t *testing.T) {
	require.Positive(t, inCache(2, matrices{m: 8, k: 8, n: 8}))
}

// Every kind of case runs, and its line of JSON has the measurements.
func TestEveryKindOfCase(t *testing.T) {
	cases := tiny()
	var results []Result
	err := quick(Options{Rounds: 2, Time: time.Microsecond}).measureAll(t.Context(), cases, func(r Result) error {
		line, err := json.Marshal(r)
		require.NoError(t, err)
		require.NotContains(t, string(line), "torch")
		var read Result
		decoder := json.NewDecoder(strings.NewReader(string(line)))
		decoder.DisallowUnknownFields()
		require.NoError(t, decoder.Decode(&read))
		results = append(results, read)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, results, len(cases))
	for i, r := range results {
		b := cases[i]
		require.Equal(t, b.name, r.Case)
		require.Equal(t, b.threads, r.Threads)
		require.Equal(t, kernels.ISA(), r.ISA)
		require.Equal(t, string(cmp.Or(b.round, ssl.FP32)), r.Precision)
		require.Len(t, r.Sizes, len(b.sizes))
		require.Positive(t, r.Seconds)
		require.LessOrEqual(t, r.SecondsMin, r.Seconds)
		require.Equal(t, 100*float64(b.threads), r.PeakGFLOPS)
		require.InDelta(t, b.flops/1e9, r.GFLOPS*r.Seconds, 1e-12)
		require.InDelta(t, r.GFLOPS, r.PeakShare*r.PeakGFLOPS, 1e-9)
		require.InDelta(t, b.images, r.ImagesPerSecond*r.Seconds, 1e-9)
		if b.kind == "loop" {
			require.Positive(t, r.DataWait)
			require.Less(t, r.DataWait, 1.)
		}
	}
}

// The published numbers of multiply-adds, and one counted by hand, layer by layer.
func TestFlops(t *testing.T) {
	count := func(b nn.Backbone, size int) (multiplyAdds float64) {
		for _, c := range nn.Convolutions(b, size, 1) {
			multiplyAdds += convFlops(c.Conv) / 2
		}
		return multiplyAdds
	}
	// torchvision's ResNet-50 has 4,089,184,256, including 2048 * 1000 for its classifier.
	require.Equal(t, 4_087_136_256., count(nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 64}, 224))
	// torchvision's ResNet-18 has 1,814,073,344, including 512 * 1000 for its classifier.
	require.Equal(t, 1_813_561_344., count(nn.Backbone{Arch: "resnet18", Stem: "imagenet", Width: 64}, 224))
	// torchvision's MobileNetV2 has 300,774,272, including 1280 * 1000 for its classifier.
	require.Equal(t, 299_494_272., count(nn.Backbone{Arch: "mobilenet_v2", Stem: "imagenet", Width: 64}, 224))
	const (
		stem   = 32 * 32 * 64 * 27
		stage1 = 4 * 32 * 32 * 64 * 64 * 9
		stage2 = 16*16*128*64*9 + 3*16*16*128*128*9 + 16*16*128*64
		stage3 = 8*8*256*128*9 + 3*8*8*256*256*9 + 8*8*256*128
		stage4 = 4*4*512*256*9 + 3*4*4*512*512*9 + 4*4*512*256
		net    = stem + stage1 + stage2 + stage3 + stage4
	)
	require.Equal(t, float64(net), count(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 64}, 32))

	// Forward and two gradients, except the images', for two views of 64 images; two operations per multiply-add.
	const heads = 512*2048 + 2048*2048 + 2048*2048 + 2048*512 + 512*2048
	require.Equal(t, 2*128*float64(3*net-stem+3*heads), newTraining("simsiam", 64, ssl.FP32).flops())
	const simclr = 512*2048 + 2048*128
	require.Equal(t, 2*128*float64(3*net-stem+3*simclr), newTraining("ntxent", 64, ssl.FP32).flops())

	require.Equal(t, 2.*3*5*7, matrices{m: 3, k: 5, n: 7}.flops())
}

// Every distinct layer of the net is measured once per pass.
func TestLayers(t *testing.T) {
	names := map[string]bool{}
	for _, b := range layers(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 16}, 32, 128, Options{Threads: 2}) {
		names[b.name] = true
	}
	// The stem, the blocks of stage 1, and for every other stage: the first convolution, the others, the shortcut.
	require.Len(t, names, 2+3+3*(3+3+3))
	require.Contains(t, names, "conv/width16/conv1/backward-weights")
	require.NotContains(t, names, "conv/width16/conv1/backward-data")
	require.Contains(t, names, "conv/width16/layer4.0.downsample.0/backward-data")
	require.NotContains(t, names, "conv/width16/layer4.1.conv1/forward")
}

func TestChoose(t *testing.T) {
	all, err := choose(Options{Groups: Groups(), Threads: 2})
	require.NoError(t, err)
	names := map[string]bool{}
	for _, b := range all {
		require.False(t, names[b.name], "two cases are named %s", b.name)
		names[b.name] = true
		group, _, _ := strings.Cut(b.name, "/")
		require.Equal(t, group, b.kind)
	}
	require.Contains(t, names, "gemm/1024x1024x1024/NN/threads1")
	require.Contains(t, names, "gemm/1024x1024x1024/NN/threads2")

	some, err := choose(Options{Groups: []string{"step"}, Threads: 1, Filter: regexp.MustCompile("width(16|64)$")})
	require.NoError(t, err)
	require.Equal(t, []string{"step/simsiam/width16", "step/simsiam/width64", "step/ntxent/width16", "step/ntxent/mobilenet_v2/width16", "step/ntxent/mobilenet_v2/width64"}, namesOf(some))

	some, err = choose(Options{Groups: []string{"conv", "step", "loop"}, BF16: true, Filter: regexp.MustCompile("width64/(bf16|layer4.0.conv2/forward/bf16|jpeg)")})
	require.NoError(t, err)
	require.Equal(t, []string{
		"conv/width64/layer4.0.conv2/forward/bf16", "step/simsiam/width64/bf16", "step/ntxent/mobilenet_v2/width64/bf16",
		"loop/simsiam/width64/jpeg", "loop/simsiam/width64/bf16/jpeg",
	}, namesOf(some))

	some, err = choose(Options{Groups: []string{"step", "loop"}, Device: ssl.Device{Name: ssl.CUDA}, Filter: regexp.MustCompile("width16/tf32")})
	require.NoError(t, err)
	require.Equal(t, []string{
		"step/simsiam/width16/tf32", "step/ntxent/width16/tf32", "step/ntxent/mobilenet_v2/width16/tf32",
		"loop/simsiam/width16/tf32/jpeg", "loop/simsiam/width16/tf32/png", "loop/simsiam/width16/tf32/decoded",
	}, namesOf(some))
	some, err = choose(Options{Groups: []string{"step"}, Device: ssl.Device{Name: ssl.CUDA}, Filter: regexp.MustCompile("subnets./bf16")})
	require.NoError(t, err)
	require.Equal(t, []string{"step/simsiam/width16/subnets4/bf16", "step/simsiam/width16/subnets8/bf16"}, namesOf(some))
	some, err = choose(Options{Groups: OnGPU, Device: ssl.Device{Name: ssl.CUDA}, Filter: regexp.MustCompile("forward|1280000|knn")})
	require.NoError(t, err)
	require.Equal(t, []string{"forward/resnet50/batch256", "kmeans/1280000x2048/k256", "knn/10000x50000x512/k20"}, namesOf(some))
	_, err = choose(Options{Groups: []string{"knn", "gemm"}, Device: ssl.Device{Name: ssl.CUDA}})
	require.ErrorAs(t, err, new(*run.UsageError))
	require.EqualError(t, err, "--device cuda measures only the groups step, loop, forward, kmeans, knn, not gemm")

	_, err = choose(Options{Groups: []string{"gem"}, Threads: 1})
	require.ErrorAs(t, err, new(*run.UsageError))
	require.EqualError(t, err, `there is no group of cases "gem"; want gemm, conv, step, loop, augment, forward, kmeans, knn`)
	_, err = choose(Options{Groups: []string{"gemm"}, Threads: 1, Filter: regexp.MustCompile("nothing")})
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "no case of gemm has a name that matches nothing")
}

func namesOf(cases []benchmark) (names []string) {
	for _, b := range cases {
		names = append(names, b.name)
	}
	return names
}

func TestSummary(t *testing.T) {
	median, least, waiting := summary([]spent{{4, 1}, {1, 0}, {3, 1}})
	require.Equal(t, []float64{3, 1, .25}, []float64{median, least, waiting})
	median, _, _ = summary([]spent{{4, 1}, {1, 0}, {3, 1}, {2, 0}})
	require.Equal(t, 2.5, median)
}

func TestTimes(t *testing.T) {
	require.Equal(t, 5, times(time.Second, .2))
	require.Equal(t, 1, times(time.Second, 30))
	require.Equal(t, 1<<24, times(time.Second, 0))
}

// An interrupted run stops before the next measurement.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := benchmark{name: "x", threads: 1, prepare: func(*kernels.Pool, [][]byte) (work, error) {
		return work{run: cancel}, nil
	}}
	err := quick(Options{Rounds: 3, Time: time.Microsecond}).measureAll(ctx, []benchmark{b}, func(Result) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorContains(t, err, "bench x")
}

func TestMemory(t *testing.T) {
	const size = 64 << 20
	debug.FreeOSMemory() // otherwise the new memory may already be resident
	before := startMemory()
	data := slices.Repeat([]byte{1}, size)
	growth := before.growth()
	require.Len(t, data, size)
	if growth == 0 {
		t.Skip("the system does not tell")
	}
	require.Greater(t, growth, 48.) // the garbage collector may return some memory meanwhile
	require.Less(t, growth, 100.)
}

// The fields are those of proc_stat(5), up to the steal time.
func TestNeighbours(t *testing.T) {
	busy, all := parseStat("cpu  1000 200 30 50000 4000 5 6 700 80 9\ncpu0 1 2 3 4 5 6 7 8 9 0\n")
	require.Equal(t, 1000.+200+30+5+6+700, busy)
	require.Equal(t, busy+50000+4000, all)
	busy, all = parseStat("")
	require.Zero(t, busy+all)
	require.Zero(t, (&rests{}).neighbours())
	require.Equal(t, .25, (&rests{busy: 2, all: 8}).neighbours())
}

func TestTable(t *testing.T) {
	text := Table([]Result{
		{Case: "gemm/a", Threads: 1, Seconds: .001, GFLOPS: 50, PeakGFLOPS: 100, PeakShare: .5, Neighbours: .12},
		{
			Case: "loop/b", Threads: 2, Seconds: .5, GFLOPS: 50, ImagesPerSecond: 128, DataWait: .031, MemoryMiB: 300,
			TorchSeconds: 1, TorchImagesPerSecond: 64, TorchVariant: "channels_last", Ratio: 2,
		},
	})
	lines := strings.Split(text, "\n")
	require.Len(t, lines, 6)
	require.Equal(t, []string{
		"gemm/a", "1", "1.000", "50.0 GFLOPS", "50%", "", "", "", "", "", "", "", "", "12%",
	}, cells(lines[3]))
	require.Equal(t, []string{
		"loop/b", "2", "500.000", "128.0 images/s", "", "3.1%", "300",
		"1000.000", "64.0 images/s", "", "", "channels_last", "2.00", "",
	}, cells(lines[4]))
}

func cells(line string) (cells []string) {
	for _, c := range strings.Split(strings.Trim(line, "│"), "│") {
		cells = append(cells, strings.TrimSpace(c))
	}
	return cells
}

// A run with sub-nets takes a step of each of them.
func TestSubnets(t *testing.T) {
	step := newTraining("ntxent", 4, ssl.FP32)
	step.images, step.size, step.subnets = 4, 8, 3
	one := step
	one.subnets = 0
	require.InDelta(t, 3*one.flops(), step.flops(), 1)
	pool := kernels.NewPool(1)
	defer pool.Close()
	made, err := step.benchmark(1).prepare(pool, nil)
	require.NoError(t, err)
	made.run()
	require.NoError(t, made.close())
}
