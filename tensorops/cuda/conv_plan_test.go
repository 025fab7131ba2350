package cuda

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestEngineNames writes and parses the names of engines.
func TestEngineNames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := engine{index: rapid.Int64().Draw(t, "index")}
		for range rapid.IntRange(0, 3).Draw(t, "knobs") {
			e.knobs = append(e.knobs, knob{rapid.Int32().Draw(t, "kind"), rapid.Int64().Draw(t, "value")})
		}
		got, ok := parseEngine(e.String())
		require.True(t, ok, e)
		require.Equal(t, e, got)
	})
	for _, name := range []string{
		"", "conv_forward_64x8", "cuDNN algorithm 1, math 3, workspace 2000", "cuDNN engine", "cuDNN engine ", "cuDNN engine x", "cuDNN engine 1 ",
		"cuDNN engine 1 2", "cuDNN engine 1 2=", "cuDNN engine 1 2=x", "cuDNN engine 1 2=3x", "cuDNN engine 1  2=3", "cuDNN engine 0x1",
		"cuDNN engine 1 4294967296=1",
	} {
		_, ok := parseEngine(name)
		require.False(t, ok, name)
	}
}

// checkPlans compares what all plans for the passes of a convolution compute with what the older interface's algorithms do, on
// the device and on another one of the GPU, which is closed last.
func checkPlans(t *testing.T, d *device, c kernels.Conv, tolerance float64) {
	other, err := newDevice(d.gpu)
	require.NoError(t, err)
	size := map[pass]int{forward: c.N * c.OutH() * c.OutW() * c.Cout, backwardData: c.N * c.H * c.W * c.Cin, backwardWeights: c.KH * c.KW * c.Cin * c.Cout}
	operands := map[pass][2]pass{forward: {backwardData, backwardWeights}, backwardData: {forward, backwardWeights}, backwardWeights: {backwardData, forward}}
	for p, n := range size {
		results := map[string][]float32{}
		for _, on := range []*device{d, other} {
			on.growWorkspace()
			bench := &gpuBench{device: on}
			v := newConv(on, c, Buffer{}, Buffer{})
			a, b := bench.actsOf(noise(1, size[operands[p][0]])), bench.actsOf(noise(2, size[operands[p][1]]))
			older, err := v.suggested(p)
			require.NoError(t, err)
			compute := func(how algorithm) []float32 {
				out := bench.actsOf(make([]float32, n))
				v.compute(how, p, a, b, out)
				require.NoError(t, on.wait())
				return bench.readActs(out)
			}
			want := compute(older[0])
			plans := v.plans(p)
			require.NotEmpty(t, plans)
			for _, how := range plans {
				got := compute(how)
				near(t, wide(want), got, tolerance, fmt.Sprintf("%v of %+v by %s", p, c, how))
				if before, ok := results[how.String()]; ok {
					require.Equal(t, before, got, "%v of %+v by %s on another device", p, c, how)
				}
				results[how.String()] = got
				how.close()
			}
			on.free(bench.made...)
		}
	}
	require.NoError(t, other.close())
}

// TestPlans checks what plans compute.
func TestPlans(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, p := range []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16} {
		tolerance := map[ssl.Precision]float64{ssl.FP32: 1e-4, ssl.TF32: 5e-3, ssl.BF16: 2e-2}[p]
		shapes := []kernels.Conv{
			{N: 3, H: 7, W: 7, Cin: 3, Cout: 8, KH: 7, KW: 7, Stride: 2, Pad: 3},
			{N: 2, H: 8, W: 8, Cin: 16, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1},
			{N: 2, H: 8, W: 8, Cin: 16, Cout: 8, KH: 1, KW: 1, Stride: 2, Pad: 0},
		}
		if !onGPU {
			f := newFake(t, p)
			f.engines = slices.DeleteFunc(slices.Clone(fakeEngines), func(e fakeEngine) bool { return e.failure != 0 })
			d, err := openDevice(f.api(), ssl.Device{}, p)
			require.NoError(t, err)
			for _, c := range shapes {
				checkPlans(t, d, c, tolerance)
			}
			require.NoError(t, d.close())
			f.closed()
			continue
		}
		d := openGPU(t, p)
		leave, err := d.enter()
		require.NoError(t, err)
		for _, c := range append(shapes, kernels.Conv{N: 64, H: 8, W: 8, Cin: 64, Cout: 128, KH: 3, KW: 3, Stride: 1, Pad: 1}) {
			checkPlans(t, d, c, tolerance)
		}
		leave()
	}
}

