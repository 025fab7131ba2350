package imageio_test

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[collectFn]())
}

func TestMain(m *testing.M) { ptest.Main(m) }

// collected is what collectFn received, by its Key.
var collected sync.Map

type collectFn struct{ Key string }

func (fn *collectFn) ProcessElement(b *record.Batch) {
	list, _ := collected.LoadOrStore(fn.Key, &batches{})
	list.(*batches).add(b)
}

type batches struct {
	sync.Mutex
	all []*record.Batch
}

func (b *batches) add(batch *record.Batch) {
	b.Lock()
	defer b.Unlock()
	b.all = append(b.all, batch)
}

// run runs the pipeline that read builds and returns the batches of images and of dead letters.
func run(t *testing.T, runner string, read func(beam.Scope) (images, dead beam.PCollection)) (images, dead []*record.Batch, err error) {
	p, s := beam.NewPipelineWithRoot()
	good, bad := read(s)
	key := t.TempDir() // unique
	beam.ParDo0(s, &collectFn{Key: key + "good"}, good)
	beam.ParDo0(s, &collectFn{Key: key + "bad"}, bad)
	result, err := beam.Run(t.Context(), runner, p)
	if err != nil {
		return nil, nil, err
	}
	of := func(kind string) []*record.Batch {
		list, _ := collected.LoadOrStore(key+kind, &batches{})
		return list.(*batches).all
	}
	images, dead = of("good"), of("bad")
	if runner == "prism" {
		count := func(name string) (n int64) {
			for _, c := range result.Metrics().Query(func(r metrics.SingleResult) bool { return r.Name() == name }).Counters() {
				n += c.Committed
			}
			return n
		}
		require.EqualValues(t, len(rowsOf[imageio.Row](t, images)), count("images"))
		require.EqualValues(t, len(rowsOf[imageio.Dead](t, dead)), count("dead_letters"))
	}
	return images, dead, nil
}

func rowsOf[T any](t *testing.T, batches []*record.Batch) []T {
	var all []T
	for _, b := range batches {
		rows, err := record.Rows[T](b)
		require.NoError(t, err)
		all = append(all, rows...)
	}
	return all
}

// byIndex sorts rows by Index.
func byIndex(rows []imageio.Row) []imageio.Row {
	slices.SortFunc(rows, func(a, b imageio.Row) int { return cmp.Compare(a.Index, b.Index) })
	return rows
}

// want returns the expected rows, from the plain functions.
func want(t *testing.T, size, splitRows int, paths ...string) (rows []imageio.Row, dead []imageio.Dead) {
	splits, err := imageio.Plan(t.Context(), paths, splitRows)
	require.NoError(t, err)
	for _, split := range splits {
		index := split.Index << 32
		require.NoError(t, imageio.ReadSplit(t.Context(), split, func(im imageio.Image) error {
			rgb, err := imageio.Decode(im.Data)
			if size > 0 {
				rgb, err = imageio.DecodeSquare(im.Data, size)
			}
			if im.Damage != "" {
				err = errors.New(im.Damage)
			}
			if err != nil {
				dead = append(dead, imageio.Dead{Index: index, Source: im.Source, Row: im.Row, Reason: err.Error()})
			} else {
				rows = append(rows, imageio.Row{
					Index: index, Source: im.Source, Row: im.Row, Label: im.Label, Class: im.Class, LabelLost: im.LabelLost,
					Width: int32(rgb.Width), Height: int32(rgb.Height), Pixels: rgb.Pix,
				})
			}
			index++
			return nil
		}))
	}
	return rows, dead
}

// collections has one collection of each kind, with some damaged images.
func collections(t *testing.T) []string {
	paths := []string{many(t, 40)}
	for _, name := range []string{"odd", "tiny.parquet", "webdataset.tar", "idx"} {
		paths = append(paths, filepath.Join(fixtures, name))
	}
	return paths
}

// Read yields the same as ReadSplit and Decode, on both local runners.
func TestRead(t *testing.T) {
	paths := collections(t)
	picture := string(must(os.ReadFile(filepath.Join(fixtures, "odd", "upright.png"))))
	cut := archive(member{"a.png", picture}, member{"a.cls", "1"}, member{"b.png", picture}, member{"b.cls", "2"})
	paths = append(paths, write(t, filepath.Join(t.TempDir(), "cut.tar"), cut[:len(cut)-1024-512])) // without b's label
	rows, letters := want(t, 0, 1024, paths...)
	require.Equal(t, []bool{false, true}, []bool{rows[len(rows)-2].LabelLost, rows[len(rows)-1].LabelLost})
	require.Len(t, letters, 6+2+1)
	for _, runner := range []string{"prism", "direct"} {
		images, dead, err := run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) { return imageio.Read(s, paths...) })
		require.NoError(t, err)
		require.Equal(t, rows, byIndex(rowsOf[imageio.Row](t, images)))
		require.ElementsMatch(t, letters, rowsOf[imageio.Dead](t, dead))
		for _, b := range images {
			require.True(t, b.Schema().Equal(record.Schema[imageio.Row]()))
		}
	}
}

