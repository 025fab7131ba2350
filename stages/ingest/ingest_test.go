package ingest_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/png"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"

	//lint:ignore SA1019 programs may still use it, so its results must agree
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/fault"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/parquet"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) {
	beam.Init()
	os.Exit(m.Run())
}

// encoded returns a PNG of one color that encodes its index.
func encoded(t testing.TB, i, width, height int) []byte {
	im := image.NewNRGBA(image.Rect(0, 0, width, height))
	for at := 0; at < len(im.Pix); at += 4 {
		copy(im.Pix[at:], []uint8{uint8(i), uint8(i * 7), uint8(255 - i), 255})
	}
	im.SetNRGBA(0, 0, color.NRGBA{G: uint8(i), A: 255})
	var b bytes.Buffer
	require.NoError(t, png.Encode(&b, im))
	return b.Bytes()
}

// collection writes a folder of n images in two classes and an IDX file of 5,
// and returns its splits of at most 8 images.
func collection(t testing.TB, n int, bad ...int) []imageio.Split {
	dir := t.TempDir()
	for _, class := range []string{"ant", "bee"} {
		require.NoError(t, os.Mkdir(filepath.Join(dir, class), 0o755))
	}
	for i := range n {
		data := encoded(t, i, 6+i%5, 9-i%4)
		for _, b := range bad {
			if b == i {
				data = data[:40] // within the header of the pixels
			}
		}
		class := []string{"ant", "bee"}[i*2/n]
		require.NoError(t, os.WriteFile(filepath.Join(dir, class, fmt.Sprintf("%03d.png", i)), data, 0o644))
	}
	idx := binary.BigEndian.AppendUint32(nil, 0x803)
	for _, v := range []uint32{5, 4, 3} {
		idx = binary.BigEndian.AppendUint32(idx, v)
	}
	for i := range 5 * 4 * 3 {
		idx = append(idx, uint8(i))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "t10k-images-idx3-ubyte"), idx, 0o644))
	splits, err := imageio.Plan(t.Context(), []string{dir}, 8)
	require.NoError(t, err)
	return splits
}

// run ingests the splits and returns the references that the stage emitted, via files.
func run(t testing.TB, runner string, splits []imageio.Split, cfg ingest.Config) ([]shards.Ref, error) {
	p, s := beam.NewPipelineWithRoot()
	out := t.TempDir()
	arrowio.WriteDir(s, out, ingest.Ingest(s, beam.CreateList(s, splits), cfg))
	if _, err := beam.Run(t.Context(), runner, p); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(out, "*.arrow"))
	require.NoError(t, err)
	var refs []shards.Ref
	for _, path := range paths {
		f, err := arrowio.OpenFile(t.Context(), path)
		require.NoError(t, err)
		for i := range f.NumRecords() {
			rec, err := f.Record(i)
			require.NoError(t, err)
			rows, err := record.Rows[shards.Ref](record.New(rec))
			require.NoError(t, err)
			require.Len(t, rows, 1)
			refs = append(refs, rows...)
		}
		require.NoError(t, f.Close())
	}
	shards.Sort(refs)
	return refs, nil
}

func config(t testing.TB) ingest.Config {
	dir := t.TempDir()
	return ingest.Config{Size: 6, Dir: dir, DeadLetter: filepath.Join(dir, "dead-letter.parquet"), MaxBad: .1}
}

func content(t testing.TB, refs []shards.Ref) (all [][]byte) {
	for _, ref := range refs {
		data, err := os.ReadFile(ref.Path)
		require.NoError(t, err)
		all = append(all, data)
	}
	return all
}

