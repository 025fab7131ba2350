package forecast

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/kmeans"
)

// Stage is a stage of a run, as the pipeline chains it.
type Stage struct {
	// Name is the stage's name.
	Name string
	// Needs are the stages whose output it reads: of a training, the one that has the images, and that which it continues.
	Needs []string
	// Jobs is the number of Beam jobs that it takes.
	Jobs int
	// Variants are those that it trains; none if it is another stage.
	Variants []string
	// Rounds are those of a training in bins; none if each variant is trained on one worker.
	Rounds []train.Steps
}

// Config says what to simulate.
type Config struct {
	// Recipe is the recipe, with the budget and the bins of this run.
	Recipe *recipe.Recipe
	// Stages are the run's.
	Stages []Stage
	// Images is the number of images of the pool.
	Images int64
	// Workers is the number of workers.
	Workers int
	// Seed is that of the workers' speeds.
	Seed uint64
}

// Plan is what a run will take.
type Plan struct {
	// Images and Workers are those of the Config, and Bins and Seen the bins and the images seen of its recipe.
	Images  int64 `json:"images"`
	Workers int   `json:"workers"`
	Bins    int   `json:"bins"`
	Seen    int64 `json:"images_seen"`
	// Seconds is the time of the whole run, and Stages are those of its stages.
	Seconds float64     `json:"seconds"`
	Stages  []StagePlan `json:"stages"`
	// Shuffled and Stored are the bytes that move between workers, and that the run folder has at its end.
	Shuffled int64 `json:"shuffled_bytes"`
	Stored   int64 `json:"stored_bytes"`
	// Memory is the most that a worker needs, in bytes, for the stage MemoryStage.
	Memory      int64  `json:"worker_memory_bytes"`
	MemoryStage string `json:"worker_memory_stage"`
	// Rounds is the number of rounds, of all trainings, and RoundSeconds and RoundSecondsMost are the mean time of one and
	// that of the longest, from a checkpoint to the next.
	Rounds           int     `json:"rounds"`
	RoundSeconds     float64 `json:"round_seconds"`
	RoundSecondsMost float64 `json:"round_seconds_most"`
}

// StagePlan is what a stage will take.
type StagePlan struct {
	Name    string  `json:"name"`
	Jobs    int     `json:"jobs"`
	Seconds float64 `json:"seconds"`
	// Waiting is the part of the time for which workers, in the mean, wait for slower ones.
	Waiting  float64 `json:"waiting"`
	Shuffled int64   `json:"shuffled_bytes"`
	Stored   int64   `json:"stored_bytes"`
	Memory   int64   `json:"worker_memory_bytes"`
}

// The row of an image beside its feature: its shard and number; and beside the code of its subset.
const (
	rowBytes        = 32
	assignmentBytes = 48
)

// combined is the size of a CombineFn's accumulator in values of what it adds up: two float64 per float32.
const combined = 4

// Simulate returns what a run will take.
func Simulate(p *Profile, c Config) (*Plan, error) {
	s := &simulation{
		p: p, c: c, r: c.Recipe, sizes: map[level]size{}, random: rand.New(rand.NewPCG(c.Seed, 1)),
		plan: &Plan{Images: c.Images, Workers: c.Workers, Bins: c.Recipe.Train.Rounds.Bins, Seen: c.Recipe.Train.Images},
	}
	s.pixels = 3 * int64(s.r.Input.Size*s.r.Input.Size)
	s.row = 4*int64(s.r.Backbone.FeatureDim()) + rowBytes
	s.params = 4 * int64(nn.NewLayout(s.r.Backbone, s.r.Heads()).NumParams)
	for _, st := range c.Stages {
		if err := s.stage(st); err != nil {
			return nil, err
		}
	}
	if s.plan.Rounds > 0 {
		s.plan.RoundSeconds /= float64(s.plan.Rounds)
	}
	return s.plan, nil
}

type simulation struct {
	p      *Profile
	c      Config
	r      *recipe.Recipe
	random *rand.Rand
	plan   *Plan

	pixels, row, params int64          // bytes of a stored image, of a row with a feature, and of a net
	sizes               map[level]size // of checkpoints
	idle                float64        // of the stage, in seconds of a worker
}

// level is a variant's.
type level struct {
	variant string
	splits  int
}

