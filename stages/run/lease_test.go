package run

import (
	"testing"
	"time"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/files"
)

// TestLease takes the lease of a folder on an object store: it is held as long as its owner renews it, ends when the owner
// releases it, and by itself when the owner is gone.
func TestLease(t *testing.T) {
	defer func(lease, renew, settle time.Duration) { leaseTime, renewTime, settleTime = lease, renew, settle }(leaseTime, renewTime, settleTime)
	leaseTime, renewTime, settleTime = 2*time.Second, 50*time.Millisecond, 20*time.Millisecond
	const dir = "memfs://leases/run"
	release, err := Lock(t.Context(), dir)
	require.NoError(t, err)
	first, err := readLease(t.Context(), dir+"/.lock")
	require.NoError(t, err)
	time.Sleep(200 * time.Millisecond)
	second, err := readLease(t.Context(), dir+"/.lock")
	require.NoError(t, err)
	require.True(t, second.Until.After(first.Until), "it is renewed")
	_, err = Lock(t.Context(), dir)
	require.ErrorIs(t, err, ErrInUse)
	require.Regexp(t, "is in use by process [0-9]+ on .+ since .+, or until [0-9:]+ if that was killed; wait, or give another folder", err.Error())
	release()
	release()
	found, err := files.Exists(t.Context(), dir+"/.lock")
	require.NoError(t, err)
	require.False(t, found)

	gone := newOwner()
	gone.Lease, gone.Until = "gone", time.Now().Add(300*time.Millisecond)
	require.NoError(t, files.WriteBytes(t.Context(), dir+"/.lock", gone.encode()))
	_, err = Lock(t.Context(), dir)
	require.ErrorIs(t, err, ErrInUse)
	time.Sleep(320 * time.Millisecond)
	release, err = Lock(t.Context(), dir)
	require.NoError(t, err)

	// another program has taken it over
	other := newOwner()
	other.Lease, other.Until = "other", time.Now().Add(time.Minute)
	require.NoError(t, files.WriteBytes(t.Context(), dir+"/.lock", other.encode()))
	time.Sleep(200 * time.Millisecond)
	release()
	held, err := readLease(t.Context(), dir+"/.lock")
	require.NoError(t, err)
	require.Equal(t, "other", held.Lease, "it is left to that")

	require.NoError(t, files.WriteBytes(t.Context(), dir+"/.lock", []byte("{")))
	_, err = Lock(t.Context(), dir)
	require.ErrorContains(t, err, "remove it if no other program writes to the folder")
}
