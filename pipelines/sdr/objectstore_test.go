//go:build !local

package main

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
)

// store is a filesystem other than the local one.
type store struct {
	root  string
	tasks string                                                               // if the tasks are not below root
	sdr   func(t *testing.T, args ...string) (stdout, stderr string, code int) // runs the program where the filesystem is
}

// TestObjectStores runs the main job with everything on an object store: images, tasks, the weights to begin with, run folder and what comes out. It is
// that of the same on disk, bit by bit, and a run that is over has nothing left to do.
func TestObjectStores(t *testing.T) {
	onDisk := newOnDisk(t)
	for name, open := range map[string]func(*testing.T) store{"s3": openS3, "gs": openGCS, "memfs": openMemory} {
		t.Run(name, func(t *testing.T) { onDisk.compare(t, open(t)) })
	}
}

// openS3 serves S3.
func openS3(t *testing.T) store {
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	require.NoError(t, err)
	_, err = s3.NewFromConfig(cfg).CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	require.NoError(t, err)
	return store{root: "s3://bucket", sdr: sdr}
}

// openGCS serves Google Cloud Storage.
func openGCS(t *testing.T) store {
	server, err := fakestorage.NewServerWithOptions(fakestorage.Options{Scheme: "http", PublicHost: "127.0.0.1"})
	require.NoError(t, err)
	t.Cleanup(server.Stop)
	t.Setenv("STORAGE_EMULATOR_HOST", server.URL())
	server.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})
	return store{root: "gs://bucket", sdr: sdr}
}

// openMemory uses Beam's filesystem in the memory of this process, in which the program thus runs. It fails if anything but
// the evaluator reads the test images of the tasks.
func openMemory(t *testing.T) store {
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	beam.Init()
	compute.Tune(openTuning())
	t.Cleanup(func() { spy.check(t) })
	return store{root: "memfs://bucket", tasks: "spied://bucket/tasks", sdr: func(t *testing.T, args ...string) (stdout, stderr string, code int) {
		var out bytes.Buffer
		c := newRoot()
		c.SetArgs(args)
		c.SetOut(&out)
		switch err := c.ExecuteContext(t.Context()); {
		case errors.As(err, new(*run.UsageError)):
			return out.String(), err.Error(), exitUsage
		case err != nil:
			return out.String(), err.Error(), exitFailed
		}
		return out.String(), "", 0
	}}
}

// onDisk is the main job on the local disk.
type onDisk struct{ tasks, run, routed, customized, features, init string }

// mainJob lists the commands of the main job: with the images in pool, and the tasks and all that is written below a folder.
func mainJob(pool string, in onDisk) [][]string {
	first := quickRun(in.run, "--tasks", in.tasks, "--init", in.init)
	first[2] = pool
	return [][]string{
		first,
		{"route", "--run", in.run, "--task", files.Join(in.tasks, "emoji-train.parquet"), "--out", in.routed},
		{"customize", "--run", in.run, "--task", files.Join(in.tasks, "fruit"), "--out", in.customized, "--images", "256"},
		{"embed", "--model", files.Join(in.routed, "model.safetensors"), "--data", pool, "--out", in.features},
		{"evaluate", "--run", in.run, "--tasks", in.tasks},
	}
}

// below returns the places of the main job in a folder.
func below(dir string) onDisk {
	return onDisk{
		files.Join(dir, "tasks"), files.Join(dir, "runs", "first"), files.Join(dir, "routed"), files.Join(dir, "customized"),
		files.Join(dir, "features.parquet"), files.Join(dir, "init.safetensors"),
	}
}

func newOnDisk(t *testing.T) onDisk {
	d := below(t.TempDir())
	require.NoError(t, os.CopyFS(filepath.Join(d.tasks, "fruit"), os.DirFS(folder)))
	for _, name := range []string{"emoji-train.parquet", "emoji-test.parquet"} {
		data, err := os.ReadFile(filepath.Join(testdata, "tasks", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(d.tasks, name), data, 0o644))
	}
	writeWeights(t, d.init, 4, 7)
	for _, args := range mainJob(testdata+"/pool/emoji.parquet", d) {
		mustSDR(t, args...)
	}
	return d
}