// shard returns the number of images in a shard.
func (s *simulation) shard() int64 {
	return min(int64(ingest.ShardRows(s.r.Input.Size)), s.c.Images)
}

// stage adds a stage to the plan.
func (s *simulation) stage(st Stage) error {
	of := StagePlan{Name: st.Name, Jobs: st.Jobs, Memory: s.p.Resident}
	s.idle = 0
	n, workers := float64(s.c.Images), float64(s.c.Workers)
	switch {
	case len(st.Variants) > 0:
		if err := s.train(st, &of); err != nil {
			return err
		}
	case st.Name == "ingest":
		of.Stored = s.c.Images * s.pixels
		of.Seconds = max(s.overShards(s.p.Ingest), float64(of.Stored)/s.p.Write/workers)
		of.Memory += 2 * s.shard() * s.pixels
	case st.Name == "features":
		of.Stored, of.Shuffled = s.c.Images*s.row, s.c.Images*s.row
		of.Seconds = max(s.overShards(s.p.Feature), n*float64(s.pixels)/s.p.Read/workers) +
			float64(of.Shuffled)/s.p.Shuffle/workers + float64(of.Stored)/s.p.Write/workers
		of.Memory += s.params + s.shard()*(s.pixels+s.row)
	case st.Name == "partition":
		s.partition(&of)
	default:
		return fmt.Errorf("forecast: there is no model of the stage %s", st.Name)
	}
	of.Waiting = s.idle / max(of.Seconds, math.SmallestNonzeroFloat64)
	of.Seconds += float64(of.Jobs) * s.p.Job
	s.plan.Seconds += of.Seconds
	s.plan.Shuffled += of.Shuffled
	s.plan.Stored += of.Stored
	if of.Memory > s.plan.Memory {
		s.plan.Memory, s.plan.MemoryStage = of.Memory, of.Name
	}
	s.plan.Stages = append(s.plan.Stages, of)
	return nil
}

// partition is k-means, which one worker does on all features, and the sorting of the shards, which all do.
func (s *simulation) partition(of *StagePlan) {
	n, workers := float64(s.c.Images), float64(s.c.Workers)
	dim := s.r.Backbone.FeatureDim()
	cfg := kmeans.Config{Branching: s.r.Branching(), Iterations: s.r.Partition.Iterations, Balance: s.r.Partition.Balance}
	passes := float64(cfg.Passes())
	if s.r.Partition.Whiten { // two products with a matrix of as many rows as a feature has values
		passes += 2 * float64(dim) / float64(slices.Max(cfg.Branching))
	}
	images := float64(s.c.Images * s.pixels)
	of.Stored = s.c.Images * s.pixels
	of.Shuffled = s.c.Images * (s.row + assignmentBytes)
	of.Seconds = s.p.Partition + n*passes*s.p.KMeans + n*float64(s.row)*(1/s.p.Read+1/s.p.Shuffle) +
		n*assignmentBytes/s.p.Shuffle/workers + images*(1/s.p.Read+1/s.p.Write)/workers
	of.Memory += s.c.Images * (2*s.row + assignmentBytes)
}

// slowness is how much longer a worker takes for its next piece of work than it does in the mean.
func (s *simulation) slowness() float64 {
	if s.p.Spread == 0 {
		return 1
	}
	return math.Exp(s.p.Spread*s.random.NormFloat64() - s.p.Spread*s.p.Spread/2)
}

// end returns when the slowest worker is done, given each one's work in seconds, which it clears, and counts how long
// the others wait.
func (s *simulation) end(work []float64) (last float64) {
	sum := 0.
	for _, seconds := range work {
		if seconds > 0 {
			seconds *= s.slowness()
		}
		sum, last = sum+seconds, max(last, seconds)
	}
	s.idle += last - sum/float64(len(work))
	clear(work)
	return last
}

// overShards is a pass over the images, whose shards are dealt to the workers.
func (s *simulation) overShards(perImage float64) float64 {
	shards := (s.c.Images + s.shard() - 1) / s.shard()
	work := make([]float64, s.c.Workers)
	for w := range work {
		dealt := max(0, shards-int64(w)+int64(s.c.Workers)-1) / int64(s.c.Workers)
		work[w] = perImage * float64(dealt*s.shard())
	}
	work[(shards-1)%int64(s.c.Workers)] -= perImage * float64(shards*s.shard()-s.c.Images) // the last one is smaller
	return s.end(work)
}
