package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

// fakeSystem is a machine with some library files.
type fakeSystem struct {
	vars                map[string]string
	files               []string       // paths, or names that dlopen resolves
	broken              []string       // files that cannot be opened
	driverCUDA, dnnCUDA int            // versions that they report
	opened              []string       // by handle - 1
	asked               map[string]int // number of dlopen calls per name or path
}

func (f *fakeSystem) environment() environment {
	f.asked = map[string]int{}
	return environment{
		getenv: func(name string) string { return f.vars[name] },
		glob: func(pattern string) (out []string) {
			for _, file := range f.files {
				if ok, err := filepath.Match(pattern, file); ok && err == nil {
					out = append(out, file)
				}
			}
			return out
		},
		dlopen: func(path string) (uintptr, error) {
			f.asked[path]++
			if !slices.Contains(f.files, path) {
				return 0, fmt.Errorf("%s: cannot open shared object file", path)
			}
			if slices.Contains(f.broken, path) {
				return 0, fmt.Errorf("%s: wrong ELF class", path)
			}
			f.opened = append(f.opened, path)
			return uintptr(len(f.opened)), nil
		},
		dlsym: func(handle uintptr, symbol string) (uintptr, error) {
			if symbol == "cudnnConvolutionForward" && f.opened[handle-1] == "/old/libcudnn.so.9" {
				return 0, errors.New("undefined symbol")
			}
			return 1, nil
		},
		driverCUDA: func(uintptr) int { return f.driverCUDA },
		dnnCUDA:    func(uintptr) int { return f.dnnCUDA },
	}
}

// wheels lists the files of NVIDIA's wheels for a CUDA major version under a folder.
func wheels(folder string, major int) []string {
	if major == 13 {
		return []string{
			folder + "/cudnn/lib/libcudnn.so.9", folder + "/cu13/lib/libcublasLt.so.13",
			folder + "/cu13/lib/libnvrtc.so.13",
		}
	}
	return []string{
		folder + "/cudnn/lib/libcudnn.so.9", folder + "/cublas/lib/libcublasLt.so.12",
		folder + "/cuda_nvrtc/lib/libnvrtc.so.12",
	}
}

func TestFind(t *testing.T) {
	venv := "/home/u/venv/lib/python3.12/site-packages/nvidia"
	user := "/home/u/.local/lib/python3.10/site-packages/nvidia"
	toolkit := []string{"/usr/local/cuda-12.4/lib64/libcublasLt.so.12", "/usr/local/cuda-12.4/lib64/libnvrtc.so.12"}
	loader := []string{"libcuda.so.1", "libcudnn.so.9", "libcublasLt.so.13", "libnvrtc.so.13"}
	vars := map[string]string{"HOME": "/home/u", "VIRTUAL_ENV": "/home/u/venv"}
	all := slices.Concat([]string{"libcuda.so.1"}, wheels(venv, 12), wheels(user, 13))
	for _, c := range []struct {
		name      string
		dir       string
		system    fakeSystem
		dnn, want string // folders; "" for dlopen's own search
		major     int
	}{
		{"dlopen's own search goes first", "", fakeSystem{files: append(loader, toolkit...)}, "", "", 13},
		{"but for what cuDNN was built for", "", fakeSystem{files: append(loader, toolkit...), dnnCUDA: 12},
			"", "/usr/local/cuda-12.4/lib64", 12},
		{"and what the driver knows", "", fakeSystem{files: append(loader, toolkit...), dnnCUDA: 13, driverCUDA: 12},
			"", "/usr/local/cuda-12.4/lib64", 12},
		{"a folder that is named", "/my/nvidia", fakeSystem{files: slices.Concat(loader, wheels("/my/nvidia", 12))},
			"/my/nvidia/cudnn/lib", "/my/nvidia/cublas/lib", 12},
		{"site-packages", "/my", fakeSystem{files: slices.Concat(loader, wheels("/my/nvidia", 12))},
			"/my/nvidia/cudnn/lib", "/my/nvidia/cublas/lib", 12},
		{"unpacked wheels", "/my", fakeSystem{files: slices.Concat(loader, wheels("/my/x/nvidia", 13))},
			"/my/x/nvidia/cudnn/lib", "/my/x/nvidia/cu13/lib", 13},
		{"a folder with a star", "/m*[y", fakeSystem{
			files: slices.Concat(loader, wheels("/mx[y", 12), wheels("/m*[y", 12)),
		}, "/m*[y/cudnn/lib", "/m*[y/cublas/lib", 12},
		{"CUDA_HOME", "", fakeSystem{
			vars: map[string]string{"CUDA_HOME": "/opt/cuda"},
			files: slices.Concat(toolkit, []string{"libcuda.so.1", "/opt/cuda/lib64/libcudnn.so.9",
				"/opt/cuda/lib64/libcublasLt.so.12", "/opt/cuda/lib64/libnvrtc.so.12"}),
		}, "/opt/cuda/lib64", "/opt/cuda/lib64", 12},
		{"wheels of CUDA 13", "", fakeSystem{vars: vars, files: all}, venv + "/cudnn/lib", user + "/cu13/lib", 13},
		{"wheels of CUDA 12", "", fakeSystem{vars: vars, files: all, driverCUDA: 12},
			venv + "/cudnn/lib", venv + "/cublas/lib", 12},
		{"a file that cannot be opened", "", fakeSystem{vars: vars, files: all, broken: wheels(user, 13)[1:]},
			venv + "/cudnn/lib", venv + "/cublas/lib", 12},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := c.system.environment().find(c.dir)
			for _, l := range []library{l.driver, l.dnn, l.lt, l.rtc} {
				require.NoError(t, l.err)
				require.Equal(t, l.path, c.system.opened[l.handle-1])
			}
			require.Equal(t, "libcuda.so.1", l.driver.path)
			require.Equal(t, filepath.Join(c.dnn, "libcudnn.so.9"), l.dnn.path)
			require.Equal(t, filepath.Join(c.want, fmt.Sprintf("libcublasLt.so.%d", c.major)), l.lt.path)
			require.True(t, strings.HasSuffix(l.rtc.path, fmt.Sprintf("libnvrtc.so.%d", c.major)), l.rtc.path)
		})
	}
}

