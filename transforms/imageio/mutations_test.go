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
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Files that were changed at random are refused, or read to the pixels that Pillow reads, in 2 s and 512 MiB. SDR_MUTATIONS
// has the number of files, a seed, and a Python with Pillow: make mutate.
func TestMutations(t *testing.T) {
	args := strings.Fields(os.Getenv("SDR_MUTATIONS"))
	if len(args) != 3 {
		t.Skip("takes long; see make mutate")
	}
	python := exec.CommandContext(t.Context(), args[2], "testdata/mutate.py", args[0], args[1])
	lines, err := python.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, python.Start())
	counts := map[string]int{}
	scanner := bufio.NewScanner(lines)
	scanner.Buffer(nil, 1<<24)
	for scanner.Scan() {
		var file odd
		require.NoError(t, json.Unmarshal(scanner.Bytes(), &file))
		start := time.Now()
		got, err := imageio.Decode(file.Data)
		took := time.Since(start)
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
		if took > 2*time.Second { // perhaps the machine was busy
			start = time.Now()
			_, _ = imageio.Decode(file.Data)
			assert.Less(t, time.Since(start), 2*time.Second, scanner.Text())
		}
	}
	require.NoError(t, scanner.Err())
	require.NoError(t, python.Wait())
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	require.Less(t, memory.Sys, uint64(512<<20))
	t.Log(counts, memory.Sys>>20, "MiB")
}
