package cuda

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/ebitengine/purego"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// environment is what the search for libraries depends on; tests replace it.
type environment struct {
	getenv func(name string) string
	glob   func(pattern string) []string
	dlopen func(path string) (handle uintptr, err error)
	dlsym  func(handle uintptr, symbol string) (address uintptr, err error)
	// driverCUDA calls cuDriverGetVersion and returns the newest CUDA major version that a driver supports. dnnCUDA
	// calls cudnnGetCudartVersion and returns the one that a cuDNN was built for. Both return 0 if unknown.
	driverCUDA, dnnCUDA func(address uintptr) int
}

// wanted is a library to look for.
type wanted struct {
	what    string
	accepts string // accepted versions
	fix     string // how to install it
}

var (
	wantDriver = wanted{"CUDA driver", "the driver of CUDA 12 or newer (525 or newer)",
		"install the NVIDIA driver; in a container, start it with the GPU (docker run --gpus all)"}
	wantDNN = wanted{"cuDNN", "cuDNN 9",
		"install it, for example by: pip install nvidia-cudnn-cu12 (nvidia-cudnn-cu13 for CUDA 13)"}
	wantLt = wanted{"cublasLt", "cublasLt of CUDA 12 or 13, no newer than the driver",
		"install it, for example by: pip install nvidia-cublas-cu12 (nvidia-cublas for CUDA 13)"}
	wantRTC = wanted{"NVRTC", "NVRTC of CUDA 12 or 13, no newer than the driver",
		"install it, for example by: pip install nvidia-cuda-nvrtc-cu12 (nvidia-cuda-nvrtc for CUDA 13)"}
)

// library is the result of looking for one.
type library struct {
	wanted
	path   string // a file, or a name that dlopen resolves
	handle uintptr
	err    error // why it is missing
}

// libraries are the results for all of them.
type libraries struct{ driver, dnn, lt, rtc library }

// majors are the supported major versions of CUDA, newest first.
var majors = []int{13, 12}

// find looks for the libraries and opens them. If possible, cublasLt and NVRTC are of the same CUDA version, first from
// the folder dir, if given, then from anywhere: preferably the version that cuDNN was built for, else the newest. None
// is newer than the driver's CUDA, because cublasLt would not start and the driver might reject NVRTC's machine code.
//
// cuDNN opens its sub-libraries, and NVRTC its builtins, in their own folder ($ORIGIN). cuDNN also uses cublasLt and
// NVRTC, and finds those that are already open.
func (e environment) find(dir string) (l libraries) {
	named, all := e.places(dir)
	l.driver = e.open(all, wantDriver, "libcuda.so.1")
	l.dnn = e.open(all, wantDNN, "libcudnn.so.9")
	versions := majors
	if newest := e.call(l.driver, "cuDriverGetVersion", e.driverCUDA); newest > 0 {
		versions = slices.DeleteFunc(slices.Clone(majors), func(major int) bool { return major > newest })
	}
	if own := e.call(l.dnn, "cudnnGetCudartVersion", e.dnnCUDA); slices.Contains(versions, own) {
		others := slices.DeleteFunc(slices.Clone(versions), func(major int) bool { return major == own })
		versions = append([]int{own}, others...)
	}
	var lt, rtc []string
	for _, major := range versions {
		lt = append(lt, fmt.Sprintf("libcublasLt.so.%d", major))
		rtc = append(rtc, fmt.Sprintf("libnvrtc.so.%d", major))
	}
	for _, places := range [][]string{named, all} {
		for i := range versions {
			l.lt, l.rtc = e.open(places, wantLt, lt[i]), e.open(places, wantRTC, rtc[i])
			if l.lt.err == nil && l.rtc.err == nil {
				return l
			}
		}
	}
	l.lt, l.rtc = e.open(all, wantLt, lt...), e.open(all, wantRTC, rtc...)
	return l
}

// call gets a version from a library; 0 if it has none.
func (e environment) call(l library, symbol string, ask func(address uintptr) int) int {
	if l.err != nil {
		return 0
	}
	address, err := e.dlsym(l.handle, symbol)
	if err != nil {
		return 0 // bind will report it
	}
	return ask(address)
}

// open opens the first of the names that can be opened, looking for each in all places.
func (e environment) open(places []string, w wanted, names ...string) library {
	if len(names) == 0 {
		return library{wanted: w, err: fmt.Errorf("cuda: the NVIDIA driver is too old for %s; update it", w.accepts)}
	}
	var failed, looked []string
	for _, name := range names {
		for _, place := range places {
			paths := []string{name}
			if place == "" {
				place = "dlopen's own search (LD_LIBRARY_PATH, ld.so.conf)"
			} else {
				paths = e.glob(filepath.Join(place, name))
			}
			if !slices.Contains(looked, place) {
				looked = append(looked, place)
			}
			for _, path := range paths {
				handle, err := e.dlopen(path)
				if err == nil {
					return library{wanted: w, path: path, handle: handle}
				}
				failed = append(failed, "\n  dlopen: "+err.Error())
			}
		}
	}
	return library{wanted: w, err: fmt.Errorf(
		"cuda: cannot open %s (%s); %s, or give its folder\n  searched: %s%s",
		w.what, strings.Join(names, " or "), w.fix, strings.Join(looked, ", "), strings.Join(failed, ""))}
}

