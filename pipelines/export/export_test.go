package export

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/onnx"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// newModel returns a model of random weights and statistics.
func newModel(b nn.Backbone) *Model {
	l := nn.NewLayout(b, nn.Heads{})
	m := &inference.Model{
		Model: nn.Model{Backbone: b, Params: make([]float32, l.NumParams), Stats: make([]float32, l.NumStats)},
		Input: inference.Input{Size: 16, Mean: [3]float32{.5, .4, .3}, Std: [3]float32{.2, .25, .3}},
	}
	random := rng.New(1, rng.Weights)
	l.Init(m.Params, random)
	for _, s := range l.Stats {
		for i := s.Offset; i < s.Offset+s.Size; i++ {
			m.Stats[i] = .4*random.Float32() - .2
			if strings.HasSuffix(s.Name, ".running_var") {
				m.Stats[i]++
			}
		}
	}
	key, value := m.Input.Metadata()
	m.Meta = map[string]string{key: value}
	return &Model{Model: m}
}

// picture returns an image without randomness: waves.
func picture(width, height int) imageio.RGB {
	m := imageio.RGB{Width: width, Height: height, Pix: make([]uint8, 3*width*height)}
	for i := range m.Pix {
		x, y, c := i/3%width, i/3/width, i%3
		m.Pix[i] = uint8(128 + 2*(x*y*(c+1)/3%50) - 3*((x+c*y)%40))
	}
	return m
}

// The sizes of golden's images: that of the model, then others.
var sizes = [][2]int{{16, 16}, {41, 23}, {17, 33}, {16, 19}, {9, 14}, {18, 60}}

// TestONNX compares two graphs with those in testdata, which onnx.checker has found valid, and the features with those
// that onnxruntime computed from them. If SDR_EXPORT_OUT is set, it only writes the graphs there, for
// testdata/make_golden.py.
func TestONNX(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	var want map[string][][]float32 // of an image per row
	text, err := os.ReadFile("testdata/features.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &want))
	for name, b := range map[string]nn.Backbone{
		"normalized": {Arch: "resnet50", Stem: "imagenet", Width: 1}, // of the first image alone
		"prepared":   {Arch: "resnet18", Stem: "small", Width: 2},
	} {
		m, file := newModel(b), name+".onnx"
		path := filepath.Join(cmp.Or(os.Getenv("SDR_EXPORT_OUT"), t.TempDir()), file)
		require.NoError(t, onnxFormat.Write(t.Context(), path, m, Options{Preprocess: name == "prepared"}))
		if os.Getenv("SDR_EXPORT_OUT") != "" {
			continue
		}
		requireSameModel(t, filepath.Join("testdata", file), path)
		e := inference.NewEmbedder(m.Model, pool)
		got := e.Embed(len(want[name]), func(i int) []uint8 { return picture(sizes[i][0], sizes[i][1]).Square(16).Pix }).Data().([]float32)
		for i, features := range want[name] {
			requireClose(t, features, got[i*e.Dim():(i+1)*e.Dim()], 1e-4, fmt.Sprint(name, sizes[i]))
		}
	}
}

// A classifier is exported with its last layer, which the graph applies to the features.
func TestClassifier(t *testing.T) {
	b := nn.Backbone{Arch: mobileNet, Stem: "small", Width: 32}
	l := nn.NewLayout(b, nn.Heads{Classes: 2})
	random := nn.Model{Backbone: b, Heads: nn.Heads{Classes: 2}, Params: make([]float32, l.NumParams), Stats: make([]float32, l.NumStats)}
	l.Init(random.Params, rng.New(1, rng.Weights))
	l.InitStats(random.Stats)
	bare := newModel(b)
	m := &Model{Model: inference.NewClassified(random, bare.Input, []string{"a", "b|c"})}
	m.Card = route.Card{
		Task: "pets", Subnet: "0.1", Subset: "0.1", Scorer: route.LogME, Score: .0625, Norm: route.NormTask,
		Origin: route.Origin{Run: "id", Data: []string{"a/"}, Recipe: "laptop: resnet18"},
	}
	m.Finetuned = &finetune.Card{Result: finetune.Result{Task: "fruit", Metric: "top1", Images: 1234, Epochs: 9, Epoch: 8, Test: 81.25, TestImages: 1000}}

	g := graph(m, false)
	require.Len(t, g.Output, 2)
	require.Equal(t, "logits", g.Output[1].Name)
	require.Equal(t, "batch 2", dims(g.Output[1]))
	last := g.Node[len(g.Node)-1]
	require.Equal(t, "Gemm", last.OpType)
	require.Equal(t, []string{"features", "classifier.1.weight", "classifier.1.bias"}, last.Input)
	require.Equal(t, []string{"logits"}, last.Output)

	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, torchvisionFormat.Write(t.Context(), path, m, Options{}))
	again, err := inference.Load(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, m.Params, again.Params)
	require.Equal(t, m.Classifier, again.Classifier)

	random.Backbone = nn.Backbone{Arch: "resnet18", Stem: "small", Width: 4}
	l = nn.NewLayout(random.Backbone, random.Heads)
	random.Params, random.Stats = make([]float32, l.NumParams), make([]float32, l.NumStats)
	m.Model = inference.NewClassified(random, bare.Input, []string{"a", "b|c"})
	dir := t.TempDir()
	require.NoError(t, hubFormat.Write(t.Context(), dir, m, Options{}))
	var config hubConfig
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &config))
	require.Equal(t, 2, config.NumClasses)
	require.Equal(t, []string{"a", "b|c"}, config.LabelNames)
	text, err = os.ReadFile(filepath.Join(dir, "README.md"))
	require.NoError(t, err)
	for _, want := range []string{
		"pipeline_tag: image-classification\n", "without labels and then fine-tuned to 2 classes by", "logits = model.eval()", "The classes are a, b\\|c.\n",
		"# Sub-net 0.1 for the task fruit\n", "| data | a/ |\n| recipe | laptop: resnet18 |\n| subset | 0.1 |\n",
		"| chosen by the router | logme score 0.062 on the training images of the task pets, BatchNorm statistics of the task |\n| run | id |\n",
		"| fine-tuned | on 1,234 images of the task, for 9 epochs; the weights are those of epoch 8 |\n| top1 | 81.2 % on 1,000 test images |\n",
	} {
		require.Contains(t, string(text), want)
	}
}

