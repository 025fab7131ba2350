package cuda

import (
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// shimLibrary is the kernels for one precision, compiled for the CPU.
type shimLibrary struct {
	once   sync.Once
	err    error
	mu     sync.Mutex // serializes launches
	launch func(name string, gx, gy, gz, bx, by, bz uint32, args unsafe.Pointer) int32
	layout func(to *int32)
}

var shimLibraries = map[ssl.Precision]*shimLibrary{ssl.FP32: {}, ssl.TF32: {}, ssl.BF16: {}}

// shim runs kernels on the CPU, compiled by g++ from the same source. It implements queue, memory and multiplier in
// host memory. Each array is between guards, which are checked after every kernel. It panics where a test must fail, so
// that rapid shrinks.
type shim struct {
	lib    *shimLibrary
	bf16   bool
	blocks map[uint64]shimBlock // by the address of the array
}

// shimBlock is an array with its guards.
type shimBlock struct {
	all      []byte
	from, to int // range of the array
}

const (
	shimGuard = 512                // least bytes before and after an array
	shimFill  = 0x7fc07fc07fc07fc0 // NaN in both precisions; the content of guards and new arrays
)

// newShim returns a shim for a precision. It skips the test without g++ for amd64.
func newShim(t *testing.T, p ssl.Precision) *shim {
	t.Helper()
	if runtime.GOARCH != "amd64" || runtime.GOOS != "linux" {
		t.Skip("the shim's fibers are for Linux on amd64")
	}
	if onGPU {
		t.Skip("the kernels are tested on the GPU")
	}
	if _, err := exec.LookPath("g++"); err != nil {
		t.Skip("no g++ to compile the kernels for the CPU")
	}
	lib := shimLibraries[p]
	lib.once.Do(func() { lib.err = lib.build(p) })
	require.NoError(t, lib.err)
	return &shim{lib: lib, bf16: p == ssl.BF16, blocks: map[uint64]shimBlock{}}
}

// build compiles and loads the library.
func (l *shimLibrary) build(p ssl.Precision) (err error) {
	folder, err := os.MkdirTemp("", "sdr-cuda-shim-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }() // the loaded library needs no file
	var all strings.Builder
	add := func(file, text string) { fmt.Fprintf(&all, "#line 1 %q\n%s\n", file, text) }
	for _, file := range []string{"shim.h", "", "launch.h"} {
		if file == "" {
			add("kernels", source())
			continue
		}
		text, err := os.ReadFile(filepath.Join("testdata", "shim", file))
		if err != nil {
			return err
		}
		add(file, string(text))
	}
	all.WriteString("const entry_point table_of_kernels[] = {\n")
	for _, kernel := range kernelNames() {
		fmt.Fprintf(&all, "{%q, call<%s>},\n", kernel, kernel)
	}
	all.WriteString("{0, 0}};\n")
	path := filepath.Join(folder, string(p))
	if err := os.WriteFile(path+".cpp", []byte(all.String()), 0o644); err != nil {
		return err
	}
	cmd := exec.Command("g++", append(defines(p), "-std=c++17", "-O2", "-ffp-contract=off", "-fno-strict-aliasing",
		"-shared", "-fPIC", "-o", path+".so", path+".cpp")...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	handle, err := purego.Dlopen(path+".so", purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return err
	}
	purego.RegisterLibFunc(&l.launch, handle, "shim_launch")
	purego.RegisterLibFunc(&l.layout, handle, "shim_layout")
	return nil
}

// launch implements queue.
func (s *shim) launch(kernel string, grid, block dim3, args ...any) {
	s.run(kernel, grid, block, encode(args))
}

// run runs a kernel with arguments like cuLaunchKernel's: the address of each value.
func (s *shim) run(kernel string, grid, block dim3, args []unsafe.Pointer) {
	s.lib.mu.Lock()
	code := s.lib.launch(kernel, grid[0], grid[1], grid[2], block[0], block[1], block[2], unsafe.Pointer(&args[0]))
	s.lib.mu.Unlock()
	runtime.KeepAlive(args)
	if code != 0 {
		panic(fmt.Sprintf("kernel %s, %v blocks of %v threads: shim_launch returned %d, see launch.h",
			kernel, grid, block, code))
	}
	for _, b := range s.blocks {
		for i, v := range b.all[:b.from] {
			b.check(kernel, i, v)
		}
		for i, v := range b.all[b.to:] {
			b.check(kernel, b.to+i, v)
		}
	}
}

// check panics if a byte of a guard has changed.
func (b shimBlock) check(kernel string, at int, v byte) {
	if want := byte(uint64(shimFill) >> (8 * (at % 8))); v != want {
		panic(fmt.Sprintf("kernel %s wrote byte %d of an array of %d", kernel, at-b.from, b.to-b.from))
	}
}

// alloc allocates an array of n elements, aligned as on a GPU.
func (s *shim) alloc(n, bytes int) Buffer {
	words := make([]uint64, (bytes+3*shimGuard+7)/8)
	for i := range words {
		words[i] = shimFill
	}
	start := int(uintptr(unsafe.Pointer(&words[0])) % shimGuard)
	b := shimBlock{all: unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), 8*len(words)), from: 2*shimGuard - start}
	b.to = b.from + bytes
	addr := uint64(uintptr(unsafe.Pointer(&words[0]))) + uint64(b.from)
	s.blocks[addr] = b
	return Buffer{Addr: addr, Len: n}
}

// bytes implements memory.
func (s *shim) bytes(n int) Buffer { return s.alloc(n, n) }

// floats implements memory.
func (s *shim) floats(n int) Buffer { return s.alloc(n, 4*n) }

// acts allocates an array of n activations.
func (s *shim) acts(n int) Buffer {
	if s.bf16 {
		return s.alloc(n, 2*n)
	}
	return s.floats(n)
}

// data returns the memory of a whole array.
func (s *shim) data(b Buffer) unsafe.Pointer {
	block, ok := s.blocks[b.Addr]
	if !ok {
		panic("no array of the shim starts there")
	}
	return unsafe.Pointer(&block.all[block.from])
}

// floatsOf allocates a float32 array of values; readFloats reads it.
func (s *shim) floatsOf(values []float32) Buffer {
	b := s.floats(len(values))
	copy(unsafe.Slice((*float32)(s.data(b)), b.Len), values)
	return b
}

func (s *shim) readFloats(b Buffer) []float32 {
	return append([]float32(nil), unsafe.Slice((*float32)(s.data(b)), b.Len)...)
}

// actsOf allocates an array of activations, rounded from values; readActs reads it.
func (s *shim) actsOf(values []float32) Buffer {
	b := s.acts(len(values))
	s.writeActs(b, values)
	return b
}

func (s *shim) writeActs(b Buffer, values []float32) {
	for i, v := range values {
		if s.bf16 {
			unsafe.Slice((*uint16)(s.data(b)), b.Len)[i] = toBFloat16(v)
		} else {
			unsafe.Slice((*float32)(s.data(b)), b.Len)[i] = v
		}
	}
}

func (s *shim) readActs(b Buffer) []float32 {
	if !s.bf16 {
		return s.readFloats(b)
	}
	values := make([]float32, b.Len)
	for i, v := range unsafe.Slice((*uint16)(s.data(b)), b.Len) {
		values[i] = math.Float32frombits(uint32(v) << 16)
	}
	return values
}

// put fills an array of bytes.
func (s *shim) put(b Buffer, host unsafe.Pointer) { copyBytes(s.data(b), host, uint64(b.Len)) }

// round rounds values to activations, in place.
func (s *shim) round(values []float32) []float32 {
	if s.bf16 {
		for i, v := range values {
			values[i] = math.Float32frombits(uint32(toBFloat16(v)) << 16)
		}
	}
	return values
}

// toBFloat16 rounds to nearest, ties to even.
func toBFloat16(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// multiply implements multiplier.
func (s *shim) multiply(transA, transB bool, m, n, k int, a, b, c Buffer, floatOut bool) {
	columnsA, columnsB := k, n
	if transA {
		columnsA = m
	}
	if transB {
		columnsB = k
	}
	element := func(of Buffer, size, columns int, transposed bool) func(i, j int) float64 {
		values := s.readActs(Buffer{of.Addr, size})
		return func(i, j int) float64 {
			if transposed {
				i, j = j, i
			}
			return float64(values[i*columns+j])
		}
	}
	x, y := element(a, m*k, columnsA, transA), element(b, k*n, columnsB, transB)
	out := make([]float32, m*n)
	for i := range m {
		for j := range n {
			var sum float64
			for l := range k {
				sum += x(i, l) * y(l, j)
			}
			out[i*n+j] = float32(sum)
		}
	}
	if floatOut {
		copy(unsafe.Slice((*float32)(s.data(c)), m*n), out)
		return
	}
	s.writeActs(c, out)
}
