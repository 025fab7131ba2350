package imageio

import (
	"archive/tar"
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Tar is an archive of image files, optionally compressed with gzip, or several such archives in one file. As in
// WebDataset, the members of a sample follow each other and share their path up to the first dot of the file name, and
// a .cls member labels the images of its sample; where a name repeats, or the next archive begins, so does the next
// sample. In a sample of several images, as of 22.05.png and 22.06.png, the label of an image is the .cls member with the
// longest part of its name: 22.05.cls, or else 22.cls. The folder is the class of images without such a label. Hidden
// files and folders and macOS's __MACOSX are skipped. Damage counts as a damaged image, and reading goes on at the next
// sound member; the label of an image next to it may be lost.
const Tar = "tar"

var tarKind = kind{
	name:     Tar,
	files:    "WebDataset or other tar archives (.tar, .tar.gz, .tgz)",
	labels:   "a .cls member for each image in tar",
	suffixes: []string{".tar", ".tar.gz", ".tgz"},
	packed:   true,
	count:    countTar,
	read:     readTar,
}

func countTar(ctx context.Context, split Split, seen *Source) (n int64, err error) {
	t, err := openTar(ctx, split.Path)
	if err != nil {
		return 0, err
	}
	defer t.file.Close()
	err = t.each(func(m tarMember) error {
		switch {
		case m.isImage():
			n++
			if m.damage == "" {
				seen.folders.add(m.head.Name)
			}
		case m.head.Typeflag == tar.TypeLink || m.head.Typeflag == tar.TypeSymlink:
			seen.pass(links)
		case m.isFile() && strings.EqualFold(path.Ext(m.head.Name), ".txt"):
			seen.pass(texts)
		case m.isFile() && !m.isLabel():
			seen.pass(m.head.Name)
		}
		return nil
	})
	if err == nil && t.at > 0 && !t.over && !t.cut {
		seen.pass(endless)
	}
	return n, err
}

func readTar(ctx context.Context, split Split, yield func(Image) error) error {
	t, err := openTar(ctx, split.Path)
	if err != nil {
		return err
	}
	defer t.file.Close()
	return scanTar(t, split.Begin, split.End, func(im Image) error {
		if im.Folders != "" {
			im.inFolders(below(split.Root, im.Source))
		}
		im.Source = strings.TrimSuffix(split.Path+"!"+im.Source, "!")
		return yield(im)
	})
}

// tarball is a tar archive that is being read.
type tarball struct {
	r    *bufio.Reader
	file io.ReadCloser // below r
	skip io.Seeker     // file, if it can seek to the next member; else nil
	size int64         // of the archive; the maximum if it is not known
	at   int64         // bytes read and passed over
	over bool          // whether the end of an archive comes last of what was read
	cut  bool          // whether damage ends it
}

// newTarball reads an archive from a stream.
func newTarball(r io.Reader) *tarball {
	return &tarball{r: bufio.NewReader(r), size: math.MaxInt64} // r itself, if it is one
}

// openTar opens an archive. A local uncompressed one can seek, so that skipped members are not read.
func openTar(ctx context.Context, name string) (*tarball, error) {
	s, err := openStream(ctx, name)
	if err != nil {
		return nil, err
	}
	t := newTarball(s.Reader)
	t.file = s
	if s.packed || !files.IsLocal(name) {
		return t, nil
	}
	f := s.file.(io.ReadSeeker)
	if t.size, err = f.Seek(0, io.SeekEnd); err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	t.r, t.skip = bufio.NewReaderSize(f, 1<<12), f // a page, since most of what follows a header is passed over
	return t, nil
}

// Read implements [io.Reader].
func (t *tarball) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.at += int64(n)
	return n, err
}

