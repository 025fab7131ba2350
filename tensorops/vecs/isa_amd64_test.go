package vecs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEveryInstructionSetHasLoops checks all instruction sets of package kernels, including those that this CPU lacks.
func TestEveryInstructionSetHasLoops(t *testing.T) {
	for _, name := range []string{"portable", "avx2", "avx512", "bf16"} {
		require.Contains(t, isas, name)
	}
}
