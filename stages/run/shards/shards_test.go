package shards_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
)

// record returns a shard's record batch; a nil image becomes a null.
func record(schema *arrow.Schema, images [][]uint8) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i, im := range images {
		b.Field(0).(*array.StringBuilder).Append("photo.jpg")
		b.Field(1).(*array.Int64Builder).Append(int64(i))
		if pixels := b.Field(2).(*array.FixedSizeBinaryBuilder); im == nil {
			pixels.AppendNull()
		} else {
			pixels.Append(im)
		}
		b.Field(3).(*array.Uint64Builder).Append(shards.Sum(im))
	}
	return b.NewRecord()
}

// write writes a shard with the given batches and returns their references.
func write(t require.TestingT, path string, size int, batches ...[][]uint8) (refs []shards.Ref) {
	var records []arrow.Record
	for i, images := range batches {
		records = append(records, record(shards.Schema(size), images))
		refs = append(refs, shards.Ref{Path: path, Batch: int64(i), Rows: int64(len(images))})
	}
	require.NoError(t, arrowio.WriteFile(ctx, path, shards.Schema(size), records...))
	return refs
}

var ctx = context.Background()

// random returns n random images of the given size.
func random(r *rand.Rand, n, size int) [][]uint8 {
	images := make([][]uint8, n)
	for i := range images {
		images[i] = make([]uint8, size*size*3)
		for k := range images[i] {
			images[i][k] = uint8(r.Uint32())
		}
	}
	return images
}

// TestImages compares Images with a plain slice, for any number of files and batches, some empty, some not referenced,
// and references in any order.
func TestImages(t *testing.T) {
	dirs := []string{t.TempDir(), "memfs://" + t.Name()}
	rapid.Check(t, func(t *rapid.T) {
		r := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		dir := rapid.SampledFrom(dirs).Draw(t, "dir")
		size := rapid.IntRange(1, 3).Draw(t, "size")
		var want [][]uint8
		var refs []shards.Ref
		var ranges [][2]int
		for file := range rapid.IntRange(1, 3).Draw(t, "files") {
			var batches [][][]uint8
			for _, n := range rapid.SliceOfN(rapid.IntRange(0, 3), 1, 5).Draw(t, "batches") {
				batches = append(batches, random(r, n, size))
			}
			for i, ref := range write(t, fmt.Sprintf("%s/shard-%05d.arrow", dir, file), size, batches...) {
				if rapid.IntRange(0, 3).Draw(t, "leave out") == 0 {
					continue
				}
				ranges = append(ranges, [2]int{len(want), len(want) + len(batches[i])})
				want = append(want, batches[i]...)
				refs = append(refs, ref)
			}
		}
		sorted := slices.Clone(refs)
		r.Shuffle(len(refs), func(i, j int) { refs[i], refs[j] = refs[j], refs[i] })
		given := slices.Clone(refs)
		images, err := shards.Open(ctx, refs)
		if len(want) == 0 {
			require.EqualError(t, err, "shards: no images")
			return
		}
		require.NoError(t, err)
		require.Equal(t, given, refs, "the caller's list stays as it is")
		require.Equal(t, sorted, images.Refs)
		require.Equal(t, len(want), images.Len())
		require.Equal(t, size, images.Size())
		for i, w := range want {
			if !bytes.Equal(w, images.At(i)) {
				t.Fatalf("image %d", i)
			}
		}
		for b, w := range ranges {
			begin, end := images.Range(b)
			require.Equal(t, w, [2]int{begin, end})
		}
		require.Panics(t, func() { images.At(len(want)) })
		require.Panics(t, func() { images.At(-1) })
		require.NoError(t, images.Close())
	})
}

func TestClosed(t *testing.T) {
	refs := write(t, filepath.Join(t.TempDir(), "a.arrow"), 1, random(rand.New(rand.NewPCG(1, 1)), 3, 1))
	images, err := shards.Open(ctx, refs)
	require.NoError(t, err)
	require.NoError(t, images.Close())
	require.NoError(t, images.Close(), "closing again does no harm")
	require.Panics(t, func() { images.At(0) }, "rather than a fault in memory that is gone")
}