// Both runners, and a second run into the same folder, write the same bytes.
func TestShardsAreTheSameEverywhere(t *testing.T) {
	splits := collection(t, 30, 4)
	require.Len(t, splits, 5)
	var first [][]byte
	for _, runner := range []string{"prism", "direct"} {
		cfg := config(t)
		for range 2 {
			refs, err := run(t, runner, splits, cfg)
			require.NoError(t, err)
			require.Len(t, refs, 5)
			var rows []int64
			for i, ref := range refs {
				require.Equal(t, filepath.Join(cfg.Dir, "shards", fmt.Sprintf("shard-%05d.arrow", i)), ref.Path)
				rows = append(rows, ref.Rows)
			}
			require.Equal(t, []int64{7, 8, 8, 6, 5}, rows)
			got := content(t, refs)
			if first == nil {
				first = got
			}
			require.Equal(t, first, got, runner)
			dead, err := ingest.ReadDead(t.Context(), cfg.DeadLetter)
			require.NoError(t, err)
			require.Len(t, dead, 1)
			require.Equal(t, "004.png", filepath.Base(dead[0].Source))
			require.Contains(t, dead[0].Reason, "PNG")
			entries, err := os.ReadDir(filepath.Join(cfg.Dir, "shards"))
			require.NoError(t, err)
			require.Len(t, entries, 5, "no temporary files stay")
		}
	}
}

// The stored images are the source's, in its order, and without labels.
func TestShardsHoldTheImages(t *testing.T) {
	splits := collection(t, 20)
	cfg := config(t)
	refs, err := run(t, "direct", splits, cfg)
	require.NoError(t, err)
	images, err := shards.Open(t.Context(), refs)
	require.NoError(t, err)
	defer images.Close()
	require.Equal(t, 25, images.Len())
	require.Equal(t, 6, images.Size())
	i := 0
	for _, split := range splits {
		require.NoError(t, imageio.ReadSplit(t.Context(), split, func(im imageio.Image) error {
			rgb, err := imageio.Decode(im.Data)
			require.NoError(t, err)
			require.Equal(t, rgb.Square(6).Pix, images.At(i))
			i++
			return nil
		}))
	}
	f, err := arrowio.OpenFile(t.Context(), refs[0].Path)
	require.NoError(t, err)
	defer f.Close()
	require.True(t, f.Schema().Equal(shards.Schema(6)))
	rec, err := f.Record(0)
	require.NoError(t, err)
	type row struct {
		Source string `arrow:"source"`
		Row    int64  `arrow:"row"`
	}
	rows, err := record.Rows[row](record.New(rec))
	require.NoError(t, err)
	require.Equal(t, "000.png", filepath.Base(rows[0].Source))
}

// Unreadable members of an archive become dead letters, whatever the reason, and the others are stored.
func TestZipWithDeadLetters(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pack.zip")
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(h *zip.FileHeader, data []byte) {
		f, err := w.CreateRaw(h)
		require.NoError(t, err)
		_, err = f.Write(data)
		require.NoError(t, err)
	}
	stored := func(name string, flags uint16, data []byte) {
		n := uint64(len(data))
		add(&zip.FileHeader{Name: name, Flags: flags, CRC32: crc32.ChecksumIEEE(data), CompressedSize64: n, UncompressedSize64: n}, data)
	}
	for i := range 12 {
		stored(fmt.Sprintf("ant/%03d.png", i), 0, encoded(t, i, 7, 7))
	}
	stored("ant/encrypted.png", 1, encoded(t, 1, 7, 7))
	stored("bee/damaged.png", 0, encoded(t, 1, 7, 7)[:40])
	add(&zip.FileHeader{Name: "bee/checksum.png", CRC32: 1, CompressedSize64: 1, UncompressedSize64: 1}, []byte("x"))
	stored("__MACOSX/ant/._000.png", 0, []byte("not looked at"))
	require.NoError(t, w.Close())
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))

	splits, err := imageio.Plan(t.Context(), []string{path}, 4)
	require.NoError(t, err)
	require.Len(t, splits, 4)
	var first [][]byte
	for _, runner := range []string{"prism", "direct"} {
		cfg := config(t)
		cfg.MaxBad = .2
		refs, err := run(t, runner, splits, cfg)
		require.NoError(t, err)
		require.Len(t, refs, 3)
		images, err := shards.Open(t.Context(), refs)
		require.NoError(t, err)
		for i := range images.Len() {
			rgb, err := imageio.Decode(encoded(t, i, 7, 7))
			require.NoError(t, err)
			require.Equal(t, rgb.Square(6).Pix, images.At(i))
		}
		require.Equal(t, 12, images.Len())
		require.NoError(t, images.Close())
		if first == nil {
			first = content(t, refs)
		}
		require.Equal(t, first, content(t, refs))
		dead, err := ingest.ReadDead(t.Context(), cfg.DeadLetter)
		require.NoError(t, err)
		require.Len(t, dead, 3)
		for i, want := range []imageio.Dead{{Source: "ant/encrypted.png", Reason: "encrypted"}, {Source: "bee/damaged.png", Reason: "decode PNG image of 40 bytes: truncated"}, {Source: "bee/checksum.png", Reason: "checksum error"}} {
			require.Equal(t, path+"!"+want.Source, dead[i].Source)
			require.Contains(t, dead[i].Reason, want.Reason)
		}
		cfg.MaxBad = .1
		_, err = run(t, runner, splits, cfg)
		require.ErrorContains(t, err, "3 of 15 images cannot be read")
		require.ErrorContains(t, err, path+"!ant/encrypted.png, row 0: encrypted; zip it without a password")
	}
}

