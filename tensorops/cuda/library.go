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

// environment is what a search for libraries depends on; tests make their own.
type environment struct {
	getenv func(name string) string
	glob   func(pattern string) []string
	dlopen func(path string) (handle uintptr, err error)
	dlsym  func(handle uintptr, symbol string) (address uintptr, err error)
	// driverCUDA calls cuDriverGetVersion for the newest major version of CUDA that a driver knows, dnnCUDA calls
	// cudnnGetCudartVersion for that which a cuDNN was built for; 0 if they do not tell.
	driverCUDA, dnnCUDA func(address uintptr) int
}

// wanted is a library to look for.
type wanted struct {
	what    string
	accepts string // versions, in words
	mend    string // what to do if it is missing
}

var (
	wantDriver = wanted{"CUDA driver", "the driver of CUDA 12 or newer (525 or newer)",
		"install the NVIDIA driver; in a container, start it with the GPU (docker run --gpus all)"}
	wantDNN = wanted{"cuDNN", "cuDNN 9",
		"install it, such as by: pip install nvidia-cudnn-cu12 (nvidia-cudnn-cu13 for CUDA 13)"}
	wantLt = wanted{"cublasLt", "cublasLt of CUDA 12 or 13, no newer than the driver",
		"install it, such as by: pip install nvidia-cublas-cu12 (nvidia-cublas for CUDA 13)"}
	wantRTC = wanted{"NVRTC", "NVRTC of CUDA 12 or 13, no newer than the driver",
		"install it, such as by: pip install nvidia-cuda-nvrtc-cu12 (nvidia-cuda-nvrtc for CUDA 13)"}
)

// library is what was found of a wanted one.
type library struct {
	wanted
	path   string // as it was opened: a file, or a name that dlopen has found
	handle uintptr
	err    error // why there is none
}

// libraries is what was found of all.
type libraries struct{ driver, dnn, lt, rtc library }

// CUDA's major versions that we know, the newest first.
var majors = []int{13, 12}

// find looks for the libraries and opens them. cublasLt and NVRTC are of the same CUDA where both are there, in the
// folder that is given or else anywhere: that which cuDNN was built for, or else the newest. None is of a newer CUDA
// than the driver, for which cublasLt would not start and whose machine code the driver may refuse.
//
// cuDNN opens its parts, and NVRTC its builtins, by themselves in the folder that they lie in ($ORIGIN). cuDNN wants
// cublasLt and NVRTC, too, and finds those that are open already.
func (e environment) find(dir string) (l libraries) {
	named, all := e.places(dir)
	l.driver = e.open(all, wantDriver, "libcuda.so.1")
	l.dnn = e.open(all, wantDNN, "libcudnn.so.9")
	known := majors
	if newest := e.call(l.driver, "cuDriverGetVersion", e.driverCUDA); newest > 0 {
		known = slices.DeleteFunc(slices.Clone(majors), func(major int) bool { return major > newest })
	}
	if own := e.call(l.dnn, "cudnnGetCudartVersion", e.dnnCUDA); slices.Contains(known, own) {
		others := slices.DeleteFunc(slices.Clone(known), func(major int) bool { return major == own })
		known = append([]int{own}, others...)
	}
	var lt, rtc []string
	for _, major := range known {
		lt = append(lt, fmt.Sprintf("libcublasLt.so.%d", major))
		rtc = append(rtc, fmt.Sprintf("libnvrtc.so.%d", major))
	}
	for _, places := range [][]string{named, all} {
		for i := range known {
			l.lt, l.rtc = e.open(places, wantLt, lt[i]), e.open(places, wantRTC, rtc[i])
			if l.lt.err == nil && l.rtc.err == nil {
				return l
			}
		}
	}
	l.lt, l.rtc = e.open(all, wantLt, lt...), e.open(all, wantRTC, rtc...)
	return l
}

// call asks a library for a version, 0 if there is none.
func (e environment) call(l library, symbol string, ask func(address uintptr) int) int {
	if l.err != nil {
		return 0
	}
	address, err := e.dlsym(l.handle, symbol)
	if err != nil {
		return 0 // binding the functions will tell
	}
	return ask(address)
}

// open opens the first file of the names that can be opened, looking for each in all places.
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
		"cuda: no %s (%s) can be opened; %s; or name its folder\n  looked in: %s%s",
		w.what, strings.Join(names, " or "), w.mend, strings.Join(looked, ", "), strings.Join(failed, ""))}
}

// places are the patterns of folders to look in, in order, first those of a folder that the user named. "" is where
// dlopen looks by itself.
func (e environment) places(dir string) (named, all []string) {
	if dir != "" {
		// The folder itself, a toolkit, a wheel's site-packages or its nvidia, and a folder of unpacked wheels.
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
		l.err = fmt.Errorf("cuda: %s is not a %s that can be used: %w; want %s", l.path, l.what, err, l.accepts)
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

// load finds the libraries of this machine, those in a folder first if one is given, and binds their functions.
func load(dir string) (*api, error) {
	e := system()
	l := e.find(dir)
	a := l.bind(e)
	if err := errors.Join(l.driver.err, l.dnn.err, l.lt.err, l.rtc.err); err != nil {
		return nil, err
	}
	return a, nil
}

// describe tells what load finds.
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
			a.cuDriverGetVersion(&v) // stays 0 if it fails, which cannot be without cuInit failing
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

// system is this machine.
func system() environment {
	return environment{
		getenv: os.Getenv,
		glob: func(pattern string) []string {
			paths, _ := filepath.Glob(pattern) // the only error is a malformed pattern, which finds nothing
			return paths
		},
		dlopen: func(path string) (uintptr, error) {
			runtime.LockOSThread() // dlopen's message is kept by the thread
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
			f(&v) // stays 0 if it fails
			return int(v / 1000)
		},
		dnnCUDA: func(address uintptr) int {
			var f func() uint64
			purego.RegisterFunc(&f, address)
			return int(f() / 1000)
		},
	}
}
