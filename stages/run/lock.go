package run

import (
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
}

// Lock reserves the folder of a run or study, which it creates if needed, for this program until unlock is called or
// the program ends, however it ends. If another program has reserved it, the error wraps ErrInUse and names that
// program. A folder that is not local, or on a filesystem without locks, is not reserved.
func Lock(dir string) (unlock func(), err error) {
	none := func() {}
	if !files.IsLocal(dir) {
		return none, nil
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
	host, _ := os.Hostname()
	text, err := json.Marshal(owner{host, os.Getpid(), time.Now().Truncate(time.Second)})
	if err == nil {
		err = os.WriteFile(lock.Path(), append(text, '\n'), 0o644)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return func() { _ = lock.Close() }, nil
}

// heldBy describes who holds a lock, if that can be read.
func heldBy(path string) string {
	text, err := os.ReadFile(path)
	var by owner
	if err != nil || json.Unmarshal(text, &by) != nil {
		return ""
	}
	return fmt.Sprintf(" by process %d on %s since %s", by.PID, by.Host, by.Since.Format(time.DateTime))
}
