package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"github.com/sdr-ml/sdr/transforms/files"
)

// ErrInUse says that another program is writing to the folder.
var ErrInUse = errors.New("is in use")

// lockFile is the file in a folder that the program writing to it has locked. It stays when the program ends.
const lockFile = ".lock"

// owner is the content of a lock file: who holds the lock.
type owner struct {
	Host  string    `json:"host"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	// Until is the end of a lease, and Lease its identity.
	Until time.Time `json:"until,omitzero"`
	Lease string    `json:"lease,omitempty"`
}

func newOwner() owner {
	host, _ := os.Hostname()
	return owner{Host: host, PID: os.Getpid(), Since: time.Now().Truncate(time.Second)}
}

func (o owner) encode() []byte {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // strings, numbers and times can always be encoded
	}
	return append(text, '\n')
}

func (o owner) String() string {
	return fmt.Sprintf("by process %d on %s since %s", o.PID, o.Host, o.Since.Format(time.DateTime))
}

// Lock reserves the folder of a run or study, which it creates if needed, for this program until unlock is called or
// the program ends, however it ends. If another program has reserved it, the error wraps ErrInUse and names that
// program. A folder that is not local gets a lease, see takeLease. A local one on a filesystem without locks is not
// reserved.
func Lock(ctx context.Context, dir string) (unlock func(), err error) {
	none := func() {}
	if !files.IsLocal(dir) {
		return takeLease(ctx, files.Join(dir, lockFile))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, Usagef("%s cannot be a run folder: %w", dir, err)
	}
	lock := flock.New(files.Join(dir, lockFile))
	switch locked, err := lock.TryLock(); {
	case errors.Is(err, syscall.ENOSYS), errors.Is(err, errors.ErrUnsupported):
		return none, nil
	case err != nil:
		return nil, Usagef("%s cannot be a run folder: %w", dir, err)
	case !locked:
		return nil, Usagef("%s %w%s; wait until that has ended, or give another folder", dir, ErrInUse, heldBy(lock.Path()))
	}
	if err := os.WriteFile(lock.Path(), newOwner().encode(), 0o644); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return func() { _ = lock.Close() }, nil
}

// InUse reports whether a program has reserved the folder by Lock. It asks for a lock itself, for a moment, and so must not
// be called all the time.
func InUse(ctx context.Context, dir string) (bool, error) {
	path := files.Join(dir, lockFile)
	if !files.IsLocal(dir) {
		held, err := readLease(ctx, path)
		return held.Until.After(time.Now()), err
	}
	if found, err := files.Exists(ctx, path); err != nil || !found {
		return false, err
	}
	lock := flock.New(path, flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	switch {
	case errors.Is(err, syscall.ENOSYS), errors.Is(err, errors.ErrUnsupported):
		return false, nil
	case err != nil:
		return false, err
	}
	return !free, lock.Close()
}

// heldBy describes who holds a lock, if that can be read.
func heldBy(path string) string {
	text, err := os.ReadFile(path)
	var by owner
	if err != nil || json.Unmarshal(text, &by) != nil {
		return ""
	}
	return " " + by.String()
}
