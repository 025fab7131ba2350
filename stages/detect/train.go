package detect

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Config says how to train.
type Config struct {
	// Data are the images to train on.
	Data annotations.Config
	// Dir is the folder for the detectors: Dir/NET/SEED.safetensors.
	Dir string
	// Size is the length in pixels to which the longer side of an image is scaled.
	Size int
	// Channels and Convs are those of detect.Config.
	Channels, Convs int
	// Batch is the number of images per step, and Epochs how often every image is seen.
	Batch, Epochs int
	// LR is the peak learning rate of the pyramid and the head.
	LR float64
	// Limit says what becomes of images that cannot be used.
	Limit Limit `json:",omitzero"`
	// BackboneLR is that of the backbone; 0 leaves it as it is. Its BatchNorm statistics are never changed.
	BackboneLR float64
	// Every is how often a checkpoint is written.
	Every time.Duration `json:",omitzero"`
}

// Settings returns what determines the detectors, but for the images: not what files there are, and when they are written.
func (c Config) Settings() Config {
	c.Dir, c.Every, c.Limit = "", 0, Limit{}
	return c
}

// Validate returns an error for a value out of range.
func (c Config) Validate() error {
	switch {
	case c.Size < 32 || c.Size > 2048 || c.Size%32 != 0:
		return fmt.Errorf("a size of %d px; want a multiple of 32 up to 2048", c.Size)
	case c.Channels < groups || c.Channels%groups != 0 || c.Convs < 0:
		return fmt.Errorf("%d channels and %d convolutions; want a multiple of %d, and 0 or more", c.Channels, c.Convs, groups)
	case c.Batch < 1 || c.Epochs < 1:
		return fmt.Errorf("%d epochs in batches of %d images; want at least 1", c.Epochs, c.Batch)
	case !(c.LR > 0) || !(c.BackboneLR >= 0):
		return fmt.Errorf("learning rates of %v and, for the backbone, %v; want numbers above 0, and 0 or more", c.LR, c.BackboneLR)
	}
	return nil
}

const (
	groups = 8   // of the head's GroupNorms
	extra  = 1   // levels beyond the backbone's maps
	warmup = .05 // the fraction of the steps in which the learning rate rises

	suffix = ".safetensors" // of a detector's file
)

// optimizer updates all weights.
var optimizer = optim.AdamW{Beta1: .9, Beta2: .999, Epsilon: 1e-8, WeightDecay: 1e-4}

// Train trains detectors.
//
// in: *record.Batch of Job, each detector of one a heavy computation. out: *record.Batch of Detector, in the same batches.
func Train(s beam.Scope, jobs beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("detect.Train")
	return compute.ParDo(s, &trainFn{cfg}, jobs)
}

type trainFn struct{ Config Config }

func (fn *trainFn) ProcessElement(ctx context.Context, b *record.Batch) (*record.Batch, error) {
	jobs, err := record.Rows[Job](b)
	if err != nil {
		return nil, err
	}
	var done []Detector
	for _, j := range jobs {
		d, err := fn.Config.train(ctx, j)
		if err != nil {
			return nil, fmt.Errorf("detect: net %s, seed %d: %w", j.Net, j.Seed, err)
		}
		done = append(done, d)
	}
	return record.Of(done), nil
}

