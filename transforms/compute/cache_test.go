package compute

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestOnce requests the same values from many goroutines: each is computed once.
func TestOnce(t *testing.T) {
	c := NewCache[*int](1 << 20)
	var computed atomic.Int64
	got := make([]*int, 64)
	errs := make([]error, len(got))
	var group sync.WaitGroup
	for i := range got {
		group.Go(func() {
			got[i], errs[i] = c.Get(fmt.Sprint(i%4), func() (*int, int, error) {
				computed.Add(1)
				return new(i % 4), 8, nil
			})
		})
	}
	group.Wait()
	require.NoError(t, errors.Join(errs...))
	require.EqualValues(t, 4, computed.Load())
	for i, v := range got {
		require.Equal(t, i%4, *v)
		require.Same(t, got[i%4], v)
	}
}

// TestEviction checks that the cache keeps as many of the newest values as fit, and always the newest.
func TestEviction(t *testing.T) {
	c := NewCache[string](10)
	var log []string
	get := func(key string, bytes int) {
		value, err := c.Get(key, func() (string, int, error) {
			log = append(log, key)
			return "value of " + key, bytes, nil
		})
		require.NoError(t, err)
		require.Equal(t, "value of "+key, value)
	}
	get("a", 4)
	get("b", 4)
	get("a", 4) // kept
	get("c", 2) // there is room for all three
	get("a", 4)
	get("d", 1) // evicts a
	get("b", 4)
	get("c", 2)
	get("a", 4) // computed again; evicts b
	get("huge", 100)
	get("huge", 100)
	get("d", 1)
	get("huge", 100) // d took its place
	require.Equal(t, []string{"a", "b", "c", "d", "a", "huge", "d", "huge"}, log)
	require.Len(t, c.items, len(c.order))
	sum := 0
	for _, s := range c.order {
		sum += s.bytes
	}
	require.Equal(t, sum, c.bytes)
}

// TestErrors checks that a failure is not cached.
func TestErrors(t *testing.T) {
	c := NewCache[int](10)
	failed := errors.New("failed")
	_, err := c.Get("k", func() (int, int, error) { return 0, 0, failed })
	require.ErrorIs(t, err, failed)
	v, err := c.Get("k", func() (int, int, error) { return 7, 1, nil })
	require.NoError(t, err)
	require.Equal(t, 7, v)
}

// TestPanic checks that a panic leaves nothing behind, in particular no zero
// value without an error.
func TestPanic(t *testing.T) {
	c := NewCache[*int](10)
	require.PanicsWithValue(t, "no", func() {
		_, _ = c.Get("k", func() (*int, int, error) { panic("no") })
	})
	v, err := c.Get("k", func() (*int, int, error) { return new(7), 1, nil })
	require.NoError(t, err)
	require.Equal(t, 7, *v)
}
