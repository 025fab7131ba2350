package run_test

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/files"
)

// each runs a test on every available filesystem, with a folder that does not exist yet.
func each(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("local", func(t *testing.T) { test(t, filepath.Join(t.TempDir(), "runs", "a[1]")) })
	t.Run("memfs", func(t *testing.T) { test(t, "memfs://"+t.Name()+"/runs/a[1]") })
}

var recipe = []byte("name: x\n")

func newInfo() run.Info {
	return run.Info{
		ID: uuid.Must(uuid.NewV7()), Version: "v1", Created: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC),
		Command: []string{"sdr", "pretrain"}, Data: []string{"a", "b c"},
	}
}

func create(t *testing.T, dir string, mode run.Mode) *run.Folder {
	f, err := run.Create(t.Context(), dir, mode, newInfo(), recipe)
	require.NoError(t, err)
	return f
}

func put(t *testing.T, path string) {
	require.NoError(t, files.WriteBytes(t.Context(), path, []byte("content")))
}

func exists(t *testing.T, path string) bool {
	found, err := files.Exists(t.Context(), path)
	require.NoError(t, err)
	return found
}

// refused checks that err is a UsageError with the given text.
func refused(t *testing.T, err error, message string) {
	t.Helper()
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, message)
}

func TestCreate(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		for _, mode := range []run.Mode{run.Fresh, run.Resume, run.Overwrite} {
			require.NoError(t, run.Check(t.Context(), dir, mode))
		}
		_, err := run.Open(t.Context(), dir)
		require.ErrorIs(t, err, fs.ErrNotExist)
		refused(t, err, dir+" holds no run: there is no run.json")

		made := create(t, dir, run.Fresh)
		opened, err := run.Open(t.Context(), dir)
		require.NoError(t, err)
		require.Equal(t, made, opened)
		text, err := files.Read(t.Context(), made.RecipePath())
		require.NoError(t, err)
		require.Equal(t, recipe, text)

		refused(t, run.Check(t.Context(), dir, run.Fresh), dir+" already holds a run")
		_, err = run.Create(t.Context(), dir, run.Fresh, newInfo(), recipe)
		refused(t, err, "already holds a run")
	})
}

func TestCreateInEmptyFolder(t *testing.T) {
	for _, mode := range []run.Mode{run.Fresh, run.Resume, run.Overwrite} {
		create(t, t.TempDir(), mode)
		create(t, t.TempDir()+"/", mode)
	}
	t.Chdir(t.TempDir())
	create(t, ".", run.Fresh)
	require.Equal(t, "run.json", filepath.Base(files.Join(".", "run.json")))
	create(t, ".", run.Overwrite)
}

func TestResume(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		made := create(t, dir, run.Resume)
		put(t, run.ModelPath(dir, "0"))
		require.NoError(t, run.Check(t.Context(), dir, run.Resume))
		resumed := create(t, dir, run.Resume)
		require.Equal(t, made, resumed, "the run keeps its ID")
		require.True(t, exists(t, run.ModelPath(dir, "0")))

		_, err := run.Create(t.Context(), dir, run.Resume, newInfo(), []byte("name: y\n"))
		refused(t, err, "began with another recipe: compare "+made.RecipePath())
		other := newInfo()
		other.Data = []string{"a b", "c"}
		_, err = run.Create(t.Context(), dir, run.Resume, other, recipe)
		refused(t, err, "began with other data: [a b c], not [a b c]")

		require.NoError(t, files.Remove(t.Context(), made.RecipePath()))
		_, err = run.Create(t.Context(), dir, run.Resume, newInfo(), recipe)
		refused(t, err, "began with another recipe, which cannot be read")
	})
}

func TestOverwrite(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		first := create(t, dir, run.Overwrite)
		old := []string{
			run.ModelPath(dir, "03"), files.Join(dir, "ingest", "shards", "shard-00000.arrow"), first.LogPath(),
			files.Join(first.StageDir("train"), "manifest.json"), files.Join(first.StageDir("train"), "out-1", "x.arrow"),
		}
		for _, path := range old {
			put(t, path)
		}
		beside := dir + "-other"
		put(t, files.Join(beside, "kept"))
		second := create(t, dir, run.Overwrite)
		require.NotEqual(t, first.Info.ID, second.Info.ID)
		for _, path := range old {
			require.False(t, exists(t, path), path)
		}
		require.True(t, exists(t, files.Join(beside, "kept")))
		opened, err := run.Open(t.Context(), dir)
		require.NoError(t, err)
		require.Equal(t, second, opened)
	})
}

// TestOverwriteBehindLink checks that the folder is emptied, not replaced.
func TestOverwriteBehindLink(t *testing.T) {
	dir := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(dir, link))
	create(t, link, run.Fresh)
	put(t, run.ModelPath(dir, "0"))
	create(t, link, run.Overwrite)
	require.True(t, exists(t, filepath.Join(dir, "run.json")))
	require.False(t, exists(t, run.ModelPath(dir, "0")))
}