// Seek passes over bytes, which is how tar.Reader uses it.
func (t *tarball) Seek(offset int64, whence int) (int64, error) {
	if t.skip == nil || whence != io.SeekCurrent || offset < 0 {
		return 0, errors.ErrUnsupported
	}
	if buffered := int64(t.r.Buffered()); offset <= buffered {
		_, _ = t.r.Discard(int(offset))
	} else if _, err := t.skip.Seek(offset-buffered, io.SeekCurrent); err != nil {
		return 0, err
	} else {
		t.r.Reset(t.skip.(io.Reader))
	}
	t.at += offset
	return t.at, nil
}

// tarBlock is the size of the blocks of an archive.
const tarBlock = 512

// more passes over the zeros that end an archive, up to so many bytes into the file, and reports whether anything follows.
func (t *tarball) more(most int64) (bool, error) {
	for t.at < most {
		block, err := t.r.Peek(tarBlock)
		zero := len(bytes.Trim(block, "\x00")) == 0
		switch {
		case err == nil && !zero:
			return true, nil
		case err == nil:
			_, _ = t.r.Discard(len(block))
			t.at, t.over = t.at+int64(len(block)), true
		case errors.Is(err, io.EOF):
			return !zero, nil
		default:
			return false, err
		}
	}
	return false, nil
}

// tarMember is a member of an archive, or damage in its place.
type tarMember struct {
	head   *tar.Header
	data   io.Reader
	damage string
	begins bool // whether the end of another archive is right in front of it
}

// hasData reports whether data follow the header; those of GNU tar's incremental backups have a list of a folder's files.
func (m tarMember) hasData() bool {
	switch m.head.Typeflag {
	case tar.TypeLink, tar.TypeSymlink, tar.TypeChar, tar.TypeBlock, tar.TypeDir, tar.TypeFifo:
		return false
	}
	return true
}

func (m tarMember) isFile() bool {
	switch m.head.Typeflag {
	case tar.TypeReg, tar.TypeCont, tar.TypeGNUSparse:
		return true
	}
	return false
}

// isImage reports whether the member counts as an image; damage does.
func (m tarMember) isImage() bool {
	return m.damage != "" || m.isFile() && isImage(m.head.Name)
}

func (m tarMember) isLabel() bool {
	return m.isFile() && strings.EqualFold(path.Ext(m.head.Name), ".cls")
}

// farBegin is how far into a file the first member is looked for, if it does not begin with one.
const farBegin = 1 << 24

// each calls visit with the members of an archive, except ignored ones, and with the places where it is damaged.
func (t *tarball) each(visit func(tarMember) error) error {
	sound, lost := false, false // whether any member was; whether the next one is being looked for
	var r *tar.Reader           // nil where a member or the end of an archive is due
	for {
		var head *tar.Header
		more, err, fresh := true, error(nil), r == nil
		if fresh {
			most := int64(math.MaxInt64)
			if !sound {
				most = farBegin + 1
			}
			more, err = t.more(most)
			r = tar.NewReader(t)
		}
		if err == nil && more {
			head, err = r.Next()
		}
		wrong := errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong)
		switch {
		case err == nil && more:
			sound, lost = true, false
			if err := t.visit(r, head, visit); errors.Is(err, errEnd) {
				t.cut = true
				return nil
			} else if err != nil {
				return err
			}
			if !sparse(head) { // the reader knows where the data of these ends
				r = nil
			}
			continue
		case !fresh && errors.Is(err, io.EOF):
			r, t.over = nil, true
			continue
		case err != nil && temporary(err):
			return err
		case !sound && (err != nil && !wrong || !more && lost || t.at > farBegin):
			return fmt.Errorf("not a tar archive: %w", cmp.Or(truncated(err), tar.ErrHeader))
		case err == nil:
			return nil
		}
		then := "what follows is lost; fetch or pack the archive again"
		if wrong {
			then = "members up to the next sound one are lost"
		}
		if !lost {
			if err := visit(tarMember{damage: fmt.Sprintf("byte %d: %v; %s", t.at, truncated(err), then), begins: t.over}); err != nil {
				return err
			}
		}
		t.over = false
		t.cut = !wrong
		if lost = wrong; !wrong || t.pass(-t.at&(tarBlock-1)) != nil {
			return nil
		}
		r = nil
	}
}

