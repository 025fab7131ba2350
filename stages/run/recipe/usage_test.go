package recipe_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
)

func TestEveryKeyIsExplained(t *testing.T) {
	for _, key := range recipe.Keys() {
		require.NotContains(t, []string{"", "setting of "}, recipe.Usage(key), key)
	}
	require.Equal(t, "of every random stream", recipe.Usage("seed"))
	require.Contains(t, recipe.Usage("backbone.arch"), "mobilenet_v2")
	require.Equal(t, "setting of moco, ntxent, swav", recipe.Usage("ssl.temperature"))
}

// A commented recipe has every key with its explanation, and is the same recipe again.
func TestCommented(t *testing.T) {
	second := "views={first: [random_resized_crop], second: [grayscale: {p: 0.3}, random_resized_crop]}"
	for name, set := range map[string][]string{
		"default": nil, "laptop": {"split.order=[[4, 3], 2, 1]", "paths=2x2x4x4", "train.phases=[0.5, 0.6, 0.7]"}, "smoke": {"ssl.method=byol", second},
	} {
		want, err := recipe.Load(name, set)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "mine.yaml")
		text := want.Commented()
		require.NoError(t, os.WriteFile(file, text, 0o644))
		got, err := recipe.Load(file, nil)
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.Contains(t, string(text), "\n  lr: 1.0  # multiplies the learning rate of individual weights\n")
		require.Contains(t, string(text), "  # subtracted from red, green and blue, scaled to 0..1\n")
		require.Contains(t, string(text), "\n#   views: {gaussian_blur: {p: 0.5}}")
	}
}
