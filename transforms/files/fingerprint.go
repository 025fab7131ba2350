package files

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/zeebo/xxh3"
)

// Fingerprint identifies the content of a file.
type Fingerprint struct {
	// Path is the file's path, as by [Text].
	Path string `arrow:"path"`
	// Size is the number of bytes, and Modified the modification time in nanoseconds since 1970; 0 where the filesystem
	// does not tell. A file with the size and time that it had is taken for unchanged.
	Size     int64 `arrow:"size"`
	Modified int64 `arrow:"modified"`
	// Content is a hash of the content, or of samples of a large file; empty if the file is not local or cannot be read.
	Content string `arrow:"content"`
}

// The content of files of more than sampleWhole bytes is sampled by blocks of equal distance.
const (
	sampleWhole  = 256 << 10
	sampleBlock  = 16 << 10
	sampleBlocks = sampleWhole / sampleBlock
)

// TakeFingerprint identifies a file's content. If known is the file's fingerprint of an earlier time, and size and
// modification time have not changed since, the file is not read. A file that does not exist has only a path.
func TakeFingerprint(ctx context.Context, path string, known Fingerprint) Fingerprint {
	f := Fingerprint{Path: Text(path)}
	if !IsLocal(path) {
		if at, err := Modified(ctx, path); err == nil && !at.IsZero() {
			f.Modified = at.UnixNano()
		}
		return f
	}
	info, err := os.Stat(path)
	if err != nil {
		return f
	}
	f.Size, f.Modified = info.Size(), info.ModTime().UnixNano()
	if f.Size == known.Size && f.Modified == known.Modified && known.Content != "" {
		f.Content = known.Content
	} else if hash, err := sample(path, f.Size); err == nil {
		f.Content = hash
	}
	return f
}

// Same reports whether two fingerprints are of the same content.
func (f Fingerprint) Same(g Fingerprint) bool {
	if f.Content == "" || g.Content == "" {
		return f == g
	}
	return f.Path == g.Path && f.Size == g.Size && f.Content == g.Content
}

// Identity returns the fingerprint without what may change while the content stays the same.
func (f Fingerprint) Identity() string {
	if f.Content == "" {
		return fmt.Sprintf("%d %s", f.Size, time.Unix(0, f.Modified).UTC().Format(time.RFC3339Nano))
	}
	return fmt.Sprintf("%d %s", f.Size, f.Content)
}

// sample hashes a file of the given size.
func sample(path string, size int64) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	hash := xxh3.New()
	if size <= sampleWhole {
		_, err = io.Copy(hash, io.LimitReader(f, sampleWhole))
	}
	for i := int64(0); size > sampleWhole && i < sampleBlocks && err == nil; i++ {
		_, err = io.Copy(hash, io.NewSectionReader(f, i*(size-sampleBlock)/(sampleBlocks-1), sampleBlock))
	}
	return fmt.Sprintf("%016x", hash.Sum64()), err
}
