package imageio_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

func zipped(members ...member) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, m := range members {
		f, _ := w.Create(m.name)
		_, _ = f.Write([]byte(m.data))
	}
	_ = w.Close()
	return b.Bytes()
}

// Archives of every variant are read like Python's zipfile, local or remote, for any splits; unreadable members are
// damaged and the rest is not.
func TestZipEqualsPython(t *testing.T) {
	text, err := os.ReadFile("testdata/zips.json")
	require.NoError(t, err)
	var cases map[string]struct {
		Archive []byte
		Images  []struct {
			Name, Class, Damage string
			Data                []byte
		}
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 23)
	temporary := t.TempDir()
	t.Setenv("TMPDIR", temporary)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			local := write(t, filepath.Join(t.TempDir(), "a.ZIP"), c.Archive)
			remote := "memfs://zip/" + name + ".zip"
			memfs.Write(remote, c.Archive)
			for _, path := range []string{local, remote} {
				if len(c.Images) == 0 {
					_, err := imageio.Plan(t.Context(), []string{path}, 1)
					require.ErrorContains(t, err, path+" holds no images")
					continue
				}
				for maxRows := 1; maxRows <= len(c.Images); maxRows++ {
					got := readAll(t, maxRows, path)
					require.Len(t, got, len(c.Images))
					for i, want := range c.Images {
						require.Contains(t, got[i].Damage, want.Damage)
						require.Equal(t, want.Damage == "", got[i].Damage == "")
						require.Equal(t, string(want.Data), string(got[i].Data))
						require.Equal(t, path+"!"+want.Name, got[i].Source)
						require.Equal(t, want.Class, got[i].Class)
						require.EqualValues(t, -1, got[i].Label)
					}
				}
			}
		})
	}
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	for _, e := range left {
		require.True(t, e.IsDir(), "a copy of a remote file is left: %s", e.Name()) // folders are the subtests'
	}
}

// An archive in a folder is found; concatenated archives, whose images would be lost, are damaged.
func TestZipInAFolder(t *testing.T) {
	dir := t.TempDir()
	first, second := zipped(member{"x/1.png", "one"}, member{"x/2.png", "two"}), zipped(member{"y/3.png", "three"})
	write(t, filepath.Join(dir, "b/pack.zip"), first)
	write(t, filepath.Join(dir, "z.png"), []byte("last name, first image"))
	var got []string
	for _, im := range readAll(t, 2, dir) {
		got = append(got, string(im.Data))
	}
	require.Equal(t, []string{"last name, first image", "one", "two"}, got)

	joined := write(t, filepath.Join(dir, "b/pack.zip"), append(first, second...))
	damage := func() string {
		images := readAll(t, 2, dir)
		require.Len(t, images, 2)
		require.Equal(t, joined, images[1].Source)
		_, err := imageio.Plan(t.Context(), []string{joined}, 2)
		require.EqualError(t, err, "read "+joined+": "+images[1].Damage)
		return images[1].Damage
	}
	require.Contains(t, damage(), "its central directory lacks the first member: several archives in one file?")
	write(t, joined, append(first, first...))
	require.Contains(t, damage(), "its central directory lacks the first member: several archives in one file?", "also if both are equally long")
	write(t, joined, []byte("PK\x03\x04 is how it should begin"))
	require.Contains(t, damage(), "no valid central directory at its end; truncated, or not a zip archive")
}

// The last part of a split archive says how to join the parts, as does what split(1) leaves at the end.
func TestZipParts(t *testing.T) {
	dir := t.TempDir()
	whole := zipped(member{"x/1.png", strings.Repeat("one", 99)}, member{"x/2.png", "two"})
	end := bytes.LastIndex(whole, []byte("PK\x05\x06"))
	last := bytes.Clone(whole)
	last[end+4], last[end+6] = 2, 2 // the number of the part, and that of the one with the directory
	large := slices.Insert(bytes.Clone(whole), end, make([]byte, 20)...)
	copy(large[end:], "PK\x06\x07")
	large[end+16] = 1
	write(t, filepath.Join(dir, "1.png"), []byte("1"))
	write(t, filepath.Join(dir, "x.z01"), whole)
	path := write(t, filepath.Join(dir, "x.zip"), last)
	source, images := surveyed(t, dir)
	const join = "join the parts of a split zip archive: zip -s 0 x.zip --out whole.zip"
	require.Equal(t, "passed over 1 .z01 ("+join+")", source.Passed.String())
	require.Equal(t, "the last of several parts; "+join, images[1].Damage)
	write(t, path, large)
	require.Len(t, readAll(t, 9, path), 2, "one part with fields of 64 bits")
	large[end+16], large[end+24], large[end+25] = 2, 0xff, 0xff
	for want, data := range map[string][]byte{
		"the last of several parts; join": large,
		"its first 100 bytes are missing: one of several parts? Join them: cat x.z01 x.zip > whole.zip": whole[100:],
	} {
		write(t, path, data)
		_, err := imageio.Plan(t.Context(), []string{path}, 9)
		require.ErrorContains(t, err, "read "+path+": "+want)
	}
}

