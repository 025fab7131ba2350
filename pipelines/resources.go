package pipelines

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// dataflow is the runner whose service chooses the workers of each job.
const dataflow = "dataflow"

// gpu is the least expensive GPU of Dataflow's workers that has what training needs, with its driver.
const gpu = "type:nvidia-l4;count:1;install-nvidia-driver"

// request asks Dataflow for the memory that a job's workers need, and for a GPU each if they are to compute on one, by
// hints that apply to jobs until undo. The user's --resource_hints come first, and with a GPU as a service option there are
// no others, since Dataflow takes only one or the other.
func request(runner string, memory int64, device ssl.Device) (undo func()) {
	given := jobopts.ResourceHints
	undo = func() { jobopts.ResourceHints = given }
	if options := flag.Lookup("dataflow_service_options"); runner != dataflow ||
		options != nil && strings.Contains(options.Value.String(), "worker_accelerator=") {
		return undo
	}
	var hints []string
	if memory > 0 {
		hints = append(hints, fmt.Sprintf("min_ram=%dMiB", (memory+1<<20-1)>>20))
	}
	if device.Name == ssl.CUDA {
		hints = append(hints, "accelerator="+gpu)
	}
	jobopts.ResourceHints = append(hints, given...) // the last of a kind counts
	return undo
}

// runOn runs a pipeline whose workers compute on a device.
func runOn(ctx context.Context, runner string, device ssl.Device, p *beam.Pipeline) error {
	defer request(runner, 0, device)()
	return runPipeline(ctx, runner, p)
}

// onProcessor are the stages that compute nothing on the device.
var onProcessor = []string{"ingest", "partition", "assign", "deliver", "report"}

// request asks for what the workers of a job of some steps need.
func (c *chain) request(steps []step) (undo func(), err error) {
	var memory int64
	var device ssl.Device
	for _, st := range steps {
		if stage, _, _ := strings.Cut(st.name, "/"); !slices.Contains(onProcessor, stage) {
			device = c.device
		}
		if st.memory == nil || c.runner != dataflow {
			continue
		}
		needed, err := st.memory()
		if err != nil {
			return nil, err
		}
		memory = max(memory, needed)
	}
	return request(c.runner, memory, device), nil
}