// TestFindMixed checks that versions are mixed if no CUDA version is complete.
func TestFindMixed(t *testing.T) {
	f := fakeSystem{
		files:      []string{"libcuda.so.1", "libcudnn.so.9", "libcublasLt.so.12", "libnvrtc.so.13"},
		driverCUDA: 14,
	}
	l := f.environment().find("")
	require.NoError(t, errors.Join(l.lt.err, l.rtc.err))
	require.Equal(t, "libcublasLt.so.12", l.lt.path)
	require.Equal(t, "libnvrtc.so.13", l.rtc.path)
}

// TestFindErrors checks the errors for missing and unusable libraries.
func TestFindErrors(t *testing.T) {
	f := fakeSystem{
		vars:   map[string]string{"HOME": "/home/u"},
		files:  []string{"/lib32/libcudnn.so.9", "libcublasLt.so.12", "libnvrtc.so.12"},
		broken: []string{"/lib32/libcudnn.so.9"},
	}
	l := f.environment().find("/lib32")
	require.NoError(t, errors.Join(l.lt.err, l.rtc.err))
	require.ErrorContains(t, l.driver.err, "cuda: cannot open CUDA driver (libcuda.so.1); install the NVIDIA driver")
	text := l.dnn.err.Error()
	for _, part := range []string{
		"cuda: cannot open cuDNN (libcudnn.so.9); install it, for example by: pip install nvidia-cudnn-cu12",
		"or give its folder", "searched: /lib32, /lib32/lib64, ",
		", dlopen's own search (LD_LIBRARY_PATH, ld.so.conf), ", ", /usr/local/cuda*/lib64, ",
		"/home/u/.local/lib/python3*/site-packages/nvidia/*/lib\n",
		"\n  dlopen: /lib32/libcudnn.so.9: wrong ELF class", "\n  dlopen: libcudnn.so.9: cannot open shared object file",
	} {
		require.Contains(t, text, part)
	}

	f = fakeSystem{files: []string{"libcuda.so.1", "libcublasLt.so.13", "libnvrtc.so.13"}, driverCUDA: 12}
	l = f.environment().find("")
	require.ErrorContains(t, l.lt.err, "cuda: cannot open cublasLt (libcublasLt.so.12)")
	f = fakeSystem{files: []string{"libcuda.so.1", "libcublasLt.so.13", "libnvrtc.so.13"}, driverCUDA: 11}
	l = f.environment().find("")
	require.EqualError(t, l.lt.err,
		"cuda: the NVIDIA driver is too old for cublasLt of CUDA 12 or 13, no newer than the driver; update it")

	f = fakeSystem{files: []string{"libcuda.so.1", "/old/libcudnn.so.9", "libcublasLt.so.13", "libnvrtc.so.13"}}
	e := f.environment()
	l = e.find("/old")
	a := l.bind(e)
	require.EqualError(t, l.dnn.err, "cuda: cannot use /old/libcudnn.so.9 as cuDNN: "+
		"it lacks the function cudnnConvolutionForward: undefined symbol; want cuDNN 9")
	require.NoError(t, errors.Join(l.driver.err, l.lt.err, l.rtc.err))
	require.NotNil(t, a.cuInit)
}

