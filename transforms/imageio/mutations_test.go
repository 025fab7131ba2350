package imageio_test

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Files that were changed at random are refused, or read to the pixels that Pillow reads, in 2 s of a processor and 512 MiB.
// SDR_MUTATIONS has the number of files, a seed, and a Python with Pillow: make mutate.
func TestMutations(t *testing.T) {
	args := strings.Fields(os.Getenv("SDR_MUTATIONS"))
	if len(args) != 3 {
		t.Skip("takes long; see make mutate")
	}
	python := exec.CommandContext(t.Context(), args[2], "testdata/mutate.py", args[0], args[1])
	lines, err := python.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, python.Start())
	counts, slowest := map[string]int{}, time.Duration(0)
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, 1<<24)
	for scanner.Scan() {
		var file odd
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &file))
		start := busy(t)
		got, err := imageio.Decode(file.Data)
		took := busy(t) - start
		slowest = max(slowest, took)
		sum := sha256.Sum256(got.Pix)
		same := got.Width == file.Width && got.Height == file.Height && hex.EncodeToString(sum[:]) == file.SHA256
		switch {
		case err != nil && file.SHA256 == "":
			counts["refused by both"]++
		case err != nil:
			counts["refused, and read by Pillow"]++
		case file.SHA256 == "":
			counts["read, and refused by Pillow"]++
		default:
			counts["read by both"]++
			assert.True(t, same, "other pixels than Pillow's: %s", scanner.Text())
		}
		if err != nil {
			assert.NotContains(t, err.Error(), "panic", scanner.Text())
		}
		assert.Less(t, took, 2*time.Second, scanner.Text())
	}
	require.NoError(t, scanner.Err())
	require.NoError(t, python.Wait())
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	require.Less(t, memory.Sys, uint64(512<<20))
	t.Log(counts, memory.Sys>>20, "MiB,", slowest, "at most")
}

// busy returns the time for which processors have computed for this process.
func busy(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
