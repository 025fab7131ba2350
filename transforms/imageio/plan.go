package imageio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Plan lists the images in files and folders and divides them into splits of at most maxRows images. Splits follow the
// order of paths; in a folder the image files come first, then the collections found in it, both sorted by path, then
// what cannot be read: a damaged collection, a folder without permission, a link that leads nowhere. Each of these is a
// split of one damaged image. The same files yield the same splits on every machine. Hidden files, files of unknown
// kinds and tables without images are skipped, and so are links to folders that are read anyway. A path that does not
// exist or holds no images is an error, and it is one if nothing in any path can be read.
func Plan(ctx context.Context, paths []string, maxRows int) ([]Split, error) {
	splits, _, err := Survey(ctx, paths, maxRows, Columns{})
	return splits, err
}

// Survey is [Plan] for given columns, and also tells for each path which splits it has and what is passed over.
func Survey(ctx context.Context, paths []string, maxRows int, columns Columns) ([]Split, []Source, error) {
	if maxRows < 1 {
		return nil, nil, fmt.Errorf("plan images: %d images per split, want at least 1", maxRows)
	}
	if len(paths) == 0 {
		return nil, nil, errors.New("plan images: no path given; " + wanted())
	}
	p := planner{ctx: ctx, maxRows: int64(maxRows), columns: columns}
	for _, path := range paths {
		if err := p.add(path); err != nil {
			return nil, nil, err
		}
	}
	if !p.sound {
		return nil, nil, cmp.Or(p.broken, p.empty)
	}
	return p.splits, p.sources, nil
}

type planner struct {
	ctx     context.Context
	maxRows int64
	columns Columns
	splits  []Split
	sources []Source
	faults  []Split // of the last source
	table   error   // about its first table without images
	sound   bool    // whether any source has images that can be read
	broken  error   // about the first that has none
	empty   error   // about the first file that is sound, but without a row, such as one of several shards
}

func (p *planner) add(path string) error {
	file, err := p.isFile(path)
	if err != nil {
		return err
	}
	p.sources = append(p.sources, Source{Path: path, Begin: int64(len(p.splits))})
	p.faults, p.table = nil, nil
	before, seen := len(p.splits), 1
	if file {
		err = p.addFile(path, false)
	} else {
		seen, err = p.addFolder(path)
	}
	source := p.source()
	none := len(p.splits) == before
	switch {
	case err != nil:
		return err
	case none && len(p.faults) > 0 && p.broken == nil:
		p.broken = fmt.Errorf("%s holds no images that can be read: %s: %s", path, p.faults[0].Path, p.faults[0].Damage)
		if file {
			p.broken = fmt.Errorf("read %s: %s", path, p.faults[0].Damage)
		}
	case none && len(p.faults) > 0:
	case none && seen == 0:
		return fmt.Errorf("%s is empty or does not exist%s; %s", path, pattern(path), wanted())
	case none && p.table != nil:
		return fmt.Errorf("%s holds no images, but %s; %w; %s", path, source.Passed, p.table, wanted())
	case none && len(source.Passed) > 0:
		return fmt.Errorf("%s holds no images, but %s; %s", path, source.Passed, wanted())
	case none && file && kindOf(path) != nil:
		p.empty = cmp.Or(p.empty, fmt.Errorf("%s holds no images; %s", path, wanted()))
	case none:
		return fmt.Errorf("%s holds no images; %s", path, wanted())
	default:
		p.sound = true
	}
	for _, fault := range p.faults {
		p.emit(fault)
	}
	source.End = int64(len(p.splits))
	return nil
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
		return false, fmt.Errorf("%s does not exist%s; %s", path, pattern(path), wanted())
	case err != nil:
		return false, fmt.Errorf("plan images: %w", err)
	}
	return !info.IsDir(), nil
}

// pattern says what to give instead of a path that does not exist if it is a pattern of names, which a shell leaves as it is
// where it is quoted; else it is empty.
func pattern(path string) string {
	at := strings.IndexAny(path, "*?[")
	if at < 0 {
		return ""
	}
	return "; patterns of names are not expanded here: give the folder " + files.Dir(path[:at]) + ", or each of the files"
}