// TestOpenErrors checks that errors name the shard and the problem.
func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	r := rand.New(rand.NewPCG(1, 1))
	good := write(t, file("good.arrow"), 2, random(r, 3, 2))
	larger := write(t, file("larger.arrow"), 3, random(r, 3, 3))
	change := func(f func(*shards.Ref)) []shards.Ref {
		ref := good[0]
		f(&ref)
		return []shards.Ref{ref}
	}
	none, err := shards.Open(ctx, nil)
	require.EqualError(t, err, "shards: no images")
	require.Nil(t, none)

	require.NoError(t, os.WriteFile(file("text.arrow"), []byte("not an Arrow file"), 0o644))
	other := arrow.NewSchema([]arrow.Field{{Name: "image", Type: arrow.BinaryTypes.Binary}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, other)
	b.Field(0).(*array.BinaryBuilder).Append([]byte("abc"))
	require.NoError(t, arrowio.WriteFile(ctx, file("other.arrow"), other, b.NewRecord()))
	fields := shards.Schema(2).Fields()
	sized := func(name, text string) {
		meta := arrow.NewMetadata([]string{"size"}, []string{text})
		schema := arrow.NewSchema(fields, &meta)
		require.NoError(t, arrowio.WriteFile(ctx, file(name), schema, record(schema, random(r, 3, 2))))
	}
	oldMeta := shards.Schema(2).Metadata()
	old := arrow.NewSchema(fields[:3], &oldMeta)
	require.NoError(t, arrowio.WriteFile(ctx, file("old.arrow"), old, array.NewRecord(old, record(shards.Schema(2), random(r, 3, 2)).Columns()[:3], 3)))
	formatted := arrow.NewMetadata([]string{"size", "format"}, []string{"2", "2"})
	newer := arrow.NewSchema(fields, &formatted)
	require.NoError(t, arrowio.WriteFile(ctx, file("newer.arrow"), newer, record(newer, random(r, 3, 2))))
	sized("nonsense.arrow", "two")
	sized("zero.arrow", "0")
	sized("wrong.arrow", "3")
	nullable := slices.Clone(fields)
	nullable[2].Nullable = true
	meta := shards.Schema(2).Metadata()
	schema := arrow.NewSchema(nullable, &meta)
	require.NoError(t, arrowio.WriteFile(ctx, file("null.arrow"), schema, record(schema, [][]uint8{make([]uint8, 12), nil, nil})))

	for _, c := range []struct {
		refs []shards.Ref
		want []string
	}{
		{change(func(r *shards.Ref) { r.Path = file("none.arrow") }), []string{file("none.arrow"), "no such file"}},
		{change(func(r *shards.Ref) { r.Path = file("text.arrow") }), []string{file("text.arrow"), "Arrow IPC file"}},
		{change(func(r *shards.Ref) { r.Path = file("other.arrow") }), []string{file("other.arrow"), "not a shard: no column image of type fixed_size_binary"}},
		{change(func(r *shards.Ref) { r.Path = file("old.arrow") }), []string{"older version", "remove the folder " + filepath.Dir(dir) + ","}},
		{change(func(r *shards.Ref) { r.Path = file("newer.arrow") }), []string{file("newer.arrow"), "format 2 is of a newer version of sdr"}},
		{change(func(r *shards.Ref) { r.Path = file("nonsense.arrow") }), []string{file("nonsense.arrow"), `size "two"`}},
		{change(func(r *shards.Ref) { r.Path = file("zero.arrow") }), []string{`size "0"`}},
		{change(func(r *shards.Ref) { r.Path = file("wrong.arrow") }), []string{"images of 12 bytes; want 3 px x 3 px x 3 = 27 bytes"}},
		{change(func(r *shards.Ref) { r.Path = file("null.arrow") }), []string{"2 images are null"}},
		{change(func(r *shards.Ref) { r.Rows = 4 }), []string{file("good.arrow") + ", batch 0: 3 images, but its reference says 4"}},
		{change(func(r *shards.Ref) { r.Batch = 1 }), []string{"batch 1: ", "no record batch 1"}},
		{change(func(r *shards.Ref) { r.Batch = -1 }), []string{"batch -1: "}},
		{append(larger, good...), []string{file("larger.arrow"), "images of 3 px mixed with images of 2 px"}},
	} {
		images, err := shards.Open(ctx, c.refs)
		require.Nil(t, images)
		for _, want := range c.want {
			require.ErrorContains(t, err, want)
		}
	}
}

