package cuda

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/zeebo/xxh3"
	"golang.org/x/sys/unix"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// sumSize is the size of the checksum before the code in a cache file.
const sumSize = 16

// compile compiles CUDA C for GPUs of one compute capability. The result is a cubin rather than PTX: the driver loads
// it directly, and so need not support the PTX of a newer NVRTC.
//
// The folder cache keeps compiled code, under a name that depends on the source, the options and NVRTC's version. If
// the folder is not writable, the code is only compiled again each time.
func compile(n *nvrtc, source string, p ssl.Precision, major, minor int, cache string) (cubin []byte, err error) {
	options := append([]string{fmt.Sprintf("--gpu-architecture=sm_%d%d", major, minor), "--std=c++17"}, defines(p)...)
	var rtcMajor, rtcMinor int32
	if err := n.checkRTC(n.nvrtcVersion(&rtcMajor, &rtcMinor), "nvrtcVersion"); err != nil {
		return nil, err
	}
	key := xxh3.HashString128(fmt.Sprintf("%d.%d %q\n%s", rtcMajor, rtcMinor, options, source)).Bytes()
	file := filepath.Join(cache, fmt.Sprintf("sm_%d%d-%x.cubin", major, minor, key))
	if cubin, ok := readCubin(file); ok {
		return cubin, nil
	}
	if cubin, err = n.build(source, options); err != nil {
		return nil, fmt.Errorf("%w\n(NVRTC %d.%d with %s)", err, rtcMajor, rtcMinor, strings.Join(options, " "))
	}
	if err := writeCubin(file, cubin); err != nil {
		slog.Warn("cannot cache the compiled GPU kernels; they will be compiled again", "err", err)
	}
	return cubin, nil
}

// defines returns the compiler options for a precision: BF16 and TF32 are 1 or 0.
func defines(p ssl.Precision) []string {
	one := map[bool]int{true: 1}
	return []string{fmt.Sprintf("-DBF16=%d", one[p == ssl.BF16]), fmt.Sprintf("-DTF32=%d", one[p == ssl.TF32])}
}

// build runs the compiler.
func (n *nvrtc) build(source string, options []string) (cubin []byte, err error) {
	var p program
	if err := n.checkRTC(n.nvrtcCreateProgram(&p, source, "kernels.cu", 0, nil, nil), "nvrtcCreateProgram"); err != nil {
		return nil, err
	}
	defer func() {
		err = errors.Join(err, n.checkRTC(n.nvrtcDestroyProgram(&p), "nvrtcDestroyProgram"))
	}()
	list := make([]*byte, len(options))
	for i, o := range options {
		if list[i], err = unix.BytePtrFromString(o); err != nil {
			return nil, fmt.Errorf("cuda: NVRTC option %q: %w", o, err)
		}
	}
	s := n.nvrtcCompileProgram(p, int32(len(list)), &list[0])
	runtime.KeepAlive(list)
	if s != 0 {
		return nil, fmt.Errorf("%w\n%s", n.checkRTC(s, "compiling the kernels"), n.log(p))
	}
	var bytes uint64
	if err := n.checkRTC(n.nvrtcGetCUBINSize(p, &bytes), "nvrtcGetCUBINSize"); err != nil {
		return nil, err
	}
	if bytes == 0 {
		return nil, errors.New("cuda: NVRTC generated no code for the kernels")
	}
	cubin = make([]byte, bytes)
	return cubin, n.checkRTC(n.nvrtcGetCUBIN(p, &cubin[0]), "nvrtcGetCUBIN")
}

// log returns the compiler's log of a program.
func (n *nvrtc) log(p program) string {
	var bytes uint64
	if err := n.checkRTC(n.nvrtcGetProgramLogSize(p, &bytes), "nvrtcGetProgramLogSize"); err != nil {
		return err.Error()
	}
	text := make([]byte, max(bytes, 1))
	if err := n.checkRTC(n.nvrtcGetProgramLog(p, &text[0]), "nvrtcGetProgramLog"); err != nil {
		return err.Error()
	}
	return strings.TrimSpace(unix.ByteSliceToString(text))
}

// readCubin reads a cache file; ok is false if it is missing or damaged.
func readCubin(file string) (cubin []byte, ok bool) {
	data, err := os.ReadFile(file)
	if err != nil || len(data) <= sumSize {
		return nil, false
	}
	sum := xxh3.Uint128{Hi: binary.BigEndian.Uint64(data), Lo: binary.BigEndian.Uint64(data[8:])}
	return data[sumSize:], xxh3.Hash128(data[sumSize:]) == sum
}

// writeCubin writes a cache file atomically, because other processes may read it.
func writeCubin(file string, cubin []byte) (err error) {
	folder := filepath.Dir(file)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(folder, "*.tmp")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	sum := xxh3.Hash128(cubin).Bytes()
	_, err = f.Write(append(sum[:], cubin...))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
