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

// Plan lists the images of files and folders and cuts them into splits of at
// most maxRows images: the paths in the order given; in a folder first its
// image files, then the collections found in it, both in the order of their
// paths. The same files give the same splits on every machine. Hidden files
// and files of unknown kinds are passed over. A path that does not exist and
// paths without any image are errors.
func Plan(ctx context.Context, paths []string, maxRows int) ([]Split, error) {
	if maxRows < 1 {
		return nil, fmt.Errorf("plan images: %d images a split, want at least 1", maxRows)
	}
	if len(paths) == 0 {
		return nil, errors.New("plan images: no path given; " + wanted)
	}
	p := planner{ctx: ctx, maxRows: int64(maxRows)}
	for _, path := range paths {
		if err := p.add(path); err != nil {
			return nil, err
		}
	}
	return p.splits, nil
}

var wanted = "give folders of images (" + strings.Join(extensions, ", ") + "), HuggingFace .parquet files, .tar or .tar.gz archives, or *-images-idx3-ubyte files"

type planner struct {
	ctx     context.Context
	maxRows int64
	splits  []Split
}

func (p *planner) add(path string) error {
	before := len(p.splits)
	if files.IsLocal(path) {
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s does not exist; %s", path, wanted)
		} else if err != nil {
			return fmt.Errorf("plan images: %w", err)
		}
	}
	var collections []string
	var split Split // of image files, growing
	seen := 0
	for name, err := range walk(p.ctx, path, "") {
		if err != nil {
			return fmt.Errorf("list %s: %w", path, err)
		}
		seen++
		switch kindOf(join(path, name)) {
		case "":
		case Folder:
			if split.End == split.Begin {
				split.Path, split.Kind, split.From = path, Folder, name
			}
			if split.End++; split.End-split.Begin == p.maxRows {
				p.emit(split)
				split.Begin = split.End
			}
		default:
			collections = append(collections, join(path, name))
		}
	}
	if split.End > split.Begin {
		p.emit(split)
	}
	for _, name := range collections {
		n, err := count(p.ctx, name)
		if err != nil {
			return err
		}
		for begin := int64(0); begin < n; begin += p.maxRows {
			p.emit(Split{Path: name, Kind: kindOf(name), Begin: begin, End: min(begin+p.maxRows, n)})
		}
	}
	switch {
	case len(p.splits) > before:
		return nil
	case seen == 0:
		return fmt.Errorf("%s is empty or does not exist; %s", path, wanted)
	}
	return fmt.Errorf("%s holds no images (%d files seen); %s", path, seen, wanted)
}

func (p *planner) emit(s Split) {
	s.Index = int64(len(p.splits))
	p.splits = append(p.splits, s)
}

// count returns the number of images of a collection.
func count(ctx context.Context, name string) (int64, error) {
	switch kindOf(name) {
	case Parquet:
		return countParquet(ctx, name)
	case Tar:
		return countTar(ctx, name)
	}
	return countIDX(ctx, name)
}

// join appends a relative name with slashes; the empty name is the path itself.
func join(path, name string) string {
	if name == "" {
		return path
	}
	return files.Join(path, strings.Split(name, "/")...)
}
