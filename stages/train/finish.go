package train

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// Save saves a finished net in a run folder and sets m.Path.
func Save(ctx context.Context, dir string, m *Model, made *inference.Model) error {
	row, err := json.Marshal(m) // without the path, since the folder may move
	if err != nil {
		return err
	}
	m.Path = run.ModelPath(dir, m.Subnet)
	key, value := made.Input.Metadata()
	made.Meta = map[string]string{ModelKey: string(row), key: value}
	return inference.Save(ctx, m.Path, &made.Model)
}

// ModelKey is the key of the Model row in a model file's metadata.
const ModelKey = "sdr"

// lost returns the path of the first of finished nets whose file is gone or damaged; "" if there is none.
func lost(ctx context.Context, dir string, models []Model) (string, error) {
	for _, m := range models {
		path := run.ModelPath(dir, m.Subnet)
		if _, err := inference.Load(ctx, path); err != nil {
			return path, ctx.Err()
		}
	}
	return "", nil
}

// ReadModels lists the finished nets of a run folder.
func ReadModels(ctx context.Context, dir string) ([]Model, error) {
	paths, err := files.List(ctx, files.Join(files.Quote(dir), "models", "*.safetensors"))
	if err != nil {
		return nil, err
	}
	var models []Model
	for _, path := range paths {
		m, err := ReadModel(ctx, path)
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	return models, nil
}

// ReadModel describes the finished net in a file of a run folder.
func ReadModel(ctx context.Context, path string) (m Model, err error) {
	metadata, err := inference.Metadata(ctx, path)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal([]byte(metadata[ModelKey]), &m); err != nil {
		return m, fmt.Errorf("model %s: its metadata lacks a valid %q entry: %w", path, ModelKey, err)
	}
	m.Path = path
	return m, nil
}
