// Package storage takes the place of the client of Google Cloud Storage in local builds: whatever is asked of it is an
// error that says so.
package storage

import (
	"context"
	"errors"
	"io"
	"time"

	"google.golang.org/api/option"
)

var errLocal = errors.New("this program was built with the tag local, without gs://; build it without, by `make build`")

// The scopes that Beam asks for.
const (
	ScopeReadOnly  = ""
	ScopeReadWrite = ""
)

// ErrBucketNotExist is never returned.
var ErrBucketNotExist = errors.New("storage: bucket doesn't exist")

// Client is a client for nothing.
type Client struct{}

// NewClient returns a client.
func NewClient(context.Context, ...option.ClientOption) (*Client, error) { return &Client{}, nil }

// Bucket names a bucket.
func (*Client) Bucket(string) *BucketHandle { return &BucketHandle{} }

// Close does nothing.
func (*Client) Close() error { return nil }

// BucketHandle is a bucket.
type BucketHandle struct{}

// UserProject returns the bucket.
func (b *BucketHandle) UserProject(string) *BucketHandle { return b }

// Objects lists nothing.
func (*BucketHandle) Objects(context.Context, *Query) *ObjectIterator { return &ObjectIterator{} }

// Object names an object.
func (*BucketHandle) Object(string) *ObjectHandle { return &ObjectHandle{} }

// Attrs is an error.
func (*BucketHandle) Attrs(context.Context) (*BucketAttrs, error) { return nil, errLocal }

// Create is an error.
func (*BucketHandle) Create(context.Context, string, *BucketAttrs) error { return errLocal }

// BucketAttrs are what Beam reads and sets of a bucket.
type BucketAttrs struct {
	Name             string
	SoftDeletePolicy *SoftDeletePolicy
}

// SoftDeletePolicy is part of BucketAttrs.
type SoftDeletePolicy struct {
	EffectiveTime     time.Time
	RetentionDuration time.Duration
}

// Query says what to list.
type Query struct{ Prefix, Delimiter, MatchGlob string }

// SetAttrSelection does nothing.
func (*Query) SetAttrSelection([]string) error { return nil }

// ObjectIterator iterates over objects.
type ObjectIterator struct{}

// Next is an error.
func (*ObjectIterator) Next() (*ObjectAttrs, error) { return nil, errLocal }

// ObjectAttrs are what Beam reads of an object.
type ObjectAttrs struct {
	Name    string
	Size    int64
	Updated time.Time
}

// ObjectHandle is an object.
type ObjectHandle struct{}

// NewReader is an error.
func (*ObjectHandle) NewReader(context.Context) (*Reader, error) { return nil, errLocal }

// NewWriter returns a writer.
func (*ObjectHandle) NewWriter(context.Context) *Writer { return &Writer{} }

// Attrs is an error.
func (*ObjectHandle) Attrs(context.Context) (*ObjectAttrs, error) { return nil, errLocal }

// Delete is an error.
func (*ObjectHandle) Delete(context.Context) error { return errLocal }

// CopierFrom returns a copier.
func (*ObjectHandle) CopierFrom(*ObjectHandle) *Copier { return &Copier{} }

// Copier copies an object.
type Copier struct{}

// Run is an error.
func (*Copier) Run(context.Context) (*ObjectAttrs, error) { return nil, errLocal }

// Reader reads an object.
type Reader struct{ io.ReadCloser }

// Writer writes an object.
type Writer struct{}

// Write is an error.
func (*Writer) Write([]byte) (int, error) { return 0, errLocal }

// Close is an error.
func (*Writer) Close() error { return errLocal }
