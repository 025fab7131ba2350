package pipelines

import (
	"context"
	"net"
	"reflect"
	"testing"
	"time"

	jobpb "github.com/apache/beam/sdks/v2/go/pkg/beam/model/jobmanagement_v1"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/util/grpcx"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/structpb"
)

// jobService is a job service that keeps the options of the jobs it is to prepare.
type jobService struct {
	jobpb.UnimplementedJobServiceServer
	options map[string]any
}

func (s *jobService) Prepare(_ context.Context, r *jobpb.PrepareJobRequest) (*jobpb.PrepareJobResponse, error) {
	s.options = r.PipelineOptions.AsMap()
	return &jobpb.PrepareJobResponse{}, nil
}

// A job tells Flink to keep its workers between stages; a job server that is not there is an error.
func TestSetOptions(t *testing.T) {
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	server, service := grpc.NewServer(), &jobService{}
	jobpb.RegisterJobServiceServer(server, service)
	go server.Serve(listener)
	defer server.Stop()

	restore := setOptions()
	cc, err := grpcx.Dial(t.Context(), listener.Addr().String(), time.Minute)
	require.NoError(t, err)
	defer cc.Close()
	given, err := structpb.NewStruct(map[string]any{"beam:option:app_name:v1": "sdr"})
	require.NoError(t, err)
	_, err = jobpb.NewJobServiceClient(cc).Prepare(t.Context(), &jobpb.PrepareJobRequest{PipelineOptions: given})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"beam:option:app_name:v1": "sdr", "beam:option:environment_cache_millis:v1": 2000.0}, service.options)

	server.Stop()
	_, err = grpcx.Dial(t.Context(), listener.Addr().String(), 100*time.Millisecond)
	require.ErrorContains(t, err, listener.Addr().String()+" does not answer")
	restore()
	require.Equal(t, reflect.ValueOf(grpcx.DefaultDial).Pointer(), reflect.ValueOf(grpcx.Dial).Pointer())
}
