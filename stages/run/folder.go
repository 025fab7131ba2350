// Package run is the folder that a run leaves behind: what is kept where, the
// manifests that say which stage is done, and the rules by which a folder is
// created, resumed or overwritten.
//
//	run.json             id, version, command, time of creation; written first
//	recipe.yaml          the recipe with every key
//	train.log            what was logged
//	tuning.json          which algorithms the convolutions used
//	dead-letter.parquet  images that could not be read, and why
//	STAGE/manifest.json  written last: the stage is done
//	STAGE/out-DIGEST/    the stage's output batches
//	ingest/shards/       the images, resized
//	partition/shards/    the images again, sorted by subset
//	checkpoints/         the state of a training that is under way
//	metrics/             losses and collapse watch, one line a measurement
//	models/              one file a net
package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Folder is a run folder on a Beam filesystem.
type Folder struct {
	// Dir is the folder's path.
	Dir string
	// Info is the content of run.json.
	Info Info
}

// Info identifies a run.
type Info struct {
	// ID is a version-7 UUID, so run ids sort by time.
	ID uuid.UUID `json:"id"`
	// Version is that of the program that created the run.
	Version string `json:"version"`
	// Created is when the run began.
	Created time.Time `json:"created"`
	// Command is the command line that began it.
	Command []string `json:"command"`
	// Data are the paths that the images came from.
	Data []string `json:"data"`
}

// UsageError is an error that other arguments or other input would mend.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap returns the error that it marks.
func (e *UsageError) Unwrap() error { return e.err }

// Usage marks an error as a UsageError; its message stays as it is.
func Usage(err error) error { return &UsageError{err} }

// Usagef is fmt.Errorf marked as a UsageError.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Open opens the folder of a run. A folder without run.json is fs.ErrNotExist.
func Open(ctx context.Context, dir string) (*Folder, error) {
	path := files.Join(dir, infoFile)
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Usagef("%s %w: there is no %s (%w)", dir, ErrNoRun, infoFile, fs.ErrNotExist)
	}
	if err != nil {
		return nil, Usagef("%s %w that can be opened: %w", dir, ErrNoRun, err)
	}
	f := &Folder{Dir: dir}
	if err := json.Unmarshal(data, &f.Info); err != nil {
		return nil, Usagef("%s %w: %s: %w", dir, ErrNoRun, path, err)
	}
	if f.Info.ID == uuid.Nil {
		return nil, Usagef("%s %w: %s has no id", dir, ErrNoRun, path)
	}
	return f, nil
}

// The files that Create writes, in this order.
const (
	infoFile   = "run.json"
	recipeFile = "recipe.yaml"
)

// RecipePath is where the run's recipe is kept.
func (f *Folder) RecipePath() string { return files.Join(f.Dir, recipeFile) }

// LogPath is where the program's log is kept.
func (f *Folder) LogPath() string { return files.Join(f.Dir, "train.log") }

// TuningPath is the file of the algorithms that the run's convolutions use.
func (f *Folder) TuningPath() string { return files.Join(f.Dir, "tuning.json") }

// DeadLetterPath is where unreadable images are listed.
func (f *Folder) DeadLetterPath() string { return files.Join(f.Dir, "dead-letter.parquet") }

// StageDir is the folder of one stage.
func (f *Folder) StageDir(stage string) string { return files.Join(f.Dir, stage) }

// ModelPath is where the run in a folder keeps the weights of a finished net.
func ModelPath(dir, subnet string) string {
	return files.Join(dir, "models", subnet+".safetensors")
}

// Size returns the bytes on disk below a part of the run folder; 0 where the
// folder is not local.
func (f *Folder) Size(part string) (bytes int64) {
	_ = filepath.WalkDir(files.Join(f.Dir, part), func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if info, err := d.Info(); err == nil {
				bytes += info.Size()
			}
		}
		return nil
	})
	return bytes
}
