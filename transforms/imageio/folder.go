package imageio

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// walk lists the files of a folder and the folders in it, without those before
// from, as names relative to it with slashes. The order is that of the names,
// component by component. A root that is a file gives the empty name. Links are
// followed; hidden files and folders are not listed. On object stores other
// than Google's the files may be at most three folders deep.
func walk(ctx context.Context, root, from string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if !files.IsLocal(root) {
			walkRemote(ctx, root, from, yield)
			return
		}
		info, err := os.Stat(root)
		switch {
		case err != nil:
			yield("", err)
		case info.IsDir():
			walkLocal(root, "", from, yield)
		default:
			yield("", nil)
		}
	}
}

// maxDepth of folders in folders; links in a circle end there.
const maxDepth = 64

func walkLocal(root, rel, from string, yield func(string, error) bool) bool {
	if strings.Count(rel, "/") > maxDepth {
		return yield("", fmt.Errorf("%s: more than %d folders deep; do links form a circle?", rel, maxDepth))
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
	if kindOf(root) != "" {
		if ok, err := files.Exists(ctx, root); ok || err != nil {
			yield("", err)
			return
		}
	}
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

func readFolder(ctx context.Context, split Split, yield func(Image) error) error {
	left := split.End - split.Begin
	for name, err := range walk(ctx, split.Path, split.From) {
		if err != nil {
			return fmt.Errorf("list %s: %w", split.Path, err)
		}
		file := join(split.Path, name)
		if kindOf(file) != Folder {
			continue
		}
		data, err := readFile(ctx, file)
		if err != nil {
			return fmt.Errorf("read %s: %w", file, err)
		}
		if err := yield(Image{Source: file, Data: data, Label: -1, Class: parent(file)}); err != nil {
			return err
		}
		if left--; left == 0 {
			return nil
		}
	}
	return nil
}

// parent is the name of the folder that holds a file, empty if that is not told.
func parent(file string) string {
	dir := path.Base(path.Dir(strings.ReplaceAll(file, "\\", "/")))
	if dir == "." || dir == "/" {
		return ""
	}
	return dir
}

func readFile(ctx context.Context, name string) ([]byte, error) {
	if files.IsLocal(name) {
		return os.ReadFile(name)
	}
	r, err := open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}