// TestNotARun checks that no mode touches a folder that is not a run folder.
func TestNotARun(t *testing.T) {
	for name, content := range map[string]string{
		"photo.jpg": "x", "recipe.yaml": "name: mine", ".hidden": "x", "sub/deep/file": "x",
		"run.json": `{"steps": 3}`, // another program's
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, dir string) {
				if name == ".hidden" && !files.IsLocal(dir) {
					t.Skip("object stores have no hidden files")
				}
				path := files.Join(dir, name)
				require.NoError(t, files.WriteBytes(t.Context(), path, []byte(content)))
				for _, mode := range []run.Mode{run.Fresh, run.Resume, run.Overwrite} {
					refused(t, run.Check(t.Context(), dir, mode), run.ErrNoRun.Error())
					_, err := run.Create(t.Context(), dir, mode, newInfo(), recipe)
					require.ErrorIs(t, err, run.ErrNoRun)
				}
				got, err := files.Read(t.Context(), path)
				require.NoError(t, err)
				require.Equal(t, content, string(got))
			})
		})
	}
}

// TestCreateStudy checks that a study keeps its identity and takes the latest study file, and that its folder is no
// run's, nor a run's folder a study's.
func TestCreateStudy(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		require.NoError(t, run.CheckStudy(t.Context(), dir))
		first, err := run.CreateStudy(t.Context(), dir, newInfo(), []byte("seeds: [1]\n"))
		require.NoError(t, err)
		put(t, files.Join(first.StageDir("ingest"), "manifest.json"))
		require.NoError(t, run.CheckStudy(t.Context(), dir))
		second, err := run.CreateStudy(t.Context(), dir, newInfo(), []byte("seeds: [1, 2]\n"))
		require.NoError(t, err)
		require.Equal(t, first, second)
		text, err := files.Read(t.Context(), second.StudyPath())
		require.NoError(t, err)
		require.Equal(t, "seeds: [1, 2]\n", string(text))
		_, err = run.Open(t.Context(), dir)
		refused(t, err, "holds no run")
		refused(t, run.Check(t.Context(), dir, run.Overwrite), "is not empty and holds no run")

		other := dir + "-run"
		create(t, other, run.Fresh)
		refused(t, run.CheckStudy(t.Context(), other), other+" holds no study but a run")
		_, err = run.CreateStudy(t.Context(), other, newInfo(), nil)
		require.ErrorIs(t, err, run.ErrNoStudy)
		foreign := dir + "-foreign"
		put(t, files.Join(foreign, "photo.jpg"))
		refused(t, run.CheckStudy(t.Context(), foreign), foreign+" is not empty and holds no study: it has no study.json")
		damaged := dir + "-damaged"
		put(t, files.Join(damaged, "study.json"))
		refused(t, run.CheckStudy(t.Context(), damaged), "holds no study: "+files.Join(damaged, "study.json"))
	})
}

func TestFileInTheWay(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	put(t, path)
	for _, dir := range []string{path, filepath.Join(path, "below")} {
		for _, mode := range []run.Mode{run.Fresh, run.Resume, run.Overwrite} {
			refused(t, run.Check(t.Context(), dir, mode), "cannot be a run folder")
		}
		_, err := run.Open(t.Context(), dir)
		refused(t, err, "holds no run that can be opened")
	}
}

// TestKilledInCreate simulates a kill after each step of Create and runs it again.
func TestKilledInCreate(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		for _, mode := range []run.Mode{run.Fresh, run.Resume, run.Overwrite} {
			dir := files.Join(dir, []string{"fresh", "resume", "overwrite"}[mode])
			if files.IsLocal(dir) {
				put(t, files.Join(dir, ".run.json.0b5a")) // killed while writing run.json
				create(t, dir, mode)
			} else {
				create(t, dir, mode)
			}
			first, err := run.Open(t.Context(), dir)
			require.NoError(t, err)
			require.NoError(t, files.Remove(t.Context(), first.RecipePath())) // after it
			if files.IsLocal(dir) {
				put(t, files.Join(dir, ".recipe.yaml.0b5a"))
			}
			second := create(t, dir, mode)
			require.NotEqual(t, first.Info.ID, second.Info.ID)
			require.True(t, exists(t, second.RecipePath()))
		}
	})
}

// TestKilledInOverwrite checks that a half-emptied run can be overwritten.
func TestKilledInOverwrite(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		f := create(t, dir, run.Fresh)
		put(t, run.ModelPath(dir, "0"))
		require.NoError(t, files.Remove(t.Context(), f.RecipePath()))
		create(t, dir, run.Overwrite)
		require.False(t, exists(t, run.ModelPath(dir, "0")))
		require.True(t, exists(t, f.RecipePath()))
	})
}

