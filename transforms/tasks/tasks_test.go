package tasks_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// touch makes empty files, and folders where a name ends in a slash.
func touch(t *testing.T, names ...string) (dir string) {
	dir = t.TempDir()
	for _, name := range names {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if name[len(name)-1] == '/' {
			require.NoError(t, os.MkdirAll(path, 0o755))
		} else {
			require.NoError(t, os.WriteFile(path, nil, 0o644))
		}
	}
	return dir
}

// find is Find where a faulty task is an error.
func find(dir string) ([]tasks.Task, error) {
	found, faulty, err := tasks.Find(context.Background(), dir)
	for _, f := range faulty {
		err = errors.Join(err, fmt.Errorf("task %s: %w", f.Name, f.Err))
	}
	return found, err
}

func TestFind(t *testing.T) {
	dir := touch(t, "b-train.parquet", "b-test.parquet", "flowers/train/", "flowers/test/", "README.md", "notes/",
		"c-test.parquet", ".cache/train/", "train/a.jpg", ".d-train.parquet")
	linked := touch(t, "train/", "test/")
	require.NoError(t, os.Symlink(linked, filepath.Join(dir, "a")))
	found, err := find(dir)
	require.NoError(t, err)
	require.Equal(t, []tasks.Task{
		{Name: "a", Train: filepath.Join(dir, "a", "train"), Test: filepath.Join(dir, "a", "test"), Metric: tasks.Top1},
		{Name: "b", Train: filepath.Join(dir, "b-train.parquet"), Test: filepath.Join(dir, "b-test.parquet"), Metric: tasks.Top1},
		{Name: "flowers", Train: filepath.Join(dir, "flowers", "train"), Test: filepath.Join(dir, "flowers", "test"), Metric: tasks.Top1},
	}, found)

	found, err = find("../../testdata/tasks")
	require.NoError(t, err)
	require.Len(t, found, 6)

	dir = touch(t, "us_train.parquet", "us_test.parquet", "birds.zip", "fish/cod/1.jpg", "old-test.tar", "README.md", ".cache/", "notes.txt")
	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	found, err = find(dir)
	require.NoError(t, err)
	require.Equal(t, []tasks.Task{{Name: "us", Train: filepath.Join(dir, "us_train.parquet"), Test: filepath.Join(dir, "us_test.parquet"), Metric: tasks.Top1}}, found)
	require.Contains(t, logged.String(), `entries="birds.zip, fish, notes.txt, old-test.tar"`)
}

// Training and test images may be of different kinds, but only one of each.
func TestFindKinds(t *testing.T) {
	dir := touch(t, "a-train.tar.gz", "a-test.parquet", "b-train.TGZ", "b-test/", "b/test/", "mnist-train-images-idx3-ubyte.gz", "mnist-test-images.idx3-ubyte",
		"mnist-train-labels-idx1-ubyte.gz", "c-train.md", "d-train.jpg", "e-training.tar", "-train.tar", "f-train.tar/", "orphan-test.tar")
	found, err := find(dir)
	require.NoError(t, err)
	var got []string
	for _, f := range found {
		got = append(got, f.Name, filepath.Base(f.Train), filepath.Base(f.Test))
	}
	require.Equal(t, []string{"a", "a-train.tar.gz", "a-test.parquet", "b", "b-train.TGZ", "test", "mnist", "mnist-train-images-idx3-ubyte.gz", "mnist-test-images.idx3-ubyte"}, got)
	for _, twice := range []string{"a-train.parquet", "a-test.tar"} {
		_, err = find(touch(t, "a-train.tar", "a-test.parquet", twice))
		require.ErrorContains(t, err, "task a: it exists twice")
	}
	dir = touch(t, "train-train.tar.gz")
	_, err = find(dir)
	require.ErrorContains(t, err, "task train: there is "+filepath.Join(dir, "train-train.tar.gz")+" but no "+filepath.Join(dir, "train-test.tar.gz"))
}

