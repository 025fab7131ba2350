package cuda

import (
	"embed"
	"io/fs"
	"regexp"
	"strings"
)

//go:embed kernels
var kernelFiles embed.FS

// source is the source of all kernels, one translation unit in CUDA C: common.cuh, then the .cu files in the order of
// their names.
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

var kernelPattern = regexp.MustCompile(`__global__\s+void\s+(\w+)\(`)

// kernelNames are the names of all kernels.
func kernelNames() []string {
	var names []string
	for _, m := range kernelPattern.FindAllStringSubmatch(source(), -1) {
		names = append(names, m[1])
	}
	return names
}

// The constants of kernels/common.cuh.
const (
	lanes       = 4   // LANES
	threads     = 256 // THREADS
	side        = 16  // SIDE
	poolThreads = 128 // POOL_THREADS, of pooling.cu
	tile        = 32  // TILE, of loss.cu
	converted   = 4   // CONVERTED, of weights.cu
)

// groupsOf is the number of groups of channels that a thread handles at once.
func groupsOf(channels int) int {
	if channels%lanes == 0 {
		return channels / lanes
	}
	return channels
}

// ceil is a/b, rounded up.
func ceil(a, b int) int { return (a + b - 1) / b }

// line is a number of blocks or threads in one dimension.
func line(n int) dim3 { return dim3{uint32(n), 1, 1} }
