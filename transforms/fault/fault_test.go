package fault_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 programs may still use it, so Parse must understand its errors
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/fault"
)

var (
	errHungry = fault.New("test-hungry")
	errTired  = fault.New("test-tired")
)

func init() { beam.RegisterFunction(fail) }

func TestMain(m *testing.M) {
	beam.Init()
	os.Exit(m.Run())
}

func fail([]byte) ([]byte, error) { return nil, fmt.Errorf("no bread at [1] [%w]", errHungry) }

func TestAcrossRunners(t *testing.T) {
	for _, runner := range []string{"prism", "direct"} {
		p, s := beam.NewPipelineWithRoot()
		beam.ParDo(s, fail, beam.Impulse(s))
		_, err := beam.Run(t.Context(), runner, p)
		require.NotErrorIs(t, err, errHungry, "Beam keeps errors: Parse is no longer needed")
		err = fault.Parse(err)
		require.ErrorIs(t, err, errHungry)
		require.NotErrorIs(t, err, errTired)
		require.EqualError(t, err, "no bread at [1]")
	}
}

func TestOtherErrors(t *testing.T) {
	err := fault.Parse(errors.New("the job [x] failed: no workers"))
	require.EqualError(t, err, "the job [x] failed: no workers")
	require.NotErrorIs(t, err, context.Canceled)
}