// ReadAll and ReadSplits resize images and make batches of a given size.
func TestReadSquares(t *testing.T) {
	paths := collections(t)
	splits, err := imageio.Plan(t.Context(), paths, 7)
	require.NoError(t, err)
	rows, letters := want(t, 6, 7, paths...)
	cfg := imageio.ReadConfig{Size: 6, Batch: 5}
	for _, runner := range []string{"prism", "direct"} {
		images, dead, err := run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) {
			return imageio.ReadSplits(s, beam.CreateList(s, splits), cfg)
		})
		require.NoError(t, err)
		require.Equal(t, rows, byIndex(rowsOf[imageio.Row](t, images)))
		require.ElementsMatch(t, letters, rowsOf[imageio.Dead](t, dead))
		for _, b := range images {
			require.LessOrEqual(t, b.NumRows(), int64(5))
			of := rowsOf[imageio.Row](t, []*record.Batch{b})
			for i, r := range of {
				require.Equal(t, of[0].Index>>32, r.Index>>32, "one split")
				require.True(t, i == 0 || of[i-1].Index < r.Index, "in order")
			}
		}

		images, _, err = run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) {
			return imageio.ReadAll(s, beam.CreateList(s, paths), imageio.ReadConfig{Size: 6, Batch: 1 << 20})
		})
		require.NoError(t, err)
		require.Len(t, images, len(paths), "a batch a split")
		var pixels, wanted [][]byte
		for _, r := range rowsOf[imageio.Row](t, images) {
			pixels = append(pixels, r.Pixels)
		}
		for _, r := range rows {
			wanted = append(wanted, r.Pixels)
		}
		require.ElementsMatch(t, wanted, pixels)
	}
}

// Batches of large images are small.
func TestReadIsBounded(t *testing.T) {
	dir := t.TempDir()
	photo := fmt.Appendf(nil, "P6\n2000 1000\n255\n")
	photo = append(photo, make([]byte, 6_000_000)...)
	for i := range 12 {
		write(t, filepath.Join(dir, fmt.Sprintf("%d.ppm", i)), photo)
	}
	images, _, err := run(t, "direct", func(s beam.Scope) (images, dead beam.PCollection) { return imageio.Read(s, dir) })
	require.NoError(t, err)
	require.Len(t, images, 3)
	for _, b := range images {
		require.LessOrEqual(t, b.NumRows(), int64(5))
	}
}

func TestReadErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	changed := write(t, filepath.Join(t.TempDir(), "a.tar"), archive(member{"a.png", "no"}, member{"b.png", "no"}))
	for _, runner := range []string{"prism", "direct"} {
		_, _, err := run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) { return imageio.Read(s, fixtures, missing) })
		require.ErrorContains(t, err, missing+" does not exist")
		_, _, err = run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) {
			return imageio.ReadAll(s, beam.Create(s, t.TempDir()), imageio.ReadConfig{})
		})
		require.ErrorContains(t, err, "is empty or does not exist")
		_, _, err = run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) {
			return imageio.ReadSplits(s, beam.Create(s, imageio.Split{Path: changed, Kind: imageio.Tar, End: 3}), imageio.ReadConfig{})
		})
		require.ErrorContains(t, err, "imageio: read "+changed+": 2 images where 3 were planned: it changed since")
	}
	require.Panics(t, func() {
		_, s := beam.NewPipelineWithRoot()
		imageio.ReadAll(s, beam.Create(s, "x"), imageio.ReadConfig{Size: -1})
	})
}

// Names that are not UTF-8 are read, and are text in what is emitted and in errors.
func TestNamesThatAreNotText(t *testing.T) {
	dir := t.TempDir()
	picture := must(os.ReadFile(filepath.Join(fixtures, "odd", "upright.png")))
	at := func(name string) string { return filepath.Join(dir, "caf\xe9", name) }
	write(t, at("a\xff.png"), picture)
	write(t, at("b\xfe.png"), []byte("damaged"))
	require.NoError(t, os.Symlink("nowhere\xe9", at("c.png")))
	require.NoError(t, os.Symlink("nowhere\xe9", at("d")))
	write(t, at("\xe8.tar"), archive(member{"x\xe9/1.png", string(picture)}, member{"x\xe9/1.cls", "\xe4"}))
	for _, runner := range []string{"prism", "direct"} {
		images, dead, err := run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) { return imageio.Read(s, dir) })
		require.NoError(t, err)
		var got []string
		for _, im := range byIndex(rowsOf[imageio.Row](t, images)) {
			got = append(got, im.Source+" "+im.Class)
		}
		require.Equal(t, []string{dir + `/caf\xe9/a\xff.png caf\xe9`, dir + `/caf\xe9/\xe8.tar!x\xe9/1.png \xe4`}, got)
		var letters []string
		for _, d := range rowsOf[imageio.Dead](t, dead) {
			letters = append(letters, fmt.Sprintf("%s %.40s", d.Source, d.Reason))
		}
		require.ElementsMatch(t, []string{
			dir + `/caf\xe9/b\xfe.png decode image of 7 bytes: not a JPEG, PNG`,
			dir + `/caf\xe9/c.png a link to nowhere\xe9, which does not ex`,
			dir + `/caf\xe9/d a link to nowhere\xe9, which does not ex`,
		}, letters)
		_, _, err = run(t, runner, func(s beam.Scope) (images, dead beam.PCollection) {
			return imageio.Read(s, at("b\xfe.png"), at("gone\xe9"))
		})
		require.ErrorContains(t, err, `gone\xe9 does not exist`)
	}
}
