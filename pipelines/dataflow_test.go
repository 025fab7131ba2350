package pipelines

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow/dataflowlib"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

const (
	images = "../testdata/fixtures/folder"
	tiny   = "../testdata/fixtures/tiny.parquet"
)

// submitted are the jobs that the runner dataflow of these tests got, which runs them on prism.
var submitted []*pipepb.Pipeline

func init() {
	beam.RegisterRunner(dataflow, func(ctx context.Context, p *beam.Pipeline) (beam.PipelineResult, error) {
		edges, _, err := p.Build()
		if err != nil {
			return nil, err
		}
		environment, err := graphx.CreateEnvironment(ctx, graphx.URNEnvDocker, func(context.Context) string { return "image" })
		if err != nil {
			return nil, err
		}
		model, err := graphx.Marshal(edges, &graphx.Options{Environment: environment, PipelineResourceHints: jobopts.GetPipelineResourceHints()})
		if err != nil {
			return nil, err
		}
		submitted = append(submitted, model)
		return beam.Run(ctx, "prism", p)
	})
}

// small is a recipe that trains everything there is in a few steps, in two bins.
func small(t *testing.T) *recipe.Recipe {
	r, err := recipe.Load("smoke", []string{"train.batch=8", "train.images=320", "train.norm_images=16", "train.rounds.bins=2", "train.rounds.steps=10"})
	require.NoError(t, err)
	return r
}

// allJobs runs every command that has a runner on Dataflow's stand-in, and returns the jobs.
func allJobs(t *testing.T, dir string) []*pipepb.Pipeline {
	ctx, r := t.Context(), small(t)
	submitted = nil
	tasks := filepath.Join(dir, "tasks")
	require.NoError(t, os.CopyFS(filepath.Join(tasks, "fruit"), os.DirFS(images)))
	out := filepath.Join(dir, "run")
	_, err := Pretrain(ctx, PretrainOptions{Data: []string{images}, Out: out, Recipe: r, Runner: dataflow, MaxBad: .5, Tasks: tasks, Protocols: []string{"knn"}})
	require.NoError(t, err)
	_, err = Route(ctx, RouteOptions{Runs: []string{out}, Tasks: tasks, Out: filepath.Join(dir, "routed"), Models: true, Scorer: route.KNN, Runner: dataflow})
	require.NoError(t, err)
	_, err = Evaluate(ctx, EvaluateOptions{Run: out, Tasks: tasks, Protocols: []string{"knn", "linear"}, Runner: dataflow})
	require.NoError(t, err)
	_, err = Customize(ctx, CustomizeOptions{Run: out, Tasks: tasks, Out: filepath.Join(dir, "customized"), Images: 16, Rates: []float64{.01}, Runner: dataflow})
	require.NoError(t, err)
	_, _, err = Embed(ctx, EmbedOptions{Model: run.ModelPath(out, "root"), Data: []string{tiny}, Out: filepath.Join(dir, "f.parquet"), Runner: dataflow})
	require.NoError(t, err)
	_, err = Extend(ctx, ExtendOptions{Run: out, Out: filepath.Join(dir, "more"), Data: []string{tiny}, Far: .99, Images: 64, Rate: .01, MaxBad: .5, Runner: dataflow})
	require.NoError(t, err)
	return submitted
}

// stepNames returns the names of a job's steps.
func stepNames(job *pipepb.Pipeline) (all []string) {
	for _, t := range job.GetComponents().GetTransforms() {
		all = append(all, t.GetUniqueName())
	}
	slices.Sort(all)
	return all
}

