package detect

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// linearScene returns a detector for the golden maps, these per image, and the objects.
func linearScene(t *testing.T, threads int) (l *Linear, values [][][]float32, objects [][]Object) {
	g, pool := openGolden(t), kernels.NewPool(threads)
	t.Cleanup(pool.Close)
	values = make([][][]float32, 2)
	for _, name := range []string{"map0", "map1"} {
		both := g.nhwc(name)
		for i := range values {
			values[i] = append(values[i], both[i*len(both)/2:(i+1)*len(both)/2])
		}
	}
	return NewLinear(3, []Map{{16, 3, 4}, {8, 4, 8}}, 2, pool), values, g.objects()
}

// The weights are those of scikit-learn's ridge regressions; testdata/make_linear.py makes the file.
func TestLinearGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/linear.json")
	require.NoError(t, err)
	var want struct {
		Ridge  float64
		Levels []struct {
			Points     int
			Class, Box []float64
		}
	}
	require.NoError(t, json.Unmarshal(data, &want))
	l, values, objects := linearScene(t, 2)
	moments, err := l.Moments(values, objects)
	require.NoError(t, err)
	require.NoError(t, l.Fit(moments, want.Ridge))
	require.Len(t, l.levels, len(want.Levels))
	learned := 0
	for i, w := range want.Levels {
		require.InDeltaSlice(t, w.Class, l.levels[i].class, 1e-4, "level %d", i)
		if w.Points > 0 {
			require.InDeltaSlice(t, w.Box, l.levels[i].box, 1e-3, "level %d", i)
			learned++
		}
	}
	require.Greater(t, learned, 1)
}

// Moments of images add up, and those of one can be taken away again.
func TestMoments(t *testing.T) {
	l, values, objects := linearScene(t, 1)
	both, err := l.Moments(values, objects)
	require.NoError(t, err)
	first, err := l.Moments(values[:1], objects[:1])
	require.NoError(t, err)
	second, err := l.Moments(values[1:], objects[1:])
	require.NoError(t, err)
	sum, rest := first.Plus(second), both.Minus(first)
	for i := range l.levels {
		require.InDeltaSlice(t, both.class[i].products, sum.class[i].products, 1e-3)
		require.InDeltaSlice(t, second.class[i].products, rest.class[i].products, 1e-3)
		require.InDeltaSlice(t, second.box[i].products, rest.box[i].products, 1e-3)
	}
}

// Objects that the maps show are found where they are, with the same result for any number of threads.
func TestLinearDecode(t *testing.T) {
	const side, stride = 16, 4
	var first [][]Found
	for _, threads := range []int{1, 3} {
		pool := kernels.NewPool(threads)
		defer pool.Close()
		l := NewLinear(2, []Map{{side, 8, stride}}, 1, pool)
		// an object of 16 pixels around each of a few points; the map tells where its sides are, or that there is none
		var values [][][]float32
		var objects [][]Object
		for image := range 12 {
			m := make([]float32, side*side*8)
			x, y := float32(stride*(3+image%8)), float32(stride*(3+image*5%8))
			o := Object{Class: image % 2, Box: Box{x - 6, y - 8, x + 10, y + 8}}
			for p := range side * side {
				d := l.points[p].distances(o.Box)
				if !l.points[p].learns(o.Box) {
					continue
				}
				v := m[8*p : 8*p+8]
				v[o.Class] = float32(centerness(d))
				for i := range d {
					v[2+i] = float32(d[i])
				}
			}
			values, objects = append(values, [][]float32{m}), append(objects, []Object{o})
		}
		moments, err := l.Moments(values, objects)
		require.NoError(t, err)
		require.NoError(t, l.Fit(moments, 1e-3))
		extents := make([][2]float32, len(values))
		for i := range extents {
			extents[i] = [2]float32{64, 64}
		}
		found := l.Decode(values, extents, Decoding{Score: .02, PerLevel: 100, Overlap: .6, Most: 2})
		for i, f := range found {
			require.NotEmpty(t, f)
			require.LessOrEqual(t, len(f), 2)
			require.Equal(t, objects[i][0].Class, f[0].Class)
			require.Greater(t, iou(f[0].Box, objects[i][0].Box), float32(.8))
		}
		if first == nil {
			first = found
		}
		require.Equal(t, first, found)
	}
}

// The scores are the products of the features and the weights, on all levels.
func TestLinearScores(t *testing.T) {
	l, values, objects := linearScene(t, 1)
	moments, err := l.Moments(values, objects)
	require.NoError(t, err)
	require.NoError(t, l.Fit(moments, .05))
	for _, at := range l.levels {
		planes := l.planes(at, values[1])
		got, x := l.scores(at, planes), make([]float32, at.features)
		for p := range at.side * at.side {
			at.see(planes, p, x)
			want := append([]float32{}, at.class[:3]...)
			for i, v := range x {
				for c := range want {
					want[c] += v * at.class[3*(1+i)+c]
				}
			}
			require.InDeltaSlice(t, want, got[3*p:3*p+3], 1e-5)
		}
	}
}

// Points that stand for others have their weight, and all with an object are there.
func TestBackground(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	l := NewLinear(1, []Map{{40, 1, 4}}, 0, pool)
	m := make([]float32, 1600)
	for i := range m {
		m[i] = float32(i%7) - 3
	}
	o := []Object{{Box: Box{20, 20, 60, 60}}}
	moments, err := l.Moments([][][]float32{{m}}, [][]Object{o})
	require.NoError(t, err)
	inside, sum := 0, 0.
	for i, p := range l.points {
		if p.learns(o[0].Box) {
			inside++
			sum += float64(m[i]) * centerness(p.distances(o[0].Box))
		}
	}
	require.Greater(t, inside, 8)
	products := moments.class[0].products // of (1, pixel, mean around, centerness) with (1, pixel, mean around)
	require.InDelta(t, 1600, products[0], 40)
	require.InDelta(t, 4*1600, products[4], 400, "the mean square of -3 to 3 is 4")
	require.InDelta(t, sum, products[3*3+1], 1e-4)
	require.InDelta(t, inside, moments.box[0].products[0], 1e-9)
}