func TestFindErrors(t *testing.T) {
	dir := touch(t, "a-train.parquet")
	_, err := find(dir)
	require.ErrorContains(t, err, "task a: there is "+filepath.Join(dir, "a-train.parquet")+" but no "+filepath.Join(dir, "a-test.parquet"))
	dir = touch(t, "a/train/")
	_, err = find(dir)
	require.ErrorContains(t, err, "but no "+filepath.Join(dir, "a", "test"))
	_, err = find(touch(t, "a-train.parquet", "a-test.parquet", "a/train/", "a/test/"))
	require.ErrorContains(t, err, "task a: it exists twice")
	for _, dir := range []string{touch(t), touch(t, "a-test.parquet"), touch(t, "photos/a.jpg")} {
		_, err = find(dir)
		require.ErrorContains(t, err, dir+" holds no tasks: want labeled collections NAME-train.* with NAME-test.*, such as .parquet, or NAME/train/CLASS/*")
	}
	_, err = find(filepath.Join(dir, "none"))
	require.ErrorContains(t, err, "no such file")
	_, err = find(filepath.Join(touch(t, "file"), "file"))
	require.ErrorContains(t, err, "file is a file: want the folder of tasks that it is in, or that of a single task; a folder of tasks has labeled collections NAME-train.*")
}

func TestOpen(t *testing.T) {
	dir := touch(t, "emoji-train.parquet", "pets/train/cat/", "pets/test/", "birds/cat/", "web.tar.gz", "my.v2-train.parquet", "mnist/train-images-idx3-ubyte.gz", "mnist-train-images-idx3-ubyte", "-train.parquet", "pets/train.tar", "notes.md")
	for path, want := range map[string]tasks.Task{
		"emoji-train.parquet": {Name: "emoji", Train: "emoji-train.parquet", Metric: tasks.Top1},
		"pets":                {Name: "pets", Train: "pets/train", Metric: tasks.Top1},
		"pets/":               {Name: "pets", Train: "pets/train", Metric: tasks.Top1},
		"pets/train":          {Name: "pets", Train: "pets/train", Metric: tasks.Top1},
		"birds":               {Name: "birds", Train: "birds", Metric: tasks.Top1},
		"web.tar.gz":          {Name: "web", Train: "web.tar.gz", Metric: tasks.Top1},
		"my.v2-train.parquet": {Name: "my.v2", Train: "my.v2-train.parquet", Metric: tasks.Top1},
		"-train.parquet":      {Name: "-train.parquet", Train: "-train.parquet", Metric: tasks.Top1},
		"pets/train.tar":      {Name: "pets", Train: "pets/train.tar", Metric: tasks.Top1},
		"notes.md":            {Name: "notes.md", Train: "notes.md", Metric: tasks.Top1},

		"mnist/train-images-idx3-ubyte.gz": {Name: "mnist", Train: "mnist/train-images-idx3-ubyte.gz", Metric: tasks.Top1},
		"mnist-train-images-idx3-ubyte":    {Name: "mnist", Train: "mnist-train-images-idx3-ubyte", Metric: tasks.Top1},
	} {
		got, err := tasks.Open(t.Context(), filepath.Join(dir, path))
		require.NoError(t, err)
		want.Train = filepath.Join(dir, want.Train)
		require.Equal(t, want, got)
	}
	t.Chdir(filepath.Join(dir, "pets"))
	got, err := tasks.Open(t.Context(), ".")
	require.NoError(t, err)
	require.Equal(t, tasks.Task{Name: "pets", Train: "train", Metric: tasks.Top1}, got)
	_, err = tasks.Open(t.Context(), "none")
	require.ErrorContains(t, err, "task none: ")
	require.ErrorContains(t, err, "no such file")
}

