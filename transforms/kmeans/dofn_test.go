package kmeans

import (
	"context"
	"reflect"
	"strconv"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/runtime/exec"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/typex"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterDoFn(reflect.TypeFor[idleFn]()) }

// idleFn has the signature of assignFn and does nothing.
type idleFn struct{}

func (fn *idleFn) ProcessElement(_ beam.Window, b *record.Batch, centroids func(**record.Batch) bool) (*record.Batch, error) {
	return b, nil
}

// given is a side input.
type given []exec.FullValue

func (g given) NewIterable(context.Context, exec.StateReader, typex.Window) (exec.ReStream, error) {
	return &exec.FixedReStream{Buf: g}, nil
}

func (g given) NewKeyedIterable(context.Context, exec.StateReader, typex.Window, any) (exec.ReStream, error) {
	panic("not keyed")
}

// worker returns how a Beam worker gives elements to a DoFn with a side input.
func worker(b *testing.B, fn any, side given) func(element *record.Batch) error {
	f, err := graph.NewDoFn(fn)
	require.NoError(b, err)
	g := graph.New()
	batches := func() *graph.Node {
		return g.NewNode(typex.New(reflect.TypeFor[*record.Batch]()), window.DefaultWindowingStrategy(), true)
	}
	edge, err := graph.NewParDo(g, g.Root(), f, []*graph.Node{batches(), batches()}, nil, nil)
	require.NoError(b, err)
	out := &exec.Discard{UID: 2}
	pardo := &exec.ParDo{UID: 1, Fn: edge.DoFn, Inbound: edge.Input, Side: []exec.SideInputAdapter{side}, Out: []exec.Node{out}}
	for _, unit := range []exec.Unit{out, pardo} {
		require.NoError(b, unit.Up(b.Context()))
	}
	require.NoError(b, pardo.StartBundle(b.Context(), "bundle", exec.DataContext{}))
	return func(element *record.Batch) error {
		return pardo.ProcessElement(b.Context(), &exec.FullValue{Elm: element, Windows: window.SingleGlobalWindow})
	}
}

// BenchmarkDoFn assigns 1,024 vectors of width 128 to 16 centroids: as a function, and as the DoFn that a worker calls
// by reflection, since it is registered by its type. "idle" is what a worker takes for a DoFn that does nothing.
func BenchmarkDoFn(b *testing.B) {
	type feature struct {
		Feature []float32 `arrow:"feature"`
	}
	rows := make([]feature, 1024)
	for i := range rows {
		rows[i].Feature = make([]float32, 128)
		for j := range rows[i].Feature {
			rows[i].Feature[j] = float32((i*131+j*17)%256) - 128
		}
	}
	centroids := make([]Centroid, 16)
	for i := range centroids {
		centroids[i] = Centroid{Code: strconv.Itoa(i), Centroid: rows[i*61].Feature}
	}
	batch, config := record.Of(rows), AssignConfig{Column: "feature"}
	side := given{{Elm: record.Of(centroids), Windows: window.SingleGlobalWindow}}
	b.Run("called", func(b *testing.B) {
		fn := &assignFn{Config: config}
		for b.Loop() {
			left := side
			_, err := fn.ProcessElement(window.GlobalWindow{}, batch, func(c **record.Batch) bool {
				if len(left) == 0 {
					return false
				}
				*c, left = left[0].Elm.(*record.Batch), left[1:]
				return true
			})
			require.NoError(b, err)
		}
	})
	for name, fn := range map[string]any{"dofn": &assignFn{Config: config}, "idle": &idleFn{}} {
		b.Run(name, func(b *testing.B) {
			process := worker(b, fn, side)
			for b.Loop() {
				require.NoError(b, process(batch))
			}
		})
	}
}
