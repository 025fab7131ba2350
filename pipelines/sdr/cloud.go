//go:build !local

package main

// Google's object store and its runner bring a third of the program; the tag local leaves them out.
import (
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/gcs"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/dataflow"
)

func init() { runners = append(runners, dataflow) }