// The sound members of a truncated archive are read, also of one that was written to a pipe, so that the sizes of its
// members come behind them.
func TestZipTruncated(t *testing.T) {
	members := []member{{"x/1.png", strings.Repeat("one", 300)}, {"x/notes.txt", "text"}, {"__MACOSX/x/._1.png", "junk"}, {"x/2.png", "two"}, {"x/3.png", strings.Repeat("3", 999)}}
	var stored bytes.Buffer
	w := zip.NewWriter(&stored)
	for _, m := range members {
		f, err := w.CreateRaw(&zip.FileHeader{Name: m.name, CRC32: crc32.ChecksumIEEE([]byte(m.data)), CompressedSize64: uint64(len(m.data)), UncompressedSize64: uint64(len(m.data))})
		require.NoError(t, err)
		_, err = f.Write([]byte(m.data))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	for name, data := range map[string][]byte{"piped": zipped(members...), "stored": stored.Bytes()} {
		third, directory := bytes.Index(data, []byte("x/3.png")), bytes.Index(data, []byte("PK\x01\x02"))
		for cut := third + 8; cut < len(data); cut++ {
			path := write(t, filepath.Join(t.TempDir(), "x.zip"), data[:cut])
			_, sources, err := imageio.Survey(t.Context(), []string{path}, 2, imageio.Columns{})
			require.NoError(t, err)
			require.Equal(t, imageio.Passed{".txt": 1}, sources[0].Passed)
			var got []string
			for _, im := range readAll(t, 2, path) {
				got = append(got, strings.TrimPrefix(im.Source, path)+" "+string(im.Data)+im.Damage)
			}
			require.Equal(t, "!x/1.png "+members[0].data, got[0], name)
			require.Equal(t, "!x/2.png two", got[1])
			if cut >= directory {
				require.Equal(t, "!x/3.png "+members[4].data, got[2])
			} else if len(got) == 4 && got[2] != "!x/3.png "+members[4].data {
				require.Contains(t, got[2], "!x/3.png truncated")
			}
			require.Contains(t, got[len(got)-1], " no valid central directory at its end; truncated")
		}
	}
}

// A central directory of 70,000 members needs zip64, as its 16-bit field overflows.
func TestZipOfManyMembers(t *testing.T) {
	var members []member
	for i := range 70_000 {
		members = append(members, member{fmt.Sprintf("%d.png", i), ""})
	}
	path := write(t, filepath.Join(t.TempDir(), "many.zip"), zipped(members...))
	splits, err := imageio.Plan(t.Context(), []string{path}, 65_000)
	require.NoError(t, err)
	require.Len(t, splits, 2)
	require.EqualValues(t, 70_000, splits[1].End)
	n := 65_000
	require.NoError(t, imageio.ReadSplit(t.Context(), splits[1], func(im imageio.Image) error {
		require.Equal(t, fmt.Sprintf("%s!%d.png", path, n), im.Source)
		n++
		return nil
	}))
}

// An archive that changed since it was planned is an error, not read wrongly.
func TestZipChanged(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "a.zip"), zipped(member{"1.png", "1"}, member{"2.png", "2"}, member{"3.png", "3"}))
	splits, err := imageio.Plan(t.Context(), []string{path}, 2)
	require.NoError(t, err)
	write(t, path, zipped(member{"1.png", "1"}))
	for _, split := range splits {
		require.ErrorContains(t, imageio.ReadSplit(t.Context(), split, func(imageio.Image) error { return nil }), "it changed since")
	}
}
