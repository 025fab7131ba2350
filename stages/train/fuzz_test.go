package train

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/files"
)

// FuzzCheckpoint: any state and weights in a checkpoint are resumed from, or an error names the file and what to do.
func FuzzCheckpoint(f *testing.F) {
	r, err := recipe.Load("smoke", []string{"input.crop=12", "backbone.width=1"})
	require.NoError(f, err)
	sound, err := json.Marshal(progressState{
		Format: run.Format, Inputs: "i", Variant: SDR, Step: 7, Phase: 1, Taken: map[string]int64{"": 9, "1": 2}, Count: 7,
		Last: map[string]measure{"1": {Point: curves.Point{Step: 7}}}, Models: []Model{{Subnet: "1"}},
	})
	require.NoError(f, err)
	f.Add(string(sound), 0, uint8(0))
	f.Add(`{"format": 1, "inputs": "i", "level": 1, "taken_by_bin": [{}]}`, 0, uint8(9))
	f.Add(`{"format": 1, "inputs": "i", "step": -1}`, 3, uint8(1))
	f.Add(`{"format": 99}`, 0, uint8(0))
	f.Fuzz(func(t *testing.T, state string, less int, bin uint8) {
		tr, err := newTrainer(t.Context(), Config{Dir: t.TempDir(), Inputs: "i"}, r, SDR)
		require.NoError(t, err)
		tr.bin = int(bin)
		var tensors []safetensors.Tensor
		for _, v := range tr.nets.State() {
			values := v.Values[:max(0, len(v.Values)-max(less, 0)%3)]
			tensors = append(tensors, safetensors.Tensor{Name: v.Name, Shape: []int{len(values)}, F32: values})
		}
		var file bytes.Buffer
		if safetensors.Write(&file, tensors, map[string]string{"state": state}) != nil {
			t.Skip("not text")
		}
		path := CheckpointPath(tr.cfg.Dir, SDR)
		require.NoError(t, files.WriteBytes(t.Context(), path, file.Bytes()))
		if err := tr.restore(t.Context()); err != nil {
			require.ErrorContains(t, err, path)
			require.Regexp(t, "remove it|newer version", err.Error())
		}
	})
}

// FuzzLines: any bytes in place of a curve or of judgments are read, or an error names the file and what to do.
func FuzzLines(f *testing.F) {
	f.Add([]byte(`{"step": 20, "loss": 1, "ssl": 1, "distill": 0, "std": 0.5, "lr": 1e-3, "time": 9, "data_wait": 0}` + "\n"))
	f.Add([]byte(`{"subnet": "1.2", "loss": 1, "root_loss": 2, "error": 0.1, "offered": true}` + "\n{"))
	f.Add([]byte("null 1 {}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		ctx, dir := context.Background(), t.TempDir()
		for path, read := range map[string]func() error{
			curves.Path(dir, SDR): func() error { return curves.New(dir, SDR, 40).Resume(ctx, dir, SDR, 30) },
			judgmentsPath(dir):    func() error { _, err := Notes(ctx, dir); return err },
		} {
			require.NoError(t, files.WriteBytes(ctx, path, data))
			if err := read(); err != nil {
				require.ErrorContains(t, err, path)
				require.ErrorContains(t, err, "; remove it, and pages go without")
			}
		}
	})
}
