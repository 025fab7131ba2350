package imageio_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
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

// An archive in a folder is found; concatenated archives, whose images would be lost, are an error.
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
	_, err := imageio.Plan(t.Context(), []string{dir}, 2)
	require.ErrorContains(t, err, "read "+joined+": its central directory lacks the first member: several archives in one file?")
	write(t, joined, []byte("PK\x03\x04 is how it should begin"))
	_, err = imageio.Plan(t.Context(), []string{dir}, 2)
	require.ErrorContains(t, err, "read "+joined+": no valid central directory at its end; truncated, or not a zip archive")
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
