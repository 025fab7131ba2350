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

// openStudy opens a study's folder; it returns nil if a study can begin there.
func openStudy(ctx context.Context, dir string) (*Folder, error) {
	paths, err := list(ctx, dir)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	f, err := open(ctx, dir, studyInfoFile, ErrNoStudy)
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
