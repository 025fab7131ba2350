package transforms_test

import (
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// buildOutside builds the program in testdata/outside as a separate module that depends on this working copy, without
// network access.
func buildOutside(t *testing.T) string {
	checkout, err := filepath.Abs("..")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("testdata/outside")))
	sums, err := os.ReadFile("../go.sum")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), sums, 0o644))
	ours, err := os.ReadFile("../go.mod") // with the versions of all dependencies, so that nothing has to be looked up
	require.NoError(t, err)
	module := strings.Replace(string(ours), "module github.com/sdr-ml/sdr\n", "module example.com/outside\n", 1) +
		fmt.Sprintf("\nrequire github.com/sdr-ml/sdr v0.0.0\n\nreplace github.com/sdr-ml/sdr => %s\n", checkout)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(module), 0o644))
	program := filepath.Join(dir, "outside.exe")
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", program, ".")
	build.Dir = dir
	build.Env = append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// saveModel writes a small random model.
func saveModel(t *testing.T) string {
	b := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}
	l := nn.NewLayout(b, nn.Heads{})
	params, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
	l.Init(params, rand.New(rand.NewPCG(1, 1)))
	l.InitStats(stats)
	key, value := inference.Input{Size: 8, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.2, .2, .2}}.Metadata()
	path := filepath.Join(t.TempDir(), "model.safetensors")
	require.NoError(t, files.Write(t.Context(), path, func(w io.Writer) error {
		return nn.SaveModel(w, b, nn.Heads{}, params, stats, map[string]string{key: value})
	}))
	return path
}

// read returns the rows of a file, sorted.
func read[T any](t *testing.T, path string, compare func(a, b T) int) (all []T) {
	require.NoError(t, arrowio.Each(t.Context(), path, func(b *record.Batch) error {
		rows, err := record.Rows[T](b)
		all = append(all, rows...)
		return err
	}))
	slices.SortFunc(all, compare)
	return all
}

type labeled struct {
	Source string `arrow:"source"`
	Code   string `arrow:"code"`
}

type neighbor struct {
	Source     string  `arrow:"source"`
	Rank       int32   `arrow:"rank"`
	Similarity float32 `arrow:"similarity"`
	Other      string  `arrow:"neighbour_source"`
}

type guess struct {
	Class     string `arrow:"class"`
	Predicted string `arrow:"predicted"`
}

type answer struct {
	Source string `arrow:"source"`
	Right  bool   `arrow:"right"`
}

// TestOutside runs a program from another module that uses every transform, on both local runners: the output files are
// the same.
func TestOutside(t *testing.T) {
	photos := t.TempDir()
	require.NoError(t, os.CopyFS(photos, os.DirFS("../testdata/fixtures/folder/train")))
	require.NoError(t, os.WriteFile(filepath.Join(photos, "Lime", "broken.jpg"), []byte("no image"), 0o644))
	model, program := saveModel(t), buildOutside(t)
	written := map[string][]byte{}
	for _, runner := range []string{"prism", "direct"} {
		out := filepath.Join(t.TempDir(), "out")
		run := exec.CommandContext(t.Context(), program, "-in", runner, "-photos", photos, "-model", model, "-out", out)
		log, err := run.CombinedOutput()
		require.NoError(t, err, "%s", log)

		dead := read(t, filepath.Join(out, "dead.arrow"), func(a, b imageio.Dead) int { return cmp.Compare(a.Index, b.Index) })
		require.Len(t, dead, 1)
		require.Equal(t, filepath.Join(photos, "Lime", "broken.jpg"), dead[0].Source)
		again := read(t, filepath.Join(out, "again.arrow"), func(a, b labeled) int { return cmp.Compare(a.Source, b.Source) })
		require.Len(t, again, 18)
		recs, err := arrowio.LoadParquet(t.Context(), filepath.Join(out, "assigned.parquet"))
		require.NoError(t, err)
		require.Len(t, recs, 1)
		first, err := record.Rows[labeled](record.New(recs[0]))
		require.NoError(t, err)
		slices.SortFunc(first, func(a, b labeled) int { return cmp.Compare(a.Source, b.Source) })
		require.Equal(t, first, again, "assigned as they were clustered")
		found := read(t, filepath.Join(out, "found.arrow"), func(a, b neighbor) int { return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Rank, b.Rank)) })
		require.Len(t, found, 36)
		for i := 0; i < len(found); i += 2 {
			require.Equal(t, found[i].Source, found[i].Other, "an image is nearest to itself")
			require.InDelta(t, 1, found[i].Similarity, 1e-5)
		}
		for _, g := range read(t, filepath.Join(out, "voted.arrow"), func(guess, guess) int { return 0 }) {
			require.Equal(t, g.Class, g.Predicted)
		}
		answers := read(t, filepath.Join(out, "answers.arrow"), func(a, b answer) int { return cmp.Compare(a.Source, b.Source) })
		require.Len(t, answers, 18)
		right := 0
		for _, a := range answers {
			if a.Right {
				right++
			}
		}
		require.Greater(t, right, 12, "fitted to what it predicts")

		paths, err := filepath.Glob(filepath.Join(out, "*"))
		require.NoError(t, err)
		require.Len(t, paths, 9)
		for _, path := range paths {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			name := filepath.Base(path)
			if written[name] == nil {
				written[name] = data
			}
			require.Equal(t, written[name], data, name)
		}
	}
}
