package pipelines_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
)

// TestStatus checks that a large run is summed up by level, that --all lists it, and that a sub-net that was never
// trained is told from the others.
func TestStatus(t *testing.T) {
	r, err := recipe.Load("default", nil)
	require.NoError(t, err)
	st := &pipelines.Status{Recipe: r, Subsets: map[string]int64{}, Quality: map[string]pipelines.Quality{}, Nets: []pipelines.Net{{Name: "root", Steps: 1000, SubsetImages: 640}}}
	for i := range 16 {
		parent := fmt.Sprint(i)
		st.Subsets[parent] = 40
		for j := range 4 {
			code := fmt.Sprintf("%s.%d", parent, j)
			st.Subsets[code] = int64(10 + j)
			st.Quality[code] = pipelines.Quality{Inertia: .25, Silhouette: float64(j%2) / 2}
			st.Nets = append(st.Nets, pipelines.Net{Name: code, Variant: "sdr", Level: 2, Steps: int64(i), SubsetImages: st.Subsets[code], Loss: float64(i)})
		}
	}
	var out bytes.Buffer
	require.NoError(t, st.WriteTable(&out, false))
	require.Less(t, strings.Count(out.String(), "\n"), 40)
	require.Contains(t, out.String(), "│     1 │      16 │ 40, 40, 40                   │ -       │ -          │")
	require.Contains(t, out.String(), "│     2 │      64 │ 10, 12, 13                   │ 16.0    │ 0.26       │", "(11+13)/46/2, since images count alike")
	require.Contains(t, out.String(), "│ level 2 │     64 │ 0, 8, 15 ")
	require.NotContains(t, out.String(), "as its parent")
	out.Reset()
	require.NoError(t, st.WriteTable(&out, true))
	require.Equal(t, 4, strings.Count(out.String(), "0 (as its parent)"))
	require.Regexp(t, `│ 15\.3 +│ 13 +│ 0\.2 +│ 0\.50 +│`, out.String())
	out.Reset()
	require.NoError(t, st.WriteJSON(&out))
	var back pipelines.Status
	require.NoError(t, json.Unmarshal(out.Bytes(), &back))
	require.Equal(t, st.Nets, back.Nets)
	require.Equal(t, st.Subsets, back.Subsets)
	require.Equal(t, st.Quality, back.Quality)

	require.NotContains(t, out.String(), "held")
	st.HeldOut = []train.Judgment{
		{Subnet: "0", Images: 1280, Loss: 3.25, RootLoss: 3.5, Error: .125, Offered: true},
		{Subnet: "1", Images: 256, Loss: 3.5, RootLoss: 3.5},
		{Subnet: "2", Offered: true},
	}
	out.Reset()
	require.NoError(t, st.WriteTable(&out, false))
	require.Regexp(t, `│ 0 +│ 1,280 +│ 3\.2500 +│ 3\.5000 +│ 0\.1250 +│ yes +│`, out.String())
	require.Regexp(t, `│ 1 +│ 256 +│ 3\.5000 +│ 3\.5000 +│ 0\.0000 +│ no +│`, out.String())
	require.Regexp(t, `│ 2 +│ too few +│ - +│ - +│ - +│ yes +│`, out.String())
	for len(st.HeldOut) < 40 {
		st.HeldOut = append(st.HeldOut, train.Judgment{Subnet: "z", Offered: true})
	}
	out.Reset()
	require.NoError(t, st.WriteTable(&out, false))
	require.NotContains(t, out.String(), "1,280")
	require.Contains(t, out.String(), "256")
}