// properties describe an H200 to cuDNN, which has no other way to prepare plans without a GPU.
const properties = `{"deviceName": "NVIDIA H200", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0, "pciDeviceId": 0,
	"totalGlobalMem": 150754820096, "multiProcessorCount": 132, "smClockRateKHz": 1980000, "memClockRateKHz": 3201000,
	"memoryBusWidth": 6144, "l2CacheSize": 62914560, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
	"maxSharedMemoryPerBlockOptin": 232448, "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536, "regsPerBlock": 65536,
	"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024,
	"maxThreadsPerSM": 2048, "isTccDriver": 0, "supportCoopLaunch": 1}`

// Names that only cuDNN without a GPU needs (cudnn_graph.h of 9.8 and newer).
const (
	backendProperties        = 38   // CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR
	attrPropertiesJSON       = 2702 // CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION
	typeChar                 = 24   // CUDNN_TYPE_CHAR
	attrHeuristicsProperties = 204  // CUDNN_ATTR_ENGINEHEUR_DEVICEPROP
	attrPlanProperties       = 407  // CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP
	attrEngineProperties     = 1307 // CUDNN_ATTR_ENGINE_DEVICEPROP
)

// standIn loads a library whose functions all fail, with status 1, in the place of one that is missing.
func standIn(t *testing.T, name string, functions ...string) {
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skipf("no gcc to compile a %s", name)
	}
	dir := t.TempDir()
	source, path, code := filepath.Join(dir, "library.c"), filepath.Join(dir, name), ""
	for _, f := range functions {
		code += "int " + f + "(void) { return 1; }\n"
	}
	require.NoError(t, os.WriteFile(source, []byte(code), 0o644))
	out, err := exec.Command("gcc", "-shared", "-fPIC", "-o", path, source, "-Wl,-soname,"+name).CombinedOutput()
	require.NoError(t, err, string(out))
	_, err = purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	require.NoError(t, err)
}

// dnnWithoutGPU returns a device that prepares plans of a real cuDNN for an H200, which need not be there. It skips the test
// unless cuDNN is in the folder SDR_CUDA_LIBS.
func dnnWithoutGPU(t *testing.T, p ssl.Precision) *device {
	dir := os.Getenv("SDR_CUDA_LIBS")
	e := system()
	l := e.find(dir)
	if dir == "" || l.dnn.err != nil {
		t.Skipf("no cuDNN: %v", l.dnn.err)
	}
	if l.driver.err != nil { // cuDNN does not load without
		standIn(t, "libcuda.so.1", "cuGetErrorString", "cuModuleGetFunction", "cuModuleLoadData", "cuModuleUnload", "cuTensorMapEncodeIm2col",
			"cuTensorMapEncodeTiled")
	}
	if l.lt.err != nil { // cuDNN's heuristics ask it for algorithms
		standIn(t, "libcublasLt.so.12", "cublasLtCreate")
	}
	a := l.bind(e)
	a.cublasLtGetVersion = func() uint64 { return 120000 }
	require.NoError(t, l.dnn.err)
	require.GreaterOrEqual(t, a.cudnnGetVersion(), uint64(90800), "older ones need a GPU")

	real, made := a.cudnn, map[descriptor]int32{}
	b := &builder{cudnn: &real}
	text := []byte(properties)
	target := b.add(backendProperties, attributeOf(attrPropertiesJSON, typeChar, text...))
	require.NoError(t, b.err)
	a.cudnnBackendCreateDescriptor = func(kind int32, d *descriptor) dnnStatus {
		s := real.cudnnBackendCreateDescriptor(kind, d)
		made[*d] = kind
		return s
	}
	a.cudnnBackendDestroyDescriptor = func(d descriptor) dnnStatus {
		require.Contains(t, made, d)
		delete(made, d)
		return real.cudnnBackendDestroyDescriptor(d)
	}
	// The properties take the place of a handle.
	a.cudnnBackendSetAttribute = func(d descriptor, name, kind int32, count int64, values unsafe.Pointer) dnnStatus {
		if name == attrGraphHandle || name == attrPlanHandle {
			return 0
		}
		return real.cudnnBackendSetAttribute(d, name, kind, count, values)
	}
	a.cudnnBackendFinalize = func(d descriptor) dnnStatus {
		if name := map[int32]int32{backendHeuristics: attrHeuristicsProperties, backendEngine: attrEngineProperties, backendPlan: attrPlanProperties}[made[d]]; name != 0 {
			if s := real.cudnnBackendSetAttribute(d, name, typeDescriptor, 1, unsafe.Pointer(&target)); s != 0 {
				return s
			}
		}
		return real.cudnnBackendFinalize(d)
	}
	t.Cleanup(func() {
		require.Empty(t, made, "descriptors leak")
		b.close()
	})
	return &device{gpu: &gpu{api: a, precision: p, bf16: p == ssl.BF16}, workspace: Buffer{Len: 1 << 30}}
}

