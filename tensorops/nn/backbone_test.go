package nn

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
)

// TestLoadBackbone compares the features of a net of torchvision with those that PyTorch computes.
func TestLoadBackbone(t *testing.T) {
	data, err := os.ReadFile("testdata/backbone.safetensors")
	require.NoError(t, err)
	b := Backbone{"resnet18", "imagenet", 3}
	m, err := LoadBackbone(bytes.NewReader(data), b)
	require.NoError(t, err)
	require.Equal(t, b, m.Backbone)

	var want [][]float32
	text, err := os.ReadFile("testdata/backbone_features.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &want))
	pool := kernels.NewPool(2)
	defer pool.Close()
	net := New(b, Heads{}, 32, 2, 1, pool, Inference)
	net.Params, net.Stats = m.Params, m.Stats
	net.Forward(hashed32("images", 2*32*32*3), RunningStats)
	requireClose(t, "features", slices.Concat(want...), net.Features, 1e-5)

	var saved bytes.Buffer
	require.NoError(t, SaveModel(&saved, b, simSiamHeads, append(slices.Clone(m.Params), make([]float32, NewLayout(b, simSiamHeads).NumParams-len(m.Params))...),
		append(slices.Clone(m.Stats), make([]float32, NewLayout(b, simSiamHeads).NumStats-len(m.Stats))...), nil))
	again, err := LoadBackbone(&saved, b)
	require.NoError(t, err)
	require.Equal(t, m, again, "the heads are left out")

	for _, arch := range Architectures() {
		b := Backbone{arch, "imagenet", 4}
		l := NewLayout(b, Heads{Classes: 3})
		saved.Reset()
		require.NoError(t, SaveModel(&saved, b, Heads{Classes: 3}, make([]float32, l.NumParams), make([]float32, l.NumStats), nil))
		_, err := LoadBackbone(&saved, b)
		require.NoError(t, err, "a classifier is left out, too")

		params, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
		l.Init(params, rng.New(1, rng.Weights))
		tensors := l.Tensors("", params, stats)
		for i := range tensors {
			tensors[i].Name = b.TimmName(tensors[i].Name)
		}
		saved.Reset()
		require.NoError(t, safetensors.Write(&saved, tensors, nil))
		m, err := LoadBackbone(&saved, b)
		require.NoError(t, err, "the names may be timm's")
		require.Equal(t, params[:len(m.Params)], m.Params)
	}
}

// What does not fit is named: another stem, width or architecture, also a deeper one that has all the tensors of the other.
func TestLoadBackboneRejects(t *testing.T) {
	data, err := os.ReadFile("testdata/backbone.safetensors")
	require.NoError(t, err)
	file := func(b Backbone) []byte {
		l := NewLayout(b, Heads{})
		var buf bytes.Buffer
		require.NoError(t, SaveModel(&buf, b, Heads{}, make([]float32, l.NumParams), make([]float32, l.NumStats), nil))
		return buf.Bytes()
	}
	l := NewLayout(Backbone{"resnet18", "imagenet", 3}, Heads{})
	diverged, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
	diverged[5] = float32(math.NaN())
	var nan bytes.Buffer
	require.NoError(t, SaveModel(&nan, Backbone{"resnet18", "imagenet", 3}, Heads{}, diverged, stats, nil))
	var whole bytes.Buffer
	require.NoError(t, safetensors.Write(&whole, []safetensors.Tensor{{Name: "conv1.weight", Shape: []int{3, 3, 7, 7}, I64: make([]int64, 441)}}, nil))
	for _, c := range []struct {
		data []byte
		of   Backbone
		want string
	}{
		{data, Backbone{"resnet18", "small", 3}, "the file is not of resnet18 of width 3 with the small stem: conv1.weight has shape [3 3 7 7], not floats of shape [3 3 3 3]"},
		{data, Backbone{"resnet18", "imagenet", 4}, "bn1.weight has shape [3], not floats of shape [4]; bn1.bias has shape [3], not floats of shape [4]; "},
		{data, Backbone{"resnet50", "imagenet", 3}, "layer1.0.conv3.weight is missing; layer1.0.bn3.weight is missing; layer1.0.bn3.bias is missing, and 184 more"},
		{file(Backbone{"resnet34", "imagenet", 3}), Backbone{"resnet18", "imagenet", 3}, "layer1.2.conv1.weight has no place"},
		{whole.Bytes(), Backbone{"resnet18", "imagenet", 3}, "conv1.weight has shape [3 3 7 7], not floats of shape [3 3 7 7]"},
		{[]byte("x"), Backbone{"resnet18", "imagenet", 3}, "truncated"},
		{nan.Bytes(), Backbone{"resnet18", "imagenet", 3}, "conv1.weight has values that are no finite numbers"},
	} {
		_, err := LoadBackbone(bytes.NewReader(c.data), c.of)
		require.ErrorContains(t, err, c.want)
	}
}

// What a file is of is found by its tensors.
func TestIdentifyBackbone(t *testing.T) {
	for _, arch := range Architectures() {
		for _, b := range []Backbone{{arch, "imagenet", 16}, {arch, "small", 12}} {
			l := NewLayout(b, Heads{Classes: 3})
			var file bytes.Buffer
			require.NoError(t, SaveModel(&file, b, Heads{Classes: 3}, make([]float32, l.NumParams), make([]float32, l.NumStats), nil))
			is, ok := IdentifyBackbone(&file, b.Stem)
			require.True(t, ok)
			require.Equal(t, b, is)
		}
	}
	var other bytes.Buffer
	require.NoError(t, safetensors.Write(&other, []safetensors.Tensor{{Name: "conv1.weight", Shape: []int{1, 3, 1, 1}, F32: make([]float32, 3)}}, nil))
	_, ok := IdentifyBackbone(&other, "small")
	require.False(t, ok)
}

// FuzzLoadBackbone: any bytes yield an error, or a model with all weights.
func FuzzLoadBackbone(f *testing.F) {
	b := Backbone{"resnet18", "small", 1}
	l := NewLayout(b, Heads{})
	var buf bytes.Buffer
	require.NoError(f, SaveModel(&buf, b, Heads{}, make([]float32, l.NumParams), make([]float32, l.NumStats), nil))
	f.Add(buf.Bytes())
	f.Add(bytes.ReplaceAll(buf.Bytes(), []byte("layer4.0"), []byte("layer4.9")))
	f.Fuzz(func(t *testing.T, data []byte) {
		if m, err := LoadBackbone(bytes.NewReader(data), b); err == nil && (len(m.Params) != l.NumParams || len(m.Stats) != l.NumStats) {
			t.Fatalf("%d weights and %d statistics", len(m.Params), len(m.Stats))
		}
	})
}
