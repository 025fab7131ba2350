package train

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/files"
)

// progressState is what a checkpoint holds besides the weights. The random streams and the data order follow from the
// step and the counts.
type progressState struct {
	Format  int                `json:"format"`
	Inputs  string             `json:"inputs"`
	Variant string             `json:"variant"`
	Step    int                `json:"step"`
	Phase   int                `json:"phase"`
	Level   int                `json:"level"`
	Taken   map[string]int64   `json:"taken"` // images drawn, by subset
	Last    map[string]measure `json:"last"`
	Models  []Model            `json:"models"`
	Judged  []Judgment         `json:"judged,omitempty"`
	Sum     curves.Point       `json:"sum"` // of the curve's unfinished point
	Count   int                `json:"count"`

	TakenByBin []map[string]int64 `json:"taken_by_bin,omitempty"` // instead of Taken, with several bins

	path string // of the checkpoint
}

// teacherPrefix begins the names of the teachers' vectors in a checkpoint, and velocityPrefix those of the outer optimizer.
const (
	teacherPrefix  = "teacher."
	velocityPrefix = "velocity."
)

// CheckpointPath returns the path of a variant's checkpoint.
func CheckpointPath(dir, variant string) string {
	return files.Join(dir, "checkpoints", variant+".safetensors")
}

// checkpoint saves the complete state of the variant.
func (t *trainer) checkpoint(ctx context.Context) error {
	if err := t.curve.Write(ctx); err != nil {
		return err
	}
	if err := t.writeJudgments(ctx); err != nil {
		return err
	}
	if err := t.student.Sync(); err != nil {
		return err
	}
	return t.save(ctx, CheckpointPath(t.cfg.Dir, t.variant))
}

// taken returns how many images were drawn of each subset.
func (t *trainer) taken() map[string]int64 {
	taken := map[string]int64{}
	for code, s := range t.streams {
		taken[code] = s.Taken
	}
	return taken
}

// save writes the state of the nets and of the training.
func (t *trainer) save(ctx context.Context, path string) error {
	state := progressState{
		Format: run.Format, Inputs: t.cfg.Inputs, Variant: t.variant, Step: t.step, Phase: t.phase, Level: t.nets.Level(),
		Taken: t.taken(), Last: t.last, Models: t.models, Judged: t.judged,
		Sum: t.curve.Sum, Count: t.curve.Count, TakenByBin: t.takenByBin,
	}
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	var tensors []safetensors.Tensor
	for _, v := range t.nets.State() {
		tensors = append(tensors, safetensors.Tensor{Name: v.Name, Shape: []int{len(v.Values)}, F32: v.Values})
	}
	if t.teachers != nil {
		for _, v := range t.teachers.State() {
			tensors = append(tensors, safetensors.Tensor{Name: teacherPrefix + v.Name, Shape: []int{len(v.Values)}, F32: v.Values})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.velocity)) {
		v := t.velocity[name]
		tensors = append(tensors, safetensors.Tensor{Name: velocityPrefix + name, Shape: []int{len(v)}, F32: v})
	}
	return files.Write(ctx, path, func(w io.Writer) error {
		return safetensors.Write(w, tensors, map[string]string{"state": string(text)})
	})
}

// restore loads the variant's checkpoint or, if there is none for these inputs or a net that was finished before it is lost,
// that of the training it continues.
func (t *trainer) restore(ctx context.Context) error {
	file, state, err := readCheckpoint(ctx, CheckpointPath(t.cfg.Dir, t.variant))
	own := err == nil && state.Inputs == t.cfg.Inputs
	if own {
		path, err := lost(ctx, t.cfg.Dir, state.Models)
		if err != nil {
			return err
		}
		if own = path == ""; !own {
			slog.Warn("a finished net is gone or damaged, so its training begins anew", "variant", t.variant, "file", path)
		}
	}
	switch start := t.cfg.Start; {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	case own:
	case start == Start{}:
		return nil
	default:
		if file, state, err = readStart(ctx, start); err != nil {
			return err
		}
		own = start.Variant == Joint // that is, of the same training
	}
	return t.resume(ctx, file, state, own)
}

