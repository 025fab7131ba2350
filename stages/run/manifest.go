package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Format is the version of the files of a run folder and of what is made from one. It is stated in run.json, manifests,
// checkpoints, shards, model.json, finetune.json, customize.json, detect.json and detectors, and rises when a program of the
// version before would read one of them wrongly.
const Format = 1

// CheckFormat returns ErrNewer for the format of a file that a newer program wrote. 0 means that it states none, which is
// what the first programs did.
func CheckFormat(format int) error {
	if format > Format {
		return fmt.Errorf("format %d %w (this one reads formats up to %d)", format, ErrNewer, Format)
	}
	return nil
}

// Manifest says that a stage is done and what it was made from. It is the last file that a stage writes.
type Manifest struct {
	// Format is that of the file.
	Format int `json:"format"`
	// Stage is the stage's name.
	Stage string `json:"stage"`
	// Inputs is the Digest of everything that determines the stage's output.
	Inputs string `json:"inputs"`
	// Outputs are the names of the output batches, which are digests of their content.
	Outputs []string `json:"outputs"`
	// Notes are what the stage decided that its output does not show.
	Notes []string `json:"notes,omitempty"`
	// Seconds is how long the stage took, and Engine for how much of it the tensor engine of this process computed; 0 if
	// it did elsewhere.
	Seconds float64 `json:"seconds"`
	Engine  float64 `json:"engine_seconds,omitempty"`
	// Finished is when it ended.
	Finished time.Time `json:"finished"`
}

// Digest hashes the JSON encoding of values to 16 hexadecimal digits.
func Digest(values ...any) string {
	data, err := json.Marshal(values)
	if err != nil {
		panic(fmt.Sprintf("run.Digest: %v", err)) // a bug: values must be plain data
	}
	return fmt.Sprintf("%016x", xxh3.Hash(data))
}

// ManifestPath returns the path of a stage's manifest.
func (f *Folder) ManifestPath(stage string) string {
	return files.Join(f.StageDir(stage), "manifest.json")
}

// ReadManifest returns a stage's manifest, or nil if the stage is not done.
func (f *Folder) ReadManifest(ctx context.Context, stage string) (*Manifest, error) {
	path := f.ManifestPath(stage)
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, fmt.Errorf("%s: %w; remove the folder %s to run the stage again", path, err, f.StageDir(stage))
	}
	if err := CheckFormat(m.Format); err != nil {
		return nil, Usagef("%s: %w", path, err)
	}
	return &m, nil
}

// The lists of the stages, and of a study's trainings.
const (
	stagesFile    = "stages.json"
	trainingsFile = "trainings.json"
)

// WriteStages notes the names of the stages that the folder is to have, in order.
func (f *Folder) WriteStages(ctx context.Context, names []string) error {
	return f.writeList(ctx, stagesFile, names)
}

// ReadStages returns what WriteStages has noted; nothing if that is not there.
func (f *Folder) ReadStages(ctx context.Context) ([]string, error) {
	return readList[string](ctx, f, stagesFile)
}

// WriteTrainings notes the trainings that a study is to have, in the order of their stages.
func (f *Folder) WriteTrainings(ctx context.Context, all []Training) error {
	return f.writeList(ctx, trainingsFile, all)
}

// ReadTrainings returns what WriteTrainings has noted; nothing if that is not there.
func (f *Folder) ReadTrainings(ctx context.Context) ([]Training, error) {
	return readList[Training](ctx, f, trainingsFile)
}

func (f *Folder) writeList(ctx context.Context, name string, list any) error {
	data, err := json.Marshal(list)
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, files.Join(f.Dir, name), append(data, '\n'))
}

func readList[T any](ctx context.Context, f *Folder, name string) (list []T, err error) {
	path := files.Join(f.Dir, name)
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &list)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w; resuming writes it again", path, err)
	}
	return list, nil
}

// WriteManifest writes a manifest and so marks its stage as done.
func (f *Folder) WriteManifest(ctx context.Context, m *Manifest) error {
	m.Format = Format
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, f.ManifestPath(m.Stage), append(data, '\n'))
}
