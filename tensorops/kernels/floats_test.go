package kernels

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNewFloatsReturnsZeros(t *testing.T) {
	for _, n := range []int{0, 1, 1<<19 - 1, 1 << 19, 1<<19 + 1, 3<<19 + 12345} {
		for range 3 { // recycled memory is cleared as well
			s := NewFloats(n)
			require.Len(t, s, n)
			require.Equal(t, n, cap(s))
			for i := range s {
				if s[i] != 0 {
					require.FailNow(t, "not zero", "element %d of %d is %v", i, n, s[i])
				}
				s[i] = 1
			}
		}
	}
}
