// Package run manages run folders: where each file is kept, the manifests that say which stages are done, and how a
// folder is created, resumed or overwritten.
//
//	.lock                which program is writing to the folder: a lock or, on an object store, a lease; see Lock
//	run.json             ID, version, command, time of creation; written first
//	recipe.yaml          the recipe with every key
//	stages.json          the names of the stages, in order
//	data.parquet         the files that the images came from, and what identifies their content
//	train.log            the log; on an object store, uploaded every 30 seconds and at the end
//	init.safetensors     the backbone to begin with, unless the weights are random
//	tuning/              which algorithms the convolutions used, and types of machines
//	dead-letter.parquet  unreadable images and the reasons
//	STAGE/manifest.json  written last: the stage is done
//	STAGE/out-DIGEST/    the stage's output batches
//	ingest/shards/       the images, resized
//	partition/shards/    the images again, sorted by subset
//	partition/centroids/ of the subsets of all levels
//	partition/whitening/ the transform of the features before they are clustered
//	checkpoints/         the state of unfinished trainings
//	metrics/             losses and collapse watch, one line per measurement
//	tensorboard/         the same for TensorBoard
//	models/              one file per net
//	assigned.parquet     of an extended run, the new images, their subsets and distances
//	subsets.parquet      of an extended run, the numbers of old and new images of each subset
//
// A study's folder holds what many trainings share. What is in STAGE in a run's folder is in STAGE/DIGEST there, besides:
//
//	study.json           like run.json
//	study.yaml           the study file, as last given
//	trainings.json       its trainings, with their numbers of steps
//	results.parquet      every net on every task
//	means.parquet        means over seeds, with intervals
//	comparisons.parquet  differences between nets, with intervals
//	study.html           all of it, to look at
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

// Folder is the folder of a run or study on a Beam filesystem.
type Folder struct {
	// Dir is the folder's path.
	Dir string
	// Info is the content of run.json or study.json.
	Info Info
}

// Info identifies a run or study.
type Info struct {
	// Format is that of the file; see CheckFormat.
	Format int `json:"format"`
	// ID is a version-7 UUID, so IDs sort by time.
	ID uuid.UUID `json:"id"`
	// Version is the version of the program that created the folder.
	Version string `json:"version"`
	// Created is when it was created.
	Created time.Time `json:"created"`
	// Dir is the folder's path as it was given then, which the outputs of stages have in the paths of their files.
	Dir string `json:"dir"`
	// Command is the command line that created it.
	Command []string `json:"command"`
	// Data lists the paths that the images came from.
	Data []string `json:"data"`
	// Init is the file of the weights that the training begins with; nil for random ones.
	Init *Init `json:"init,omitempty"`
}

// Init identifies a file of weights.
type Init struct {
	// File is its path, as it was given.
	File string `json:"file"`
	// Digest is a hash of its content.
	Digest string `json:"digest"`
}

// String describes the file.
func (i *Init) String() string {
	if i == nil {
		return "random weights"
	}
	return fmt.Sprintf("%s (digest %s)", i.File, i.Digest)
}

// same reports whether two files have the same content.
func (i *Init) same(other *Init) bool {
	return (i == nil) == (other == nil) && (i == nil || i.Digest == other.Digest)
}

// UsageError marks an error that the user can fix with other arguments or other input.
type UsageError struct{ err error }

func (e *UsageError) Error() string { return e.err.Error() }

// Unwrap returns the marked error.
func (e *UsageError) Unwrap() error { return e.err }

// Usage marks an error as a UsageError; its message stays the same.
func Usage(err error) error { return &UsageError{err} }

// Usagef is fmt.Errorf marked as a UsageError.
func Usagef(format string, args ...any) error { return Usage(fmt.Errorf(format, args...)) }

// Open opens a run folder. If the folder has no run.json, the error wraps fs.ErrNotExist.
func Open(ctx context.Context, dir string) (*Folder, error) {
	return open(ctx, dir, infoFile, ErrNoRun)
}

// open opens the folder of a run or study, with the file of its Info and the error to return if there is none.
func open(ctx context.Context, dir, file string, none error) (*Folder, error) {
	path := files.Join(dir, file)
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, Usagef("%s %w: there is no %s (%w)", dir, none, file, fs.ErrNotExist)
	}
	if err != nil {
		return nil, Usagef("%s %w that can be opened: %w", dir, none, err)
	}
	f := &Folder{Dir: dir}
	if err := json.Unmarshal(data, &f.Info); err != nil {
		return nil, Usagef("%s %w: %s: %w", dir, none, path, err)
	}
	if err := CheckFormat(f.Info.Format); err != nil {
		return nil, Usagef("%s: %w", path, err)
	}
	if f.Info.ID == uuid.Nil {
		return nil, Usagef("%s %w: %s has no id", dir, none, path)
	}
	return f, nil
}

// The files that Create and CreateStudy write, in this order.
const (
	infoFile      = "run.json"
	recipeFile    = "recipe.yaml"
	studyInfoFile = "study.json"
	studyFile     = "study.yaml"
)

// dataFile is what a command writes next.
const dataFile = "data.parquet"

// DataPath returns the path of the table of the files that the images came from.
func (f *Folder) DataPath() string { return files.Join(f.Dir, dataFile) }

// RecipePath returns the path of the run's recipe.
func (f *Folder) RecipePath() string { return files.Join(f.Dir, recipeFile) }

// StudyPath returns the path of the copy of the study file in a study's folder.
func (f *Folder) StudyPath() string { return files.Join(f.Dir, studyFile) }

// LogPath returns the path of the log file.
func (f *Folder) LogPath() string { return files.Join(f.Dir, "train.log") }

// TuningDir returns the folder of the algorithms that the run's convolutions use.
func (f *Folder) TuningDir() string { return files.Join(f.Dir, "tuning") }

// DeadLetterPath returns the path of the file that lists unreadable images.
func (f *Folder) DeadLetterPath() string { return files.Join(f.Dir, "dead-letter.parquet") }

// StageDir returns the folder of a stage.
func (f *Folder) StageDir(stage string) string { return files.Join(f.Dir, stage) }

// ModelPath returns the path of a finished net's model file in the run folder dir.
func ModelPath(dir, subnet string) string {
	return files.Join(dir, "models", subnet+".safetensors")
}

// Size returns the size in bytes of a part of the run folder; 0 if the folder is not local.
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
