package finetune

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/files"
)

// vectors lists what a checkpoint holds; those that do not exist yet are nil.
func (t *trainer) vectors() map[string]*[]float32 {
	return map[string]*[]float32{
		"params": &t.net.Params, "stats": &t.net.Stats, "velocity": &t.velocity,
		"best.params": &t.best.params, "best.stats": &t.best.stats,
	}
}

// save writes a checkpoint. The images drawn so far follow from the step.
func (t *trainer) save(ctx context.Context, path string) error {
	text, err := json.Marshal(t.state)
	if err != nil {
		return err
	}
	var tensors []safetensors.Tensor
	for name, v := range t.vectors() {
		if *v != nil {
			tensors = append(tensors, safetensors.Tensor{Name: name, Shape: []int{len(*v)}, F32: *v})
		}
	}
	return files.Write(ctx, path, func(w io.Writer) error {
		return safetensors.Write(w, tensors, map[string]string{"state": string(text)})
	})
}

// restore goes on from a checkpoint, if there is one with the same inputs. One that is damaged is passed over.
func (t *trainer) restore(ctx context.Context, path string) error {
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	file, err := safetensors.Read(bytes.NewReader(data))
	var found state
	if err == nil {
		err = json.Unmarshal([]byte(file.Metadata["state"]), &found)
	}
	if err == nil && found.Step < 0 {
		err = fmt.Errorf("step %d", found.Step)
	}
	if err != nil {
		slog.Warn("the checkpoint is damaged, so the training begins anew", "file", path, "error", err)
		return nil
	}
	if found.Inputs != t.Inputs {
		return nil
	}
	for name, v := range t.vectors() {
		tensor, err := file.Tensor(name)
		if err != nil {
			continue // no epoch has ended yet
		}
		want := len(t.net.Params)
		if strings.HasSuffix(name, "stats") {
			want = len(t.net.Stats)
		}
		if want != len(tensor.F32) {
			return fmt.Errorf("%s: %s has %d values, not %d; remove it to begin anew", path, name, len(tensor.F32), want)
		}
		*v = tensor.F32
	}
	t.state = found
	t.stream.Taken = int64(t.Step) * int64(t.batch)
	return nil
}
