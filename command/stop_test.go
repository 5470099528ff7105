package command

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestWithin(t *testing.T) {
	failed := errors.New("x")
	for name, tc := range map[string]struct {
		works  time.Duration // how long after the signal
		gives  error
		want   error
		signal bool
	}{
		"ends by itself":  {gives: failed, want: failed},
		"ends in time":    {works: 4 * time.Second, signal: true},
		"fails in time":   {works: 4 * time.Second, gives: failed, want: failed, signal: true},
		"takes too long":  {works: 6 * time.Second, want: errSlowStop, signal: true},
		"needs no signal": {works: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tc.signal {
					cancel()
				}
				require.Equal(t, tc.want, within(ctx, 5*time.Second, func() error { time.Sleep(tc.works); return tc.gives }))
				time.Sleep(time.Minute) // the work itself ends too
			})
		})
	}
}
