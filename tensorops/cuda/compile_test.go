package cuda

import (
	"bytes"
	"debug/elf"
	"os"
	"path/filepath"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// realNVRTC returns NVRTC, from the folder SDR_CUDA_LIBS if that is set. It skips the test if there is none.
func realNVRTC(t *testing.T) *nvrtc {
	e := system()
	l := e.find(os.Getenv("SDR_CUDA_LIBS"))
	a := l.bind(e)
	if l.rtc.err != nil {
		if os.Getenv("SDR_CUDA_LIBS") != "" {
			require.NoError(t, l.rtc.err)
		}
		t.Skipf("no NVRTC: %v", l.rtc.err)
	}
	return &a.nvrtc
}

// TestCompileKernels compiles all kernels with a real NVRTC.
func TestCompileKernels(t *testing.T) {
	n := realNVRTC(t)
	cache := t.TempDir()
	for _, major := range []int{8, 9, 10} {
		for _, p := range []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16} {
			cubin, err := compile(n, source(), p, major, 0, cache)
			require.NoError(t, err)
			cubin[20] = byte(elf.EV_CURRENT) // CUDA 12 has its own version here, which debug/elf rejects
			f, err := elf.NewFile(bytes.NewReader(cubin))
			require.NoError(t, err)
			var functions []string
			symbols, err := f.Symbols()
			require.NoError(t, err)
			for _, s := range symbols {
				if elf.ST_TYPE(s.Info) == elf.STT_FUNC {
					functions = append(functions, s.Name)
				}
			}
			require.NotEmpty(t, kernelNames())
			require.Subset(t, functions, kernelNames())
		}
	}
}

// TestCompileError checks the errors of a real NVRTC.
func TestCompileError(t *testing.T) {
	n := realNVRTC(t)
	_, err := compile(n, "extern \"C\" __global__ void k(float *x)\n{\n  x[0] = y;\n}\n", ssl.FP32, 8, 0, t.TempDir())
	require.ErrorContains(t, err, "NVRTC_ERROR_COMPILATION")
	require.ErrorContains(t, err, `kernels.cu(3): error: identifier "y" is undefined`)
	_, err = compile(n, "", ssl.FP32, 99, 9, t.TempDir())
	require.ErrorContains(t, err, "--gpu-architecture")
}

// TestCompileCache compiles once per source, precision, GPU and version, and again if a cache file is damaged.
func TestCompileCache(t *testing.T) {
	calls, version := 0, int32(9)
	code := []byte("machine code")
	n := &nvrtc{
		nvrtcVersion:        func(major, minor *int32) rtcStatus { *major, *minor = 12, version; return 0 },
		nvrtcCreateProgram:  func(p *program, _, _ string, _ int32, _, _ unsafe.Pointer) rtcStatus { *p = 1; return 0 },
		nvrtcDestroyProgram: func(*program) rtcStatus { return 0 },
		nvrtcCompileProgram: func(program, int32, **byte) rtcStatus { calls++; return 0 },
		nvrtcGetCUBINSize:   func(_ program, n *uint64) rtcStatus { *n = uint64(len(code)); return 0 },
		nvrtcGetCUBIN:       func(_ program, to *byte) rtcStatus { copy(unsafe.Slice(to, len(code)), code); return 0 },
	}
	cache := filepath.Join(t.TempDir(), "a", "b")
	get := func(source string, p ssl.Precision, minor, want int) {
		t.Helper()
		cubin, err := compile(n, source, p, 8, minor, cache)
		require.NoError(t, err)
		require.Equal(t, code, cubin)
		require.Equal(t, want, calls)
	}
	get("x", ssl.FP32, 0, 1)
	get("x", ssl.FP32, 0, 1)
	get("y", ssl.FP32, 0, 2)
	get("x", ssl.BF16, 0, 3)
	get("x", ssl.FP32, 6, 4)
	version = 10
	get("x", ssl.FP32, 0, 5)
	get("x", ssl.FP32, 0, 5)
	files, err := filepath.Glob(filepath.Join(cache, "*"))
	require.NoError(t, err)
	require.Len(t, files, 5, "no temporary files are left")
	for i, f := range files {
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		data[len(data)-1-i%2*len(code)] ^= 1 // of the code or of the checksum
		require.NoError(t, os.WriteFile(f, data, 0o644))
	}
	get("x", ssl.FP32, 0, 6)
	get("x", ssl.FP32, 0, 6)

	// The cache is not writable.
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	cubin, err := compile(n, "x", ssl.FP32, 8, 0, filepath.Join(file, "cache"))
	require.NoError(t, err)
	require.Equal(t, code, cubin)
}
