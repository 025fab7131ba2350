//go:build !linux

package bench

// memory is not measured on this system.
type memory struct{}

func startMemory() memory { return memory{} }

func (memory) growth() float64 { return 0 }

func (memory) bytes() int64 { return 0 }

func (memory) peak() int64 { return 0 }