// Missing images of a list become dead letters, and a list may name a file twice.
func TestListWithDeadLetters(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "images.txt")
	var lines []string
	for _, i := range []int{0, 1, 2, 3, 4, 3, 6, 7, 8, 9} {
		lines = append(lines, fmt.Sprintf("%d.png", i))
		if i != 7 {
			require.NoError(t, os.WriteFile(filepath.Join(dir, lines[len(lines)-1]), encoded(t, i, 7, 7), 0o644))
		}
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "2.png"), nil, 0o644))
	require.NoError(t, os.WriteFile(list, []byte(strings.Join(lines, "\n")), 0o644))
	splits, err := imageio.Plan(t.Context(), []string{list}, 3)
	require.NoError(t, err)
	require.Len(t, splits, 4)
	var first [][]byte
	for _, runner := range []string{"prism", "direct"} {
		cfg := config(t)
		cfg.MaxBad = .2
		refs, err := run(t, runner, splits, cfg)
		require.NoError(t, err)
		sameImages(t, refs, []int{0, 1, 3, 4, 3, 6, 8, 9})
		if first == nil {
			first = content(t, refs)
		}
		require.Equal(t, first, content(t, refs))
		dead, err := ingest.ReadDead(t.Context(), cfg.DeadLetter)
		require.NoError(t, err)
		require.Equal(t, []imageio.Dead{
			{Index: 2, Source: filepath.Join(dir, "2.png"), Reason: "decode image of 0 bytes: " + imageio.ErrFormat.Error()},
			{Index: 2<<32 + 1, Source: filepath.Join(dir, "7.png"), Reason: "no such file or directory; line 8 of " + list + " names it"},
		}, dead)
	}
}

// Sources with damage of every kind: what is sound is stored, the rest is named, and each source has its line in the log.
func TestDamagedSources(t *testing.T) {
	dir, archive := t.TempDir(), filepath.Join(t.TempDir(), "b.tar")
	at := func(name string) string { return filepath.Join(dir, name) }
	for i := range 12 {
		data := encoded(t, i, 7, 7)
		if i == 3 {
			data = data[:len(data)-12] // without IEND
		}
		require.NoError(t, os.WriteFile(at(fmt.Sprintf("%02d.png", i)), data, 0o644))
	}
	require.NoError(t, os.WriteFile(at("notes.txt"), nil, 0o644))
	require.NoError(t, os.WriteFile(at("shard.parquet"), []byte("PAR1"), 0o644))
	require.NoError(t, os.Symlink("/nowhere/20.png", at("20.png")))
	require.NoError(t, os.Symlink(dir, at("loop")))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range 4 {
		data := encoded(t, 12+i, 7, 7)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d.png", i), Size: int64(len(data))}))
		_, err := w.Write(data)
		require.NoError(t, err)
		require.NoError(t, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d.cls", i), Size: 1}))
		_, err = w.Write([]byte{byte('0' + i)})
		require.NoError(t, err)
	}
	require.NoError(t, os.WriteFile(archive, b.Bytes()[:b.Len()-2*512+20], 0o644)) // within the last image
	splits, sources, err := imageio.Survey(t.Context(), []string{dir, archive}, 5, imageio.Columns{})
	require.NoError(t, err)
	lines := logged(t)
	var first [][]byte
	for _, runner := range []string{"prism", "direct"} {
		lines.Reset()
		cfg := config(t)
		cfg.MaxBad, cfg.Sources = .3, sources
		refs, err := run(t, runner, splits, cfg)
		require.NoError(t, err)
		sameImages(t, refs, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14})
		if first == nil {
			first = content(t, refs)
		}
		require.Equal(t, first, content(t, refs))
		dead, err := ingest.ReadDead(t.Context(), cfg.DeadLetter)
		require.NoError(t, err)
		require.Len(t, dead, 3)
		for i, want := range []imageio.Dead{
			{Source: at("20.png"), Reason: "a link to /nowhere/20.png, which does not exist"},
			{Source: at("shard.parquet"), Reason: "not a sound Parquet file"},
			{Source: archive + "!3.png", Reason: "truncated"},
		} {
			require.Equal(t, want.Source, dead[i].Source)
			require.Contains(t, dead[i].Reason, want.Reason)
		}
		require.Contains(t, lines.String(), dir+": 12 images, 0 of them with labels, and 2 that cannot be read; 1 is damaged, and was read as far as it goes; passed over 1 .txt, 1 links to folders that are read anyway (")
		require.Contains(t, lines.String(), archive+": 3 images, 3 of them with labels, and 1 that cannot be read\"\n")
		cfg.MaxBad = .1
		_, err = run(t, runner, splits, cfg)
		require.ErrorContains(t, err, "3 of 18 images cannot be read")
	}
}