// errEnd is the end of an archive that is truncated within a member.
var errEnd = errors.New("the archive ends here")

// visit calls visit with a member, unless it is ignored, and passes over its data.
func (t *tarball) visit(r *tar.Reader, head *tar.Header, visit func(tarMember) error) error {
	m := tarMember{head: head, data: r, begins: t.over}
	data := t.at
	if m.hasData() {
		data += head.Size
	}
	if !ignored(head.Name) {
		t.over = false
		if err := visit(m); err != nil {
			return err
		}
	}
	if sparse(head) {
		return nil
	}
	err := t.pass(data - t.at)
	whole := err == nil
	if whole {
		err = t.pass(-data & (tarBlock - 1))
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && t.size == data {
			err = nil // some archives lack the padding at their end
		}
	}
	switch {
	case err == nil || temporary(err):
		return err
	case !whole && m.isImage() && !ignored(head.Name): // the image itself is damaged
		return errEnd
	}
	err = visit(tarMember{damage: fmt.Sprintf("byte %d, member %s: %v; what follows is lost; fetch or pack the archive again", t.at, head.Name, truncated(err))})
	return cmp.Or(err, errEnd)
}

// pass passes over n bytes.
func (t *tarball) pass(n int64) error {
	if t.skip != nil && n > int64(t.r.Buffered()) {
		if n > t.size-t.at {
			return io.ErrUnexpectedEOF
		}
		_, err := t.Seek(n, io.SeekCurrent)
		return err
	}
	got, err := io.CopyN(io.Discard, t, n)
	if got > 0 && errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func sparse(head *tar.Header) bool {
	if head.Typeflag == tar.TypeGNUSparse {
		return true
	}
	for key := range head.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return false
}

// errEnough stops a scan early.
var errEnough = errors.New("enough")

// scanTar calls yield with the images [begin, end) of an archive; the source of damage is "".
func scanTar(t *tarball, begin, end int64, yield func(Image) error) error {
	s := sample{begin: begin, end: end, yield: yield, names: map[string]bool{}}
	err := t.each(func(m tarMember) error {
		if m.damage != "" {
			s.lost = s.lost || !m.begins
			if err := s.finish(); err != nil {
				return err
			}
			s.lost = true
			return s.add(waiting{Image: Image{Damage: m.damage, Label: -1}, decided: true})
		}
		s.labeled = s.labeled || m.isLabel()
		used := m.isImage() || m.isLabel()
		key := tarKey(m.head.Name)
		if m.begins || s.key != "" && key != s.key || used && s.names[m.head.Name] {
			if err := s.finish(); err != nil {
				return err
			}
		}
		if s.key = key; used {
			s.names[m.head.Name] = true
		}
		switch {
		case m.isImage():
			w := waiting{Image: Image{Source: m.head.Name, Label: -1, Folders: "."}, size: m.head.Size}
			if n := s.at + int64(len(s.images)); n >= begin && n < end {
				var err error
				if w.Data, err = readMember(m.data, m.head.Size); err != nil && temporary(err) {
					return fmt.Errorf("member %s: %w", m.head.Name, err)
				} else if err != nil {
					w.Damage = fmt.Sprintf("byte %d: %v", t.at, err)
				}
			}
			return s.add(w)
		case m.isLabel():
			text, err := io.ReadAll(io.LimitReader(m.data, 1<<12))
			if err != nil {
				return nil // the archive is damaged here, which each reports
			}
			return s.label(m.head.Name, string(text))
		}
		return nil
	})
	if err == nil {
		s.lost = s.lost || !t.over
		err = s.finish()
	}
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// tarKey returns the key of a member's sample: its path up to the first dot of the file name.
func tarKey(name string) string {
	dir, base := path.Split(name)
	stem, _, _ := strings.Cut(base, ".")
	return dir + stem
}

// Limits of a sample's images that wait for a label; what they are does not depend on which images are read.
const (
	mostWaiting  = 64
	bytesWaiting = 1 << 26 // of all but the last 8 images
	mostLabels   = 256
)

// sample gives the images of a sample its labels. An image waits for its label until the sample ends, or until there is
// one with its very name.
type sample struct {
	begin, end int64 // the images to yield
	yield      func(Image) error
	key        string
	names      map[string]bool // of its images and labels
	at         int64           // number of the first of images in the archive
	images     []waiting       // in their order
	bytes      int64           // of images
	labels     []tarLabel
	labeled    bool // whether the archive had any label so far
	lost       bool // whether damage may have taken its beginning or its end
	count      int  // of images, also of those that are not waiting any more
}

// waiting is an image that waits for its label, or for the images before it.
type waiting struct {
	Image
	size    int64
	decided bool
}

// whole matches a number that some programs write as a float.
var whole = regexp.MustCompile(`^\s*(\d+)\.0*\s*$`)

// tarLabel is the content of a .cls member and its name without the extension.
type tarLabel struct{ stem, text string }

// add adds an image.
func (s *sample) add(w waiting) error {
	s.images, s.bytes, s.count = append(s.images, w), s.bytes+w.size, s.count+1
	s.decide(len(s.images)-1, true)
	return s.flush(false)
}

// label adds a label.
func (s *sample) label(name, text string) error {
	if len(s.labels) == mostLabels { // the first may be that of all images
		s.labels = slices.Delete(s.labels, 1, 2)
	}
	s.labels = append(s.labels, tarLabel{strings.TrimSuffix(name, path.Ext(name)), text})
	for i := range s.images {
		s.decide(i, true)
	}
	return s.flush(false)
}

// decide labels an image by the .cls member with the longest part of its name, or only by one with its very name.
func (s *sample) decide(i int, exact bool) {
	w := &s.images[i]
	if w.decided {
		return
	}
	name, best := strings.TrimSuffix(w.Source, path.Ext(w.Source)), -1
	for j, l := range s.labels {
		same := l.stem == name
		if same || !exact && strings.HasPrefix(name, l.stem+".") && (best < 0 || len(l.stem) > len(s.labels[best].stem)) {
			best = j
		}
		if same {
			break
		}
	}
	if best < 0 && !exact && s.count == 1 && len(s.labels) == 1 {
		best = 0
	}
	if best >= 0 {
		w.Folders = ""
		w.Label, w.Class = parseLabel(whole.ReplaceAllString(strings.TrimPrefix(s.labels[best].text, "\ufeff"), "$1"))
	}
	w.decided = best >= 0 || !exact
	if w.LabelLost = best < 0 && !exact && s.lost && s.labeled && w.Damage == ""; w.LabelLost {
		w.Folders = ""
	}
}

// flush yields the images whose labels are known, up to the first one that waits; all of them if the sample ends or too
// many wait.
func (s *sample) flush(all bool) error {
	for len(s.images) > 0 {
		most := len(s.images) > mostWaiting || len(s.images) > 8 && s.bytes > bytesWaiting
		if all || most {
			s.decide(0, false)
		}
		w := s.images[0]
		if !w.decided {
			return nil
		}
		s.images[0] = waiting{}
		s.images, s.bytes = s.images[1:], s.bytes-w.size
		if s.at++; s.at > s.begin && s.at <= s.end {
			if err := s.yield(w.Image); err != nil {
				return err
			}
		}
	}
	if s.at >= s.end {
		return errEnough
	}
	return nil
}

// finish ends a sample.
func (s *sample) finish() error {
	err := s.flush(true)
	s.key, s.names, s.labels, s.count, s.lost = "", map[string]bool{}, nil, 0, false
	return err
}
