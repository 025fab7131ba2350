//go:build !local

package main

import (
	"bytes"
	"context"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"
)

// TestS3 runs the main job with everything on an object store: images, tasks, run folder and what comes out. The weights are
// those of the same on disk, and an interrupted run goes on.
func TestS3(t *testing.T) {
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	defer server.Close()
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL": server.URL, "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	cfg, err := config.LoadDefaultConfig(t.Context())
	require.NoError(t, err)
	client := s3.NewFromConfig(cfg)
	_, err = client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("bucket")})
	require.NoError(t, err)
	upload := func(key, path string) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = client.PutObject(context.Background(), &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String(key), Body: bytes.NewReader(data)})
		require.NoError(t, err)
	}
	upload("pool/emoji.parquet", testdata+"/pool/emoji.parquet")
	tasks := "s3://bucket/tasks"
	require.NoError(t, filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			upload("tasks/fruit/"+filepath.ToSlash(strings.TrimPrefix(path, folder+"/")), path)
		}
		return err
	}))
	upload("tasks/emoji-train.parquet", testdata+"/tasks/emoji-train.parquet")
	upload("tasks/emoji-test.parquet", testdata+"/tasks/emoji-test.parquet")

	dir := t.TempDir()
	local := filepath.Join(dir, "run")
	mustSDR(t, quickRun(local)...)
	args := func(out string, more ...string) []string {
		a := quickRun(out, more...)
		a[2] = "s3://bucket/pool"
		return a
	}
	out := mustSDR(t, args("s3://bucket/runs/first", "--tasks", tasks, "--set", "train.rounds.bins=1")...)
	require.Contains(t, out, "fruit")
	require.Contains(t, out, "emoji")
	for _, name := range []string{"0", "1.1", "root", "unified"} {
		want, err := os.ReadFile(filepath.Join(local, "models", name+".safetensors"))
		require.NoError(t, err)
		got := filepath.Join(dir, name+".safetensors")
		mustSDR(t, "export", "--run", "s3://bucket/runs/first", "--subnet", name, "--out", got)
		mine := filepath.Join(dir, name+"-local.safetensors")
		mustSDR(t, "export", "--run", local, "--subnet", name, "--out", mine)
		a, err := os.ReadFile(got)
		require.NoError(t, err)
		b, err := os.ReadFile(mine)
		require.NoError(t, err)
		require.Equal(t, len(want) > 0, bytes.Equal(a, b), name)
	}
	require.Contains(t, mustSDR(t, "inspect", "s3://bucket/runs/first"), "unified")
	mustSDR(t, "route", "--run", "s3://bucket/runs/first", "--task", tasks+"/emoji-train.parquet", "--out", "s3://bucket/routed")
	mustSDR(t, "embed", "--model", "s3://bucket/routed/model.safetensors", "--data", "s3://bucket/pool", "--out", "s3://bucket/features.parquet")
	require.Contains(t, mustSDR(t, "evaluate", "--run", "s3://bucket/runs/first", "--tasks", tasks), "fruit")
	mustSDR(t, args("s3://bucket/runs/first", "--tasks", tasks, "--resume")...)
	_, log, code := sdr(t, args("s3://bucket/runs/first")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, log, "already holds a run")
}
