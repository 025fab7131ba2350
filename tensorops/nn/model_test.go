package nn

import (
	"bytes"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
)

func TestLayoutMatchesTorchvision(t *testing.T) {
	// Parameter counts of torchvision's models without fc (11,689,512 for resnet18 with it).
	for arch, want := range map[string]int{"resnet18": 11176512, "resnet34": 21284672, "resnet50": 23508032, "resnet101": 42500160} {
		l := NewLayout(Backbone{arch, "imagenet", 64}, Heads{})
		require.Equal(t, want, l.NumParams)
	}
	// Parameters, statistics and features of mobilenet_v2 without classifier, by 64 times width_mult.
	for width, want := range map[int][3]int{
		1: {35728, 5936, 1280}, 16: {238112, 10656, 1280}, 48: {1355424, 26640, 1280}, 64: {2223872, 34112, 1280},
		90: {4319376, 47952, 1800}, 128: {8697088, 68224, 2560},
	} {
		b := Backbone{"mobilenet_v2", "small", width}
		l := NewLayout(b, Heads{})
		require.Equal(t, want, [3]int{l.NumParams, l.NumStats, b.FeatureDim()}, width)
	}
	require.Equal(t, 512, Backbone{"resnet18", "small", 64}.FeatureDim())
	require.Equal(t, 2048, Backbone{"resnet50", "small", 64}.FeatureDim())

	heads := simSiamHeads
	heads.Prototypes = 5
	l := NewLayout(Backbone{"resnet18", "small", 8}, heads)
	next, group := 0, Stem
	for _, p := range l.Params {
		if p.Name == "prototypes.weight" {
			require.Equal(t, Projector, p.Part)
			require.Equal(t, Span{p.Offset, p.Offset + 5*12}, l.Prototypes)
		}
		require.Equal(t, next, p.Offset, p.Name)
		require.GreaterOrEqual(t, p.Part, group, "groups are consecutive")
		require.Equal(t, p.Shape[len(p.Shape)-1], p.Filters)
		next, group = next+p.Size, p.Part
	}
	require.Equal(t, l.NumParams, next)
	require.Equal(t, Predictor, group)
	bare := NewLayout(Backbone{"resnet18", "small", 8}, Heads{})
	require.Equal(t, bare.Params, l.Params[:len(bare.Params)], "heads come last")
	require.Equal(t, bare.Stats, l.Stats[:len(bare.Stats)])
}

// A classifier has torchvision's names and shapes, and no other heads beside it.
func TestClassifier(t *testing.T) {
	b := Backbone{"resnet18", "imagenet", 64}
	l := NewLayout(b, Heads{Classes: 1000})
	require.Equal(t, 11689512, l.NumParams)
	var names []string
	for _, p := range l.Params[len(l.Params)-2:] {
		names = append(names, p.Name)
		require.Equal(t, Projector, p.Part)
	}
	require.Equal(t, []string{"fc.weight", "fc.bias"}, names)
	require.Equal(t, "classifier.1", Backbone{Arch: "mobilenet_v2"}.Classifier())
	weight, _ := l.Param("fc.weight")
	require.Equal(t, []int{1000, 512}, fileShape(weight))
	require.ErrorContains(t, Heads{Classes: 2, ProjectorLayers: 1, ProjectorDim: 3}.Validate(), "a classifier excludes all other heads")
	require.ErrorContains(t, Heads{Classes: -2}.Validate(), "negative size")
}

func TestInit(t *testing.T) {
	l := NewLayout(Backbone{"resnet18", "small", 32}, Heads{ProjectorHidden: 64, ProjectorDim: 32, ProjectorLayers: 2})
	params, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
	l.Init(params, rng.New(1, rng.Weights))
	l.InitStats(stats)
	for _, p := range l.Params {
		w := params[p.Offset : p.Offset+p.Size]
		var sum, squares float64
		for _, v := range w {
			sum += float64(v)
			squares += float64(v) * float64(v)
		}
		mean, std := sum/float64(p.Size), math.Sqrt(squares/float64(p.Size))
		switch p.Kind {
		case ConvWeight:
			want := math.Sqrt(2 / float64(p.Filters*p.Shape[0]*p.Shape[1]))
			require.InEpsilon(t, want, std, 0.1, p.Name)
			require.InDelta(t, 0, mean, want/5, p.Name)
		case LinearWeight:
			bound := 1 / math.Sqrt(float64(p.Shape[0]))
			require.InEpsilon(t, bound/math.Sqrt(3), std, 0.1, p.Name)
			require.Less(t, float64(slices.Max(w)), bound)
		case Bias:
			require.NotZero(t, std, p.Name)
		case Scale:
			require.Equal(t, 1.0, mean, p.Name)
		case Shift:
			require.Zero(t, std, p.Name)
		}
	}
	require.Equal(t, float32(0), stats[l.Stats[0].Offset])
	require.Equal(t, float32(1), stats[l.Stats[1].Offset])
	again := make([]float32, l.NumParams)
	l.Init(again, rng.New(1, rng.Weights))
	require.Equal(t, params, again)
}

