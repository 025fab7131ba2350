package imageio_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// surveyed reads what is in a path, for splits of every size.
func surveyed(t *testing.T, path string) (source imageio.Source, images []imageio.Image) {
	_, sources, err := imageio.Survey(t.Context(), []string{path}, 1<<20, imageio.Columns{})
	require.NoError(t, err)
	images = readAll(t, 1<<20, path)
	for _, maxRows := range []int{1, 2, 3, 7} {
		require.Equal(t, images, readAll(t, maxRows, path))
	}
	return sources[0], images
}

// The key of a sample ends at the first dot of the file name, and where that makes one sample of several images each has
// the label with the longest part of its name. The expected labels are those of the members' names, or of the
// specification in WebDataset's README.
func TestTarKeys(t *testing.T) {
	dotted := func(labelFirst bool) (members []member, want []string) {
		for i := range 100 {
			pair := []member{{fmt.Sprintf("22.%02d.png", i), "x"}, {fmt.Sprintf("22.%02d.cls", i), fmt.Sprint(i % 7)}}
			if labelFirst {
				slices.Reverse(pair)
			}
			members = append(members, pair...)
			want = append(want, fmt.Sprintf("22.%02d.png %d", i, i%7))
		}
		return members, want
	}
	unlabeled := func() (members []member, want []string) {
		for i := range 100 {
			members = append(members, member{fmt.Sprintf("22.%02d.png", i), "x"})
			want = append(want, fmt.Sprintf("22.%02d.png -1", i))
		}
		return members, want
	}
	lateLabels, late := unlabeled()
	for i := range 100 {
		lateLabels = append(lateLabels, member{fmt.Sprintf("22.%02d.cls", i), "5"})
		if i >= 36 { // the others came too late for images that had to be yielded
			late[i] = fmt.Sprintf("22.%02d.png 5", i)
		}
	}
	imagesFirst, first := dotted(false)
	labelsFirst, _ := dotted(true)
	without, none := unlabeled()
	for name, c := range map[string]struct {
		members []member
		want    []string
	}{
		"images first": {imagesFirst, first},
		"labels first": {labelsFirst, first},
		"no labels":    {without, none},
		"late labels":  {lateLabels, late},
		"two images of a sample": {
			[]member{{"0002.left.jpg", "l"}, {"0002.json", "{}"}, {"0002.right.jpg", "r"}, {"0002.cls", "4"}, {"0003.jpg", "x"}},
			[]string{"0002.left.jpg 4", "0002.right.jpg 4", "0003.jpg -1"},
		},
		"longest": {
			[]member{{"a.cls", "1"}, {"a.b.jpg", "x"}, {"a.b.c.jpg", "x"}, {"a.b.cls", "2"}, {"a.c.jpg", "x"}},
			[]string{"a.b.jpg 2", "a.b.c.jpg 2", "a.c.jpg 1"},
		},
		"floats and marks":   {[]member{{"a.jpg", "x"}, {"a.cls", "\ufeff2"}, {"b.jpg", "x"}, {"b.cls", "1.0\n"}}, []string{"a.jpg 2", "b.jpg 1"}},
		"another name":       {[]member{{"a.input.jpg", "x"}, {"a.target.cls", "3"}, {"b.jpg", "x"}}, []string{"a.input.jpg 3", "b.jpg -1"}},
		"not its label":      {[]member{{"1.0.png", "x"}, {"1.1.png", "x"}, {"1.1.cls", "3"}, {"1.2.cls", "4"}}, []string{"1.0.png -1", "1.1.png 3"}},
		"only part of names": {[]member{{"1.1.cls", "3"}, {"1.10.png", "x"}, {"1.11.png", "x"}}, []string{"1.10.png -1", "1.11.png -1"}},
		"dots in folders":    {[]member{{"./v1.0/a.jpg", "x"}, {"./v1.0/a.cls", "1"}, {"./v1.0/b.jpg", "x"}, {"./v1.0/b.cls", "2"}}, []string{"./v1.0/a.jpg 1", "./v1.0/b.jpg 2"}},
		"spaces":             {[]member{{"Track 2.0 (clean) 0.jpg", "x"}, {"Track 2.0 (clean) 0.cls", "1"}, {"Track 2.0 (clean) 1.jpg", "x"}, {"Track 2.0 (clean) 1.cls", "2"}}, []string{"Track 2.0 (clean) 0.jpg 1", "Track 2.0 (clean) 1.jpg 2"}},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), "x.tar"), archive(c.members...))
			_, images := surveyed(t, path)
			var got []string
			for _, im := range images {
				got = append(got, fmt.Sprintf("%s %d", strings.TrimPrefix(im.Source, path+"!"), im.Label))
			}
			require.Equal(t, c.want, got)
		})
	}
}

