package export

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"

	"github.com/dustin/go-humanize"
	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
)

// hubFormat is a folder as timm keeps its models on the Hugging Face Hub.
var hubFormat = Format{
	Name: "hub", License: true,
	Summary: "a folder for the Hugging Face Hub: config.json for timm, model.safetensors, README.md",
	check:   checkTimm,
	python:  pythonHub,
	write:   writeHub,
}

// pythonHub needs more than a line only for a stem that timm's arguments cannot describe.
func pythonHub(n net, path string) string {
	stem := timmStem(n.Backbone)
	if stem == "" {
		return fmt.Sprintf("import timm\n\nmodel = timm.create_model(\"local-dir:%s\", pretrained=True)\n", path)
	}
	return fmt.Sprintf(`import timm, torch

model = timm.create_model("local-dir:%s")
%stimm.models.load_checkpoint(model, "%[1]s/model.safetensors")
`, path, stem)
}

// hubConfig is timm's config.json. The preparation of images is timm's for these settings.
type hubConfig struct {
	Architecture string         `json:"architecture"`
	NumClasses   int            `json:"num_classes"`
	NumFeatures  int            `json:"num_features"`
	LabelNames   []string       `json:"label_names,omitempty"`
	ModelArgs    map[string]any `json:"model_args,omitempty"`
	Pretrained   hubPretrained  `json:"pretrained_cfg"`
}

type hubPretrained struct {
	InputSize     [3]int     `json:"input_size"`
	Mean          [3]float32 `json:"mean"`
	Std           [3]float32 `json:"std"`
	Interpolation string     `json:"interpolation"`
	CropPct       float64    `json:"crop_pct"`
	CropMode      string     `json:"crop_mode"`
	FirstConv     string     `json:"first_conv"`
	Classifier    string     `json:"classifier"`
}

// cardHeader is the front matter of a model card on the Hub.
type cardHeader struct {
	License     string   `yaml:"license"`
	LibraryName string   `yaml:"library_name"`
	PipelineTag string   `yaml:"pipeline_tag"`
	Tags        []string `yaml:"tags"`
}

//go:embed card.md
var cardText string

var card = template.Must(template.New("card").Funcs(template.FuncMap{
	"comma": humanize.Comma,
	"join":  strings.Join,
	"score": route.FormatScore,
	"cell":  func(text string) string { return strings.ReplaceAll(text, "|", `\|`) }, // of a table
}).Parse(cardText))

func writeHub(ctx context.Context, dir string, m *Model, o Options) error {
	size := m.Input.Size
	var classes []string
	purpose := "image-feature-extraction"
	if m.Classifier != nil {
		classes, purpose = m.Classifier.Classes, "image-classification"
	}
	layer := func(weight string) string { return strings.TrimSuffix(m.Backbone.TimmName(weight), ".weight") }
	first, last := layer(nn.NewLayout(m.Backbone, nn.Heads{}).Params[0].Name), layer(m.Backbone.Classifier()+".weight")
	config, err := json.MarshalIndent(hubConfig{
		Architecture: timmArch(m.Backbone), NumClasses: len(classes), LabelNames: classes, NumFeatures: m.Backbone.FeatureDim(), ModelArgs: timmArguments(m.Backbone),
		Pretrained: hubPretrained{
			InputSize: [3]int{3, size, size}, Mean: m.Input.Mean, Std: m.Input.Std,
			Interpolation: "bicubic", CropPct: 1, CropMode: "center", FirstConv: first, Classifier: last,
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	header, err := yaml.Marshal(cardHeader{cmp.Or(o.License, "unknown"), "timm", purpose, []string{"timm", "sdr", "self-supervised"}})
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := card.Execute(&text, struct {
		*Model
		Header, Python string
		Double         int // size of images, which the decoder of JPEGs has to leave
	}{m, string(header), pythonHub(m.net(), "PATH"), 2 * size}); err != nil {
		return fmt.Errorf("model card: %w", err)
	}
	if err := files.WriteBytes(ctx, files.Join(dir, "config.json"), append(config, '\n')); err != nil {
		return err
	}
	if err := files.Write(ctx, files.Join(dir, "README.md"), func(w io.Writer) error {
		_, err := text.WriteTo(w)
		return err
	}); err != nil {
		return err
	}
	return writeTimm(ctx, files.Join(dir, "model.safetensors"), m, o)
}
