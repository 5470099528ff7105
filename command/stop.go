package command

import (
	"context"
	"errors"
	"time"
)

// stopLimit is how long everything may take to end after a signal. A supervisor kills after 10 s (Docker) or more.
const stopLimit = 5 * time.Second

var errSlowStop = errors.New("stopping took longer than 5 s; what was acknowledged is on disk, the rest of the last interval is lost")

// within runs work, which is to end when ctx does, and gives it limit to do so. After that it returns errSlowStop, and the process should
// end without it.
func within(ctx context.Context, limit time.Duration, work func() error) error {
	done := make(chan error, 1)
	go func() { done <- work() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case err := <-done:
		return err
	case <-t.C:
		return errSlowStop
	}
}
