package bench

import (
	"bytes"
	"fmt"
	"os"
)

// memory is the resident memory of this process at some moment, in MiB; 0 if the system does not tell.
type memory float64

// startMemory forgets earlier peaks.
func startMemory() memory {
	if os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) != nil {
		return 0
	}
	return status("VmRSS")
}

// growth is by how much the resident memory has been higher since; 0 if that is not known.
func (m memory) growth() float64 {
	if m == 0 {
		return 0
	}
	return float64(status("VmHWM") - m)
}

// status reads a size from the process's status.
func status(field string) memory {
	text, _ := os.ReadFile("/proc/self/status") // what is missing counts as 0
	_, rest, _ := bytes.Cut(text, []byte("\n"+field+":"))
	var kib float64
	_, _ = fmt.Sscan(string(rest), &kib)
	return memory(kib / 1024)
}