// TestJobs checks the description of every job that there is: Dataflow's limits, with a wide margin; steps that have the
// same names in every run; the memory that trainings need, and nothing else; and what the service is told.
func TestJobs(t *testing.T) {
	jobs, again := allJobs(t, t.TempDir()), allJobs(t, t.TempDir())
	require.Len(t, again, len(jobs))
	memory := map[string]string{} // by the first scope
	for i, job := range jobs {
		names := stepNames(job)
		require.Equal(t, names, stepNames(again[i]))
		require.Len(t, slices.Compact(slices.Clone(names)), len(names), "each step has a name of its own")
		require.Less(t, proto.Size(job), maxJobBytes/20, names[0])
		for _, step := range job.GetComponents().GetTransforms() {
			require.Less(t, len(step.GetSpec().GetPayload()), 100<<10, "%s: created elements and functions are a part of the job", step.GetUniqueName())
		}
		top, _, _ := strings.Cut(names[0], "/")
		hints := hintsOf(job.GetComponents())
		require.Empty(t, hints["accelerator"])
		memory[top] = hints["min_ram_bytes"]

		translated, err := dataflowlib.Translate(t.Context(), job, &dataflowlib.JobOptions{Name: "job", Project: "p", Region: "r", TempLocation: "gs://b/t"}, "gs://b/s/worker", "gs://b/s/model", "hash")
		require.NoError(t, err)
		text, err := json.Marshal(translated)
		require.NoError(t, err)
		var d dataflowJob
		require.NoError(t, json.Unmarshal(text, &d))
		require.Equal(t, "gs://b/s/worker", d.Environment.WorkerPools[0].Packages[0].Location)
		require.Equal(t, "image", translated.Environment.WorkerPools[0].SdkHarnessContainerImages[0].ContainerImage)
	}
	for _, stage := range []string{"phase0", "train", "unified"} {
		require.NotEmpty(t, memory[stage], stage)
		delete(memory, stage)
	}
	for scope, bytes := range memory {
		require.Empty(t, bytes, scope)
	}
}

// TestRequest checks what is asked for a job of each stage, and that the user's hints come first.
func TestRequest(t *testing.T) {
	before := jobopts.ResourceHints
	defer func() { jobopts.ResourceHints = before }()
	r, rows := small(t), ingest.ShardRows(32)
	p := &plan{chain: chain{folder: &run.Folder{Dir: "gs://b/run"}, runner: dataflow, device: ssl.Device{Name: ssl.CUDA}}, splits: map[int][]imageio.Split{rows: {{Begin: 5, End: 1_000_005}}}}
	training := p.phase0(r, "")
	p.subsets(&training)
	p.variants(training, train.SDR, recipe.Unified)
	asked := func(steps ...step) map[string]string {
		undo, err := p.request(steps)
		require.NoError(t, err)
		defer undo()
		hints := map[string]string{}
		for urn, value := range jobopts.GetPipelineResourceHints().Payloads() {
			hints[strings.Split(urn, ":")[2]] = string(value)
		}
		return hints
	}
	needed := func(variant string) string {
		bytes, err := train.Memory(r, variant, 1_000_000)
		require.NoError(t, err)
		require.Greater(t, bytes, int64(1_000_000*32*32*3), "an object store's images are in memory")
		return strconv.FormatInt((bytes+1<<20-1)>>20<<20, 10)
	}
	for stage, want := range map[string]map[string]string{
		"ingest": {}, "partition": {}, "features": {"accelerator": gpu},
		"phase0":  {"accelerator": gpu, "min_ram_bytes": needed(train.Phase0)},
		"train":   {"accelerator": gpu, "min_ram_bytes": needed(train.SDR)},
		"unified": {"accelerator": gpu, "min_ram_bytes": needed(recipe.Unified)},
	} {
		require.Equal(t, want, asked(*p.find(stage)), stage)
	}
	require.Equal(t, map[string]string{"accelerator": gpu, "min_ram_bytes": needed(train.SDR)}, asked(p.steps...), "one job")
	require.Empty(t, jobopts.GetPipelineResourceHints().Payloads(), "the next job starts anew")

	jobopts.ResourceHints = append(jobopts.ResourceHints, "min_ram=1GB", "accelerator=mine")
	require.Equal(t, map[string]string{"accelerator": "mine", "min_ram_bytes": "1000000000"}, asked(*p.find("train")))
	p.runner = "prism"
	jobopts.ResourceHints = nil
	require.Empty(t, asked(p.steps...))
}

// TestContainers checks that the images of workers have the boot program of the Beam that the program is built with.
func TestContainers(t *testing.T) {
	for _, name := range []string{"Dockerfile", "cuda.Dockerfile"} {
		text, err := os.ReadFile(filepath.Join("dataflow", name))
		require.NoError(t, err)
		require.Contains(t, string(text), core.DefaultDockerImage)
	}
}
