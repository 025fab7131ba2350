package report

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"image/jpeg"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
)

// solid returns an image of one color.
func solid(side int, r, g, b uint8) []uint8 { return bytes.Repeat([]byte{r, g, b}, side*side) }

// TestContact decodes a contact sheet and looks at the middle of every image.
func TestContact(t *testing.T) {
	for _, side := range []int{1, 20, 32, 64, 100} {
		t.Run(fmt.Sprint(side), func(t *testing.T) {
			s := Sheet{Code: "3", Side: side}
			for i := range 10 {
				s.Pixels = append(s.Pixels, solid(side, uint8(20*i), uint8(250-20*i), 90))
			}
			c, err := newContact(s)
			require.NoError(t, err)
			require.Equal(t, 10, c.Shown)
			require.Equal(t, side <= 32, c.Small)
			cell := min(side, 64)
			data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(string(c.Image), "data:image/jpeg;base64,"))
			require.NoError(t, err)
			im, err := jpeg.Decode(bytes.NewReader(data))
			require.NoError(t, err)
			require.Equal(t, [2]int{8*cell + 7, 2*cell + 1}, [2]int{im.Bounds().Dx(), im.Bounds().Dy()})
			require.Equal(t, [2]int{c.Width, c.Height}, [2]int{im.Bounds().Dx(), im.Bounds().Dy()})
			if side == 1 {
				return // JPEG does not keep the color of single pixels
			}
			for i := range 10 {
				r, g, b, _ := im.At(i%8*(cell+1)+cell/2, i/8*(cell+1)+cell/2).RGBA()
				require.InDelta(t, 20*i, r>>8, 16) // JPEG halves the resolution of color
				require.InDelta(t, 250-20*i, g>>8, 16)
				require.InDelta(t, 90, b>>8, 16)
			}
		})
	}
}

func TestContactOfFewImages(t *testing.T) {
	c, err := newContact(Sheet{Side: 4, Pixels: [][]uint8{solid(4, 1, 2, 3), solid(4, 1, 2, 3)}})
	require.NoError(t, err)
	require.Equal(t, [2]int{9, 4}, [2]int{c.Width, c.Height})
}

// writeShard writes a shard with one record batch per subset and returns its references; image k of the shard has the
// color (k, k, k).
func writeShard(t *testing.T, path string, subsets []string, counts []int) (refs []shards.Ref) {
	t.Helper()
	schema := shards.Schema(2)
	var records []arrow.Record
	k := 0
	for i, n := range counts {
		b := shards.NewBuilder(2)
		for range n {
			b.Append("source", int64(k), solid(2, uint8(k), uint8(k), uint8(k)))
			k++
		}
		records = append(records, b.NewRecord())
		refs = append(refs, shards.Ref{Path: path, Batch: int64(i), Rows: int64(n), Subset: subsets[i]})
	}
	require.NoError(t, arrowio.WriteFile(context.Background(), path, schema, records...))
	return refs
}

// TestSheets samples two subsets, each spread over two shards.
func TestSheets(t *testing.T) {
	dir := t.TempDir()
	refs := append(
		writeShard(t, filepath.Join(dir, "b.arrow"), []string{"0", "1"}, []int{2, 3}),
		writeShard(t, filepath.Join(dir, "a.arrow"), []string{"0", "1"}, []int{100, 1})...)
	sheets, err := Sheets(context.Background(), refs, 4)
	require.NoError(t, err)
	require.Len(t, sheets, 2)
	shown := func(s Sheet) (first []uint8) {
		for _, p := range s.Pixels {
			require.Len(t, p, 2*2*3)
			first = append(first, p[0])
		}
		return first
	}
	require.Equal(t, "0", sheets[0].Code)
	require.Equal(t, int64(102), sheets[0].Size)
	require.Equal(t, []uint8{0, 25, 51, 76}, shown(sheets[0]), "evenly spaced over a.arrow, then b.arrow")
	require.Equal(t, "1", sheets[1].Code)
	require.Equal(t, []uint8{100, 2, 3, 4}, shown(sheets[1]), "all there are")
	require.Equal(t, 2, sheets[1].Side)

	sheets, err = Sheets(context.Background(), nil, 4)
	require.NoError(t, err)
	require.Empty(t, sheets)
	_, err = Sheets(context.Background(), []shards.Ref{{Path: filepath.Join(dir, "none.arrow")}}, 4)
	require.ErrorContains(t, err, "none.arrow")
}