func TestTestOf(t *testing.T) {
	dir := touch(t, "emoji-train.parquet", "emoji-test.tar", "lone-train.parquet", "pets/train/cat/", "pets/test/cat/",
		"hub/data/train-00000-of-00002.parquet", "hub/data/train-00001-of-00002.parquet", "hub/data/test-00000-of-00001.parquet",
		"dev/train.parquet", "dev/validation.parquet", "birds/cat/", "twice-train.parquet", "twice-test.tar", "twice-test.zip")
	for path, want := range map[string]string{
		"emoji-train.parquet": "emoji-test.tar", "lone-train.parquet": "", "pets": "pets/test", "pets/train": "pets/test", "pets/train/": "pets/test",
		"hub": "hub/data/test-00000-of-00001.parquet", "hub/data": "hub/data/test-00000-of-00001.parquet", "dev/train.parquet": "dev/validation.parquet",
		"birds": "", "twice-train.parquet": "",
	} {
		task, err := tasks.Open(t.Context(), filepath.Join(dir, path))
		require.NoError(t, err)
		got, err := tasks.TestOf(t.Context(), task)
		require.NoError(t, err)
		if want != "" {
			want = filepath.Join(dir, want)
		}
		require.Equal(t, want, got, path)
	}
	t.Chdir(dir)
	got, err := tasks.TestOf(t.Context(), tasks.Task{Train: "./emoji-train.parquet"})
	require.NoError(t, err)
	require.Equal(t, "emoji-test.tar", got)
}

// TestFaulty checks that a task that cannot be used does not hide the others.
func TestFaulty(t *testing.T) {
	dir := touch(t, "pets-train.parquet", "pets-test.parquet", "flowers-train.parquet", "cars/train-00000-of-00002.parquet", "cars/test.parquet", "other/all/train.parquet", "other/sub/train.parquet")
	found, faulty, err := tasks.Find(t.Context(), dir)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "pets", found[0].Name)
	var names []string
	for _, f := range faulty {
		names = append(names, f.Name+": "+strings.ReplaceAll(f.Err.Error(), dir, "."))
	}
	require.Equal(t, []string{
		"cars: ./cars: the split train has 1 of its 2 files; download the others",
		"other: ./other holds the data sets all, sub; give one of them, such as ./other/all",
		"flowers: there is ./flowers-train.parquet but no ./flowers-test.parquet; a task needs both",
	}, names)
}

