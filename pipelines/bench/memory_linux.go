package bench

import (
	"bytes"
	"fmt"
	"os"
)

// memory is the resident memory of this process at some moment, in MiB; 0 if unknown.
type memory float64

// startMemory resets the peak and returns the resident memory.
func startMemory() memory {
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		return 0
	}
	return status("VmRSS")
}

// growth returns how far the peak since then exceeds m, in MiB; 0 if unknown.
func (m memory) growth() float64 {
	if m == 0 {
		return 0
	}
	return float64(status("VmHWM") - m)
}

// bytes returns m, and peak the peak since then, in bytes; 0 if unknown.
func (m memory) bytes() int64 { return int64(m * (1 << 20)) }
func (memory) peak() int64    { return status("VmHWM").bytes() }

// status reads a size from /proc/self/status.
func status(field string) memory {
	text, _ := os.ReadFile("/proc/self/status") // missing values count as 0
	_, rest, _ := bytes.Cut(text, []byte("\n"+field+":"))
	var kib float64
	_, _ = fmt.Sscan(string(rest), &kib)
	return memory(kib / 1024)
}
