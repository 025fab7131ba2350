package cuda

import (
	"fmt"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/ssl"
	"golang.org/x/sys/unix"
)

// Statuses that the libraries' functions return; 0 is success.
type (
	status    int32 // CUresult
	rtcStatus int32 // nvrtcResult
	dnnStatus int32 // cudnnStatus_t
	ltStatus  int32 // cublasStatus_t
)

// statusError is an error status of a function.
type statusError struct {
	what        string // the operation that failed
	status      string // the status's name in the library, possibly with an explanation
	outOfMemory bool
}

func (e *statusError) Error() string { return "cuda: " + e.what + ": " + e.status }

// Is makes errors.Is match ssl.ErrOutOfMemory.
func (e *statusError) Is(target error) bool { return e.outOfMemory && target == ssl.ErrOutOfMemory }

// check returns an error for a status of the driver. It formats the operation only on failure.
func (d *driver) check(s status, format string, args ...any) error {
	if s == 0 {
		return nil
	}
	name, text := (*byte)(nil), (*byte)(nil)
	told := fmt.Sprintf("CUresult %d, unknown to this driver", s)
	if d.cuGetErrorName(s, &name) == 0 && d.cuGetErrorString(s, &text) == 0 {
		told = fmt.Sprintf("%s (%s)", unix.BytePtrToString(name), unix.BytePtrToString(text))
	}
	return &statusError{fmt.Sprintf(format, args...), told, s == errorOutOfMemory}
}

// checkRTC does so for NVRTC.
func (n *nvrtc) checkRTC(s rtcStatus, format string, args ...any) error {
	if s == 0 {
		return nil
	}
	return &statusError{fmt.Sprintf(format, args...), n.nvrtcGetErrorString(s), false}
}

// checkDNN does so for cuDNN, adding the thread's last message.
func (c *cudnn) checkDNN(s dnnStatus, format string, args ...any) error {
	if s == 0 {
		return nil
	}
	told := c.cudnnGetErrorString(s)
	message := make([]byte, 1024)
	c.cudnnGetLastErrorString(&message[0], uint64(len(message)))
	if m := strings.TrimSpace(unix.ByteSliceToString(message)); m != "" {
		told += " (" + m + ")"
	}
	return &statusError{fmt.Sprintf(format, args...), told, s == dnnAllocFailed}
}

// checkBLAS does so for cublasLt.
func (b *blasLt) checkBLAS(s ltStatus, format string, args ...any) error {
	if s == 0 {
		return nil
	}
	told := fmt.Sprintf("cublasStatus_t %d (%s)", s, b.cublasLtGetStatusString(s))
	return &statusError{fmt.Sprintf(format, args...), told, s == ltAllocFailed}
}

// gpuName describes a GPU: name, memory, multiprocessors and compute capability.
func (d *driver) gpuName(device int32) (string, error) {
	name := make([]byte, 256)
	var memory uint64
	if err := d.check(d.cuDeviceGetName(&name[0], int32(len(name)), device), "cuDeviceGetName"); err != nil {
		return "", err
	}
	if err := d.check(d.cuDeviceTotalMem(&memory, device), "cuDeviceTotalMem"); err != nil {
		return "", err
	}
	values := [3]int32{}
	for i, attribute := range []int32{attributeMajor, attributeMinor, attributeMultiprocessors} {
		if err := d.check(d.cuDeviceGetAttribute(&values[i], attribute, device), "cuDeviceGetAttribute"); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s (%s, %d multiprocessors, compute capability %d.%d)",
		unix.ByteSliceToString(name), size(memory), values[2], values[0], values[1]), nil
}