// TestHub checks that splits are kept apart in folders that are laid out as on the Hugging Face Hub.
func TestHub(t *testing.T) {
	for name, layout := range map[string]struct {
		files       []string
		train, test string
	}{
		"data folder":   {[]string{"README.md", "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"}, "data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"},
		"flat":          {[]string{"train-00000-of-00001-abc123.parquet", "test.parquet"}, "train-00000-of-00001-abc123.parquet", "test.parquet"},
		"shards":        {[]string{"train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "test.tar"}, "train-[0-9]*-of-00002*.parquet", "test.tar"},
		"validation":    {[]string{"data/train.parquet", "data/validation.parquet", "data/other.parquet"}, "data/train.parquet", "data/validation.parquet"},
		"test before":   {[]string{"data/train.parquet", "data/validation.parquet", "data/test.parquet"}, "data/train.parquet", "data/test.parquet"},
		"WebDataset":    {[]string{"train-000000.tar", "train-000001.tar", "test-000000.tar"}, "train-[0-9]*.tar", "test-000000.tar"},
		"capitals":      {[]string{"Train/cat/a.jpg", "Test/cat/b.jpg"}, "Train", "Test"},
		"folders":       {[]string{"train/0000.parquet", "train/0001.parquet", "test/0000.parquet"}, "train", "test"},
		"partitioned":   {[]string{"split=train/label=cat/0.parquet", "split=train/label=dog/0.parquet", "split=test/label=cat/0.parquet"}, "split=train", "split=test"},
		"image folders": {[]string{"train/cat/a.jpg", "val/cat/b.jpg"}, "train", "val"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(touch(t, "pets[1]/"), "pets[1]")
			for _, file := range layout.files {
				require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755))
				require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o644))
			}
			path := func(name string) string {
				if strings.Contains(name, "*") {
					return filepath.Join(strings.Replace(dir, "[", "[[]", 1), name)
				}
				return filepath.Join(dir, name)
			}
			want := tasks.Task{Name: "pets[1]", Train: path(layout.train), Test: path(layout.test), Metric: tasks.Top1}
			for _, of := range []string{dir, filepath.Dir(dir)} {
				found, err := find(of)
				require.NoError(t, err)
				require.Equal(t, []tasks.Task{want}, found)
			}
			want.Test = ""
			got, err := tasks.Open(t.Context(), dir)
			require.NoError(t, err)
			require.Equal(t, want, got)
			paths, err := tasks.Paths(t.Context(), want.Train+"[::2]")
			require.NoError(t, err)
			require.NotEmpty(t, paths)
			for _, p := range paths {
				_, err := os.Stat(p)
				require.NoError(t, err)
			}
		})
	}
	for _, files := range [][]string{
		{"train-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "test-images-idx3-ubyte"},
		{"train_0.tar", "train_1.tar", "train_extra.tar", "test_0.tar"},
	} {
		got, err := tasks.Open(t.Context(), touch(t, files...))
		require.NoError(t, err)
		paths, err := tasks.Paths(t.Context(), got.Train)
		require.NoError(t, err)
		require.NotEmpty(t, paths)
		for _, p := range paths {
			require.Contains(t, files, filepath.Base(p))
			require.NotContains(t, p, "test")
			require.NotContains(t, p, "extra")
			require.NotContains(t, p, ".gz")
		}
	}
	for _, names := range [][2]string{
		{"train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz"}, {"train-images.idx3-ubyte", "t10k-images.idx3-ubyte"}, {"TRAIN-IMAGES-IDX3-UBYTE", "T10K-Images-IDX3-ubyte"},
	} {
		dir := touch(t, names[0], "train-labels-idx1-ubyte.gz", names[1], "t10k-labels-idx1-ubyte.gz")
		found, err := find(dir)
		require.NoError(t, err)
		require.Len(t, found, 1)
		require.Equal(t, []string{filepath.Join(dir, names[0]), filepath.Join(dir, names[1])}, []string{found[0].Train, found[0].Test})
		opened, err := tasks.Open(t.Context(), dir)
		require.NoError(t, err)
		require.Equal(t, found[0].Train, opened.Train)
		test, err := tasks.TestOf(t.Context(), opened)
		require.NoError(t, err)
		require.Equal(t, found[0].Test, test)
	}
	for problem, files := range map[string][]string{
		"the split train is in both train.parquet and train.zip; remove one of them":          {"train.parquet", "train.zip", "test.zip"},
		"is train-0-of-it.tar a file of the split train?":                                     {"train-0.tar", "train-1.tar", "train-0-of-it.tar", "test.tar"},
		"holds train2014 and val2014, which look like splits; give the training images alone": {"train2014/cat/a.jpg", "val2014/cat/b.jpg"},
		"holds pets-train-0.tar and pets-test-0.tar, which look like splits":                  {"pets-train-0.tar", "pets-test-0.tar"},
		"holds mnist.train.parquet and mnist.test.parquet, which look like splits":            {"mnist.train.parquet", "mnist.test.parquet"},
		"holds seg_train and seg_test, which look like splits":                                {"seg_train/seg_train/cat/1.png", "seg_test/seg_test/cat/1.png"},
	} {
		dir := t.TempDir()
		for _, file := range files {
			require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o755))
			require.NoError(t, os.WriteFile(filepath.Join(dir, file), nil, 0o644))
		}
		_, err := tasks.Open(t.Context(), dir)
		require.ErrorContains(t, err, problem)
	}
	dir := touch(t, "train-00000-of-00003.parquet", "train-00002-of-00003.parquet", "test.parquet")
	_, err := tasks.Open(t.Context(), dir)
	require.ErrorContains(t, err, "the split train has 2 of its 3 files")
	dir = touch(t, "small/train.parquet", "large/train.parquet")
	_, err = tasks.Open(t.Context(), dir)
	require.ErrorContains(t, err, "holds the data sets large, small; give one of them, such as "+filepath.Join(dir, "large"))
	dir = touch(t, "a-train.parquet", "a-test.parquet", "b-train.parquet")
	_, err = tasks.Open(t.Context(), dir)
	require.ErrorContains(t, err, "holds 2 tasks; give one of them, such as "+filepath.Join(dir, "a-train.parquet"))
	one := touch(t, "a-train.parquet", "a-test.parquet")
	got, err := tasks.Open(t.Context(), one)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(one, "a-train.parquet"), got.Train, "never both splits")
}

