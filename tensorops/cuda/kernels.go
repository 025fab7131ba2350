package cuda

import (
	"embed"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"
)

//go:embed kernels
var kernelFiles embed.FS

// source returns the CUDA C source of all kernels as one translation unit: common.cuh, then the .cu files in
// alphabetical order.
func source() string {
	names, err := fs.Glob(kernelFiles, "kernels/*.cu")
	if err != nil {
		panic(err) // the pattern is well-formed
	}
	var all strings.Builder
	for _, name := range append([]string{"kernels/common.cuh"}, names...) {
		data, err := kernelFiles.ReadFile(name)
		if err != nil {
			panic(err) // the file is embedded
		}
		all.Write(data)
		all.WriteByte('\n')
	}
	return all.String()
}

var (
	kernelPattern = regexp.MustCompile(`__global__\s+void\s+(\w+)\(([^)]*)\)`)
	usePattern    = regexp.MustCompile(`(?m)^([A-Z]+)\((\w+),`)
)

// kernelArguments returns the number of arguments of all kernels, by name. A macro X whose kernel is called x_ defines
// more: X(name, ...) at the beginning of a line.
func kernelArguments() map[string]int {
	all, text := map[string]int{}, source()
	for _, m := range kernelPattern.FindAllStringSubmatch(text, -1) {
		all[m[1]] = strings.Count(m[2], ",") + 1
	}
	for _, m := range usePattern.FindAllStringSubmatch(text, -1) {
		if n, ok := all[strings.ToLower(m[1])+"_"]; ok {
			all[m[2]] = n
		}
	}
	maps.DeleteFunc(all, func(name string, _ int) bool { return strings.HasSuffix(name, "_") })
	return all
}

// kernelNames returns the names of all kernels in alphabetical order.
func kernelNames() []string { return slices.Sorted(maps.Keys(kernelArguments())) }

// Constants of the CUDA sources: kernels/common.cuh unless another file is named.
const (
	lanes       = 4    // LANES
	threads     = 256  // THREADS
	side        = 16   // SIDE
	poolThreads = 128  // POOL_THREADS in pooling.cu
	tile        = 32   // TILE in loss.cu
	chunkLen    = 1024 // CHUNK in weights.cu
	converted   = 4    // CONVERTED in weights.cu
	convThreads = 128  // CONV_THREADS in conv.cu
	top         = 1024 // TOP in search.cu
	group       = 16   // GROUP
	summed      = 128  // SUMMED in kmeans.cu

	viewThreads = 512 // VIEW_THREADS in views.cu
	viewSide    = 64  // VIEW_SIDE in views.cu

	depthwiseTaps = 49 // DEPTHWISE_TAPS in depthwise.cu
	depthwiseRow  = 3  // DEPTHWISE_ROW in depthwise.cu
)

// groupsOf returns the number of channel groups that are each handled by one thread.
func groupsOf(channels int) int {
	if channels%lanes == 0 {
		return channels / lanes
	}
	return channels
}

// ceil returns a/b, rounded up.
func ceil(a, b int) int { return (a + b - 1) / b }

// dim1 is a number of blocks or threads in one dimension.
func dim1(n int) dim3 { return dim3{uint32(n), 1, 1} }
