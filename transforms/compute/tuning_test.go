package compute

import (
	"os"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// TestChoices checks that all who share a folder get what the first of them has put there.
func TestChoices(t *testing.T) {
	for _, dir := range []string{t.TempDir() + "/tuning", "memfs://tuning"} {
		c := choices{dir}
		found, err := c.Get("forward of 2x3, stride 1")
		require.NoError(t, err)
		require.Empty(t, found)
		kept, err := c.Put("forward of 2x3, stride 1", "direct", "mine")
		require.NoError(t, err)
		require.Equal(t, "direct", kept)
		kept, err = c.Put("forward of 2x3, stride 1", "winograd2", "other")
		require.NoError(t, err)
		require.Equal(t, "direct", kept)
		found, err = c.Get("forward of 2x3, stride 1")
		require.NoError(t, err)
		require.Equal(t, "direct", found)

		for _, part := range []kernels.Part{{Kind: "processor", Name: "A / B (R) @ 2 GHz, avx2"}, {Kind: "processor", Name: "C"}, {Kind: "GPU", Name: "C"}, {Kind: "processor", Name: "C"}} {
			require.NoError(t, c.Join(part))
		}
		who, err := Machines(t.Context(), dir)
		require.NoError(t, err)
		require.Equal(t, map[string][]string{"processor": {"A / B (R) @ 2 GHz, avx2", "C"}, "GPU": {"C"}}, who)
	}

	if runtime.GOOS == "linux" {
		require.NoError(t, choices{"/sys/tuning"}.Join(kernels.Part{Kind: "processor"}), "nothing can be written there")
	}

	dir := t.TempDir()
	var wait sync.WaitGroup
	var all sync.Map
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		wait.Go(func() {
			kept, err := choices{dir}.Put("shape", name, name)
			if err == nil {
				all.Store(kept, true)
			}
		})
	}
	wait.Wait()
	number := 0
	all.Range(func(any, any) bool { number++; return true })
	require.Equal(t, 1, number, "one decides")
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1)

	for _, damaged := range []string{"", "{", `{"shape": "other", "algorithm": "direct"}`} {
		require.NoError(t, os.WriteFile(choices{dir}.path("shape"), []byte(damaged), 0o644))
		found, err := choices{dir}.Get("shape")
		require.NoError(t, err)
		require.Empty(t, found)
		kept, err := choices{dir}.Put("shape", "again", "mine")
		require.NoError(t, err)
		require.Equal(t, "again", kept)
	}
}