// compare runs the main job on a store and compares what it leaves there.
func (d onDisk) compare(t *testing.T, s store) {
	ctx := t.Context()
	must := func(args ...string) string {
		t.Helper()
		out, log, code := s.sdr(t, args...)
		require.Zero(t, code, "%v\n%s", args, log)
		return out
	}
	upload := func(from, to string) {
		data, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, files.WriteBytes(ctx, to, data))
	}
	there := below(s.root)
	there.tasks = cmp.Or(s.tasks, there.tasks)
	pool := files.Join(s.root, "pool")
	upload(d.init, there.init)
	upload(testdata+"/pool/emoji.parquet", files.Join(pool, "emoji.parquet"))
	require.NoError(t, filepath.WalkDir(d.tasks, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			upload(path, files.Join(there.tasks, filepath.ToSlash(strings.TrimPrefix(path, d.tasks+"/"))))
		}
		return err
	}))

	jobs := mainJob(pool, there)
	for i, args := range jobs {
		out := must(args...)
		if i == 0 || i == len(jobs)-1 {
			require.Contains(t, out, "fruit")
			require.Contains(t, out, "emoji")
		}
	}
	for _, name := range []string{
		"models/phase0.safetensors", "models/root.safetensors", "models/0.safetensors", "models/1.1.safetensors", "models/unified.safetensors",
		"results.csv", "routed/fruit/model.safetensors", "routed/emoji/model.safetensors",
	} {
		sameFile(t, files.Join(d.run, name), files.Join(there.run, name))
	}
	points := sameCurve(t, d.run, there.run)
	events, err := files.List(ctx, files.Join(curves.EventsDir(there.run, train.SDR), "*"))
	require.NoError(t, err)
	require.Len(t, events, 1)
	data, err := files.Read(ctx, events[0])
	require.NoError(t, err)
	require.Equal(t, points, bytes.Count(data, []byte("loss")), "TensorBoard's event file")
	sameFile(t, files.Join(d.routed, "model.safetensors"), files.Join(there.routed, "model.safetensors"))
	sameFile(t, files.Join(d.customized, "model.safetensors"), files.Join(there.customized, "model.safetensors"))
	want, err := arrowio.LoadRows[pipelines.Embedded](ctx, d.features)
	require.NoError(t, err)
	got, err := arrowio.LoadRows[pipelines.Embedded](ctx, there.features)
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i := range want {
		require.Equal(t, want[i].Feature, got[i].Feature)
	}
	require.Contains(t, must("inspect", there.run), "unified")
	copied := filepath.Join(t.TempDir(), "root.safetensors")
	must("export", "--run", there.run, "--subnet", "root", "--out", copied)

	// a run that is over has nothing left to do, and its log goes on
	log, err := files.Read(ctx, files.Join(there.run, "train.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), "stage starts")
	must(append(jobs[0], "--resume")...)
	longer, err := files.Read(ctx, files.Join(there.run, "train.log"))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(longer, log))
	require.Contains(t, string(longer[len(log):]), "some stages are already done")
	_, message, code := s.sdr(t, jobs[0]...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, message, "already holds a run")
}

// sameCurve compares the SDRnet's metrics of a run on disk and of one on a store, without the time that they took, and
// returns the number of points.
func sameCurve(t *testing.T, want, got string) int {
	t.Helper()
	a, err := curves.ReadPoints(t.Context(), want, train.SDR)
	require.NoError(t, err)
	b, err := curves.ReadPoints(t.Context(), got, train.SDR)
	require.NoError(t, err)
	for _, points := range [][]curves.Point{a, b} {
		for i := range points {
			points[i].Time, points[i].Wait = 0, 0
		}
	}
	require.NotEmpty(t, a)
	require.Equal(t, a, b)
	return len(a)
}

// sameFile compares a file on disk and one on a store.
func sameFile(t *testing.T, want, got string) {
	t.Helper()
	a, err := os.ReadFile(want)
	require.NoError(t, err)
	b, err := files.Read(t.Context(), got)
	require.NoError(t, err)
	require.True(t, bytes.Equal(a, b), "%s differs from %s", got, want)
}