// requireSameModel compares the messages in two files, since protobuf's bytes may change with its version.
func requireSameModel(t *testing.T, want, got string) {
	t.Helper()
	var models [2]onnx.Model
	for i, path := range []string{want, got} {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, proto.Unmarshal(data, &models[i]))
	}
	require.True(t, proto.Equal(&models[0], &models[1]), "%s differs from %s", got, want)
}

// requireClose compares features, relative to the largest.
func requireClose(t *testing.T, want, got []float32, tolerance float64, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	largest := 0.
	for _, v := range want {
		largest = max(largest, float64(v), -float64(v))
	}
	require.NotZero(t, largest, what)
	for i := range want {
		require.InDelta(t, want[i], got[i], tolerance*largest, "%s, feature %d", what, i)
	}
}

// A graph's shapes and names are those that its users rely on.
func TestGraph(t *testing.T) {
	m := newModel(nn.Backbone{Arch: "resnet34", Stem: "imagenet", Width: 4})
	g := graph(m, false)
	require.Equal(t, "input", g.Input[0].Name)
	require.Equal(t, onnx.ElementType_FLOAT, g.Input[0].Type.TensorType.ElemType)
	require.Equal(t, "batch 3 16 16", dims(g.Input[0]))
	require.Equal(t, "features", g.Output[0].Name)
	require.Equal(t, "batch 32", dims(g.Output[0]))
	operators, outputs := map[string]int{}, map[string]bool{"": true, "input": true}
	for _, c := range g.Initializer {
		require.False(t, outputs[c.Name], c.Name)
		outputs[c.Name] = true
	}
	for _, n := range g.Node {
		operators[n.OpType]++
		for _, in := range n.Input {
			require.True(t, outputs[in], "%s reads %s before it is made", n.Name, in)
		}
		require.False(t, outputs[n.Output[0]], n.Output[0])
		outputs[n.Output[0]] = true
	}
	require.True(t, outputs["features"])
	require.Equal(t, map[string]int{"Conv": 36, "BatchNormalization": 36, "Relu": 33, "Add": 16, "MaxPool": 1, "GlobalAveragePool": 1, "Flatten": 1}, operators)

	g = graph(m, true)
	require.Equal(t, onnx.ElementType_UINT8, g.Input[0].Type.TensorType.ElemType)
	require.Equal(t, "batch height width 3", dims(g.Input[0]))
}

