package annotations

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// tree is a folder or an archive. Names are paths below it, with slashes.
type tree interface {
	// dir lists a folder, sorted by name; there is nothing in one that does not exist.
	dir(name string) []files.Entry
	// read returns the content of a file; if there is none, the error wraps fs.ErrNotExist.
	read(ctx context.Context, name string) ([]byte, error)
	// source returns the path of a file for messages.
	source(name string) string
	close() error
}

// openTree opens a folder or a tar archive.
func openTree(ctx context.Context, root string) (tree, error) {
	if files.IsFolder(ctx, root) {
		return folder{ctx, root}, nil
	}
	data, release, err := files.Map(ctx, root)
	if err != nil {
		return nil, err
	}
	t, err := newArchive(root, data)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	t.release = release
	return t, nil
}

// folder is a folder on any filesystem. It is listed within the context that it was opened with.
type folder struct {
	ctx  context.Context
	root string
}

func (f folder) path(name string) string { return files.Join(f.root, strings.Split(name, "/")...) }

func (f folder) dir(name string) []files.Entry {
	entries, _ := files.ReadDir(f.ctx, f.path(name)) // one that is missing has nothing in it
	return entries
}

func (f folder) read(ctx context.Context, name string) ([]byte, error) {
	return files.Read(ctx, f.path(name))
}

func (f folder) source(name string) string { return f.path(name) }
func (folder) close() error                { return nil }

// archive is a tar archive in memory, or mapped into it.
type archive struct {
	root    string
	members map[string][]byte        // the files
	folders map[string][]files.Entry // what is directly in each
	release func() error
}

// newArchive lists a tar archive.
func newArchive(root string, data []byte) (*archive, error) {
	if bytes.HasPrefix(data, []byte("\x1f\x8b")) {
		return nil, errors.New("a compressed archive; unpack it, or decompress it with gunzip")
	}
	a := &archive{root: root, members: map[string][]byte{}, folders: map[string][]files.Entry{}}
	at := bytes.NewReader(data)
	r := tar.NewReader(at)
	for {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("neither a folder nor a sound tar archive: %w", err)
		}
		if head.Typeflag != tar.TypeReg {
			continue
		}
		from := int64(len(data)) - int64(at.Len())
		if head.Size > int64(at.Len()) {
			return nil, fmt.Errorf("the archive ends within its member %s; it was not copied as a whole", head.Name)
		}
		a.add(path.Clean("/" + head.Name)[1:], data[from:from+head.Size])
	}
	if len(a.members) == 0 {
		return nil, fmt.Errorf("%w: neither a folder nor a tar archive with files in it", ErrNone)
	}
	for _, entries := range a.folders {
		slices.SortFunc(entries, func(a, b files.Entry) int { return strings.Compare(a.Name, b.Name) })
	}
	return a, nil
}

// add adds a member, and the folders that it is in. Of several members of a name, the last is taken.
func (a *archive) add(name string, data []byte) {
	_, known := a.members[name]
	a.members[name] = data
	for folder := false; !known && name != ""; folder = true {
		dir, base := path.Split(name)
		dir = strings.TrimSuffix(dir, "/")
		_, known = a.folders[dir]
		a.folders[dir] = append(a.folders[dir], files.Entry{Name: base, Folder: folder})
		name = dir
	}
}

func (a *archive) dir(name string) []files.Entry { return a.folders[name] }

func (a *archive) read(_ context.Context, name string) ([]byte, error) {
	if data, ok := a.members[path.Clean(name)]; ok {
		return data, nil
	}
	return nil, fs.ErrNotExist
}

func (a *archive) source(name string) string { return a.root + "!" + name }
func (a *archive) close() error              { return a.release() }
