// Package forecast is not a stage: it says how long a run will take, what it will move and keep, and how much memory it
// will need, on any number of workers that are like a machine that was measured. It simulates the run as the pipeline
// chains it, round by round, with workers whose speed varies.
package forecast

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"

	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Profile is how fast a machine does the work of a recipe's stages. Times are in seconds.
type Profile struct {
	// Machine describes it.
	Machine string `json:"machine"`
	// Recipe is the recipe whose nets and views were measured, as YAML.
	Recipe string `json:"recipe"`
	// Ingest is the time per image to read, decode, scale and store it.
	Ingest float64 `json:"ingest_seconds_per_image"`
	// Step is the time of a training step of a single net, and SubnetStep that of one of the SDRnet after its last split.
	Step       float64 `json:"step_seconds"`
	SubnetStep float64 `json:"subnet_step_seconds,omitempty"`
	// Spread is the standard deviation of the logarithm of the speed.
	Spread float64 `json:"spread"`
	// Open is the time until a training can take steps, besides reading its checkpoint.
	Open float64 `json:"open_seconds"`
	// CheckpointBytes is the size of the checkpoint that was saved in CheckpointSave and read in CheckpointLoad.
	CheckpointBytes int64   `json:"checkpoint_bytes"`
	CheckpointSave  float64 `json:"checkpoint_save_seconds"`
	CheckpointLoad  float64 `json:"checkpoint_load_seconds"`
	// Feature is the time per image of its features, and Norm that of its part of BatchNorm statistics.
	Feature float64 `json:"feature_seconds_per_image"`
	Norm    float64 `json:"norm_seconds_per_image"`
	// KMeans is the time per image of an iteration of k-means at the level with the most choices.
	KMeans float64 `json:"kmeans_iteration_seconds_per_image"`
	// Write, Read and Shuffle are the bytes per second to and from the disk and between two steps of a pipeline.
	Write   float64 `json:"write_bytes_per_second"`
	Read    float64 `json:"read_bytes_per_second"`
	Shuffle float64 `json:"shuffle_bytes_per_second"`
	// Job is the time of a Beam job with next to no work. Partition and Round are what partition, and a round of a training
	// in bins, take besides what the other times explain.
	Job       float64 `json:"job_seconds"`
	Partition float64 `json:"partition_seconds"`
	Round     float64 `json:"round_seconds"`
	// Resident is the memory of the program, in bytes, and Memory that with a training.
	Resident int64 `json:"resident_memory_bytes"`
	Memory   int64 `json:"training_memory_bytes"`
}

// Load reads a profile that Save wrote.
func Load(ctx context.Context, path string) (*Profile, error) {
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, run.Usagef("profile %s: there is no such file", path)
	}
	if err != nil {
		return nil, err
	}
	p := new(Profile)
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(p); err != nil {
		return nil, run.Usagef("profile %s: %w; measure the machine again", path, err)
	}
	for _, v := range []float64{p.Ingest, p.Step, p.Feature, p.Write, p.Read, p.Shuffle} {
		if !(v > 0) {
			return nil, run.Usagef("profile %s: a time or rate is missing or not above 0; measure the machine again", path)
		}
	}
	return p, nil
}

// Save writes the profile.
func (p *Profile) Save(ctx context.Context, path string) error {
	data, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, path, append(data, '\n'))
}

// Check returns an error if the times are of another recipe than r: of other nets, views or steps.
func (p *Profile) Check(r *recipe.Recipe) error {
	of, err := recipe.Parse([]byte(p.Recipe))
	if err != nil {
		return run.Usagef("the profile's %w; measure the machine again", err)
	}
	for _, part := range []struct {
		key      string
		was, now any
	}{
		{"input", of.Input, r.Input},
		{"views", of.Views, r.Views},
		{"backbone", of.Backbone, r.Backbone},
		{"paths", of.Paths, r.Paths},
		{"split.order", of.Split.Order, r.Split.Order},
		{"split.shared", of.Split.Shared, r.Split.Shared},
		{"split.heads", of.Split.Heads, r.Split.Heads},
		{"ssl", of.SSL, r.SSL},
		{"train.batch", of.Train.Batch, r.Train.Batch},
		{"train.precision", of.Train.Precision, r.Train.Precision},
		{"train.optimizer", of.Train.Optimizer, r.Train.Optimizer},
	} {
		was, err := yaml.Marshal(part.was)
		if err != nil {
			return err
		}
		now, err := yaml.Marshal(part.now)
		if err != nil {
			return err
		}
		if !bytes.Equal(was, now) {
			return run.Usagef("the profile was measured with another %s; measure the machine with this recipe", part.key)
		}
	}
	return nil
}
