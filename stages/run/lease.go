package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/transforms/files"
)

// The times of a lease.
var (
	leaseTime  = time.Minute      // from its last renewal to its end
	renewTime  = 15 * time.Second // between renewals
	settleTime = time.Second      // until one of several that take a lease in the same moment has it
)

// takeLease takes a lease, a file that names its owner and is renewed as long as the program runs. It serves where there
// are no locks: that of a program which was killed ends by itself after a minute.
func takeLease(ctx context.Context, path string) (release func(), err error) {
	own := newOwner()
	own.Lease = uuid.NewString()
	renew := func(ctx context.Context) error {
		own.Until = time.Now().Add(leaseTime)
		return files.WriteBytes(ctx, path, own.encode())
	}
	switch held, err := readLease(ctx, path); {
	case err != nil:
		return nil, err
	case held.Until.After(time.Now()):
		return nil, Usagef("%s %w %s, or until %s if that was killed; wait, or give another folder",
			files.Dir(path), ErrInUse, held, held.Until.Format(time.TimeOnly))
	}
	if err := renew(ctx); err != nil {
		return nil, Usagef("%s cannot be a run folder: %w", files.Dir(path), err)
	}
	time.Sleep(settleTime)
	switch held, err := readLease(ctx, path); {
	case err != nil:
		return nil, err
	case held.Lease != own.Lease:
		return nil, Usagef("%s %w %s; wait until that has ended, or give another folder", files.Dir(path), ErrInUse, held)
	}
	ctx = context.WithoutCancel(ctx)
	done := make(chan struct{})
	lost := false
	var wait sync.WaitGroup
	wait.Go(func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(renewTime):
			}
			held, err := readLease(ctx, path)
			if lost = err == nil && held.Lease != own.Lease; lost {
				slog.Error("another program has taken the folder, since this one did not renew its lease in time; stop one of them", "folder", files.Dir(path), "other", held)
				return
			}
			if err == nil {
				err = renew(ctx)
			}
			if err != nil {
				slog.Warn("the lease of the folder cannot be renewed", "file", path, "error", err)
			}
		}
	})
	return sync.OnceFunc(func() {
		close(done)
		if wait.Wait(); lost {
			return
		}
		if err := files.Remove(ctx, path); err != nil {
			slog.Warn("the folder stays reserved for a minute", "file", path, "error", err)
		}
	}), nil
}

// readLease reads a lease; it is empty if there is none.
func readLease(ctx context.Context, path string) (held owner, err error) {
	data, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return held, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &held)
	}
	if err != nil {
		return held, fmt.Errorf("%s: %w; remove it if no other program writes to the folder", path, err)
	}
	return held, nil
}