// Archives that were joined are read to the end, whatever number of zero blocks is between them, compressed or not, and
// whatever the file is called.
func TestTarJoined(t *testing.T) {
	first, second := archive(member{"a.png", "a"}, member{"b.png", "b"}), archive(member{"c.png", "c"})
	bare := first[:len(first)-1024]
	for name, data := range map[string][]byte{
		"x.tar":    slices.Concat(first, second),
		"y.tar":    slices.Concat(bare, second),
		"z.tar":    slices.Concat(bare, make([]byte, 512), second, make([]byte, 4*512)),
		"u.tar":    slices.Concat(bare, make([]byte, 19*512), second),
		"v.tar.gz": slices.Concat(packed(first), packed(second)),
		"w.tgz":    packed(slices.Concat(first, second)),
		"s.tar.gz": slices.Concat(first, second),         // not compressed in spite of its name
		"t.tar":    packed(slices.Concat(first, second)), // compressed in spite of its name
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), name), data)
			source, images := surveyed(t, path)
			require.Empty(t, source.Passed)
			var got []string
			for _, im := range images {
				require.Empty(t, im.Damage)
				got = append(got, string(im.Data))
			}
			require.Equal(t, []string{"a", "b", "c"}, got)
		})
	}
}

// Samples of the same name next to each other keep their own labels: in archives that were joined, with an end between
// them or without, and in one that tar -r has appended to.
func TestTarSameNames(t *testing.T) {
	a, b := []member{{"0.png", "a"}, {"0.cls", "3"}}, []member{{"0.png", "b"}, {"0.cls", "7"}}
	for range 2 {
		first, second := archive(a...), archive(b...)
		for name, data := range map[string][]byte{
			"joined": slices.Concat(first, second), "without an end": slices.Concat(first[:len(first)-1024], second), "appended": archive(slices.Concat(a, b)...),
		} {
			t.Run(name, func(t *testing.T) {
				_, images := surveyed(t, write(t, filepath.Join(t.TempDir(), "x.tar"), data))
				require.Len(t, images, 2)
				for i, label := range []int64{3, 7} {
					require.Equal(t, "ab"[i:i+1], string(images[i].Data))
					require.Equal(t, label, images[i].Label)
				}
			})
		}
		slices.Reverse(a)
		slices.Reverse(b)
	}
	unlabeled := slices.Concat(archive(member{"0.png", "a"}), archive(member{"0.jpg", "b"}, member{"0.cls", "7"}))
	_, images := surveyed(t, write(t, filepath.Join(t.TempDir(), "x.tar"), unlabeled))
	require.EqualValues(t, -1, images[0].Label)
	require.EqualValues(t, 7, images[1].Label)
}

// What an archive holds besides images and labels is counted; what macOS adds is not even that.
func TestTarPassedOver(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range []tar.Header{
		{Name: "x/", Typeflag: tar.TypeDir}, {Name: "x/a.jpg"}, {Name: "x/a.cls"}, {Name: "x/a.json"}, {Name: "x/a.txt"}, {Name: "x/b.HEIC"}, {Name: "x/c.heic"},
		{Name: "x/d.jpg", Typeflag: tar.TypeLink, Linkname: "x/a.jpg"}, {Name: "x/e.jpg", Typeflag: tar.TypeSymlink, Linkname: "a.jpg"},
		{Name: "x/more.tar"}, {Name: "LICENSE"}, {Name: "x/._a.jpg"}, {Name: "__MACOSX/x/._a.jpg"}, {Name: "x/sparse.png", PAXRecords: map[string]string{"k.v": "w"}},
	} {
		require.NoError(t, w.WriteHeader(&h))
	}
	require.NoError(t, w.Flush()) // without an end
	path := write(t, filepath.Join(t.TempDir(), "x.tar"), b.Bytes())
	source, images := surveyed(t, path)
	require.Len(t, images, 2)
	require.Equal(t, imageio.Passed{
		".json": 1, ".txt of samples": 1, ".heic": 2, ".tar": 1, "links in archives": 2, "files without an extension": 1, "archives without an end": 1,
	}, source.Passed)
	require.Equal(t, path+": 2 images, 1 of them with labels, and 0 that cannot be read; passed over 2 .heic, 2 links in archives, 1 .json, 1 .tar, "+
		"1 .txt of samples, 1 archives without an end, 1 files without an extension (convert images of other formats to JPEG or PNG; unpack archives in "+
		"archives and those of other kinds; pack the files that links point to; an archive without an end may be truncated; fetch or pack it again)", source.Summary(imageio.Tally{Images: 2, Labeled: 1}))
}

