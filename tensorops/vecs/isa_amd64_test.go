package vecs

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Every instruction set of package kernels has its loops, those that this CPU lacks, too.
func TestEveryInstructionSetHasLoops(t *testing.T) {
	for _, name := range []string{"portable", "avx2", "avx512", "bf16"} {
		require.Contains(t, isas, name)
	}
}
