package imageio_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// seen is what Squares passed to yield.
type seen struct {
	image  imageio.Image
	square imageio.RGB
	damage string
}

func squares(ctx context.Context, t testing.TB, path string, size int) (all []seen, err error) {
	splits, err := imageio.Plan(ctx, []string{path}, 1<<20)
	require.NoError(t, err)
	for _, split := range splits {
		err = imageio.Squares(ctx, split, size, func(im imageio.Image, square imageio.RGB, damage error) error {
			s := seen{image: im, square: square}
			if damage != nil {
				s.damage = damage.Error()
			}
			all = append(all, s)
			return nil
		})
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// many is a folder of more images than are read ahead, every seventh damaged.
func many(t testing.TB, n int) string {
	dir := t.TempDir()
	all := goldens(t)
	files := [][]byte{all["jpeg_noise.jpg"].Data, all["png_filtered.png"].Data, all["webp_noise.webp"].Data}
	for i := range n {
		data := files[i%3]
		if i%7 == 0 {
			data = data[:len(data)/2]
		}
		write(t, filepath.Join(dir, fmt.Sprintf("%04d", i/2), fmt.Sprintf("%04d.jpg", i)), data)
	}
	return dir
}

// Squares yields the same as ReadSplit and DecodeSquare, for any number of cores.
func TestSquares(t *testing.T) {
	for _, processors := range []int{1, 3, 16} {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(processors))
		paths := []string{many(t, 500)}
		for _, name := range []string{"odd", "tiny.parquet", "webdataset.tar", "idx"} {
			paths = append(paths, filepath.Join(fixtures, name))
		}
		for _, path := range paths {
			var want []seen
			damaged := 0
			for _, im := range readAll(t, 1<<20, path) {
				square, err := imageio.DecodeSquare(im.Data, 6)
				s := seen{image: im, square: square}
				if err != nil {
					s.damage = err.Error()
					damaged++
				}
				want = append(want, s)
			}
			got, err := squares(t.Context(), t, path, 6)
			require.NoError(t, err)
			require.Equal(t, want, got)
			if len(want) == 500 {
				require.Equal(t, 72, damaged)
			}
		}
	}
}

// An error of yield stops it, before or after everything is read, and is returned unchanged.
func TestSquaresStops(t *testing.T) {
	splits, err := imageio.Plan(t.Context(), []string{many(t, 300)}, 1<<20)
	require.NoError(t, err)
	enough := errors.New("enough")
	for _, n := range []int{1, 100, 200, 299, 300} {
		calls := 0
		err := imageio.Squares(t.Context(), splits[0], 4, func(imageio.Image, imageio.RGB, error) error {
			if calls++; calls == n {
				return enough
			}
			return nil
		})
		require.Equal(t, enough, err)
		require.Equal(t, n, calls)
	}
}

// The images before the damage in a damaged collection are yielded, and the damage.
func TestSquaresOfADamagedCollection(t *testing.T) {
	data := string(goldens(t)["png_filtered.png"].Data)
	whole := archive(member{"a.png", data}, member{"b.png", data}, member{"c.png", data})
	path := write(t, filepath.Join(t.TempDir(), "a.tar"), whole[:len(whole)/2])
	splits, err := imageio.Plan(t.Context(), []string{path}, 9)
	require.NoError(t, err)
	var damaged []error
	err = imageio.Squares(t.Context(), splits[0], 4, func(_ imageio.Image, _ imageio.RGB, damage error) error {
		damaged = append(damaged, damage)
		return nil
	})
	require.NoError(t, err)
	require.Len(t, damaged, 2)
	require.NoError(t, damaged[0])
	require.ErrorContains(t, damaged[1], "truncated")
}

func TestSquaresCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	splits, err := imageio.Plan(ctx, []string{many(t, 20)}, 1<<20)
	require.NoError(t, err)
	err = imageio.Squares(ctx, splits[0], 4, func(imageio.Image, imageio.RGB, error) error {
		cancel()
		return nil
	})
	require.ErrorIs(t, err, context.Canceled)
}