// TestMoved checks that a run and a study are resumed under every path of their folder, but not in another folder.
func TestMoved(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	put(t, create(t, "run", run.Fresh).DataPath())
	create(t, "run", run.Resume)
	create(t, filepath.Join(dir, "run"), run.Resume)
	require.NoError(t, os.Symlink("run", "link"))
	create(t, "link", run.Resume)
	require.NoError(t, os.CopyFS("copy", os.DirFS("run")))
	_, err := run.Create(t.Context(), "copy", run.Resume, newInfo(), recipe)
	require.ErrorIs(t, err, run.ErrMoved)
	refused(t, err, "copy began in another place, run, where its stages look for their files")
	create(t, "copy", run.Overwrite)

	_, err = run.CreateStudy(t.Context(), "study", newInfo(), []byte("arms: {}\n"))
	require.NoError(t, err)
	require.NoError(t, os.Rename("study", "moved"))
	_, err = run.CreateStudy(t.Context(), "moved", newInfo(), []byte("arms: {}\n"))
	require.ErrorIs(t, err, run.ErrMoved)
}

func TestDamagedInfo(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		create(t, dir, run.Fresh)
		path := files.Join(dir, "run.json")
		require.NoError(t, files.WriteBytes(t.Context(), path, []byte(`{"id": "01`)))
		_, err := run.Open(t.Context(), dir)
		refused(t, err, dir+" holds no run: "+path+": unexpected end of JSON input")
	})
}

// TestLostInfo checks that a run is resumed without its run.json, but not by another recipe.
func TestLostInfo(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		f := create(t, dir, run.Fresh)
		put(t, f.DataPath())
		path := files.Join(dir, "run.json")
		for _, lose := range []func() error{
			func() error { return files.Remove(t.Context(), path) },
			func() error { return files.WriteBytes(t.Context(), path, []byte(`{"id": "01`)) },
		} {
			require.NoError(t, lose())
			require.NoError(t, run.Check(t.Context(), dir, run.Resume))
			refused(t, run.Check(t.Context(), dir, run.Fresh), "holds no run")
			refused(t, run.Check(t.Context(), dir, run.Overwrite), "holds no run")
			_, err := run.Create(t.Context(), dir, run.Resume, newInfo(), []byte("name: other\n"))
			require.ErrorIs(t, err, run.ErrOtherRecipe)
			again := create(t, dir, run.Resume)
			opened, err := run.Open(t.Context(), dir)
			require.NoError(t, err)
			require.Equal(t, again.Info.ID, opened.Info.ID)
			require.True(t, exists(t, f.DataPath()))
		}
	})
}

func TestManifest(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		f := create(t, dir, run.Fresh)
		m, err := f.ReadManifest(t.Context(), "ingest")
		require.NoError(t, err)
		require.Nil(t, m)
		want := &run.Manifest{Stage: "ingest", Inputs: run.Digest("x"), Outputs: []string{"a.arrow", "b.arrow"}, Seconds: 1.5, Finished: time.Now().UTC()}
		require.NoError(t, f.WriteManifest(t.Context(), want))
		m, err = f.ReadManifest(t.Context(), "ingest")
		require.NoError(t, err)
		require.Equal(t, want, m)
		m, err = f.ReadManifest(t.Context(), "train")
		require.NoError(t, err)
		require.Nil(t, m)

		path := files.Join(f.StageDir("ingest"), "manifest.json")
		require.NoError(t, files.WriteBytes(t.Context(), path, []byte("{")))
		_, err = f.ReadManifest(t.Context(), "ingest")
		require.ErrorContains(t, err, path)
		require.ErrorContains(t, err, "remove the folder "+f.StageDir("ingest"))
	})
}

// TestDigest pins a value, since later versions must be able to resume runs, and checks that different inputs have
// different digests.
func TestDigest(t *testing.T) {
	require.Equal(t, "fad8481fb6d22e2b", run.Digest("recipe", 7, []string{"a", "b"}, map[string]int{"b": 2, "a": 1}))
	seen := map[string]int{}
	for i, values := range [][]any{
		{}, {""}, {"", ""}, {"a", "b"}, {"ab"}, {[]string{"a", "b"}}, {"a,b"}, {1}, {"1"}, {1.5}, {nil}, {true}, {"b", "a"},
		{struct{ A, B int }{1, 2}}, {struct{ A, B int }{2, 1}},
	} {
		digest := run.Digest(values...)
		require.Len(t, digest, 16)
		require.Equal(t, digest, run.Digest(values...))
		require.NotContains(t, seen, digest, values)
		seen[digest] = i
	}
	require.Panics(t, func() { run.Digest(func() {}) })
}