// unwantedNotes returns those notes of an engine that no plan may have: with tensor cores where float32 is wanted, in less
// precision, or not deterministic.
func unwantedNotes(d *device, c kernels.Conv, p pass, e engine) []int32 {
	b := &builder{cudnn: &d.cudnn}
	defer b.close()
	of := b.add(backendEngine, refs(attrEngineGraph, b.describe(d.gpu, c, p)), ints(attrEngineIndex, e.index))
	return slices.DeleteFunc(read[int32](b, of, attrEngineNumericalNotes, typeNumericalNote, 64), func(note int32) bool {
		switch note {
		case noteTensorCore:
			return d.precision != ssl.FP32
		case noteDownConvert, noteReducedPrecision, noteNondeterministic:
			return false
		}
		return true
	})
}

// TestPlansOfCuDNN has cuDNN suggest engines for the passes of convolutions and prepare plans, and again by their names.
func TestPlansOfCuDNN(t *testing.T) {
	for _, p := range []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16} {
		t.Run(string(p), func(t *testing.T) {
			d := dnnWithoutGPU(t, p)
			for _, c := range []kernels.Conv{
				{N: 512, H: 32, W: 32, Cin: 3, Cout: 64, KH: 7, KW: 7, Stride: 2, Pad: 3},
				{N: 512, H: 8, W: 8, Cin: 64, Cout: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},
				{N: 512, H: 8, W: 8, Cin: 64, Cout: 128, KH: 3, KW: 3, Stride: 2, Pad: 1},
				{N: 512, H: 8, W: 8, Cin: 64, Cout: 128, KH: 1, KW: 1, Stride: 2, Pad: 0},
				{N: 64, H: 4, W: 4, Cin: 16, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1},
				{N: 256, H: 56, W: 56, Cin: 64, Cout: 256, KH: 1, KW: 1, Stride: 1, Pad: 0},
			} {
				v := &conv{d: d, shape: c}
				for _, pass := range []pass{forward, backwardData, backwardWeights} {
					list := v.plans(pass)
					t.Logf("%v of %+v: %v", pass, c, list)
					require.NotEmpty(t, list, "%v of %+v", pass, c)
					for _, how := range list {
						require.Empty(t, unwantedNotes(d, c, pass, how.plan.engine), how)
						again, ok := v.named(nil, pass, how.String())
						require.True(t, ok, how)
						require.Equal(t, how.workspace, again.workspace)
						again.close()
						how.close()
					}
				}
			}
			_, ok := (&conv{d: d, shape: kernels.Conv{N: 1, H: 8, W: 8, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1}}).
				named(nil, forward, engine{index: 9999}.String())
			require.False(t, ok, "there is no such engine")
		})
	}
}