func TestTooManyBadImagesFail(t *testing.T) {
	splits, cfg := collection(t, 15, 1, 3, 7), config(t)
	for _, runner := range []string{"prism", "direct"} {
		_, err := run(t, runner, splits, cfg)
		require.ErrorContains(t, err, "3 of 20 images cannot be read")
		require.ErrorContains(t, err, "001.png")
		require.ErrorIs(t, fault.Parse(err), ingest.ErrTooManyBad)
		require.ErrorContains(t, err, cfg.DeadLetter)
		dead, err := ingest.ReadDead(t.Context(), cfg.DeadLetter)
		require.NoError(t, err)
		require.Len(t, dead, 3)
	}
	cfg.MaxBad = .15
	_, err := run(t, "direct", splits, cfg)
	require.NoError(t, err)
}

func TestNoGoodImageFails(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a.jpg"), []byte("no image"), 0o644))
	splits, err := imageio.Plan(t.Context(), []string{dir}, 8)
	require.NoError(t, err)
	cfg := config(t)
	cfg.MaxBad = 1
	_, err = run(t, "direct", splits, cfg)
	require.ErrorContains(t, err, "1 of 1 images cannot be read")
}

func TestDamagedCollectionFails(t *testing.T) {
	splits := collection(t, 4)
	idx := splits[len(splits)-1]
	require.NoError(t, os.Truncate(idx.Path, 50))
	_, err := run(t, "direct", splits, config(t))
	require.ErrorContains(t, err, idx.Path)
	require.ErrorContains(t, err, "truncated")
}

// Object stores work like local files.
func TestIngestOnAnotherFilesystem(t *testing.T) {
	ctx := context.Background()
	for i := range 3 {
		memfs.Write(fmt.Sprintf("memfs://ingest/in/c/%d.png", i), encoded(t, i, 8, 8))
	}
	splits, err := imageio.Plan(ctx, []string{"memfs://ingest/in"}, 2)
	require.NoError(t, err)
	require.Len(t, splits, 2)
	cfg := ingest.Config{Size: 6, Dir: "memfs://ingest/run", DeadLetter: "memfs://ingest/run/dead.parquet"}
	refs, err := run(t, "direct", splits, cfg)
	require.NoError(t, err)
	require.Len(t, refs, 2)
	images, err := shards.Open(ctx, refs)
	require.NoError(t, err)
	defer images.Close()
	require.Equal(t, 3, images.Len())
	rgb, err := imageio.Decode(encoded(t, 2, 8, 8))
	require.NoError(t, err)
	require.Equal(t, rgb.Square(6).Pix, images.At(2))
	dead, err := ingest.ReadDead(ctx, cfg.DeadLetter)
	require.NoError(t, err)
	require.Empty(t, dead)
}

func TestDeadLetterMayBeMissing(t *testing.T) {
	dead, err := ingest.ReadDead(t.Context(), filepath.Join(t.TempDir(), "none.parquet"))
	require.NoError(t, err)
	require.Empty(t, dead)
}

