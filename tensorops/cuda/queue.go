package cuda

import (
	"fmt"
	"unsafe"
)

// Buffer is an array in device memory; the zero Buffer means nil. Its users know the type of its elements: float32 or
// activations (float32, or bfloat16 in a network of that precision).
type Buffer struct {
	Addr uint64 // of the first element
	Len  int    // elements
}

// dim3 is a number of blocks or threads in x, y and z.
type dim3 [3]uint32

// queue runs kernels one after the other.
type queue interface {
	// launch queues a kernel of the folder kernels. Its arguments are Buffers (pointers in the kernel), ints and bools
	// (int, 1 for true), float32s (float), float64s (double) and uint64s (unsigned long long). Errors are kept until the
	// queue is waited for.
	launch(kernel string, grid, block dim3, args ...any)
}

// encode lays out a kernel's arguments for cuLaunchKernel: it returns the address of each value.
func encode(args []any) []unsafe.Pointer {
	values, addresses := make([]uint64, len(args)), make([]unsafe.Pointer, len(args))
	for i, a := range args {
		at := unsafe.Pointer(&values[i])
		addresses[i] = at
		switch a := a.(type) {
		case Buffer:
			values[i] = a.Addr
		case int:
			*(*int32)(at) = int32(a)
		case bool:
			if a {
				values[i] = 1
			}
		case float32:
			*(*float32)(at) = a
		case float64:
			*(*float64)(at) = a
		case uint64:
			values[i] = a
		default:
			panic(fmt.Sprintf("cuda: argument %d of a kernel is a %T; want a Buffer, an int, a bool, a float32, a float64 or a uint64", i, a))
		}
	}
	return addresses
}
