package pipelines

import (
	"context"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// Export writes the backbone of one of a run's nets as a safetensors file that torchvision loads. subnet is
// "unified", "root", a code, or any other name that Inspect lists. If the run trained no unified baseline, "unified" is
// the phase 0 net.
func Export(ctx context.Context, dir, subnet, out string) error {
	_, models, err := openTrained(ctx, dir)
	if err != nil {
		return err
	}
	index := func(name string) int {
		return slices.IndexFunc(models, func(m train.Model) bool { return m.Subnet == name })
	}
	at := index(subnet)
	if at < 0 && subnet == "unified" {
		at = index(train.Phase0)
	}
	if at < 0 {
		var names []string
		for _, m := range models {
			names = append(names, m.Subnet)
		}
		return run.Usagef("%s has no net %q; it has %s", dir, subnet, strings.Join(names, ", "))
	}
	m, err := inference.Load(ctx, models[at].Path)
	if err != nil {
		return err
	}
	return route.Export(ctx, m, out)
}
