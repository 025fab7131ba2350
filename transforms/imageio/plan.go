package imageio

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Plan lists the images in files and folders and divides them into splits of at most maxRows images. Splits follow the
// order of paths; in a folder the image files come first, then the collections found in it, both sorted by path. The
// same files yield the same splits on every machine. Hidden files and files of unknown kinds are skipped. A path that
// does not exist or has no images is an error.
func Plan(ctx context.Context, paths []string, maxRows int) ([]Split, error) {
	if maxRows < 1 {
		return nil, fmt.Errorf("plan images: %d images per split, want at least 1", maxRows)
	}
	if len(paths) == 0 {
		return nil, errors.New("plan images: no path given; " + wanted())
	}
	p := planner{ctx: ctx, maxRows: int64(maxRows)}
	for _, path := range paths {
		if err := p.add(path); err != nil {
			return nil, err
		}
	}
	return p.splits, nil
}

type planner struct {
	ctx     context.Context
	maxRows int64
	splits  []Split
}

func (p *planner) add(path string) error {
	file, err := p.isFile(path)
	if err != nil {
		return err
	}
	before, seen := len(p.splits), 1
	if file {
		err = p.addFile(path)
	} else {
		seen, err = p.addFolder(path)
	}
	switch {
	case err != nil || len(p.splits) > before:
		return err
	case seen == 0:
		return fmt.Errorf("%s is empty or does not exist; %s", path, wanted())
	}
	return fmt.Errorf("%s holds no images (%d files seen); %s", path, seen, wanted())
}

// isFile distinguishes files from folders. On remote filesystems, which have no folder entries, only files of known
// kinds count.
func (p *planner) isFile(path string) (bool, error) {
	if !files.IsLocal(path) {
		if kindOf(path) == nil {
			return false, nil
		}
		return files.Exists(p.ctx, path)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, fmt.Errorf("%s does not exist; %s", path, wanted())
	case err != nil:
		return false, fmt.Errorf("plan images: %w", err)
	}
	return !info.IsDir(), nil
}

// addFile adds a collection in a file, or a single image.
func (p *planner) addFile(file string) error {
	k := kindOf(file)
	if k == nil {
		return nil
	}
	n, err := k.count(p.ctx, file)
	if err != nil {
		return err
	}
	for begin := int64(0); begin < n; begin += p.maxRows {
		p.emit(Split{Path: file, Kind: k.name, Begin: begin, End: min(begin+p.maxRows, n)})
	}
	return nil
}

// addFolder adds the images of a folder and returns how many files it saw.
func (p *planner) addFolder(path string) (seen int, err error) {
	var collections []string
	var split Split // of image files, being filled
	for name, err := range walk(p.ctx, path, "") {
		if err != nil {
			return seen, fmt.Errorf("list %s: %w", path, err)
		}
		seen++
		switch k := kindOf(name); {
		case k == nil || k.direct:
		case k.name != Folder:
			collections = append(collections, join(path, name))
		default:
			if split.End == split.Begin {
				split.Path, split.Kind, split.From = path, Folder, name
			}
			if split.End++; split.End-split.Begin == p.maxRows {
				p.emit(split)
				split.Begin = split.End
			}
		}
	}
	if split.End > split.Begin {
		p.emit(split)
	}
	for _, file := range collections {
		if err := p.addFile(file); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

func (p *planner) emit(s Split) {
	s.Index = int64(len(p.splits))
	p.splits = append(p.splits, s)
}

// join appends a slash-separated relative name to a folder.
func join(path, name string) string { return files.Join(path, strings.Split(name, "/")...) }