// TestModelFile writes a model and reads it back. If SDR_MODEL_OUT is set, it writes the backbone to that file, for
// testdata/make_golden.py to load into torchvision's ResNet.
func TestModelFile(t *testing.T) {
	b, heads := Backbone{"resnet18", "small", 4}, simSiamHeads
	heads.Prototypes = 5
	l := NewLayout(b, heads)
	m := &Model{
		Backbone: b, Heads: heads, Params: make([]float32, l.NumParams),
		Stats: hashed32("stats", l.NumStats), Meta: map[string]string{"subnet": "0123"},
	}
	for i := range m.Stats {
		m.Stats[i] += 1.5
	}
	initialise(l, m.Params)

	save := func(m *Model) []byte {
		var buf bytes.Buffer
		require.NoError(t, SaveModel(&buf, m.Backbone, m.Heads, m.Params, m.Stats, m.Meta))
		return buf.Bytes()
	}
	data := save(m)
	require.Equal(t, data, save(m), "same model, same bytes")
	got, err := LoadModel(bytes.NewReader(data))
	require.NoError(t, err)
	require.Equal(t, m, got)

	f, err := safetensors.Read(bytes.NewReader(data))
	require.NoError(t, err)
	conv, err := f.Tensor("layer2.0.conv1.weight")
	require.NoError(t, err)
	require.Equal(t, []int{8, 4, 3, 3}, conv.Shape)
	requireClose(t, "convolution in file order", hashed32("layer2.0.conv1.weight", 8*4*9), scaled(conv.F32, math.Sqrt(8*9/6.0)), 1e-6)
	linear, err := f.Tensor("predictor.0.weight")
	require.NoError(t, err)
	require.Equal(t, []int{8, 12}, linear.Shape)
	prototypes, err := f.Tensor("prototypes.weight")
	require.NoError(t, err)
	require.Equal(t, []int{5, 12}, prototypes.Shape)
	tracked, err := f.Tensor("projector.7.num_batches_tracked")
	require.NoError(t, err)
	require.Equal(t, []int64{0}, tracked.I64)

	bare := m.WithoutHeads()
	got, err = LoadModel(bytes.NewReader(save(bare)))
	require.NoError(t, err)
	require.Equal(t, bare, got)
	require.Equal(t, NewLayout(b, Heads{}).NumParams, len(got.Params))
	if path := os.Getenv("SDR_MODEL_OUT"); path != "" {
		require.NoError(t, os.WriteFile(path, save(bare), 0o644))
	}
}

func scaled(s []float32, factor float64) []float32 {
	out := make([]float32, len(s))
	for i, v := range s {
		out[i] = float32(factor * float64(v))
	}
	return out
}

func TestLoadModelRejects(t *testing.T) {
	const arch = `{"arch":"resnet18","stem":"small","width":4}`
	write := func(tensors []safetensors.Tensor, meta map[string]string) *bytes.Buffer {
		var buf bytes.Buffer
		require.NoError(t, safetensors.Write(&buf, tensors, meta))
		return &buf
	}
	conv := []safetensors.Tensor{{Name: "conv1.weight", Shape: []int{2}, F32: make([]float32, 2)}}
	for want, file := range map[string]*bytes.Buffer{
		"truncated":                                    bytes.NewBufferString("x"),
		`format 2 is of a newer version of sdr`:        write(nil, map[string]string{"sdr.format": "2"}),
		`the file has no metadata "backbone"`:          write(nil, map[string]string{"heads": "{}"}),
		`metadata "heads" is "?"`:                      write(nil, map[string]string{"backbone": arch, "heads": "?"}),
		`unknown architecture ""`:                      write(nil, map[string]string{"backbone": "{}", "heads": "{}"}),
		`no tensor "conv1.weight"`:                     write(nil, map[string]string{"backbone": arch, "heads": "{}"}),
		`"conv1.weight" has shape [2], but the archit`: write(conv, map[string]string{"backbone": arch, "heads": "{}"}),
	} {
		_, err := LoadModel(file)
		require.ErrorContains(t, err, want)
	}
}

// FuzzLoadModel: any bytes yield an error, or a model with all weights.
func FuzzLoadModel(f *testing.F) {
	b := Backbone{"resnet18", "small", 1}
	l := NewLayout(b, simSiamHeads)
	var buf bytes.Buffer
	require.NoError(f, SaveModel(&buf, b, simSiamHeads, make([]float32, l.NumParams), make([]float32, l.NumStats), nil))
	f.Add(buf.Bytes())
	for from, to := range map[string]string{`\"width\":1`: `\"width\":9`, "resnet18": "resnet50", "layer4.0": "layer4.9"} {
		f.Add(bytes.ReplaceAll(buf.Bytes(), []byte(from), []byte(to)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := LoadModel(bytes.NewReader(data))
		if err != nil {
			return
		}
		if l := NewLayout(m.Backbone, m.Heads); len(m.Params) != l.NumParams || len(m.Stats) != l.NumStats {
			t.Fatalf("%d weights and %d statistics for %+v and %+v", len(m.Params), len(m.Stats), m.Backbone, m.Heads)
		}
	})
}
