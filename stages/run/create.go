package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Reasons for refusing a folder.
var (
	// ErrNoRun says that the folder is not a run folder.
	ErrNoRun = errors.New("holds no run")
	// ErrNoStudy says that the folder is not a study's.
	ErrNoStudy = errors.New("holds no study")
	// ErrHoldsRun says that the folder already holds a run, which Fresh refuses.
	ErrHoldsRun = errors.New("already holds a run")
	// ErrOtherRecipe, ErrOtherData, ErrOtherInit and ErrOtherVersion say that a run cannot be resumed, since its recipe,
	// data or initial weights differ, or the program computes something else from them, by its version or by other options.
	ErrOtherRecipe  = errors.New("began with another recipe")
	ErrOtherData    = errors.New("began with other data")
	ErrOtherInit    = errors.New("began with other weights")
	ErrOtherVersion = errors.New("began with other options, or with another version of the program")
	// ErrMoved says that a run or study cannot be resumed, since its stages name their files in another folder.
	ErrMoved = errors.New("began in another place")
	// ErrNewer says that a file is of a format that this program does not know yet.
	ErrNewer = errors.New("is of a newer version of sdr, which has to read it")
)

// Mode says what to do if the folder already exists.
type Mode int

const (
	// Fresh refuses a folder that exists and is not empty.
	Fresh Mode = iota
	// Resume continues the run in the folder, or starts a new one if there is none.
	Resume
	// Overwrite removes the run in the folder and starts a new one.
	Overwrite
)

// Check returns an error if the mode cannot use the folder. It writes nothing.
func Check(ctx context.Context, dir string, mode Mode) error {
	_, err := check(ctx, dir, mode)
	return err
}

// check also returns the files and folders of the run in the folder, or none if a run can start there. A folder in
// which Create was killed before it finished counts as empty.
func check(ctx context.Context, dir string, mode Mode) (begun []string, err error) {
	paths, err := list(ctx, dir)
	if err != nil || len(paths) == 0 {
		return nil, err
	}
	if _, err = Open(ctx, dir); errors.Is(err, ErrNewer) {
		return nil, err
	}
	has := func(file string) bool { return slices.Contains(paths, files.Join(dir, file)) }
	if err != nil && mode == Resume && has(recipeFile) && has(dataFile) {
		return paths, nil // resume writes run.json again
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = Usagef("%s is not empty and %w: it has no %s", dir, ErrNoRun, infoFile)
	}
	if err != nil || len(paths) == 1 { // run.json alone
		return nil, err
	}
	if mode == Fresh {
		return nil, Usagef("%s %w", dir, ErrHoldsRun)
	}
	return paths, nil
}

// Create creates a run folder, or resumes or replaces the run in it, as the mode says. It saves the recipe in the
// folder; a run can only be resumed with the recipe, data and initial weights that it was created with. One whose
// run.json is gone or damaged gets a new one.
func Create(ctx context.Context, dir string, mode Mode, info Info, recipe []byte) (*Folder, error) {
	begun, err := check(ctx, dir, mode)
	if err != nil {
		return nil, err
	}
	if len(begun) > 0 && mode == Resume {
		return resume(ctx, dir, info, recipe)
	}
	f := &Folder{Dir: dir, Info: info}
	// run.json stays until it is replaced, so that the folder remains a run folder even if this is interrupted.
	for _, path := range begun {
		if path == files.Join(dir, infoFile) {
			continue
		}
		if err := remove(ctx, path); err != nil {
			return nil, fmt.Errorf("overwrite %s: %w", dir, err)
		}
	}
	if err := f.writeInfo(ctx, infoFile); err != nil {
		return nil, err
	}
	return f, files.WriteBytes(ctx, f.RecipePath(), recipe)
}

func (f *Folder) writeInfo(ctx context.Context, file string) error {
	f.Info.Format, f.Info.Dir = Format, f.Dir
	text, err := json.MarshalIndent(f.Info, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, files.Join(f.Dir, file), append(text, '\n'))
}

func resume(ctx context.Context, dir string, info Info, recipe []byte) (*Folder, error) {
	f, lost := Open(ctx, dir)
	if lost != nil {
		f = &Folder{Dir: dir, Info: info}
	}
	old, err := files.Read(ctx, f.RecipePath())
	if err != nil {
		return nil, Usagef("%s %w, which cannot be read: %w", dir, ErrOtherRecipe, err)
	}
	if string(old) != string(recipe) {
		return nil, Usagef("%s %w: compare %s", dir, ErrOtherRecipe, f.RecipePath())
	}
	if lost != nil {
		slog.Warn("the description of the run is gone or damaged, so it is written again", "file", files.Join(dir, infoFile), "error", lost)
		return f, f.writeInfo(ctx, infoFile)
	}
	if err := f.checkMoved(); err != nil {
		return nil, err
	}
	if !slices.Equal(f.Info.Data, info.Data) {
		return nil, Usagef("%s %w: %v, not %v", dir, ErrOtherData, f.Info.Data, info.Data)
	}
	if !f.Info.Init.same(info.Init) {
		return nil, Usagef("%s %w: %v, not %v", dir, ErrOtherInit, f.Info.Init, info.Init)
	}
	return f, nil
}

// checkMoved returns an error if the folder is not the one in which it began.
func (f *Folder) checkMoved() error {
	began := f.Info.Dir
	if began == f.Dir || began == "" { // which the first programs did not note
		return nil
	}
	here, err := os.Stat(f.Dir)
	if err == nil {
		if there, err := os.Stat(began); err == nil && os.SameFile(here, there) {
			return nil
		}
	}
	return Usagef("%s %w, %s, where its stages look for their files", f.Dir, ErrMoved, began)
}

// list returns what is in a folder: its files and subfolders if it is local, otherwise all files below it. It skips the
// lock and the temporary files that a killed Create leaves behind.
func list(ctx context.Context, dir string) (paths []string, err error) {
	if !files.IsLocal(dir) {
		return files.Below(ctx, dir)
	}
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, Usagef("%s cannot be a run folder: %w", dir, err)
	}
	for _, e := range entries {
		temporary := func(file string) bool { return strings.HasPrefix(e.Name(), "."+file+".") }
		if e.Name() != lockFile && !slices.ContainsFunc([]string{infoFile, recipeFile, studyInfoFile, studyFile}, temporary) {
			paths = append(paths, files.Join(dir, e.Name()))
		}
	}
	return paths, nil
}

// remove deletes a file, or a local folder with its contents.
func remove(ctx context.Context, path string) error {
	if files.IsLocal(path) {
		return os.RemoveAll(path)
	}
	return files.Remove(ctx, path)
}