// TestRealLibraries binds the functions of the libraries in the folder SDR_CUDA_LIBS, except the driver's if there is
// none.
func TestRealLibraries(t *testing.T) {
	dir := os.Getenv("SDR_CUDA_LIBS")
	if dir == "" {
		t.Skip("SDR_CUDA_LIBS is not set to a folder with the CUDA libraries")
	}
	found := describe(dir)
	require.Len(t, found, 4)
	for _, f := range found[1:] {
		require.NoError(t, f.Err)
		t.Logf("%s: %s", f.What, f.Detail)
	}
	if _, err := load(dir); found[0].Err != nil {
		require.EqualError(t, err, found[0].Err.Error())
		t.Logf("%s: %v", found[0].What, found[0].Err)
	}
	e := system()
	l := e.find(dir)
	a := l.bind(e)
	require.ErrorContains(t, a.checkBLAS(7, "a test"), "unsupported value")
	require.ErrorContains(t, a.checkRTC(rtcCompilation, "a test"), "NVRTC_ERROR_COMPILATION")

	// Descriptors need no GPU, but make cuDNN open its sub-libraries.
	var x tensorDescriptor
	var w filterDescriptor
	var c convolutionDescriptor
	for _, s := range []dnnStatus{
		a.cudnnCreateTensorDescriptor(&x), a.cudnnCreateFilterDescriptor(&w), a.cudnnCreateConvolutionDescriptor(&c),
		a.cudnnSetTensor4dDescriptor(x, dnnNHWC, dnnBFloat16, 8, 16, 32, 32),
		a.cudnnSetFilter4dDescriptor(w, dnnBFloat16, dnnNHWC, 64, 16, 3, 3),
		a.cudnnSetConvolution2dDescriptor(c, 1, 1, 2, 2, 1, 1, dnnCrossCorrelation, dnnFloat),
		a.cudnnSetConvolutionMathType(c, dnnTensorOpMath),
	} {
		require.NoError(t, a.checkDNN(s, "a test"))
	}
	err := a.checkDNN(a.cudnnSetTensor4dDescriptor(x, dnnNHWC, dnnBFloat16, -8, 16, 32, 32), "a test")
	require.ErrorContains(t, err, "CUDNN_STATUS_BAD_PARAM")
	t.Log(err)
	for _, s := range []dnnStatus{
		a.cudnnDestroyTensorDescriptor(x), a.cudnnDestroyFilterDescriptor(w), a.cudnnDestroyConvolutionDescriptor(c),
	} {
		require.NoError(t, a.checkDNN(s, "a test"))
	}
	var d matmulDesc
	var m matrixLayout
	var p matmulPreference
	transposed, room, none := int32(opT), uint64(1<<20), uint64(0)
	for _, s := range []ltStatus{
		a.cublasLtMatmulDescCreate(&d, compute32F, realFloat),
		a.cublasLtMatmulDescSetAttribute(d, descTransA, unsafe.Pointer(&transposed), unsafe.Sizeof(transposed)),
		a.cublasLtMatmulDescSetAttribute(d, descTransB, unsafe.Pointer(&transposed), unsafe.Sizeof(transposed)),
		a.cublasLtMatmulDescSetAttribute(d, descBiasPointer, unsafe.Pointer(&none), unsafe.Sizeof(none)),
		a.cublasLtMatrixLayoutCreate(&m, realBFloat16, 64, 32, 64),
		a.cublasLtMatmulPreferenceCreate(&p),
		a.cublasLtMatmulPreferenceSetAttribute(p, preferenceWorkspace, unsafe.Pointer(&room), unsafe.Sizeof(room)),
	} {
		require.NoError(t, a.checkBLAS(s, "a test"))
	}
	s := a.cublasLtMatmulDescSetAttribute(d, descTransA, unsafe.Pointer(&transposed), 1)
	require.Error(t, a.checkBLAS(s, "an operation of one byte"))
	for _, s := range []ltStatus{
		a.cublasLtMatmulPreferenceDestroy(p), a.cublasLtMatrixLayoutDestroy(m), a.cublasLtMatmulDescDestroy(d),
	} {
		require.NoError(t, a.checkBLAS(s, "a test"))
	}
}
