package cuda

import (
	"fmt"
	"math"
	"os"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// bench is a test bench for kernels: the shim on the CPU, or a GPU.
type bench interface {
	queue
	memory
	multiplier
	acts(n int) Buffer                    // n activations
	floatsOf(values []float32) Buffer     // a float32 array of values
	actsOf(values []float32) Buffer       // an array of activations, rounded from values
	writeActs(b Buffer, values []float32) // overwrites it
	readFloats(b Buffer) []float32        // of an array of float32
	readActs(b Buffer) []float32          // of an array of activations
	// put fills an array of bytes.
	put(b Buffer, host unsafe.Pointer)
	// round rounds values to activations, in place.
	round(values []float32) []float32
}

// onGPU reports whether to run the tests on a GPU. Set SDR_TEST_GPU=1 on a machine that has one.
var onGPU = os.Getenv("SDR_TEST_GPU") != ""

// opened are the GPU's devices.
var opened = map[ssl.Precision]*device{}

// precisionOf returns a precision by whether it is bfloat16.
func precisionOf(bf16 bool) ssl.Precision {
	if bf16 {
		return ssl.BF16
	}
	return ssl.FP32
}

// openGPU opens the GPU once per precision.
func openGPU(t testing.TB, p ssl.Precision) *device {
	if !onGPU {
		t.Skip("SDR_TEST_GPU is not set")
	}
	if opened[p] == nil {
		a, err := load(os.Getenv("SDR_CUDA_LIBS"))
		require.NoError(t, err)
		d, err := openDevice(a, ssl.Device{}, p)
		require.NoError(t, err)
		leave, err := d.enter()
		require.NoError(t, err)
		d.growWorkspace()
		require.NoError(t, d.wait())
		leave()
		opened[p] = d
	}
	return opened[p]
}

// newBench returns the bench to test on.
func newBench(t *testing.T, bf16 bool) bench { return newBenchOf(t, precisionOf(bf16)) }

func newBenchOf(t *testing.T, p ssl.Precision) bench {
	if !onGPU {
		return newShim(t, p)
	}
	d := openGPU(t, p)
	leave, err := d.enter()
	require.NoError(t, err)
	g := &gpuBench{device: d}
	t.Cleanup(func() {
		d.free(g.made...)
		leave()
	})
	return g
}

// gpuBench is a bench on the GPU. Its arrays are freed when the test ends.
type gpuBench struct {
	*device
	made []Buffer
}

func (g *gpuBench) keep(b Buffer) Buffer {
	if g.err != nil {
		panic(g.err)
	}
	g.made = append(g.made, b)
	return b
}

func (g *gpuBench) bytes(n int) Buffer  { return g.keep(g.device.bytes(n)) }
func (g *gpuBench) floats(n int) Buffer { return g.keep(g.device.floats(n)) }
func (g *gpuBench) acts(n int) Buffer   { return g.keep(g.device.acts(n, "a test")) }

func (g *gpuBench) floatsOf(values []float32) Buffer {
	b := g.floats(len(values))
	if b.Len > 0 {
		g.upload(b, unsafe.Pointer(&values[0]), 4*len(values))
		g.must()
	}
	return b
}

func (g *gpuBench) actsOf(values []float32) Buffer {
	b := g.acts(len(values))
	g.writeActs(b, values)
	return b
}

func (g *gpuBench) writeActs(b Buffer, values []float32) {
	if !g.bf16 {
		g.upload(b, unsafe.Pointer(&values[0]), 4*len(values))
	} else {
		narrow := make([]uint16, len(values))
		for i, v := range values {
			narrow[i] = toBFloat16(v)
		}
		g.upload(b, unsafe.Pointer(&narrow[0]), 2*len(values))
	}
	g.must()
}

func (g *gpuBench) readFloats(b Buffer) []float32 {
	out := make([]float32, b.Len)
	if b.Len > 0 {
		g.download(unsafe.Pointer(&out[0]), b, 4*b.Len)
		g.must()
	}
	return out
}

func (g *gpuBench) readActs(b Buffer) []float32 {
	out, err := g.toHost(b)
	if err != nil {
		panic(err)
	}
	return out
}

func (g *gpuBench) round(values []float32) []float32 { return (&shim{bf16: g.bf16}).round(values) }

func (g *gpuBench) put(b Buffer, host unsafe.Pointer) {
	g.upload(b, host, b.Len)
	g.must()
}

// must waits for the GPU. It panics on failure, so that rapid shrinks.
func (g *gpuBench) must() {
	if err := g.wait(); err != nil {
		panic(err)
	}
}

// TestGPUTrains compares a training on the GPU with one on the CPU.
func TestGPUTrains(t *testing.T) {
	openGPU(t, ssl.FP32)
	for _, c := range trials() {
		if c.name == "mobilenet_v2" {
			c.size, c.batch = 32, 16 // the last layers would else normalize 8 values, and roundings be all that counts
		}
		for _, p := range []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16} {
			t.Run(fmt.Sprintf("%s %s", c.name, p), func(t *testing.T) {
				measure, weights := 1e-2, 0.3
				switch p {
				case ssl.TF32:
					measure, weights = 0.05, 1
				case ssl.BF16:
					measure, weights = 0.2, 2 // resnet50 is the worst
				}
				want, wantNets := c.onCPU(t, false)
				got, gotNets := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
					cfg.Precision = p
					return (&gpus{load}).Open(ssl.Device{Libraries: os.Getenv("SDR_CUDA_LIBS")}, cfg)
				})
				c.agree(t, want, got, wantNets, gotNets, measure, weights)
			})
		}
	}
}