func TestUsage(t *testing.T) {
	err := run.Usage(context.Canceled)
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorIs(t, err, context.Canceled)
	require.EqualError(t, err, context.Canceled.Error())
	require.EqualError(t, run.Usagef("--x %d: 100%%", 3), "--x 3: 100%")
	require.NotErrorAs(t, errors.New("other"), new(*run.UsageError))
}

func TestSize(t *testing.T) {
	f := create(t, filepath.Join(t.TempDir(), "a"), run.Fresh)
	require.Zero(t, f.Size("models"))
	put(t, run.ModelPath(f.Dir, "0"))
	put(t, filepath.Join(f.Dir, "models", "more", "1"))
	require.EqualValues(t, 2*len("content"), f.Size("models"))
}

// FuzzFolder: any bytes in place of the files of a run yield an error that names the file, or are read.
func FuzzFolder(f *testing.F) {
	f.Add([]byte(`{"stage": "ingest", "inputs": "0", "outputs": ["a.arrow"], "seconds": 1, "finished": "2026-02-03T04:05:06Z"}`))
	f.Add([]byte(`{"id": "0191d0b6-7f5c-7cc1-8f5a-3f4d8a1b2c3d", "version": "v1", "created": "2026-02-03T04:05:06Z", "data": ["a"]}`))
	f.Add([]byte("{"))
	f.Fuzz(func(t *testing.T, data []byte) {
		folder := &run.Folder{Dir: t.TempDir()}
		path := filepath.Join(folder.StageDir("ingest"), "manifest.json")
		require.NoError(t, files.WriteBytes(t.Context(), path, data))
		if _, err := folder.ReadManifest(t.Context(), "ingest"); err != nil {
			require.ErrorContains(t, err, path)
		}
		path = filepath.Join(folder.Dir, "stages.json")
		require.NoError(t, files.WriteBytes(t.Context(), path, data))
		if _, err := folder.ReadStages(t.Context()); err != nil {
			require.ErrorContains(t, err, path)
		}
		path = filepath.Join(folder.Dir, "run.json")
		require.NoError(t, files.WriteBytes(t.Context(), path, data))
		if _, err := run.Open(t.Context(), folder.Dir); err != nil {
			require.ErrorContains(t, err, path)
		}
	})
}

// What a newer program wrote is named and left as it is; what states no format is of the first one.
func TestFormat(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		f := create(t, dir, run.Fresh)
		put(t, f.DataPath())
		require.NoError(t, f.WriteManifest(t.Context(), &run.Manifest{Stage: "ingest"}))
		manifest, info := files.Join(f.StageDir("ingest"), "manifest.json"), files.Join(dir, "run.json")
		state := func(path, format string) {
			data, err := files.Read(t.Context(), path)
			require.NoError(t, err)
			text := regexp.MustCompile(`"format": \d+,`).ReplaceAllString(string(data), format)
			require.NotEqual(t, string(data), text)
			require.NoError(t, files.WriteBytes(t.Context(), path, []byte(text)))
		}
		for _, format := range []string{`"format": 0,`, `"format": 2,`} {
			state(manifest, format)
			_, err := f.ReadManifest(t.Context(), "ingest")
			if format == `"format": 0,` {
				require.NoError(t, err)
				continue
			}
			require.ErrorIs(t, err, run.ErrNewer)
			refused(t, err, manifest+": format 2 is of a newer version of sdr")
		}
		state(info, `"format": 2,`)
		_, err := run.Open(t.Context(), dir)
		refused(t, err, info+": format 2 is of a newer version")
		for _, mode := range []run.Mode{run.Fresh, run.Resume, run.Overwrite} {
			_, err = run.Create(t.Context(), dir, mode, newInfo(), recipe)
			refused(t, err, "newer version")
		}
		state(info, ``)
		create(t, dir, run.Resume)
	})
}

// A run that began with weights is resumed with the same ones, wherever their file is now.
func TestOtherInit(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		with := func(init *run.Init) run.Info {
			info := newInfo()
			info.Init = init
			return info
		}
		_, err := run.Create(t.Context(), dir, run.Fresh, with(&run.Init{File: "a", Digest: "12"}), recipe)
		require.NoError(t, err)
		put(t, files.Join(dir, "data.parquet"))
		f, err := run.Create(t.Context(), dir, run.Resume, with(&run.Init{File: "b", Digest: "12"}), recipe)
		require.NoError(t, err)
		require.Equal(t, "a (digest 12)", f.Info.Init.String())
		for text, other := range map[string]*run.Init{"random weights": nil, "a (digest 13)": {File: "a", Digest: "13"}} {
			_, err = run.Create(t.Context(), dir, run.Resume, with(other), recipe)
			require.ErrorIs(t, err, run.ErrOtherInit)
			refused(t, err, dir+" began with other weights: a (digest 12), not "+text)
		}
	})
}
