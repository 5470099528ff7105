package api

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPromLogIsShort: a client that goes away in the middle of many families is one line.
func TestPromLogIsShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		l := &promLog{log: slog.New(slog.NewTextHandler(&out, nil))}
		for range 100 {
			l.Println("error encoding and sending metric family:", errors.New("broken pipe"))
		}
		require.Equal(t, 1, strings.Count(out.String(), "broken pipe"))
		time.Sleep(promLogPause)
		l.Println("again")
		require.Contains(t, out.String(), "left_out=99")
	})
}
