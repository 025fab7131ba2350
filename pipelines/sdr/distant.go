//go:build !local

package main

// Where data and jobs may be besides this machine. `make build TAGS=local` leaves this file out, and Beam's own import
// of gs://, which comes with every runner.
import (
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/gcs"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/s3"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow"
)

// distant are the runners whose workers are other processes.
var distant = []string{"flink", "dataflow"}
