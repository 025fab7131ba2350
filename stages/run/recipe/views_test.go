package recipe_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/augment"
)

func both(operations ...augment.Operation) recipe.Views {
	return recipe.Views{First: operations, Second: slices.Clone(operations)}
}

// The default views are SimSiam's on CIFAR.
func TestDefaultViews(t *testing.T) {
	require.Equal(t, both(augment.SimSiam(32)...), load(t).Views)
}

func TestViews(t *testing.T) {
	usual := augment.SimSiam(32)
	crop := augment.Defaults()[0]
	blurred := func(p float64) []augment.Operation {
		return append(slices.Clone(usual[:4]), augment.GaussianBlur{P: p, Sigma: [2]float64{.1, 2}})
	}
	for text, want := range map[string]recipe.Views{
		"views:":    both(usual...),
		"views: {}": both(usual...),
		"views: [random_resized_crop, grayscale, grayscale: {p: 1}]":               both(crop, augment.Grayscale{P: .1}, augment.Grayscale{P: 1}),
		"views:\n  - random_resized_crop:\n  - gaussian_blur:\n      p: 1":         both(crop, augment.GaussianBlur{P: 1, Sigma: [2]float64{.1, 2}}),
		"views: {gaussian_blur: {p: 0.5}}":                                         both(blurred(.5)...),
		"views: {gaussian_blur: }":                                                 both(usual...),
		"views: {first: {gaussian_blur: {p: 1}}, second: }":                        {First: blurred(1), Second: usual},
		"views: {second: [random_resized_crop]}":                                   {First: usual, Second: []augment.Operation{crop}},
		"views: {first: [random_resized_crop], second: [random_resized_crop: {}]}": both(crop),
		"input: {size: 16, crop: 16}\nviews: []":                                   {First: []augment.Operation{}, Second: []augment.Operation{}},
	} {
		r, err := recipe.Load(write(t, text), nil)
		require.NoError(t, err, text)
		require.Equal(t, want, r.Views, text)
		back, err := recipe.Parse(r.Marshal())
		require.NoError(t, err, text)
		require.Equal(t, want, back.Views, text)
	}
	for _, set := range [][]string{
		{"views.gaussian_blur.p=0.5"},
		{"views={gaussian_blur: {p: 0.5}}"},
		{"views.first.gaussian_blur.p=0.5", "views.second.gaussian_blur={p: 0.5}"},
	} {
		require.Equal(t, both(blurred(.5)...), load(t, set...).Views, set)
	}
	require.Equal(t, recipe.Views{First: usual, Second: blurred(.1)}, load(t, "views.second.gaussian_blur.p=0.1").Views)
	twice := load(t, "views=[random_resized_crop, grayscale, grayscale: {p: 1}]", "views.grayscale.p=0.3")
	require.Equal(t, both(crop, augment.Grayscale{P: .3}, augment.Grayscale{P: .3}), twice.Views, "all of that name")
	one := load(t, "views.first=[random_resized_crop]", "views.grayscale.p=0.3")
	require.Equal(t, augment.Grayscale{P: .3}, one.Views.Second[3], "where it is")
}

// Recipes with the same views are the same text, which a run needs to be resumed.
func TestViewsAreWrittenOneWay(t *testing.T) {
	text := load(t).Marshal()
	require.Contains(t, string(text), "views:\n- random_resized_crop:\n    scale:\n    - 0.2\n    - 1.0\n")
	require.Equal(t, text, load(t, "views.first.grayscale={}", "views.second.horizontal_flip.p=0.50").Marshal())
	require.Contains(t, string(load(t, "views.first.gaussian_blur.p=1").Marshal()), "views:\n  first:\n  - random_resized_crop:\n")
}