// TestCard checks that the card of a data set tells its splits if the names of its files do not.
func TestCard(t *testing.T) {
	dir := touch(t, "pets/data/fit.parquet", "pets/data/holdout-1.parquet", "pets/data/holdout-2.parquet")
	pets := filepath.Join(dir, "pets")
	card := func(configs string) {
		require.NoError(t, os.WriteFile(filepath.Join(pets, "README.md"), []byte("---\nlicense: mit\n"+configs+"---\n# Pets\n"), 0o644))
	}
	one := "configs:\n- config_name: all\n  data_files:\n  - split: train\n    path: data/fit.parquet\n  - split: test\n    path: [data/holdout-*]\n"
	want := tasks.Task{Name: "pets", Train: filepath.Join(pets, "data/fit.parquet"), Test: filepath.Join(pets, "data/holdout-*"), Metric: tasks.Top1}
	for _, configs := range []string{one, strings.Replace(one, "config_name: all", "config_name: default", 1) + "- config_name: other\n  data_files:\n  - split: train\n    path: x\n"} {
		card(configs)
		for _, of := range []string{dir, pets} {
			found, faulty, err := tasks.Find(t.Context(), of)
			require.NoError(t, err)
			require.Empty(t, faulty)
			require.Equal(t, []tasks.Task{want}, found)
		}
		got, err := tasks.Open(t.Context(), pets)
		require.NoError(t, err)
		require.Equal(t, want.Train, got.Train)
	}
	card("configs:\n- config_name: all\n  data_files:\n  - split: train\n    path: [data/a, data/b]\n")
	_, err := tasks.Open(t.Context(), pets)
	require.ErrorContains(t, err, "README.md gives the split train several paths")
	for _, other := range []string{"", "configs: 3\n", "configs:\n- data_files: data/*\n", "configs:\n- config_name: a\n- config_name: b\n"} {
		card(other)
		got, err := tasks.Open(t.Context(), pets)
		require.NoError(t, err)
		require.Equal(t, pets, got.Train)
	}
}

// A task's description states its metric, whatever its name.
func TestDescription(t *testing.T) {
	dir := touch(t, "pets-train.parquet", "pets-test.parquet", "cars/train/a/", "cars/test/a/", "hub/data/train.parquet", "hub/data/test.parquet",
		"plain-train.tar", "plain-test.tar", "odd-train.tar", "odd-test.tar")
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("pets.yaml", "metric: top1\n")
	write("cars/task.yaml", "metric: mean_per_class\n")
	write("hub/data/task.yaml", "metric: mean_per_class\n")
	write("odd.yaml", "metrics: top1\n")
	found, faulty, err := tasks.Find(t.Context(), dir)
	require.NoError(t, err)
	metric := map[string]string{}
	for _, f := range found {
		metric[f.Name] = f.Metric
	}
	want := map[string]string{"pets": tasks.Top1, "cars": tasks.MeanPerClass, "hub": tasks.MeanPerClass, "plain": tasks.Top1}
	require.Equal(t, want, metric)
	require.Len(t, faulty, 1)
	require.Equal(t, "odd", faulty[0].Name)
	require.ErrorContains(t, faulty[0].Err, filepath.Join(dir, "odd.yaml")+": ")
	for name, path := range map[string]string{"pets": "pets-train.parquet", "cars": "cars", "hub": "hub", "plain": "plain-train.tar"} {
		opened, err := tasks.Open(t.Context(), filepath.Join(dir, path))
		require.NoError(t, err)
		require.Equal(t, want[name], opened.Metric)
	}
	opened, err := tasks.Open(t.Context(), filepath.Join(dir, "cars", "train")+"/")
	require.NoError(t, err)
	require.Equal(t, tasks.MeanPerClass, opened.Metric)
	one, _, err := tasks.Find(t.Context(), filepath.Join(dir, "cars"))
	require.NoError(t, err)
	require.Equal(t, tasks.MeanPerClass, one[0].Metric)
	write("odd.yaml", "metric: ap\n")
	_, err = tasks.Open(t.Context(), filepath.Join(dir, "odd-train.tar"))
	require.ErrorContains(t, err, `odd.yaml: metric "ap": want top1, mean_per_class or map11`)
}