// sameImages checks that shards hold the images that encoded makes of some numbers, 7 x 7 pixels scaled to 6.
func sameImages(t *testing.T, refs []shards.Ref, numbers []int) {
	t.Helper()
	images, err := shards.Open(t.Context(), refs)
	require.NoError(t, err)
	require.Equal(t, len(numbers), images.Len())
	for at, i := range numbers {
		rgb, err := imageio.Decode(encoded(t, i, 7, 7))
		require.NoError(t, err)
		require.Equal(t, rgb.Square(6).Pix, images.At(at))
	}
	require.NoError(t, images.Close())
}

// logged returns what is logged until the test ends.
func logged(t *testing.T) *bytes.Buffer {
	lines, before := new(bytes.Buffer), slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(lines, nil)))
	return lines
}

// TestSingleColor warns of gray images of 16 bits, which become white squares, as in Pillow, or white with what was black.
func TestSingleColor(t *testing.T) {
	dir := t.TempDir()
	for i := range 12 {
		data := encoded(t, i, 7, 7)
		if i < 3 {
			deep := image.NewGray16(image.Rect(0, 0, 7, 7))
			for at := range deep.Pix {
				deep.Pix[at] = byte(16 + at)
			}
			if i == 0 {
				clear(deep.Pix[:2*2*7])
			}
			var b bytes.Buffer
			require.NoError(t, png.Encode(&b, deep))
			data = b.Bytes()
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.png", i)), data, 0o644))
	}
	lines := logged(t)
	splits, sources, err := imageio.Survey(t.Context(), []string{dir}, 5, imageio.Columns{})
	require.NoError(t, err)
	cfg := config(t)
	cfg.Sources, cfg.Least = sources, 10
	_, err = run(t, "prism", splits, cfg)
	require.NoError(t, err)
	cfg.Least = 13
	_, err = run(t, "prism", splits, cfg)
	require.ErrorIs(t, fault.Parse(err), ingest.ErrTooFew)
	require.ErrorContains(t, err, "12 images are fewer than a mini-batch of 13 has")
	require.NotContains(t, lines.String(), "few images")
	require.Regexp(t, "level=WARN msg=\"many images are of a single color.* path="+dir+" images=2 of=12", lines.String())
	require.Regexp(t, "level=WARN msg=\"many images are mostly gray above 255, which is clipped to white.* path="+dir+" images=3 of=12", lines.String())
}

// TestFewImages refuses images that are mostly the same, in whatever splits, and warns if there are few for the subsets.
func TestFewImages(t *testing.T) {
	dir := t.TempDir()
	for i := range 12 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%02d.png", i)), encoded(t, i%4, 7, 7), 0o644))
	}
	for _, rows := range []int{3, 5, 20} {
		splits, err := imageio.Plan(t.Context(), []string{dir}, rows)
		require.NoError(t, err)
		lines, cfg := logged(t), config(t)
		cfg.Least, cfg.Subsets = 4, 3
		_, err = run(t, "prism", splits, cfg)
		require.NoError(t, err)
		require.NotContains(t, lines.String(), "few images")
		cfg.Subsets = 4
		_, err = run(t, "prism", splits, cfg)
		require.NoError(t, err)
		require.Contains(t, lines.String(), "few images")
		cfg.Least = 5
		_, err = run(t, "prism", splits, cfg)
		require.ErrorIs(t, fault.Parse(err), ingest.ErrTooFew)
		require.ErrorContains(t, err, "only 4 of the 12 images are different, fewer than a mini-batch of 5 has")
	}
}