// places returns patterns of folders to search, in order; named are those of the folder that the user gave. "" stands
// for dlopen's own search.
func (e environment) places(dir string) (named, all []string) {
	if dir != "" {
		// The folder itself, a toolkit, a wheel's site-packages or its nvidia folder, and a folder of unpacked wheels.
		dir := strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
		for _, below := range []string{"", "lib64", "lib", "*/lib", "nvidia/*/lib", "*/nvidia/*/lib"} {
			named = append(named, filepath.Join(dir, below))
		}
	}
	all = append(slices.Clone(named), "")
	for _, name := range []string{"CUDA_HOME", "CUDA_PATH"} {
		if home := e.getenv(name); home != "" {
			all = append(all, filepath.Join(home, "lib64"))
		}
	}
	machine := map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH]
	all = append(all, "/usr/local/cuda*/lib64", "/usr/lib/"+machine+"-linux-gnu", "/usr/lib64", "/usr/lib/wsl/lib")
	packages := []string{"/usr/lib/python3*/dist-packages", "/usr/local/lib/python3*/dist-packages",
		"/usr/local/lib/python3*/site-packages"}
	if home := e.getenv("HOME"); home != "" {
		packages = append(packages, filepath.Join(home, ".local/lib/python3*/site-packages"))
	}
	for _, name := range []string{"CONDA_PREFIX", "VIRTUAL_ENV"} {
		if root := e.getenv(name); root != "" {
			all = append(all, filepath.Join(root, "lib"))
			packages = slices.Insert(packages, 0, filepath.Join(root, "lib/python3*/site-packages"))
		}
	}
	for _, p := range packages {
		all = append(all, filepath.Join(p, "nvidia/*/lib"))
	}
	return named, all
}

// bind binds the functions of a library that was found.
func (l *library) bind(e environment, functions any) {
	if l.err != nil {
		return
	}
	err := bind(functions, func(symbol string) (uintptr, error) { return e.dlsym(l.handle, symbol) })
	if err != nil {
		l.err = fmt.Errorf("cuda: cannot use %s as %s: %w; want %s", l.path, l.what, err, l.accepts)
	}
}

// bind binds the functions of all libraries; those of a library with an error stay nil.
func (l *libraries) bind(e environment) *api {
	a := &api{}
	l.driver.bind(e, &a.driver)
	l.dnn.bind(e, &a.cudnn)
	l.lt.bind(e, &a.blasLt)
	l.rtc.bind(e, &a.nvrtc)
	return a
}

// load finds this machine's libraries, first in the folder dir if given, and binds their functions.
func load(dir string) (*api, error) {
	e := system()
	l := e.find(dir)
	a := l.bind(e)
	if err := errors.Join(l.driver.err, l.dnn.err, l.lt.err, l.rtc.err); err != nil {
		return nil, err
	}
	return a, nil
}

// describe reports what load finds.
func describe(dir string) []ssl.Finding {
	e := system()
	l := e.find(dir)
	a := l.bind(e)
	version := func(v uint64, unit uint64) string {
		return fmt.Sprintf("%d.%d.%d", v/unit, v%unit/100, v%100)
	}
	tell := func(l library, version func() string) ssl.Finding {
		if l.err != nil {
			return ssl.Finding{What: l.what, Err: l.err}
		}
		return ssl.Finding{What: l.what, Detail: version() + ", " + l.path}
	}
	return []ssl.Finding{
		tell(l.driver, func() string {
			var v int32
			a.cuDriverGetVersion(&v) // stays 0 on failure, which cuInit would report, too
			return fmt.Sprintf("of CUDA %d.%d", v/1000, v%1000/10)
		}),
		tell(l.dnn, func() string { return version(a.cudnnGetVersion(), 10000) }),
		tell(l.lt, func() string { return version(a.cublasLtGetVersion(), 10000) }),
		tell(l.rtc, func() string {
			var major, minor int32
			a.nvrtcVersion(&major, &minor)
			return fmt.Sprintf("%d.%d", major, minor)
		}),
	}
}

// system is the environment of this machine.
func system() environment {
	return environment{
		getenv: os.Getenv,
		glob: func(pattern string) []string {
			paths, _ := filepath.Glob(pattern) // the only error is a malformed pattern, which matches nothing
			return paths
		},
		dlopen: func(path string) (uintptr, error) {
			runtime.LockOSThread() // dlopen's error message is per thread
			defer runtime.UnlockOSThread()
			return purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
		},
		dlsym: func(handle uintptr, symbol string) (uintptr, error) {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			return purego.Dlsym(handle, symbol)
		},
		driverCUDA: func(address uintptr) int {
			var f func(*int32) status
			purego.RegisterFunc(&f, address)
			var v int32
			f(&v) // stays 0 on failure
			return int(v / 1000)
		},
		dnnCUDA: func(address uintptr) int {
			var f func() uint64
			purego.RegisterFunc(&f, address)
			return int(f() / 1000)
		},
	}
}
