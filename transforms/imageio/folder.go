package imageio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Folder is the image files in a folder and its subfolders. The names of the folders are the classes, except below a
// metadata.csv, metadata.jsonl or metadata.parquet as of HuggingFace's imagefolder: its rows have the path of an image,
// relative to the file, in the column file_name, and the label in the column of Columns or a usual one; an image without a
// row has no label.
const Folder = "folder"

var folderKind = kind{
	name:     Folder,
	files:    "folders of images (" + strings.Join(extensions, ", ") + ")",
	labels:   "a folder for each class, a metadata.csv in a folder",
	suffixes: extensions,
	count:    func(context.Context, Split, *Source) (int64, error) { return 1, nil },
	read:     readFolder,
}

// walk iterates over the files in a folder and its subfolders, starting at from, as slash-separated names relative to the
// folder. They are sorted by name, component by component. Links are followed; hidden files and folders, macOS's __MACOSX
// and Spark's _temporary are skipped, and so are the folders of runs and studies inside. What cannot be listed, such as a
// folder without permission, comes with an error, and the walk goes on; an error without a name ends it. No folder is entered
// twice: a link to one that the walk enters anyway comes with errAgain. A link that leads nowhere is a file by its name.
// On object stores other than Google's the files may be at most three folders deep.
func walk(ctx context.Context, root, from string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if files.IsLocal(root) {
			walkLocal(root, from, yield)
		} else {
			walkRemote(ctx, root, from, yield)
		}
	}
}

// errSpecial is the error for a file that is no regular one, such as a pipe.
var errSpecial = errors.New("not a regular file")

// errAgain is the error for a link to a folder that is inside the root and not hidden, or that was entered before.
var errAgain = errors.New("a link to a folder that is read anyway")

// walker walks a local folder.
type walker struct {
	root, real string          // the folder, as given and without links in its path
	from       string          // where the walk began, as long as it is not known what it would have entered before
	entered    map[string]bool // the folders that only links lead to, by their paths without links
	yield      func(string, error) bool
}

func walkLocal(root, from string, yield func(string, error) bool) {
	real, err := filepath.Abs(root)
	if err == nil {
		real, err = filepath.EvalSymlinks(real)
	}
	if err != nil {
		yield("", err)
		return
	}
	w := walker{root, real, from, map[string]bool{}, yield}
	w.walk("", real, from)
}

// enters reports whether to enter a folder, given its path without links.
func (w *walker) enters(name, real string) bool {
	if real == filepath.Join(w.real, filepath.FromSlash(name)) { // there is no link in its path
		return true
	}
	if inside, err := filepath.Rel(w.real, real); err == nil && filepath.IsLocal(inside) && !ignored(inside) {
		return false
	}
	if w.from != "" {
		before := walker{w.root, w.real, "", w.entered, func(name string, _ error) bool { return byPath(name, w.from) < 0 }}
		before.walk("", w.real, "")
		w.from = ""
	}
	again := w.entered[real]
	w.entered[real] = true
	return !again
}

// walk walks the folder rel in the root, whose path without links is real, starting at from.
func (w *walker) walk(rel, real, from string) bool {
	entries, err := os.ReadDir(join(w.root, rel))
	if err != nil && !w.yield(rel, err) {
		return false
	}
	if rel != "" && isRun(func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}) {
		return true
	}
	first, rest, _ := strings.Cut(from, "/")
	for _, e := range entries {
		if e.Name() < first || ignored(e.Name()) {
			continue
		}
		name, target := path.Join(rel, e.Name()), filepath.Join(real, e.Name())
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(target)
			if err == nil {
				target, err = filepath.EvalSymlinks(target)
			}
			switch {
			case err == nil:
				mode = info.Mode()
			case isImage(name):
				mode = 0 // its reader will say why
			default:
				if !w.yield(name, describe(join(w.root, name), err)) {
					return false
				}
				continue
			}
		}
		ok := true
		switch {
		case mode.IsDir():
			below := ""
			if e.Name() == first {
				below = rest
			}
			if below != "" || w.enters(name, target) {
				ok = w.walk(name, target, below)
			} else {
				ok = w.yield(name, errAgain)
			}
		case mode.IsRegular():
			ok = w.yield(name, nil)
		default:
			ok = w.yield(name, errSpecial)
		}
		if !ok {
			return false
		}
	}
	return true
}