// The sound members of a damaged archive are read, wherever the damage is, and it is named once.
func TestTarDamage(t *testing.T) {
	sound := archive(
		member{"a.png", strings.Repeat("a", 700)}, member{"a.cls", "1"}, member{"b.png", strings.Repeat("b", 700)}, member{"b.cls", "2"},
		member{"c.png", strings.Repeat("c", 700)}, member{"c.cls", "3"},
	)
	const sample = 512 + 1024 + 512 + 512
	flip := func(at int) []byte {
		data := bytes.Clone(sound)
		data[at] ^= 0xff
		return data
	}
	for name, c := range map[string]struct {
		data   []byte
		want   []string
		damage string
	}{
		"cut in an image":       {sound[:sample+600], []string{"a 1", "damage"}, "truncated"},
		"cut in a header":       {sound[:sample+100], []string{"a 1", "damage"}, "byte 2660: truncated: unexpected EOF; what follows is lost"},
		"cut in a label":        {sound[:2*sample-512], []string{"a 1", "b -1", "damage"}, "member b.cls: truncated"},
		"cut in padding":        {sound[:sample-100], []string{"a 1", "damage"}, "member a.cls: truncated"},
		"without padding":       {sound[:sample-511], []string{"a 1"}, ""},
		"header of an image":    {flip(sample + 3), []string{"a 1", "damage", "c 3"}, "invalid tar header; members up to the next sound one are lost"},
		"header of a label":     {flip(sample + 1536 + 3), []string{"a 1", "b -1", "damage", "c 3"}, "invalid tar header"},
		"the first header":      {flip(3), []string{"damage", "b 2", "c 3"}, "invalid tar header"},
		"junk behind":           {append(bytes.Clone(sound), bytes.Repeat([]byte("junk"), 200)...), []string{"a 1", "b 2", "c 3", "damage"}, "invalid tar header"},
		"zeros behind":          {append(bytes.Clone(sound), make([]byte, 700)...), []string{"a 1", "b 2", "c 3"}, ""},
		"joined behind the cut": {slices.Concat(sound[:sample+100], make([]byte, 412), archive(member{"d.png", "d"})), []string{"a 1", "damage", "d -1"}, "invalid tar header"},
	} {
		for _, suffix := range []string{".tar", ".tar.gz"} {
			t.Run(name+suffix, func(t *testing.T) {
				data := c.data
				if suffix == ".tar.gz" {
					data = packed(data)
				}
				path := write(t, filepath.Join(t.TempDir(), "x"+suffix), data)
				_, images := surveyed(t, path)
				var got []string
				for _, im := range images {
					if im.Damage == "" {
						got = append(got, fmt.Sprintf("%c %d", im.Data[0], im.Label))
						require.Equal(t, im.Label < 0, im.LabelLost)
						continue
					}
					require.Contains(t, im.Damage, c.damage)
					require.True(t, im.Source == path || im.Source == path+"!b.png", im.Source)
					got = append(got, "damage")
				}
				require.Equal(t, c.want, got)
			})
		}
	}

	labelsFirst := archive(
		member{"x/a.cls", "1"}, member{"x/a.png", "a"}, member{"x/b.cls", "2"}, member{"x/b.png", "b"}, member{"x/c.cls", "3"}, member{"x/c.png", "c"},
	)
	for at, want := range map[int][]string{ // of the header that is damaged
		0:        {"", "a -1 true", "b 2 false", "c 3 false"},
		2 * 1024: {"a 1 false", "", "b -1 true", "c 3 false"},
		3 * 1024: {"a 1 false", "", "c 3 false"},
		4 * 1024: {"a 1 false", "b 2 false", "", "c -1 true"},
	} {
		data := slices.Concat(labelsFirst, archive(member{"d.png", "d"})) // which never had a label
		data[at+3] ^= 0xff
		_, images := surveyed(t, write(t, filepath.Join(t.TempDir(), "x.tar"), data))
		var got []string
		for _, im := range images {
			if im.Damage != "" {
				got = append(got, "")
			} else {
				require.Empty(t, im.Class)
				got = append(got, fmt.Sprintf("%s %d %t", im.Data, im.Label, im.LabelLost))
			}
		}
		require.Equal(t, append(want, "d -1 false"), got)
	}

	whole := packed(sound)
	for cut := 1; cut < len(whole); cut++ { // compressed data ends or is wrong anywhere
		path := write(t, filepath.Join(t.TempDir(), "x.tgz"), whole[:cut])
		if _, err := imageio.Plan(t.Context(), []string{path}, 9); err == nil {
			surveyed(t, path)
		}
		whole[cut] ^= 1
		path = write(t, filepath.Join(t.TempDir(), "x.tgz"), whole)
		if _, err := imageio.Plan(t.Context(), []string{path}, 9); err == nil {
			surveyed(t, path)
		}
		whole[cut] ^= 1
	}
	for _, data := range []string{"no archive", strings.Repeat("no archive", 1000), "\x1f\x8b no gzip"} {
		path := write(t, filepath.Join(t.TempDir(), "x.tar"), []byte(data))
		_, err := imageio.Plan(t.Context(), []string{path}, 9)
		require.ErrorContains(t, err, "read "+path+": ")
	}
}

