package augment

import (
	"math"
	"reflect"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every operation has a name, keys and defaults that a recipe can use.
func TestTable(t *testing.T) {
	names := map[string]bool{}
	for _, o := range Defaults() {
		require.False(t, names[o.Name()], o.Name())
		names[o.Name()] = true
		require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, o.Name())
		require.NoError(t, o.Validate(), o.Name())
		for f := range reflect.TypeOf(o).Fields() {
			require.Regexp(t, regexp.MustCompile(`^[a-z_]+$`), f.Tag.Get("yaml"), "%s.%s", o.Name(), f.Name)
		}
	}
}

func TestSimSiam(t *testing.T) {
	for size, blur := range map[int]float64{20: 0, 32: 0, 64: .5, 224: .5} {
		operations := SimSiam(size)
		require.NoError(t, Validate(operations))
		require.True(t, Resizes(operations))
		require.Equal(t, GaussianBlur{P: blur, Sigma: [2]float64{.1, 2}}, operations[4])
	}
	require.Equal(t, .08, Defaults()[0].(RandomResizedCrop).Scale[0], "the defaults stay")
	require.False(t, Resizes(SimSiam(20)[1:]))
	require.False(t, Resizes(nil))
}

// Every setting of every operation out of range, one at a time.
func TestValidate(t *testing.T) {
	nan := math.NaN()
	crop, jitter := randomResizedCrop, ColorJitter{}
	for _, c := range []struct {
		want string
		bad  Operation
	}{
		{"random_resized_crop.scale: [0, 1] is out of range; want [least, most] within 0.01 to 1", RandomResizedCrop{[2]float64{0, 1}, crop.Ratio}},
		{"random_resized_crop.scale: [0.5, 1.5]", RandomResizedCrop{[2]float64{.5, 1.5}, crop.Ratio}},
		{"random_resized_crop.scale: [0.5, 0.2]", RandomResizedCrop{[2]float64{.5, .2}, crop.Ratio}},
		{"random_resized_crop.scale: [NaN, 1]", RandomResizedCrop{[2]float64{nan, 1}, crop.Ratio}},
		{"random_resized_crop.ratio: [0, 1] is out of range; want [least, most] within 0.01 to 100", RandomResizedCrop{crop.Scale, [2]float64{0, 1}}},
		{"horizontal_flip.p: -1 is out of range; want 0 to 1", HorizontalFlip{-1}},
		{"color_jitter.p: NaN is out of range", ColorJitter{P: nan}},
		{"color_jitter.brightness: -1 is out of range; want 0 to 100", ColorJitter{Brightness: -1}},
		{"color_jitter.contrast: 101", ColorJitter{Contrast: 101}},
		{"color_jitter.saturation: NaN", ColorJitter{Saturation: nan}},
		{"color_jitter.hue: 0.6 is out of range; want 0 to 0.5", ColorJitter{Hue: .6}},
		{"grayscale.p: 2 is out of range", Grayscale{2}},
		{"gaussian_blur.p: 2 is out of range", GaussianBlur{P: 2}},
		{"gaussian_blur.sigma: [3, 2] is out of range; want [least, most] within 0 to 1000", GaussianBlur{Sigma: [2]float64{3, 2}}},
		{"solarize.p: -0.1 is out of range", Solarize{P: -.1}},
		{"solarize.threshold: 256 is out of range; want 0 to 255", Solarize{Threshold: 256}},
		{"solarize.threshold: -1", Solarize{Threshold: -1}},
	} {
		require.ErrorContains(t, Validate([]Operation{crop, jitter, c.bad}), c.want)
	}
	require.NoError(t, Validate([]Operation{crop, jitter}))
}