// A thousand sound images in files, archives and tables of all formats, among faults of all kinds, arrive, and each fault is a
// dead letter or is counted as passed over.
func TestFaultsAmongSoundFiles(t *testing.T) {
	text, err := os.ReadFile("../../transforms/imageio/testdata/odd.json")
	require.NoError(t, err)
	var odd struct {
		Files map[string]struct {
			Data   []byte
			SHA256 string
		}
	}
	require.NoError(t, json.Unmarshal(text, &odd))
	dir, sound := t.TempDir(), 0
	write := func(name string, data []byte) {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	var want []string // sources of dead letters
	fault := func(name string, data []byte) {
		write(name, data)
		want = append(want, name)
	}
	for name, file := range odd.Files {
		if name = "odd/" + name; file.SHA256 == "" {
			fault(name, file.Data)
		} else if path.Ext(name) != ".pam" {
			write(name, file.Data)
			sound++
		}
	}
	picture := encoded(t, 1, 7, 7)
	pack := func(n int) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for i := range n {
			require.NoError(t, w.WriteHeader(&tar.Header{Name: fmt.Sprintf("%d.png", i), Size: int64(len(picture))}))
			_, err := w.Write(picture)
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	zipped := func(data []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, err := w.Write(data)
		require.NoError(t, err)
		require.NoError(t, w.Close())
		return b.Bytes()
	}
	write("packed/a.tar", pack(20))
	write("packed/b.tar.gz", zipped(pack(20)))
	write("packed/joined.tar", append(pack(20), pack(20)...))
	fault("packed/cut.tar", pack(11)[:10*1024+512+20]) // in the last image
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for i := range 20 {
		f, err := z.Create(fmt.Sprintf("%d.png", i))
		require.NoError(t, err)
		_, err = f.Write(picture)
		require.NoError(t, err)
	}
	require.NoError(t, z.Close())
	write("packed/c.zip", b.Bytes())
	sound += 20 + 20 + 40 + 10 + 20
	type row struct {
		Image []byte `arrow:"image"`
	}
	rows := slices.Repeat([]row{{picture}}, 10)
	b.Reset()
	require.NoError(t, parquet.Write(&b, record.Of(rows).Record, record.Of(rows[:5]).Record))
	write("tables/sound.parquet", b.Bytes())
	damaged := bytes.Clone(b.Bytes())
	footer := len(damaged) - 8 - int(binary.LittleEndian.Uint32(damaged[len(damaged)-8:]))
	copy(damaged[footer-40:], make([]byte, 40)) // in the second group
	write("tables/damaged.parquet", damaged)
	want = append(want, slices.Repeat([]string{"tables/damaged.parquet"}, 5)...)
	sound += 15 + 10
	for i := sound; i < 1000; i++ {
		write(fmt.Sprintf("%d/%03d.png", i%7, i), picture)
	}
	for name, data := range map[string][]byte{
		"empty.png": nil, "page.jpg": []byte("<html>"), "cut.png": picture[:len(picture)/2], "avif.jpg": []byte("\x00\x00\x00\x20ftypavif\x00\x00\x00\x00"),
		"lfs.png": []byte("version https://git-lfs.github.com/spec/v1\n"), "packed.png": zipped(picture), "noise.webp": []byte("noise"), "empty.tar": nil,
		"lfs.parquet": []byte("version https://git-lfs.github.com/spec/v1\n"), "noise.zip": []byte("noise"), "bomb.gif": []byte("GIF89a\xff\xff\xff\xff\x00\x00\x00"),
	} {
		fault("3/"+name, data)
	}
	for _, name := range []string{"dangling.png", "gone"} {
		require.NoError(t, os.Symlink("nowhere", filepath.Join(dir, name)))
		want = append(want, name)
	}
	require.NoError(t, os.Symlink(".", filepath.Join(dir, "2", "loop")))
	write("5/x.heic", []byte("x"))
	write("5/notes.txt", []byte("x"))
	write(".DS_Store", []byte("x"))

	splits, sources, err := imageio.Survey(t.Context(), []string{dir}, 100, imageio.Columns{})
	require.NoError(t, err)
	require.Equal(t, imageio.Passed{".heic": 1, ".txt": 1, ".pam": 1, "links to folders that are read anyway": 1}, sources[0].Passed)
	cfg := config(t)
	cfg.MaxBad, cfg.Sources = .5, sources
	refs, err := run(t, "prism", splits, cfg)
	require.NoError(t, err)
	stored := int64(0)
	for _, ref := range refs {
		stored += ref.Rows
	}
	dead, err := ingest.ReadDead(t.Context(), cfg.DeadLetter)
	require.NoError(t, err)
	var got []string
	for _, d := range dead {
		require.NotEmpty(t, d.Reason)
		source, _, _ := strings.Cut(strings.TrimPrefix(d.Source, dir+"/"), "!")
		got = append(got, source)
	}
	require.ElementsMatch(t, slices.DeleteFunc(want, func(name string) bool { return path.Ext(name) == ".pam" }), got)
	require.EqualValues(t, 1000, stored)
}
