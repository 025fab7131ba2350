package pipelines

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"regexp"
	"strings"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/structpb"
)

// flinkREST is a flag like Beam's own, which each command has.
var flinkREST = flag.String("flink_rest", "", "address of Flink's REST service; by default port 8081 of the host of --endpoint")

// Flink is the REST service of a Flink cluster. Beam's job service tells neither how many slots the cluster has, nor does
// its Cancel end a job.
type Flink struct {
	// Address is host and port.
	Address string
}

// FlinkOf returns the cluster that Beam's flags name.
func FlinkOf() (*Flink, error) {
	if *flinkREST != "" {
		return &Flink{*flinkREST}, nil
	}
	host, _, err := net.SplitHostPort(*jobopts.Endpoint)
	if err != nil {
		return nil, fmt.Errorf("--endpoint %s: want HOST:PORT", *jobopts.Endpoint)
	}
	return &Flink{net.JoinHostPort(host, "8081")}, nil
}

// requestTime is the longest that a request may take.
const requestTime = 10 * time.Second

// do sends a request and reads the answer into a value, unless that is nil.
func (f *Flink) do(ctx context.Context, method, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+f.Address+path, nil)
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	switch {
	case err != nil:
		return err
	case answer.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, bytes.TrimSpace(text))
	case into == nil:
		return nil
	}
	return json.Unmarshal(text, into)
}

// Slots returns the number of slots of the cluster.
func (f *Flink) Slots(ctx context.Context) (int, error) {
	var overview struct {
		Slots int `json:"slots-total"`
	}
	err := f.do(ctx, http.MethodGet, "/overview", &overview)
	return overview.Slots, err
}

// Cancel ends the job that was submitted with a name, and waits until it has ended. The job server may still be preparing
// it: Cancel waits for it to appear, up to a grace period.
func (f *Flink) Cancel(ctx context.Context, name string, grace time.Duration) error {
	start, seen := time.Now(), false
	name = other.ReplaceAllString(strings.ToLower(name), "0") + "-" // the job server's changes and additions to it
	for asked := map[string]bool{}; ; {
		var overview struct {
			Jobs []struct {
				ID   string `json:"jid"`
				Name string `json:"name"`
				End  int64  `json:"end-time"` // -1 while it runs
			} `json:"jobs"`
		}
		if err := f.do(ctx, http.MethodGet, "/jobs/overview", &overview); err != nil {
			return err
		}
		running := false
		for _, job := range overview.Jobs {
			if !strings.HasPrefix(job.Name, name) {
				continue
			}
			if seen = true; job.End >= 0 {
				continue
			}
			running = true
			if !asked[job.ID] {
				asked[job.ID] = true
				if err := f.do(ctx, http.MethodPatch, "/jobs/"+job.ID+"?mode=cancel", nil); err != nil {
					return err
				}
			}
		}
		if !running && (seen || time.Since(start) > grace) {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the job has not ended yet")
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// other matches what the job server replaces in names.
var other = regexp.MustCompile(`[^a-z0-9]`)

// flink is the name of Beam's runner.
const flink = "flink"

// setJobName gives the next job a name that no other has, which begins with the user's, until restore is called.
func setJobName() (restore func()) {
	before := *jobopts.JobName
	*jobopts.JobName = cmp.Or(before, "sdr") + strings.ReplaceAll(uuid.NewString(), "-", "")
	return func() { *jobopts.JobName = before }
}

// keepWorkers is how long the TaskManagers keep a job's worker that has nothing to do: by default they end it at once, which
// costs every stage of a job, such as those of a round of training, the start of a process. It is shorter than the delay of
// the restart strategy in flink/config.yaml: a job that restarts because a worker was killed would be given that worker again.
const keepWorkers = 2 * time.Second

// setOptions adds to the next jobs the options of Beam's Java runners for which Beam's Go SDK has no flag, until restore is
// called.
func setOptions() (restore func()) {
	before := grpcx.Dial
	grpcx.Dial = func(ctx context.Context, endpoint string, timeout time.Duration) (*grpc.ClientConn, error) {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		cc, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)), grpc.WithUnaryInterceptor(addOptions))
		if err != nil {
			return nil, err
		}
		cc.Connect()
		for state := cc.GetState(); state != connectivity.Ready; state = cc.GetState() {
			if !cc.WaitForStateChange(ctx, state) {
				return nil, errors.Join(fmt.Errorf("the job server %s does not answer", endpoint), cc.Close())
			}
		}
		return cc, nil
	}
	return func() { grpcx.Dial = before }
}

// addOptions adds the options to a request that prepares a job.
func addOptions(ctx context.Context, method string, request, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	if prepare, ok := request.(*jobpb.PrepareJobRequest); ok {
		prepare.PipelineOptions.Fields["beam:option:environment_cache_millis:v1"] = structpb.NewNumberValue(float64(keepWorkers.Milliseconds()))
	}
	return invoke(ctx, method, request, reply, cc, opts...)
}

// cancelTime is the longest that canceling a job may take, and graceTime the longest that it may take to appear.
const (
	cancelTime = time.Minute
	graceTime  = 20 * time.Second
)

// cancelJob ends the running job.
func cancelJob(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, cancelTime)
	defer cancel()
	cluster, err := FlinkOf()
	if err == nil {
		err = cluster.Cancel(ctx, *jobopts.JobName, graceTime)
	}
	if err != nil {
		slog.Warn("the job may go on; cancel it on Flink's page", "job", *jobopts.JobName, "error", err)
	}
}
