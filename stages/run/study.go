package run

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/sdr-ml/sdr/transforms/files"
)

// CheckStudy returns an error if the folder neither holds a study nor can hold a new one. It writes nothing.
func CheckStudy(ctx context.Context, dir string) error {
	_, err := openStudy(ctx, dir)
	return err
}

// OpenStudy opens a study's folder. Without one, the error is also fs.ErrNotExist.
func OpenStudy(ctx context.Context, dir string) (*Folder, error) {
	return open(ctx, dir, studyInfoFile, ErrNoStudy)
}

// Training is a training of a study.
type Training struct {
	// Stage is the stage that trains, whose folder has its metrics, and Variant names these.
	Stage   string `json:"stage"`
	Variant string `json:"variant"`
	// For says what needs it: an arm, a budget and a seed.
	For string `json:"for"`
	// From and To are its first step and the one after its last, and Batch is the number of images per step.
	From  int `json:"from"`
	To    int `json:"to"`
	Batch int `json:"batch"`
}

// Images is the number of images that it sees.
func (t Training) Images() int64 { return int64(t.To-t.From) * int64(t.Batch) }

// openStudy opens a study's folder; it returns nil if a study can begin there.
func openStudy(ctx context.Context, dir string) (*Folder, error) {
	paths, err := list(ctx, dir)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	f, err := OpenStudy(ctx, dir)
	switch {
	case !errors.Is(err, fs.ErrNotExist):
		return f, err
	case slices.Contains(paths, files.Join(dir, infoFile)):
		return nil, Usagef("%s %w but a run", dir, ErrNoStudy)
	}
	return nil, Usagef("%s is not empty and %w: it has no %s", dir, ErrNoStudy, studyInfoFile)
}

// CreateStudy creates a study's folder or, if there is one, opens it, and saves the study file in it. The file of a
// study may change: what its stages have in common with earlier ones is there already.
func CreateStudy(ctx context.Context, dir string, info Info, file []byte) (*Folder, error) {
	f, err := openStudy(ctx, dir)
	if err != nil {
		return nil, err
	}
	if f == nil {
		f = &Folder{Dir: dir, Info: info}
		err = f.writeInfo(ctx, studyInfoFile)
	} else {
		err = f.checkMoved()
	}
	if err != nil {
		return nil, err
	}
	return f, files.WriteBytes(ctx, f.StudyPath(), file)
}
