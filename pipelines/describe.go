package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/graphx"
	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	pipepb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/pipeline_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"
	"google.golang.org/protobuf/proto"
)

// description describes a job for Dataflow that was built, translated and not submitted.
type description struct {
	// Stages are what it does, in order.
	Stages []describedStage
	// Bytes is the size of the pipeline, which the service limits to maxJobBytes.
	Bytes int64
	// Hints are what its workers need, such as min_ram_bytes.
	Hints map[string]string
	// Job is the part of Dataflow's job that says where it would run.
	Job dataflowJob
}

// describedStage is a composite at the top of a pipeline.
type describedStage struct {
	// Name is its scope.
	Name string
	// Steps is the number of transforms that the runner executes, and Bytes the size of what these carry along: functions
	// with their configuration, and created elements.
	Steps int
	Bytes int64
}

// dataflowJob is a part of Dataflow's REST resource Job.
type dataflowJob struct {
	Name        string `json:"name"`
	Project     string `json:"projectId"`
	Environment struct {
		TempStoragePrefix string   `json:"tempStoragePrefix"`
		ServiceOptions    []string `json:"serviceOptions"`
		WorkerPools       []struct {
			NumWorkers  int    `json:"numWorkers"`
			MachineType string `json:"machineType"`
			Image       string `json:"workerHarnessContainerImage"`
			Autoscaling struct {
				MaxNumWorkers int `json:"maxNumWorkers"`
			} `json:"autoscalingSettings"`
			Packages []struct {
				Location string `json:"location"`
			} `json:"packages"`
		} `json:"workerPools"`
	} `json:"environment"`
}

// DryRun reports whether Beam's flags ask Dataflow to describe its job only.
func DryRun() bool {
	f := flag.Lookup("dry_run")
	return f != nil && f.Value.String() == "true"
}

// maxJobBytes is Dataflow's limit for the description of a job.
const maxJobBytes = 20 << 20

// describe builds a pipeline as Dataflow's dry run does, and describes it.
func describe(ctx context.Context, runner string, p *beam.Pipeline) (*description, error) {
	edges, _, err := p.Build()
	if err != nil {
		return nil, err
	}
	environment, err := graphx.CreateEnvironment(ctx, graphx.URNEnvDocker, func(context.Context) string { return "" })
	if err != nil {
		return nil, err
	}
	model, err := graphx.Marshal(edges, &graphx.Options{Environment: environment, PipelineResourceHints: jobopts.GetPipelineResourceHints()})
	if err != nil {
		return nil, err
	}
	d := &description{Stages: stagesOf(model.GetComponents()), Bytes: int64(proto.Size(model)), Hints: hintsOf(model.GetComponents())}
	var lines lastLine
	beamlog.SetLogger(&lines)
	if _, err := beam.Run(ctx, runner, p); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(lines.text), &d.Job); err != nil {
		return nil, fmt.Errorf("dry run: Beam describes a job in another way than expected: %w", err)
	}
	if d.Bytes > maxJobBytes {
		return nil, fmt.Errorf("dry run: the job is described in %s, and Dataflow takes %s; read the images from fewer, larger files",
			humanize.Bytes(uint64(d.Bytes)), humanize.Bytes(maxJobBytes))
	}
	return d, nil
}

// lastLine keeps the last message of Beam's log, which in a dry run is the job. With --log-level debug, it prints all.
type lastLine struct{ text string }

func (l *lastLine) Log(ctx context.Context, severity beamlog.Severity, _ int, message string) {
	if severity < beamlog.SevInfo {
		return
	}
	l.text = message
	if slog.Default().Enabled(ctx, slog.LevelDebug) {
		fmt.Fprintln(os.Stderr, message)
	}
}

// stagesOf sums up the transforms of a pipeline by the first part of their names.
func stagesOf(c *pipepb.Components) (stages []describedStage) {
	transforms := c.GetTransforms()
	names := make([]string, 0, len(transforms))
	for id, t := range transforms {
		if len(t.GetSubtransforms()) == 0 {
			names = append(names, id)
		}
	}
	slices.SortFunc(names, func(a, b string) int { // ids end with a number, in the order of construction
		return order(a) - order(b)
	})
	for _, id := range names {
		t := transforms[id]
		name, _, _ := strings.Cut(t.GetUniqueName(), "/")
		at := slices.IndexFunc(stages, func(s describedStage) bool { return s.Name == name })
		if at < 0 {
			at = len(stages)
			stages = append(stages, describedStage{Name: name})
		}
		stages[at].Steps++
		stages[at].Bytes += int64(len(t.GetSpec().GetPayload()))
	}
	return stages
}

// hintsOf returns the resource hints of a pipeline.
func hintsOf(c *pipepb.Components) map[string]string {
	hints := map[string]string{}
	for _, environment := range c.GetEnvironments() {
		for urn, value := range environment.GetResourceHints() { // such as beam:resources:min_ram_bytes:v1
			hints[strings.Split(urn, ":")[2]] = string(value)
		}
	}
	return hints
}

// order returns the number at the end of an id, such as e12.
func order(id string) (n int) {
	_, _ = fmt.Sscanf(strings.TrimLeft(id, "abcdefghijklmnopqrstuvwxyz"), "%d", &n)
	return n
}

// writeTable writes the stages of a job and where it would run.
func (d *description) writeTable(w io.Writer) error {
	t := newTable("stage", "steps", "payload")
	steps := 0
	for _, s := range d.Stages {
		t.AppendRow(table.Row{s.Name, s.Steps, humanize.Bytes(uint64(s.Bytes))})
		steps += s.Steps
	}
	t.AppendFooter(table.Row{"job", steps, humanize.Bytes(uint64(d.Bytes))})
	if len(d.Job.Environment.WorkerPools) == 0 {
		return errors.New("dry run: the job has no workers")
	}
	pool := d.Job.Environment.WorkerPools[0]
	most := "as many as the service decides"
	if n := pool.Autoscaling.MaxNumWorkers; n > 0 {
		most = fmt.Sprint("at most ", n)
	}
	program := ""
	if len(pool.Packages) > 0 {
		program = pool.Packages[0].Location
	}
	var hints []string
	for _, name := range slices.Sorted(maps.Keys(d.Hints)) {
		hints = append(hints, name+"="+d.Hints[name])
	}
	_, err := fmt.Fprintf(w, "%s\nproject %s, temporary files in %s\nworkers: %d at first, %s; machine %s; container %s\nprogram of the workers: %s\nresource hints: %s\nservice options: %s\n",
		t.Render(), d.Job.Project, d.Job.Environment.TempStoragePrefix, pool.NumWorkers, most,
		cmp.Or(pool.MachineType, "by default"), pool.Image, program, cmp.Or(strings.Join(hints, ", "), "none"), cmp.Or(strings.Join(d.Job.Environment.ServiceOptions, ", "), "none"))
	return err
}

// dryRun describes a pipeline in an error that wraps ErrNotRun.
func dryRun(ctx context.Context, runner string, p *beam.Pipeline) error {
	d, err := describe(ctx, runner, p)
	if err != nil {
		return err
	}
	var b strings.Builder
	if err := d.writeTable(&b); err != nil {
		return err
	}
	return fmt.Errorf("%w\n%s", ErrNotRun, strings.TrimSpace(b.String()))
}