// readStart reads the checkpoint of a training that is to be continued.
func readStart(ctx context.Context, start Start) (*safetensors.File, *progressState, error) {
	variant := cmp.Or(start.Variant, Phase0)
	path := CheckpointPath(start.Dir, variant)
	file, state, err := readCheckpoint(ctx, path)
	if err != nil {
		return nil, nil, fmt.Errorf("loading the checkpoint that %s should have left: %w", variant, err)
	}
	if state.Inputs != start.Inputs {
		return nil, nil, fmt.Errorf("%s was made with another recipe or other images; train %s again", path, variant)
	}
	return file, state, nil
}

// resume goes on from a checkpoint, that of the same training or of phase 0.
func (t *trainer) resume(ctx context.Context, file *safetensors.File, state *progressState, own bool) error {
	tensors := map[string][]float32{}
	for _, tensor := range file.Tensors {
		tensors[tensor.Name] = tensor.F32
		if name, ok := strings.CutPrefix(tensor.Name, velocityPrefix); ok {
			t.velocity[name] = tensor.F32
		}
	}
	get := func(prefix string) func(string) ([]float32, bool) {
		return func(name string) ([]float32, bool) {
			v, ok := tensors[prefix+name]
			return v, ok
		}
	}
	if state.Level > 0 && t.recipe.SSL.Distill > 0 {
		t.teachers = t.nets.Clone()
		level := state.Level - 1
		if t.recipe.SSL.Teacher == recipe.EMATeacher {
			level = 0
		}
		if err := t.teachers.Restore(level, get(teacherPrefix)); err != nil {
			return fmt.Errorf(damagedCheckpoint, state.path, err)
		}
	}
	if err := t.nets.Restore(state.Level, get("")); err != nil {
		return fmt.Errorf(damagedCheckpoint, state.path, err)
	}
	t.step = state.Step
	if own {
		t.phase, t.models, t.judged, t.last = state.Phase, state.Models, state.Judged, state.Last
		t.curve.Sum, t.curve.Count = state.Sum, state.Count
	}
	for !own && t.phase+1 < t.end && t.step > t.recipe.PhaseStep(t.phase+1) {
		t.phase++ // phase 0 was another recipe's, and longer
	}
	if own || t.onAll() { // other variants begin every stream anew
		of := state.Taken
		if t.takenByBin = state.TakenByBin; len(t.takenByBin) > 0 {
			if t.bin >= len(t.takenByBin) {
				return fmt.Errorf(damagedCheckpoint, state.path, fmt.Errorf("%d bins", len(t.takenByBin)))
			}
			of = t.takenByBin[t.bin]
		}
		for code, taken := range of {
			if s := t.streams[code]; s != nil {
				s.Taken = taken
			}
		}
	}
	if state.Variant == Joint && t.variant != Joint {
		return t.curve.Resume(ctx, t.cfg.Start.Dir, Joint, t.step)
	}
	return t.curve.Resume(ctx, t.cfg.Dir, t.variant, t.step)
}

// damagedCheckpoint is the format of an error, with the path and the cause.
const damagedCheckpoint = "%s: %w; remove it to train the variant from scratch"

func readCheckpoint(ctx context.Context, path string) (*safetensors.File, *progressState, error) {
	data, err := files.Read(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	file, err := safetensors.Read(bytes.NewReader(data))
	if err != nil {
		return nil, nil, fmt.Errorf(damagedCheckpoint, path, err)
	}
	state := progressState{path: path}
	err = json.Unmarshal([]byte(file.Metadata["state"]), &state)
	if err == nil && min(state.Step, state.Level, state.Count) < 0 {
		err = fmt.Errorf("step %d, level %d, %d steps of a point", state.Step, state.Level, state.Count)
	}
	if err != nil {
		return nil, nil, fmt.Errorf(damagedCheckpoint, path, err)
	}
	if err := run.CheckFormat(state.Format); err != nil {
		return nil, nil, run.Usagef("%s: %w", path, err)
	}
	return file, &state, nil
}