func dims(v *onnx.Value) string {
	var all []string
	for _, d := range v.Type.TensorType.Shape.Dim {
		if name := d.GetDimParam(); name != "" {
			all = append(all, name)
		} else {
			all = append(all, fmt.Sprint(d.GetDimValue()))
		}
	}
	return strings.Join(all, " ")
}

// TestHub checks what timm reads of config.json, and the card with all that can be known and with nothing.
func TestHub(t *testing.T) {
	ctx, dir := context.Background(), "memfs://hub"
	m := newModel(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 4})
	read := func(name string) string {
		data, err := files.Read(ctx, files.Join(dir, name))
		require.NoError(t, err)
		return string(data)
	}
	require.NoError(t, hubFormat.Write(ctx, dir, m, Options{}))
	var config map[string]any
	require.NoError(t, json.Unmarshal([]byte(read("config.json")), &config))
	require.Equal(t, map[string]any{
		"architecture": "resnet18", "num_classes": 0., "num_features": 32.,
		"model_args": map[string]any{"channels": []any{4., 8., 16., 32.}, "stem_type": "deep", "stem_width": 2.},
		"pretrained_cfg": map[string]any{
			"input_size": []any{3., 16., 16.}, "mean": []any{.5, .4, .3}, "std": []any{.2, .25, .3}, "interpolation": "bicubic",
			"crop_pct": 1., "crop_mode": "center", "first_conv": "conv1", "classifier": "fc",
		},
	}, config)
	loaded, err := nn.LoadModel(bytes.NewBufferString(read("model.safetensors")))
	require.NoError(t, err)
	require.Equal(t, m.Params, loaded.Params)
	require.Equal(t, m.Stats, loaded.Stats)
	bare := read("README.md")
	for _, unknown := range []string{"| data", "| recipe", "| subset", "## Scores", "<no value>"} {
		require.NotContains(t, bare, unknown)
	}
	require.Contains(t, bare, `model = timm.create_model("local-dir:PATH")
model.conv1 = torch.nn.Conv2d(3, 4, 3, 1, 1, bias=False)`)

	m.Card = route.Card{
		Task: "pets|dogs", Subnet: "0.1", Subset: "0.1", Scorer: "knn", Score: 61.25, Norm: route.NormTask, Customized: "trained at 0.03", Images: 51200,
		Gain:   &route.Gain{TestImages: 1500, Before: 60.04, After: 61.5, Difference: 1.46, Low: -.21, High: 3},
		Origin: route.Origin{Run: "id", Data: []string{"a/", "b.tar"}, Recipe: "laptop: resnet18", Init: "r.safetensors"},
	}
	m.Trained = train.Model{Images: 12345, SubsetImages: 678}
	m.Results = []evaluate.Row{{Task: "cifar", Protocol: "knn", Metric: "top1", Norm: "training", Value: 43.21, TestImages: 1000}}
	require.NoError(t, hubFormat.Write(ctx, dir, m, Options{License: "cc-by-4.0"}))
	text := read("README.md")
	header := strings.Split(text, "---\n")[1]
	var front map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(header), &front))
	require.Equal(t, "cc-by-4.0", front["license"])
	require.Equal(t, "timm", front["library_name"])
	for _, want := range []string{
		"# Sub-net 0.1 for the task pets|dogs\n", "| data | a/, b.tar |\n", "| recipe | laptop: resnet18 |\n", "| began with the weights of | r.safetensors |\n",
		"| images seen | 12,345 |\n", "| subset | 0.1, 678 images |\n", "| customized for the task pets\\|dogs | trained at 0.03, 51,200 images of the task, without their labels |\n", "| chosen among its versions | knn score 61.2 % on the training images of the task pets\\|dogs, BatchNorm statistics of the task |\n",
		"| what that changed | knn, 1,500 test images: 60.0 % before, 61.5 % after, a difference of +1.5 (-0.2 to +3.0, a 95 % interval) |\n",
		"| cifar | knn, BatchNorm statistics of the training | top1 | 43.2 | 1,000 |\n",
	} {
		require.Contains(t, text, want)
	}
}

// Nets that are of no subset of the images are no sub-nets.
func TestTitle(t *testing.T) {
	for want, card := range map[string]route.Card{
		"Backbone": {}, "Backbone for the task pets": {Task: "pets"}, "Net unified": {Subnet: "unified"}, "Net phase0": {Subnet: "phase0"},
		"Sub-net root": {Subnet: "root"}, "Sub-net 0.1-all for the task pets": {Subnet: "0.1-all", Task: "pets"},
	} {
		require.Equal(t, want, (&Model{Card: card}).Title())
	}
}