// addFile adds a collection in a file, or a single image. A table without images is passed over if it was found in a
// folder, where it may be anything, such as what embed wrote.
func (p *planner) addFile(file string, found bool) error {
	k := kindOf(file)
	if k == nil {
		p.source().pass(file)
		return nil
	}
	split := Split{Path: file, Kind: k.name}
	switch k.name {
	case Parquet, List:
		split.Columns = p.columns
	case Zip:
		split.Columns.Label = p.columns.Label
	}
	n, err := p.count(k, &split)
	switch {
	case err != nil && temporary(err):
		return fmt.Errorf("read %s: %w", file, err)
	case found && errors.Is(err, errNoImages):
		p.source().pass(tables)
		p.table = cmp.Or(p.table, fmt.Errorf("%s has %w", file, err))
	case err != nil:
		p.fault(k.name, file, err)
	}
	for begin := int64(0); err == nil && begin < n; begin += p.maxRows {
		split.Begin, split.End = begin, min(begin+p.maxRows, n)
		p.emit(split)
	}
	return nil
}

// count returns the number of images in a file, and completes split.
func (p *planner) count(k *kind, split *Split) (n int64, err error) {
	var seen Source
	err = guard(func() (err error) {
		n, err = k.count(p.ctx, *split, &seen)
		return err
	})
	if size, local := sizeOf(split.Path); local && size == 0 && k.name != Folder {
		return 0, errors.New("the file is empty")
	}
	if err == nil {
		p.source().merge(seen)
		split.Root = seen.folders.root()
		return n, nil
	}
	if f, no := open(p.ctx, split.Path); no == nil {
		defer f.Close()
		head, _ := io.ReadAll(io.LimitReader(f, 64))
		if text := misplaced(head); text != "" && !(k.packed && begins(head, gzipMagic)) {
			return 0, errors.New(text)
		}
	}
	return 0, err
}

// sizeOf returns the size of a local file.
func sizeOf(file string) (size int64, local bool) {
	info, err := os.Stat(file)
	if !files.IsLocal(file) || err != nil {
		return 0, false
	}
	return info.Size(), true
}

// addFolder adds the images of a folder and returns how many files it saw.
func (p *planner) addFolder(path string) (seen int, err error) {
	var collections []string
	var split Split // of image files, being filled
	labels := newMetadataLabels(nil)
	for name, err := range walk(p.ctx, path, "") {
		if err != nil && (name == "" || temporary(err)) {
			return seen, fmt.Errorf("list %s: %w", path, err)
		}
		seen++
		switch k := kindOf(name); {
		case errors.Is(err, errSpecial):
			p.source().pass(special)
		case errors.Is(err, errAgain):
			p.source().pass(again)
		case err != nil:
			p.fault(Folder, join(path, name), err)
		case isMetadata(name):
			file := join(path, name)
			switch m, err := openMetadata(p.ctx, file, p.columns.Label); {
			case err == nil:
				labels.add(name, m)
			case temporary(err):
				return seen, fmt.Errorf("read %s: %w", file, err)
			case k != nil && k.name == Parquet:
				collections = append(collections, file)
			default:
				p.source().pass(unused)
				p.source().hint(file, err)
			}
		case k == nil && isLabels(name):
		case k == nil || k.direct:
			p.source().pass(name)
		case k.name != Folder:
			collections = append(collections, join(path, name))
		default:
			if split.End == split.Begin {
				split.Path, split.Kind, split.From, split.Columns.Label = path, Folder, name, p.columns.Label
			}
			split.Last = name
			if split.End++; split.End-split.Begin == p.maxRows {
				p.emit(split)
				split.Begin = split.End
			}
		}
	}
	if split.End > split.Begin {
		p.emit(split)
	}
	if len(labels.by) > 0 {
		p.source().Rows = labels.unused(func(yield func(string) bool) {
			for name, err := range walk(p.ctx, path, "") { // again, which is cheaper than to keep the names of all folders
				if err == nil && isImage(name) && !yield(name) {
					return
				}
			}
		})
	}
	found := map[string]bool{}
	for _, file := range collections {
		found[file] = true
	}
	for _, file := range collections {
		if unpacked, packed := strings.CutSuffix(file, ".gz"); packed && found[unpacked] {
			p.source().pass(copies)
			continue
		}
		if err := p.addFile(file, true); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

func (p *planner) emit(s Split) {
	s.Index = int64(len(p.splits))
	p.splits = append(p.splits, s)
}

// fault notes a file or folder that cannot be read.
func (p *planner) fault(kind, path string, err error) {
	p.faults = append(p.faults, Split{Path: path, Kind: kind, End: 1, Damage: files.Text(reason(describe(path, err)).Error())})
}

// source returns that of the path whose images are being added.
func (p *planner) source() *Source { return &p.sources[len(p.sources)-1] }

// join appends a slash-separated relative name to a folder.
func join(path, name string) string { return files.Join(path, strings.Split(name, "/")...) }