// train trains a detector, unless its file is there already.
func (c Config) train(ctx context.Context, j Job) (d Detector, err error) {
	base, err := inference.Load(ctx, j.Model)
	if err != nil {
		return d, err
	}
	set, err := annotations.Open(ctx, c.Data)
	if err != nil {
		return d, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	t := &trainer{Config: c, Job: j, set: set, path: files.Join(c.Dir, j.Net, fmt.Sprint(j.Seed)+suffix)}
	backbone := base.WithoutHeads()
	t.model = &model{params: slices.Clone(backbone.Params), stats: backbone.Stats, Card: Card{
		Detector: detect.Config{Classes: len(set.Classes), Channels: c.Channels, Convs: c.Convs, Groups: groups, Extra: extra},
		Classes:  set.Classes, Backbone: base.Backbone, First: firstStage(base.Backbone),
		Input: inference.Input{Size: c.Size, Mean: base.Input.Mean, Std: base.Input.Std},
	}}
	t.model.Inputs = run.Digest("v1", c.Settings(), j.Net, j.Seed, files.Identity(ctx, j.Model), set.Images, set.Classes)
	d = Detector{Net: j.Net, Seed: j.Seed, Path: t.path}
	if card, err := ReadCard(ctx, t.path); err == nil && card.Inputs == t.model.Inputs {
		d.Loss = card.Loss
		return d, nil
	}
	if t.pictures, _, err = c.Limit.load(ctx, set, c.Size); err != nil {
		return d, err
	}
	if !slices.ContainsFunc(t.pictures, func(p picture) bool { return len(p.objects) > 0 }) {
		return d, fmt.Errorf("%s: the split %s has no objects to learn", c.Data.Path, set.Split)
	}
	if err := compute.Run(func(pool *kernels.Pool) error { return t.run(ctx, pool) }); err != nil {
		return d, err
	}
	d.Loss = t.model.Loss
	return d, nil
}

// trainer trains one detector.
type trainer struct {
	Config
	Job
	set      *annotations.Set
	pictures []picture
	path     string
	model    *model

	backbone *nn.Net
	head     *detect.Net
	states   [2][]float32 // of the optimizer, for backbone and head
	step     int          // steps done
	sum      float64      // of this epoch's losses, each divided by their number
	history  []curves.Epoch
	input    []float32
	memory   [][]float32 // the maps of a frozen backbone, by view; nil if there is no room
}

// steps returns the number of steps, and how many are an epoch.
func (t *trainer) steps() (all, epoch int) {
	epoch = max(1, len(t.pictures)/t.Batch)
	return t.Epochs * epoch, epoch
}

func (t *trainer) run(ctx context.Context, pool *kernels.Pool) (err error) {
	mode := nn.Inference
	if t.BackboneLR > 0 {
		mode = nn.Train
	}
	m := t.model
	t.backbone = nn.NewMaps(m.Backbone, m.First, t.Size, t.Batch, pool, mode)
	t.head = detect.New(m.Detector, maps(t.backbone, t.Size), t.Batch, pool, nn.Train)
	t.head.Init(rng.New(uint64(t.Seed), rng.Weights))
	m.head = t.head.Params
	for i, size := range []int{len(m.params), len(m.head)} {
		t.states[i] = make([]float32, optimizer.Vectors()*size)
	}
	if err := t.restore(ctx); err != nil {
		return err
	}
	t.backbone.Params, t.backbone.Stats, t.head.Params = m.params, m.stats, m.head
	t.input = make([]float32, t.Batch*t.Size*t.Size*3)
	if t.BackboneLR == 0 {
		if err := t.remember(ctx); err != nil {
			return err
		}
	}
	log := curves.NewEpochs(strings.TrimSuffix(t.path, suffix) + MetricsSuffix)
	defer func() { err = errors.Join(err, log.Close()) }()
	if err := log.Write(ctx, t.history); err != nil {
		return err
	}
	steps, epoch := t.steps()
	bar := progress.Start(fmt.Sprintf("detect %s/%d", t.Net, t.Seed), "images", int64(t.step*t.Batch), int64(steps*t.Batch))
	defer bar.End()
	saved := time.Now()
	for t.step < steps {
		if err := ctx.Err(); err != nil {
			return err
		}
		losses, rate := t.take(steps)
		t.step++
		if t.sum += losses.Total() / float64(epoch); t.step%epoch == 0 {
			t.history = append(t.history, curves.Epoch{Epoch: t.step / epoch, Step: t.step, LR: rate, Loss: t.sum, Time: float64(time.Now().UnixMilli()) / 1000})
			t.sum = 0
			if err := log.Write(ctx, t.history); err != nil {
				return err
			}
		}
		bar.Add(int64(t.Batch), "loss", &progress.Figure{Format: "%.3f", Value: losses.Total()})
		if t.step < steps && time.Since(saved) >= t.Every {
			if err := t.checkpoint(ctx); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	m.Loss = t.history[len(t.history)-1].Loss
	if err := m.save(ctx, t.path, t.head.Layout); err != nil {
		return err
	}
	return files.Discard(ctx, t.checkpointPath())
}

// order returns the images of a step, and which of them are mirrored.
func (t *trainer) order(step int) (images []int, mirrored []bool) {
	n := len(t.pictures)
	var order []int
	for i := range t.Batch {
		k := step*t.Batch + i
		if i == 0 || k%n == 0 {
			order = rng.New(uint64(t.Seed), rng.Order, uint64(k/n)).Perm(n)
		}
		images = append(images, order[k%n])
		mirrored = append(mirrored, rng.New(uint64(t.Seed), rng.View, uint64(k)).IntN(2) == 1)
	}
	return images, mirrored
}

// put writes an image to place i of the input, and returns its objects.
func (t *trainer) put(i, image int, mirrored bool) []detect.Object {
	size := t.Size * t.Size * 3
	return t.pictures[image].put(t.input[i*size:(i+1)*size], t.Size, t.model.Input, mirrored)
}

// take takes a step, and returns its losses and the learning rate of the head.
func (t *trainer) take(steps int) (losses detect.Losses, lr float64) {
	images, mirrored := t.order(t.step)
	objects := make([][]detect.Object, t.Batch)
	for i, at := range images {
		if t.memory == nil {
			objects[i] = t.put(i, at, mirrored[i])
			continue
		}
		objects[i] = t.pictures[at].mirror(mirrored[i])
		place(t.backbone.Maps, t.Batch, i, t.memory[view(at, mirrored[i])])
	}
	if t.memory == nil {
		t.backbone.Forward(t.input, nn.RunningStats)
	}
	t.head.Forward(values(t.backbone))
	losses = t.head.Loss(objects)
	tuned := t.BackboneLR > 0
	grads := t.head.Backward(tuned)
	rate := func(peak float64) float64 { return optim.Cosine(t.step, steps, int(warmup*float64(steps)), peak) }
	lr = rate(t.LR)
	optimizer.Update(t.model.head, t.head.Grads, t.states[1], float32(lr), t.step+1)
	if tuned {
		t.backbone.BackwardMaps(grads)
		optimizer.Update(t.model.params, t.backbone.Grads, t.states[0], float32(rate(t.BackboneLR)), t.step+1)
	}
	return losses, lr
}

// room is the number of floats that the maps of a frozen backbone may take: 1 GiB.
const room = 1 << 28

// view numbers the images and their mirror images.
func view(image int, mirrored bool) int {
	if mirrored {
		return 2*image + 1
	}
	return 2 * image
}

// remember computes the maps of all images and mirror images that the rest of the training sees, if there is room.
func (t *trainer) remember(ctx context.Context) error {
	size := 0
	for _, m := range t.backbone.Maps {
		size += len(m.Values) / t.Batch
	}
	if 2*len(t.pictures)*size > room {
		return nil
	}
	steps, _ := t.steps()
	seen := make([]bool, 2*len(t.pictures))
	for step := t.step; step < steps; step++ {
		images, mirrored := t.order(step)
		for i, at := range images {
			seen[view(at, mirrored[i])] = true
		}
	}
	var views []int
	for v, ok := range seen {
		if ok {
			views = append(views, v)
		}
	}
	memory := make([][]float32, len(seen))
	for from := 0; from < len(views); from += t.Batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := views[from:min(from+t.Batch, len(views))]
		for i, v := range part {
			t.put(i, v/2, v%2 == 1)
		}
		t.backbone.Forward(t.input, nn.RunningStats)
		for i, v := range part {
			memory[v] = cut(t.backbone.Maps, t.Batch, i)
		}
	}
	t.memory = memory
	return nil
}

// cut copies the maps of image i of a batch.
func cut(maps []nn.Map, batch, i int) (values []float32) {
	for _, m := range maps {
		size := len(m.Values) / batch
		values = append(values, m.Values[i*size:(i+1)*size]...)
	}
	return values
}

// place is the reverse of cut.
func place(maps []nn.Map, batch, i int, values []float32) {
	for _, m := range maps {
		size := len(m.Values) / batch
		copy(m.Values[i*size:(i+1)*size], values)
		values = values[size:]
	}
}

// state is what a checkpoint holds besides weights.
type state struct {
	Inputs  string         `json:"inputs"`
	Step    int            `json:"step"`
	Sum     float64        `json:"sum"`
	History []curves.Epoch `json:"history"`
}

// The names of the vectors in a checkpoint.
const (
	paramsName = "params"
	headName   = "head"
	stateName  = "state"
)

// MetricsSuffix is that of the file SEED.metrics.jsonl beside a detector, which has the epochs of its training so far; see package
// curves.
const MetricsSuffix = "." + curves.EpochsFile

func (t *trainer) checkpointPath() string { return t.path + ".checkpoint" }

// vectors lists what a checkpoint holds.
func (t *trainer) vectors() map[string]*[]float32 {
	return map[string]*[]float32{
		paramsName: &t.model.params, headName: &t.model.head,
		paramsName + "." + stateName: &t.states[0], headName + "." + stateName: &t.states[1],
	}
}

// checkpoint saves the training.
func (t *trainer) checkpoint(ctx context.Context) error {
	text, err := json.Marshal(state{t.model.Inputs, t.step, t.sum, t.history})
	if err != nil {
		return err
	}
	var tensors []safetensors.Tensor
	all := t.vectors()
	for _, name := range []string{paramsName, headName, paramsName + "." + stateName, headName + "." + stateName} {
		tensors = append(tensors, safetensors.Tensor{Name: name, Shape: []int{len(*all[name])}, F32: *all[name]})
	}
	return files.Write(ctx, t.checkpointPath(), func(w io.Writer) error {
		return safetensors.Write(w, tensors, map[string]string{stateName: string(text)})
	})
}

// restore goes on from the checkpoint, if there is one of this training.
func (t *trainer) restore(ctx context.Context) error {
	data, err := files.Read(ctx, t.checkpointPath())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	file, err := safetensors.Read(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w; remove it to train from scratch", t.checkpointPath(), err)
	}
	var s state
	if err := json.Unmarshal([]byte(file.Metadata[stateName]), &s); err != nil || s.Inputs != t.model.Inputs {
		return nil // of another training
	}
	for name, to := range t.vectors() {
		tensor, err := file.Tensor(name)
		if err != nil || len(tensor.F32) != len(*to) {
			return fmt.Errorf("%s: %s is missing or of another size; remove it to train from scratch", t.checkpointPath(), name)
		}
		*to = tensor.F32
	}
	t.step, t.sum, t.history = s.Step, s.Sum, s.History
	return nil
}
