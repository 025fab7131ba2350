package imageio

import (
	"cmp"
	"context"
	"fmt"
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
	count:    func(context.Context, string) (int64, error) { return 1, nil },
	read:     readFolder,
}

// walk iterates over the files in a folder and its subfolders, starting at from, as slash-separated names relative to
// the folder. They are sorted by name, component by component. Links are followed; hidden files and folders are
// skipped. On object stores other than Google's the files may be at most three folders deep.
func walk(ctx context.Context, root, from string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if files.IsLocal(root) {
			walkLocal(root, "", from, yield)
		} else {
			walkRemote(ctx, root, from, yield)
		}
	}
}

// maxDepth is the maximum nesting of folders; it stops cycles of links.
const maxDepth = 64

func walkLocal(root, rel, from string, yield func(string, error) bool) bool {
	if strings.Count(rel, "/") > maxDepth {
		return yield("", fmt.Errorf("%s: more than %d folders deep; do links form a cycle?", rel, maxDepth))
	}
	entries, err := os.ReadDir(join(root, rel))
	if err != nil {
		return yield("", err)
	}
	first, rest, _ := strings.Cut(from, "/")
	for _, e := range entries {
		if e.Name() < first || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		name := path.Join(rel, e.Name())
		mode := e.Type()
		if mode&os.ModeSymlink != 0 {
			info, err := os.Stat(join(root, name))
			if err != nil {
				if !yield("", err) {
					return false
				}
				continue
			}
			mode = info.Mode()
		}
		ok := true
		switch {
		case mode.IsDir():
			below := ""
			if e.Name() == first {
				below = rest
			}
			ok = walkLocal(root, name, below, yield)
		case mode.IsRegular():
			ok = yield(name, nil)
		}
		if !ok {
			return false
		}
	}
	return true
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
	for _, name := range names {
		hidden := strings.HasPrefix(name, ".") || strings.Contains(name, "/.")
		if hidden || strings.HasSuffix(name, "/") || byPath(name, from) < 0 {
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
		if err != nil {
			return fmt.Errorf("list %s: %w", split.Path, err)
		}
		if !isImage(name) {
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
	data, err := readFile(ctx, file)
	if err != nil {
		return fmt.Errorf("read %s: %w", file, err)
	}
	return yield(Image{Source: file, Data: data, Label: -1, Class: parent(file)})
}