func TestViewsErrors(t *testing.T) {
	for setting, want := range map[string]string{
		"views=3":                                  "views: 3 is not a list of operations, such as [random_resized_crop, horizontal_flip: {p: 0.5}]",
		"views=[gausian_blur]":                     `there is no key "views.gausian_blur"; did you mean "views.gaussian_blur"?`,
		"views=[random_horizontal_flip]":           `did you mean "views.horizontal_flip"?`,
		"views=[gaussian_blur: {sgima: [1, 2]}]":   `there is no key "views.gaussian_blur.sgima"; did you mean "views.gaussian_blur.sigma"?`,
		"views=[gaussian_blur: {p: }]":             "views.gaussian_blur.p: null is not a number",
		"views=[gaussian_blur: {p: {a: 1}}]":       `views.gaussian_blur.p: {"a":1} is not a number`,
		"views=[gaussian_blur: {sigma: 1}]":        "views.gaussian_blur.sigma: 1 is not a list, such as [a, b]",
		"views=[gaussian_blur: {sigma: [1]}]":      "views.gaussian_blur.sigma: [1] is a list of 1; want 2",
		"views=[gaussian_blur: {p: 2}]":            "views.gaussian_blur.p: 2 is out of range; want 0 to 1",
		"views=[gaussian_blur: 0.5]":               "views.gaussian_blur: 0.5 is not a mapping, such as {p: ..., sigma: ...}",
		"views=[{gaussian_blur: , p: 0.5}]":        `views: {"gaussian_blur":null,"p":0.5} is not one operation, such as horizontal_flip: {p: 0.5}`,
		"views=[{}]":                               "views: {} is not one operation",
		"views=[[grayscale]]":                      `views: ["grayscale"] is not one operation`,
		"views=[1]":                                "views: 1 is not one operation",
		"views={frist: [grayscale]}":               `there is no key "views.frist"; did you mean "views.first"?`,
		"views.gausian_blur.p=1":                   `there is no key "views.gausian_blur"; did you mean "views.gaussian_blur"?`,
		"views.first.gausian_blur.p=1":             `there is no key "views.first.gausian_blur"; did you mean "views.first.gaussian_blur"?`,
		"views.gaussian_blur.q=1":                  `there is no key "views.gaussian_blur.q"; did you mean "views.gaussian_blur.p"?`,
		"views.gaussian_blur=1":                    "views.gaussian_blur: 1 is not a mapping",
		"views.gaussian_blur.p.x=1":                `views.gaussian_blur.p: {"x":1} is not a number`,
		"views.second=x":                           `views.second: "x" is not a list of operations`,
		"views.second.gaussian_blur.p=2":           "views.second.gaussian_blur.p: 2 is out of range; want 0 to 1",
		"views={first: [], gaussian_blur: {p: 1}}": "views: gaussian_blur cannot be combined with first or second; put it inside them",
		"views=[solarise]":                         `there is no key "views.solarise"; did you mean "views.solarize"?`,
		"views=[solarize: {threshold: 99.5}]":      "views.solarize.threshold: 99.5 is not a whole number",
		"gaussian_blur.p=1":                        `there is no key "gaussian_blur.p"; did you mean "views.gaussian_blur.p"?`,
		"sigma=[1, 2]":                             `there is no key "sigma"; did you mean "views.gaussian_blur.sigma"?`,
		"view=[]":                                  `there is no key "view"; did you mean "views"?`,
		"input.blur=0.5":                           "input.blur: 0.5 is now views: {gaussian_blur: {p: 0.5}}, or for short views.gaussian_blur.p=0.5",
		"input={scale_min: 0.4}":                   "input.scale_min: 0.4 is now views: {random_resized_crop: {scale: [0.4, 1]}}, or for short views.random_resized_crop.scale=[0.4,1]",
	} {
		_, err := recipe.Load(recipe.Default, []string{setting})
		require.ErrorContains(t, err, want, setting)
		require.NotContains(t, err.Error(), "\n", setting)
	}
	_, err := recipe.Load(recipe.Default, []string{"views=[random_resized_crop]", "views.grayscale.p=1"})
	require.ErrorContains(t, err, "views: the list has no grayscale to change; give the whole list, such as [random_resized_crop, grayscale]")
	_, err = recipe.Parse([]byte("input:\n  size: 32\n  blur: 0\n"))
	require.ErrorContains(t, err, "recipe: input.blur: 0 is now views: {gaussian_blur: {p: 0}}")
}

// The replacements that the errors suggest are valid.
func TestMovedKeys(t *testing.T) {
	for _, old := range []string{"input.blur=0.25", "input.scale_min=0.3"} {
		_, err := recipe.Load(recipe.Default, []string{old})
		_, now, ok := strings.Cut(err.Error(), "is now ")
		require.True(t, ok)
		text, short, ok := strings.Cut(now, ", or for short ")
		require.True(t, ok)
		fromFile, err := recipe.Load(write(t, "name: default\n"+text), nil)
		require.NoError(t, err)
		require.Equal(t, load(t, short), fromFile)
		require.NotEqual(t, load(t), fromFile)
	}
}

// Arbitrary lists of operations survive a round trip, and mistakes in one give a one-line error.
func TestAnyViews(t *testing.T) {
	path := write(t, "")
	rapid.Check(t, func(t *rapid.T) {
		r := load(t)
		list := rapid.SliceOf(rapid.Custom(drawOperation))
		r.Views = recipe.Views{First: list.Draw(t, "first"), Second: list.Draw(t, "second")}
		if rapid.Bool().Draw(t, "same") {
			r.Views.Second = slices.Clone(r.Views.First)
		}
		r.Input.Size = r.Input.Crop
		if err := r.Validate(); err != nil {
			require.ErrorContains(t, err, "views.")
			return
		}
		got, err := recipe.Parse(r.Marshal())
		require.NoError(t, err)
		require.Equal(t, r, got)

		text := []byte(strings.TrimSpace(string(r.Marshal())))
		at := rapid.IntRange(0, len(text)-1).Draw(t, "at")
		text[at] = rapid.SampledFrom([]byte("\n -:[]{}aApv019._\"'#&*!|>%@`,")).Draw(t, "byte")
		require.NoError(t, os.WriteFile(path, text, 0o644))
		if got, err = recipe.Load(path, nil); err != nil {
			require.NotContains(t, err.Error(), "\n")
			return
		}
		again, err := recipe.Parse(got.Marshal())
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

// drawOperation draws parameters that are mostly in range.
func drawOperation(t *rapid.T) augment.Operation {
	p := rapid.Float64Range(0, 1).Draw(t, "p")
	low := rapid.Float64Range(0.01, 0.5).Draw(t, "low")
	high := rapid.Float64Range(0.4, 1).Draw(t, "high")
	return rapid.SampledFrom(append(augment.Defaults(),
		augment.RandomResizedCrop{Scale: [2]float64{low, high}, Ratio: [2]float64{low, 2 * high}},
		augment.HorizontalFlip{P: p},
		augment.ColorJitter{P: p, Brightness: low, Contrast: high, Saturation: p, Hue: low},
		augment.Grayscale{P: p},
		augment.GaussianBlur{P: p, Sigma: [2]float64{low, high}},
		augment.Solarize{P: p, Threshold: int(200 * high)},
	)).Draw(t, "operation")
}

// The lines that Operations returns can be parsed as views.
func TestOperations(t *testing.T) {
	lines := recipe.Operations()
	require.Equal(t, "gaussian_blur: {p: 0.5, sigma: [0.1, 2.0]}", lines[4])
	r := load(t, fmt.Sprintf("views=[%s]", strings.Join(lines, ", ")))
	require.Equal(t, both(augment.Defaults()...), r.Views)
}