// isRun reports whether a folder is that of a run or a study, by the files that package run writes first.
func isRun(has func(file string) bool) bool {
	return has("run.json") && has("recipe.yaml") || has("study.json") && has("study.yaml")
}

// describe names the target of a link that leads nowhere.
func describe(file string, err error) error {
	if target, no := os.Readlink(file); no == nil && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("a link to %s, which does not exist", target)
	}
	return err
}

func walkRemote(ctx context.Context, root, from string, yield func(string, error) bool) {
	dir := strings.TrimSuffix(root, "/") + "/"
	names, err := files.Below(ctx, root)
	if err != nil {
		yield("", err)
		return
	}
	for i, name := range names {
		names[i] = strings.TrimPrefix(name, dir)
	}
	slices.SortFunc(names, byPath)
	inRun := func(name string) bool {
		for at := strings.LastIndexByte(name, '/'); at > 0; at = strings.LastIndexByte(name[:at], '/') {
			if isRun(func(file string) bool {
				_, found := slices.BinarySearchFunc(names, name[:at+1]+file, byPath)
				return found
			}) {
				return true
			}
		}
		return false
	}
	for _, name := range names {
		if inRun(name) || ignored(name) || strings.HasSuffix(name, "/") || byPath(name, from) < 0 {
			continue
		}
		if !yield(name, nil) {
			return
		}
	}
}

// byPath compares names component by component.
func byPath(a, b string) int {
	flat := func(s string) string { return strings.ReplaceAll(s, "/", "\x00") }
	return cmp.Compare(flat(a), flat(b))
}

// errRemoved is the error for the images of a split that are no longer there.
var errRemoved = errors.New("removed or renamed since the folder was listed")

// readFolder reads image files of a folder, or a single image file.
func readFolder(ctx context.Context, split Split, yield func(Image) error) error {
	if split.From == "" {
		im := Image{Source: split.Path, Label: -1, Folders: "."}
		return readImage(ctx, im, yield)
	}
	names, err := planned(ctx, split)
	if err != nil {
		return err
	}
	labels := folderMetadata(ctx, split)
	for _, name := range names {
		im := Image{Source: join(split.Path, name), Label: -1}
		if found, err := labels.label(name, &im); err != nil {
			return err
		} else if !found {
			im.inFolders(path.Dir(name))
		}
		if err := readImage(ctx, im, yield); err != nil {
			return err
		}
	}
	if int64(len(names)) < split.End-split.Begin {
		return errRemoved
	}
	return nil
}

// planned lists the image files of a split that are still there. Where there are more files between its first and its last
// one than were planned, it leaves out the newest: they were added since.
func planned(ctx context.Context, split Split) (names []string, err error) {
	for name, err := range walk(ctx, split.Path, split.From) {
		if err != nil && name == "" {
			return nil, fmt.Errorf("list: %w", err)
		}
		if byPath(name, split.Last) > 0 {
			break
		}
		if err == nil && isImage(name) {
			names = append(names, name)
		}
	}
	n := int(split.End - split.Begin)
	if len(names) <= n {
		return names, nil
	}
	modified := map[string]time.Time{}
	for _, name := range names {
		modified[name], _ = files.Modified(ctx, join(split.Path, name)) // one that is gone is reported where it is read
	}
	byAge := slices.SortedStableFunc(slices.Values(names), func(a, b string) int { return modified[a].Compare(modified[b]) })
	slog.Warn("images were added to a folder while it is read; they are passed over", "folder", split.Path, "images", len(names)-n, "such_as", byAge[n])
	for _, added := range byAge[n:] {
		delete(modified, added)
	}
	return slices.DeleteFunc(names, func(name string) bool { _, old := modified[name]; return !old }), nil
}

func readImage(ctx context.Context, im Image, yield func(Image) error) error {
	var err error
	if im.Data, err = readFile(ctx, im.Source); err != nil && temporary(err) {
		return fmt.Errorf("image %s: %w", im.Source, err)
	} else if err != nil {
		im.Damage = reason(describe(im.Source, err)).Error()
	}
	return yield(im)
}

// reason leaves out of an error what the reader knows anyway, the file.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