// The lines of Python say what is needed for every width and stem.
func TestPython(t *testing.T) {
	for _, c := range []struct {
		backbone nn.Backbone
		classes  int
		format   Format
		want     string
	}{
		{nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 64}, 0, torchvisionFormat, `import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.resnet50()
model.fc = torch.nn.Identity()
model.load_state_dict(load_file("FILE"))
`},
		{nn.Backbone{Arch: "resnet18", Stem: "imagenet", Width: 6}, 0, timmFormat, `import timm, torch
from safetensors.torch import load_file

model = timm.create_model("resnet18", num_classes=0, channels=[6,12,24,48], stem_type="deep", stem_width=3)
model.conv1 = torch.nn.Conv2d(3, 6, 7, 2, 3, bias=False)  # the width is not 64
model.load_state_dict(load_file("FILE"))
`},
		{nn.Backbone{Arch: "resnet34", Stem: "small", Width: 64}, 0, timmFormat, `import timm, torch
from safetensors.torch import load_file

model = timm.create_model("resnet34", num_classes=0)
model.conv1 = torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False)  # the stem is small
model.maxpool = torch.nn.Identity()
model.load_state_dict(load_file("FILE"))
`},
		{nn.Backbone{Arch: mobileNet, Stem: "small", Width: 16}, 0, torchvisionFormat, `import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.mobilenet_v2(width_mult=0.25)
model.classifier = torch.nn.Identity()
model.features[0][0].stride = (1, 1)  # the stem is small
model.load_state_dict(load_file("FILE"))
`},
		{nn.Backbone{Arch: "resnet18", Stem: "imagenet", Width: 64}, 0, hubFormat, `import timm

model = timm.create_model("local-dir:FILE", pretrained=True)
`},
		{nn.Backbone{Arch: "resnet18", Stem: "imagenet", Width: 64}, 9, torchvisionFormat, `import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.resnet18(num_classes=9)
model.load_state_dict(load_file("FILE"))
`},
		{nn.Backbone{Arch: mobileNet, Stem: "imagenet", Width: 32}, 9, torchvisionFormat, `import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.mobilenet_v2(width_mult=0.5, num_classes=9)
model.load_state_dict(load_file("FILE"))
`},
		{nn.Backbone{Arch: "resnet18", Stem: "imagenet", Width: 64}, 9, timmFormat, `import timm, torch
from safetensors.torch import load_file

model = timm.create_model("resnet18", num_classes=9)
model.load_state_dict(load_file("FILE"))
`},
		{nn.Backbone{Arch: mobileNet, Stem: "small", Width: 32}, 0, timmFormat, `import timm, torch
from safetensors.torch import load_file

model = timm.create_model("mobilenetv2_050", num_classes=0)
model.conv_stem.stride = (1, 1)  # the stem is small
model.load_state_dict(load_file("FILE"))
`},
	} {
		require.Equal(t, c.want, c.format.python(net{c.backbone, c.classes}, "FILE"))
	}
}

func TestFind(t *testing.T) {
	for _, f := range Formats() {
		found, err := Find(f.Name, Options{})
		require.NoError(t, err)
		require.Equal(t, f.Summary, found.Summary)
		require.Contains(t, f.Help(), f.Name+": "+f.Summary+"\n")
	}
	for want, find := range map[string]func() error{
		`no format "tensorflow"; want one of torchvision, timm, onnx, hub`: func() error { _, err := Find("tensorflow", Options{}); return err },
		"the format timm has no place for the preparation of images":       func() error { _, err := Find("timm", Options{Preprocess: true}); return err },
		"the format onnx has no place for a license":                       func() error { _, err := Find("onnx", Options{License: "mit"}); return err },
		"format hub: timm has no ResNet of an odd width such as 5": func() error {
			return hubFormat.Write(t.Context(), t.TempDir(), newModel(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 5}), Options{})
		},
		"format timm: timm has no MobileNetV2 of width 8, only of 32, 48 and 64": func() error {
			return timmFormat.Write(t.Context(), t.TempDir(), newModel(nn.Backbone{Arch: mobileNet, Stem: "small", Width: 8}), Options{})
		},
	} {
		err := find()
		require.ErrorContains(t, err, want)
		require.ErrorAs(t, err, new(*run.UsageError))
	}
}
