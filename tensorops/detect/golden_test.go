package detect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
)

// The losses and their derivatives are torchvision's; testdata/make_golden.py makes the files.
func TestLossesGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/losses.json")
	require.NoError(t, err)
	var want struct {
		Logits, Focal []float64
		Positive      []bool
		Boxes         [][4]float64
		Targets       [][4]float64
		GIoU          []float64    `json:"giou"`
		FocalSlope    []float64    `json:"focal_slope"`
		GIoUSlope     [][4]float64 `json:"giou_slope"`
	}
	require.NoError(t, json.Unmarshal(data, &want))
	require.NotEmpty(t, want.Logits)
	for i, x := range want.Logits {
		loss, slope := focal(x, want.Positive[i])
		require.InDelta(t, want.Focal[i], loss, 1e-10)
		require.InDelta(t, want.FocalSlope[i], slope, 1e-10)
	}
	require.NotEmpty(t, want.Boxes)
	for i, b := range want.Boxes {
		loss, slope := giou(b, want.Targets[i])
		require.InDelta(t, want.GIoU[i], loss, 1e-10)
		require.InDeltaSlice(t, want.GIoUSlope[i][:], slope[:], 1e-10, "pair %d", i)
	}
}

// golden is torchvision's FCOS on two maps.
type golden struct {
	*safetensors.File
	t *testing.T
}

func openGolden(t *testing.T) golden {
	data, err := os.ReadFile("testdata/fcos.safetensors")
	require.NoError(t, err)
	f, err := safetensors.Read(bytes.NewReader(data))
	require.NoError(t, err)
	return golden{f, t}
}

func (g golden) get(name string) []float32 {
	tensor, err := g.Tensor(name)
	require.NoError(g.t, err)
	return tensor.F32
}

// nhwc returns a tensor [N,C,H,W] as [N,H,W,C].
func (g golden) nhwc(name string) []float32 {
	tensor, err := g.Tensor(name)
	require.NoError(g.t, err)
	n, c, pixels := tensor.Shape[0], tensor.Shape[1], tensor.Shape[2]*tensor.Shape[3]
	out := make([]float32, len(tensor.F32))
	for i, v := range tensor.F32 {
		image, channel, pixel := i/(c*pixels), i/pixels%c, i%pixels
		out[(image*pixels+pixel)*c+channel] = v
	}
	require.Equal(g.t, n*c*pixels, len(out))
	return out
}

func (g golden) objects() (all [][]Object) {
	for i := range 2 {
		var objects []Object
		boxes := g.get(fmt.Sprintf("boxes%d", i))
		for j, label := range g.get(fmt.Sprintf("labels%d", i)) {
			objects = append(objects, Object{int(label), Box(boxes[4*j:])})
		}
		all = append(all, objects)
	}
	return all
}

// net returns the golden detector with torchvision's weights, for so many threads, after a forward pass.
func (g golden) net(threads int) *Net {
	pool := kernels.NewPool(threads)
	g.t.Cleanup(pool.Close)
	n := New(Config{Classes: 3, Channels: 4, Convs: 1, Groups: 2, Extra: 2}, []Map{{16, 3, 4}, {8, 4, 8}}, 2, pool, nn.Train)
	params, _, err := n.Layout.Load("", g.File)
	require.NoError(g.t, err)
	n.Params = params
	n.Forward([][]float32{g.nhwc("map0"), g.nhwc("map1")})
	return n
}

// Losses and gradients are those of torchvision, with its weights under its names.
func TestFCOSGolden(t *testing.T) {
	g := openGolden(t)
	n := g.net(2)
	losses := n.Loss(g.objects())
	for i, got := range []float64{losses.Class, losses.Box, losses.Center} {
		require.InDelta(t, g.get("losses")[i], got, 1e-5)
	}
	require.Positive(t, losses.Points)
	maps := n.Backward(true)
	for i, got := range maps {
		require.InDeltaSlice(t, g.nhwc(fmt.Sprintf("grad.map%d", i)), got, 2e-5, "map %d", i)
	}
	want, _, err := n.Layout.Load("grad.", g.File)
	require.NoError(t, err)
	for _, p := range n.Layout.Params {
		from, to := p.Offset, p.Offset+p.Size
		require.InDeltaSlice(t, want[from:to], n.Grads[from:to], 1e-4, p.Name)
	}
	grads := append([]float32(nil), n.Grads...)
	n.Forward([][]float32{g.nhwc("map0"), g.nhwc("map1")})
	n.Loss(g.objects())
	require.Nil(t, n.Backward(false))
	require.Equal(t, grads, n.Grads)
}

// What is found is what torchvision finds.
func TestDecodeGolden(t *testing.T) {
	g := openGolden(t)
	found := g.net(1).Decode([][2]float32{{64, 64}, {40, 64}}, Decoding{Score: .3, PerLevel: 1000, Overlap: .6, Most: 30})
	require.Len(t, found, 2)
	for i, objects := range found {
		scores, labels := g.get(fmt.Sprintf("found.scores%d", i)), g.get(fmt.Sprintf("found.labels%d", i))
		require.Len(t, objects, len(scores))
		require.Greater(t, len(objects), 10)
		for j, o := range objects {
			require.InDelta(t, scores[j], o.Score, 1e-5)
			require.EqualValues(t, labels[j], o.Class)
			require.InDeltaSlice(t, g.get(fmt.Sprintf("found.boxes%d", i))[4*j:4*j+4], o.Box[:], 1e-3)
		}
	}
}

// The results do not depend on the number of threads.
func TestThreads(t *testing.T) {
	g := openGolden(t)
	one, two := g.net(1), g.net(2)
	require.Equal(t, one.Loss(g.objects()), two.Loss(g.objects()))
	require.Equal(t, one.Backward(true), two.Backward(true))
	require.Equal(t, one.Grads, two.Grads)
}
