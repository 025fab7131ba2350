package imageio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Folder is the image files in a folder and its subfolders. The names of the folders are the classes.
const Folder = "folder"

var folderKind = kind{
	name:     Folder,
	files:    "folders of images (" + strings.Join(extensions, ", ") + ")",
	labels:   "a folder for each class",
	suffixes: extensions,
	count:    func(context.Context, Split, func(string)) (int64, error) { return 1, nil },
	read:     readFolder,
}

// walk iterates over the files in a folder and its subfolders, starting at from, as slash-separated names relative to
// the folder. They are sorted by name, component by component. Links are followed; hidden files and folders and
// macOS's __MACOSX are skipped, and so are the folders of runs and studies inside. What cannot be listed, such as a folder
// without permission and a link to a folder that contains it, comes with an error, and the walk goes on; an error without
// a name ends it. A link that leads nowhere is a file by its name. On object stores other than Google's the files may be
// at most three folders deep.
func walk(ctx context.Context, root, from string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if files.IsLocal(root) {
			walkLocal(root, "", from, nil, yield)
		} else {
			walkRemote(ctx, root, from, yield)
		}
	}
}

// errSpecial is the error for a file that is no regular one, such as a pipe.
var errSpecial = errors.New("not a regular file")

// walkLocal walks the folder rel in root; above are the folders that contain it.
func walkLocal(root, rel, from string, above []fs.FileInfo, yield func(string, error) bool) bool {
	dir := join(root, rel)
	here, err := os.Stat(dir)
	if err != nil {
		return yield(rel, err)
	}
	if slices.ContainsFunc(above, func(info fs.FileInfo) bool { return os.SameFile(info, here) }) {
		return yield(rel, errors.New("a link to a folder that contains it; its files are read once"))
	}
	above = append(above[:len(above):len(above)], here)
	entries, err := os.ReadDir(dir)
	if err != nil && !yield(rel, err) {
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
		name := path.Join(rel, e.Name())
		mode := e.Type()
		if mode&fs.ModeSymlink != 0 {
			info, err := os.Stat(join(root, name))
			switch {
			case err == nil:
				mode = info.Mode()
			case isImage(name):
				mode = 0 // its reader will say why
			default:
				if !yield(name, describe(join(root, name), err)) {
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
			ok = walkLocal(root, name, below, above, yield)
		case mode.IsRegular():
			ok = yield(name, nil)
		default:
			ok = yield(name, errSpecial)
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
	globs := []string{"*", "*/*", "*/*/*", "*/*/*/*"}
	if strings.HasPrefix(root, "gs://") {
		globs = []string{"**"} // the only filesystem with such a glob
	}
	var names []string
	for _, glob := range globs {
		found, err := files.List(ctx, files.Quote(dir)+glob)
		if err != nil {
			yield("", err)
			return
		}
		for _, name := range found {
			names = append(names, strings.TrimPrefix(name, dir))
		}
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

// readFolder reads image files of a folder, or a single image file.
func readFolder(ctx context.Context, split Split, yield func(Image) error) error {
	if split.From == "" {
		return readImage(ctx, split.Path, yield)
	}
	left := split.End - split.Begin
	for name, err := range walk(ctx, split.Path, split.From) {
		if err != nil && name == "" {
			return fmt.Errorf("list: %w", err)
		}
		if err != nil || !isImage(name) {
			continue
		}
		if err := readImage(ctx, join(split.Path, name), yield); err != nil {
			return err
		}
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}

func readImage(ctx context.Context, file string, yield func(Image) error) error {
	im := Image{Source: file, Label: -1, Class: parent(file)}
	var err error
	if im.Data, err = readFile(ctx, file); err != nil && temporary(err) {
		return fmt.Errorf("image %s: %w", file, err)
	} else if err != nil {
		im.Damage = reason(describe(file, err)).Error()
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
