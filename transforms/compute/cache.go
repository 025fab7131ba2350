package compute

import (
	"slices"
	"sync"
)

// Cache keeps computed values for the DoFns of this process, up to a number of bytes. It evicts the oldest first and
// always keeps the newest, whatever its size. Concurrent requests for a key share one computation.
type Cache[T any] struct {
	limit int

	mu    sync.Mutex
	items map[string]func() (T, error) // computed or being computed
	order []sized                      // the computed ones, oldest first
	bytes int                          // total size of the computed ones
}

// NewCache returns an empty cache with a capacity of so many bytes.
func NewCache[T any](bytes int) *Cache[T] { return &Cache[T]{limit: bytes} }

// sized is an item's key and its size.
type sized struct {
	key   string
	bytes int
}

// Get returns the value for key, calling compute on a miss; compute also returns the value's size. Errors are not
// cached. If compute calls Run, do not call Get from inside Run: they would deadlock.
func (c *Cache[T]) Get(key string, compute func() (value T, bytes int, err error)) (T, error) {
	c.mu.Lock()
	item, ok := c.items[key]
	if !ok {
		if c.items == nil {
			c.items = map[string]func() (T, error){}
		}
		item = sync.OnceValues(func() (T, error) { return c.fill(key, compute) })
		c.items[key] = item
	}
	c.mu.Unlock()
	return item()
}

// Cached returns the value for key if the cache has it.
func (c *Cache[T]) Cached(key string) (value T, ok bool) {
	c.mu.Lock()
	item, ok := c.items[key], slices.ContainsFunc(c.order, func(s sized) bool { return s.key == key })
	c.mu.Unlock()
	if ok {
		value, _ = item() // computed, so it has no error
	}
	return value, ok
}

func (c *Cache[T]) fill(key string, compute func() (T, int, error)) (value T, err error) {
	computed, bytes := false, 0
	defer func() { // runs after a panic, too
		c.mu.Lock()
		defer c.mu.Unlock()
		if !computed {
			delete(c.items, key)
			return
		}
		c.order = append(c.order, sized{key, bytes})
		c.bytes += bytes
		for c.bytes > c.limit && len(c.order) > 1 {
			c.bytes -= c.order[0].bytes
			delete(c.items, c.order[0].key)
			c.order = c.order[1:]
		}
	}()
	value, bytes, err = compute()
	computed = err == nil
	return value, err
}
