package imageio

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every row of the table is complete, and no file has two kinds.
func TestKinds(t *testing.T) {
	seen := map[string]string{}
	for _, k := range kinds {
		require.NotEmpty(t, k.files)
		require.NotEmpty(t, k.labels)
		require.NotNil(t, k.count)
		require.Equal(t, k.name, kindNamed(k.name).name)
		for _, suffix := range k.suffixes {
			require.Empty(t, seen[suffix])
			seen[suffix] = k.name
			for _, name := range []string{"x" + suffix, "gs://a/b.c/X" + suffix, `C:\a\x` + suffix} {
				require.Equal(t, k.name, kindOf(name).name)
			}
			require.Nil(t, kindOf("a/.x"+suffix))
			require.Nil(t, kindOf("x"+suffix+"/readme"))
		}
	}
	require.Nil(t, kindNamed(""))
	require.Contains(t, Kinds()[0], "folders of images (.jpg, .jpeg, .jpe, .jfif, .mpo, .png, .apng, .gif,")
	require.Contains(t, LabelSources(), "a folder for each class, a metadata.csv in a folder, a column label in Parquet, a .cls member for each image in tar")
}

// The README mentions everything that can be read.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	require.NoError(t, err)
	_, text, found := bytes.Cut(text, []byte("`--data` takes"))
	require.True(t, found)
	text, _, _ = bytes.Cut(text, []byte("\n\n"))
	for _, k := range kinds {
		require.Contains(t, strings.ToLower(string(text)), k.name)
	}
	for _, f := range formats {
		require.Contains(t, string(text), f.name)
	}
}

func TestStem(t *testing.T) {
	for file, want := range map[string]string{
		"a/pets-train.PARQUET": "pets-train", "web.tar.gz": "web", "My.v2.tgz": "My.v2", `C:\a\b.tar`: "b",
		"mnist-test-images-idx3-ubyte.gz": "mnist-test", "images.idx3-ubyte": "",
	} {
		stem, ok := Stem(file)
		require.True(t, ok, file)
		require.Equal(t, want, stem)
	}
	for _, file := range []string{"", "pets", "pets.md", "pets.jpg", ".pets.tar", "mnist-labels-idx1-ubyte"} {
		_, ok := Stem(file)
		require.False(t, ok, file)
	}
}

func TestParseLabel(t *testing.T) {
	for text, want := range map[string]struct {
		label int64
		class string
	}{"3": {3, ""}, " 12\n": {12, ""}, "-7": {-1, ""}, "": {-1, ""}, " hot dog ": {-1, "hot dog"}, "3.5": {-1, "3.5"}, "99999999999999999999": {-1, "99999999999999999999"}} {
		label, class := parseLabel(text)
		require.Equal(t, want.label, label, text)
		require.Equal(t, want.class, class, text)
	}
}