// TestGPUMakesViews compares trainings whose views the GPU makes with those whose views the CPU makes, bit by bit. That
// the kernels' pixels are the CPU's is what TestViews checks, on a GPU, too.
func TestGPUMakesViews(t *testing.T) {
	openGPU(t, ssl.FP32)
	c := watching()
	for _, p := range []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16} {
		var trained [2]*sdrnet.Net
		for i, views := range []*ssl.Views{c.views.views(), nil} {
			_, trained[i] = c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
				cfg.Precision, cfg.Views = p, views
				return (&gpus{load}).Open(ssl.Device{Deterministic: true, Libraries: os.Getenv("SDR_CUDA_LIBS")}, cfg)
			})
		}
		for i, v := range trained[0].State() {
			require.Equal(t, trained[1].State()[i].Values, v.Values, "%s: %s", p, v.Name)
		}
	}
}

// TestGPUAhead submits several steps before it waits for the first, so that sub-nets are trained at the same time: the weights
// are bit by bit those of one step after the other.
func TestGPUAhead(t *testing.T) {
	openGPU(t, ssl.FP32)
	for _, c := range trials() {
		c.phases = inPairs
		train := func(ahead int) ([]ssl.Measure, *sdrnet.Net) {
			c.cfg.Ahead = ahead
			return c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
				return (&gpus{load}).Open(ssl.Device{Deterministic: true, Libraries: os.Getenv("SDR_CUDA_LIBS")}, cfg)
			})
		}
		want, wantNets := train(0)
		for range 5 {
			got, gotNets := train(4)
			requireSame(t, want, got, wantNets, gotNets)
		}
	}
}

// TestGPUStaysWithTheCPU runs 200 steps of SimSiam from the same weights and compares the loss curves, averaged over 20
// steps.
func TestGPUStaysWithTheCPU(t *testing.T) {
	openGPU(t, ssl.FP32)
	c := trials()[0]
	c.batch, c.phases = 64, [][]string{make([]string, 200)}
	want, _ := c.onCPU(t, false)
	got, _ := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
		return (&gpus{load}).Open(ssl.Device{Libraries: os.Getenv("SDR_CUDA_LIBS")}, cfg)
	})
	for from := 0; from < len(want); from += 20 {
		var a, b float64
		for i := from; i < from+20; i++ {
			a, b = a+want[i].Loss/20, b+got[i].Loss/20
		}
		require.InDelta(t, a, b, 0.02, "steps from %d on", from)
	}
}

// TestGPUDeterministic trains twice and requires bitwise identical weights.
func TestGPUDeterministic(t *testing.T) {
	openGPU(t, ssl.FP32)
	for _, c := range trials() {
		for _, p := range []ssl.Precision{ssl.TF32, ssl.BF16} {
			var weights [2][]float32
			for i := range weights {
				_, nets := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
					cfg.Precision = p
					return (&gpus{load}).Open(ssl.Device{Deterministic: true, Libraries: os.Getenv("SDR_CUDA_LIBS")}, cfg)
				})
				for _, v := range nets.State() {
					weights[i] = append(weights[i], v.Values...)
				}
			}
			for i, v := range weights[0] {
				require.Equal(t, math.Float32bits(v), math.Float32bits(weights[1][i]), "%s %s: %d", c.name, p, i)
			}
		}
	}
}

// TestGPUExamines checks that `sdr doctor` finds nothing wrong.
func TestGPUExamines(t *testing.T) {
	openGPU(t, ssl.FP32)
	for _, f := range (&gpus{load}).Examine(ssl.Device{Libraries: os.Getenv("SDR_CUDA_LIBS")}) {
		t.Log(f.What, f.Detail)
		require.NoError(t, f.Err, f.What)
	}
}

// TestGPUVectors searches and clusters as much as pays, twice: the results are the CPU's, but for the order of neighbors that
// are nearly equal, and the second ones bit by bit the first ones.
func TestGPUVectors(t *testing.T) {
	openGPU(t, ssl.FP32)
	const rows, width, k = 50_000, 258, 20
	v, _ := openVectors(t, 4<<30)
	v.least, v.reuse = leastProducts, leastReuse
	pool := kernels.NewPool(0)
	defer pool.Close()
	x := noise(1, rows*width)
	base, err := nearest.Normalize(dense.NewEngine(pool).Matrix(x, rows, width))
	require.NoError(t, err)
	want, err := nearest.SearchOthers(base, k)
	require.NoError(t, err)
	pool.Offload(v)
	var found [2]*nearest.Neighbours
	for i := range found {
		found[i], err = nearest.SearchOthers(base, k)
		require.NoError(t, err)
	}
	require.Equal(t, found[0], found[1])
	for i, s := range want.Similarity {
		require.InDelta(t, s, found[0].Similarity[i], 1e-5, "%d", i)
	}
	other := 0
	for i, n := range want.Index {
		if n != found[0].Index[i] {
			other++
		}
	}
	require.Less(t, float64(other), 1e-3*float64(len(want.Index)))

	var start [][]float32
	for j := range 300 {
		start = append(start, x[j*width:][:width])
	}
	centroids, inertia := lloyd(t, nil, x, width, start)
	for range 2 {
		got, gotInertia := lloyd(t, v, x, width, start)
		require.Equal(t, centroids, got)
		require.Equal(t, inertia, gotInertia)
	}
}
