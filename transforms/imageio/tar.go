package imageio

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Tar is an archive of image files, optionally compressed with gzip. As in WebDataset, a member NAME.cls labels the
// images NAME.*; for the others the folder is the class. Hidden files and folders and macOS's __MACOSX are skipped.
const Tar = "tar"

var tarKind = kind{
	name:     Tar,
	files:    "WebDataset or other tar archives (.tar, .tar.gz, .tgz)",
	labels:   "a .cls member for each image in tar",
	suffixes: []string{".tar", ".tar.gz", ".tgz"},
	count:    countTar,
	read:     readTar,
}

// openTar opens an archive. offset returns the current position. A local uncompressed archive can seek, so that skipped
// members are not read.
func openTar(ctx context.Context, name string) (r io.Reader, offset func() int64, c io.Closer, err error) {
	if files.IsLocal(name) && strings.HasSuffix(strings.ToLower(name), ".tar") {
		f, err := open(ctx, name)
		if err != nil {
			return nil, nil, nil, err
		}
		seeker := f.(io.Seeker)
		return f, func() int64 { at, _ := seeker.Seek(0, io.SeekCurrent); return at }, f, nil
	}
	s, err := openStream(ctx, name)
	if err != nil {
		return nil, nil, nil, err
	}
	return s, func() int64 { return s.at }, s, nil
}

func countTar(ctx context.Context, name string) (n int64, err error) {
	r, offset, c, err := openTar(ctx, name)
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", name, err)
	}
	defer c.Close()
	err = eachMember(tar.NewReader(r), func(member string, _ *tar.Reader) error {
		if isImage(member) {
			n++
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("read %s, byte %d: %w", name, offset(), err)
	}
	return n, nil
}

// eachMember calls visit with the files of an archive, except ignored ones.
func eachMember(r *tar.Reader, visit func(name string, r *tar.Reader) error) error {
	for {
		head, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return truncated(err)
		}
		if head.Typeflag != tar.TypeReg || ignored(head.Name) {
			continue
		}
		if err := visit(head.Name, r); err != nil {
			return err
		}
	}
}

func readTar(ctx context.Context, split Split, yield func(Image) error) error {
	r, offset, c, err := openTar(ctx, split.Path)
	if err != nil {
		return fmt.Errorf("read %s: %w", split.Path, err)
	}
	defer c.Close()
	err = scanTar(r, split.Begin, split.End, func(im Image) error {
		im.Source = split.Path + "!" + im.Source
		return yield(im)
	})
	if err != nil {
		return fmt.Errorf("read %s, byte %d: %w", split.Path, offset(), err)
	}
	return nil
}

// errEnough stops a scan early.
var errEnough = errors.New("enough")

// scanTar calls yield with the images [begin, end) of an archive. As in WebDataset, the members of a sample are
// consecutive and share their path up to the first dot of the file name; a .cls member labels the images of its sample.
func scanTar(r io.Reader, begin, end int64, yield func(Image) error) error {
	var (
		n       int64   // images seen
		key     string  // of the current sample
		sample  []Image // its images in [begin, end)
		label   = int64(-1)
		class   string
		labeled bool
	)
	flush := func() error {
		for _, im := range sample {
			if labeled {
				im.Label, im.Class = label, class
			}
			if err := yield(im); err != nil {
				return err
			}
		}
		sample, label, class, labeled = nil, -1, "", false
		if n >= end {
			return errEnough
		}
		return nil
	}
	err := eachMember(tar.NewReader(r), func(name string, r *tar.Reader) error {
		dir, base := path.Split(name)
		stem, _, _ := strings.Cut(base, ".")
		if dir+stem != key {
			if err := flush(); err != nil {
				return err
			}
			key = dir + stem
		}
		switch {
		case strings.EqualFold(path.Ext(base), ".cls"):
			text, err := io.ReadAll(io.LimitReader(r, 1<<12))
			if err != nil {
				return fmt.Errorf("member %s: %w", name, truncated(err))
			}
			label, class = parseLabel(string(text))
			labeled = true
		case isImage(name):
			if n++; n <= begin || n > end {
				return nil
			}
			data, err := readMember(r)
			if err != nil {
				return fmt.Errorf("member %s: %w", name, err)
			}
			sample = append(sample, Image{Source: name, Data: data, Label: -1, Class: parent(name)})
		}
		return nil
	})
	if err == nil {
		err = flush()
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}