// What follows the streams of a gzip file is passed over, as by gzip(1).
func TestGzipPadding(t *testing.T) {
	images := archive(member{"a.png", "a"}, member{"b.png", "b"})
	for name, data := range map[string][]byte{
		"zeros": append(packed(images), make([]byte, 1000)...), "junk": append(packed(images), "junk"...), "a byte": append(packed(images), 0x1f),
		"streams": slices.Concat(packed(images[:700]), packed(nil), packed(images[700:]), []byte("\n")),
	} {
		source, got := surveyed(t, write(t, filepath.Join(t.TempDir(), "x.tar.gz"), data))
		require.Len(t, got, 2, name)
		require.Empty(t, got[0].Damage+got[1].Damage, name)
		require.Empty(t, source.Passed)
	}
	again := append(packed(images), "\x1f\x8bno stream"...)
	_, got := surveyed(t, write(t, filepath.Join(t.TempDir(), "x.tgz"), again))
	require.Len(t, got, 3)
	require.Contains(t, got[2].Damage, "gzip: invalid header")
}

// The lists of files in GNU tar's incremental backups are no images, nor damage.
func TestTarIncremental(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range []tar.Header{{Name: "x/", Typeflag: 'D'}, {Name: "x/a.png", Typeflag: tar.TypeReg}} {
		m.Size = 9
		require.NoError(t, w.WriteHeader(&m))
		_, err := w.Write([]byte("Ya.png\x00\x00\x00"))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	source, images := surveyed(t, write(t, filepath.Join(t.TempDir(), "x.tar"), b.Bytes()))
	require.Len(t, images, 1)
	require.Empty(t, images[0].Damage)
	require.Empty(t, source.Passed)
}

// Archives that are compressed otherwise are named.
func TestOtherCompressions(t *testing.T) {
	for magic, want := range map[string]string{
		"BZh9":                 "bzip2 data in spite of its name; unpack it with bunzip2",
		"\xfd7zXZ\x00":         "xz data in spite of its name; unpack it with unxz",
		"\x28\xb5\x2f\xfd\x04": "Zstandard data in spite of its name; unpack it with unzstd",
	} {
		path := write(t, filepath.Join(t.TempDir(), "x.tar"), []byte(magic+strings.Repeat("x", 2000)))
		_, err := imageio.Plan(t.Context(), []string{path}, 9)
		require.EqualError(t, err, "read "+path+": "+want)
	}
}