func TestPercent(t *testing.T) {
	predicted, labels := []int64{0, 0, 0, 1}, []int64{0, 0, 1, 1}
	require.Equal(t, 75., tasks.Percent(tasks.Top1, predicted, labels))
	require.Equal(t, 75., tasks.Percent(tasks.MeanPerClass, predicted, labels))
	require.Equal(t, 50., tasks.Percent(tasks.MeanPerClass, predicted[:3], labels[:3]))
	require.Zero(t, tasks.Percent(tasks.MeanPerClass, nil, nil))
}

// Tasks are found and opened on an object store as on disk.
func TestObjectStore(t *testing.T) {
	const dir = "memfs://tasks/all"
	for _, f := range []string{"fruit/train/A/1.png", "fruit/test/A/2.png", "e-train.parquet", "e-test.parquet", "hub/data/train-0.parquet", "hub/data/validation.parquet"} {
		require.NoError(t, files.WriteBytes(t.Context(), dir+"/"+f, []byte("x")))
	}
	found, faulty, err := tasks.Find(t.Context(), dir)
	require.NoError(t, err)
	require.Empty(t, faulty)
	require.Equal(t, []tasks.Task{
		{Name: "e", Train: dir + "/e-train.parquet", Test: dir + "/e-test.parquet", Metric: tasks.Top1},
		{Name: "fruit", Train: dir + "/fruit/train", Test: dir + "/fruit/test", Metric: tasks.Top1},
		{Name: "hub", Train: dir + "/hub/data/train-0.parquet", Test: dir + "/hub/data/validation.parquet", Metric: tasks.Top1},
	}, found)
	for path, want := range map[string]tasks.Task{"e-train.parquet": found[0], "fruit": found[1], "hub": found[2]} {
		got, err := tasks.Open(t.Context(), dir+"/"+path)
		require.NoError(t, err)
		want.Test = ""
		require.Equal(t, want, got)
	}
	training, _, err := tasks.FindTraining(t.Context(), dir+"/*-train.parquet")
	require.NoError(t, err)
	require.Len(t, training, 1)
	_, err = tasks.Open(t.Context(), dir+"/none")
	require.ErrorContains(t, err, "no such file")
}

// FuzzDescription: any bytes in place of a task's description are an error that names the file, or state a metric.
func FuzzDescription(f *testing.F) {
	for _, text := range []string{"metric: top1\n", "metric: mean_per_class\nmetric: top1", "metric: [top1]", "{", "a: &a [*a]", ""} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "task.yaml"), text, 0o644))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "train", "a"), 0o755))
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "test", "a"), 0o755))
		found, _, err := tasks.Find(t.Context(), dir)
		if err != nil {
			require.ErrorContains(t, err, filepath.Join(dir, "task.yaml"))
		}
		for _, task := range found {
			require.Contains(t, []string{tasks.Top1, tasks.MeanPerClass}, task.Metric)
		}
	})
}

// FuzzNames: tasks are found in a folder of files of any names, or what is wrong is said.
func FuzzNames(f *testing.F) {
	f.Add("a-train.parquet", "a-test.parquet", "b/train/x/1.png", "b/test/x/1.png")
	f.Add("train-00000-of-00002.parquet", "test-00000-of-00001.parquet", "train-00001-of-00002.parquet", "validation-0-of-0.parquet")
	f.Add("data/train-00000-of-99999.parquet", "-train.tar", "a-train.yaml", "[a]-train.zip")
	f.Fuzz(func(t *testing.T, a, b, c, d string) {
		dir := t.TempDir()
		for _, name := range []string{a, b, c, d} {
			path := filepath.Join(dir, name)
			if !filepath.IsLocal(name) || os.MkdirAll(filepath.Dir(path), 0o755) != nil || os.WriteFile(path, nil, 0o644) != nil {
				t.Skip("no file name")
			}
		}
		found, faulty, err := tasks.Find(t.Context(), dir)
		for _, task := range found {
			require.NotEmpty(t, task.Name)
			require.NotEmpty(t, task.Test)
		}
		for _, task := range faulty {
			require.Error(t, task.Err)
		}
		if err == nil {
			require.NotEmpty(t, len(found)+len(faulty))
		}
		_, _, _ = tasks.FindTraining(t.Context(), dir)
	})
}