// TestInPlace checks that the pixels of local shards take no heap memory.
func TestInPlace(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("reads shards whole")
	}
	r := rand.New(rand.NewPCG(1, 1))
	want := random(r, 1000, 32)
	refs := write(t, filepath.Join(t.TempDir(), "a.arrow"), 32, want)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	images, err := shards.Open(ctx, refs)
	require.NoError(t, err)
	same := true
	for i, w := range want {
		same = same && bytes.Equal(w, images.At(i))
	}
	runtime.ReadMemStats(&after)
	require.True(t, same)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<18), "3 MB of pixels")
	require.NoError(t, images.Close())
}

// TestCompressed checks that compressed shards are refused, since their pixels cannot be used in place.
func TestCompressed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.arrow")
	f, err := os.Create(path)
	require.NoError(t, err)
	schema := shards.Schema(8)
	w, err := ipc.NewFileWriter(f, ipc.WithSchema(schema), ipc.WithZstd())
	require.NoError(t, err)
	require.NoError(t, w.Write(record(schema, [][]uint8{make([]uint8, 192), make([]uint8, 192)})))
	require.NoError(t, w.Close())
	require.NoError(t, f.Close())
	_, err = shards.Open(ctx, []shards.Ref{{Path: path, Rows: 2}})
	require.ErrorContains(t, err, path+", batch 0: compressed")
}

// TestDamagedShards truncates a shard and changes bytes between its schema and its footer, whose lengths Arrow's reader
// trusts. The damage may go unnoticed, but must not panic or give other images.
func TestDamagedShards(t *testing.T) {
	dir := t.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	first, second := random(r, 3, 2), random(r, 2, 2)
	refs := write(t, filepath.Join(dir, "a.arrow"), 2, first, second)
	whole, err := os.ReadFile(refs[0].Path)
	require.NoError(t, err)
	begin := 16 + int(binary.LittleEndian.Uint32(whole[12:]))
	end := len(whole) - 10 - int(binary.LittleEndian.Uint32(whole[len(whole)-10:]))
	for i := range 3000 {
		data := slices.Clone(whole)
		data[begin+r.IntN(end-begin)] = uint8(r.Uint32())
		if i%5 == 0 {
			data = data[:r.IntN(len(data))]
		}
		require.NoError(t, os.WriteFile(refs[0].Path, data, 0o644))
		images, err := shards.Open(ctx, refs)
		if err != nil {
			continue
		}
		require.Equal(t, 5, images.Len())
		for k, want := range slices.Concat(first, second) {
			require.Equal(t, want, images.At(k))
		}
		require.NoError(t, images.Close())
	}
}

func TestSort(t *testing.T) {
	refs := []shards.Ref{{Path: "b", Batch: 0}, {Path: "a", Batch: 10}, {Path: "a", Batch: 2}, {Path: "B", Batch: 1}}
	shards.Sort(refs)
	require.Equal(t, []shards.Ref{{Path: "B", Batch: 1}, {Path: "a", Batch: 2}, {Path: "a", Batch: 10}, {Path: "b", Batch: 0}}, refs)
}

func TestSchema(t *testing.T) {
	size, err := shards.Size(shards.Schema(7))
	require.NoError(t, err)
	require.Equal(t, 7, size)
	_, err = shards.Size(arrow.NewSchema(nil, nil))
	require.ErrorContains(t, err, `size ""`)
}

// FuzzOpen: any bytes in place of a shard yield an error, or as many images as the reference says.
func FuzzOpen(f *testing.F) {
	dir := f.TempDir()
	r := rand.New(rand.NewPCG(1, 1))
	refs := write(f, filepath.Join(dir, "a.arrow"), 2, random(r, 3, 2), random(r, 2, 2))
	whole, err := os.ReadFile(refs[0].Path)
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "a.arrow")
		require.NoError(t, os.WriteFile(path, data, 0o644))
		images, err := shards.Open(ctx, []shards.Ref{{Path: path, Rows: 5}})
		if err != nil {
			return
		}
		require.Equal(t, 5, images.Len())
		for k := range images.Len() {
			require.Len(t, images.At(k), 3*images.Size()*images.Size())
		}
		require.NoError(t, images.Close())
	})
}
