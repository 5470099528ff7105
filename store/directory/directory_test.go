package directory

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	lock, err := NewLock(dir)
	require.NoError(t, err)
	_, err = NewLock(dir)
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()))
	require.NoError(t, lock.Release())
	lock, err = NewLock(dir)
	require.NoError(t, err)
	require.NoError(t, lock.Release())
}

func TestCheckVersion(t *testing.T) {
	tests := map[string]struct {
		text string
		want string // of the error; "" is none
	}{
		"none":    {"", ""},
		"older":   {"1\n", ""},
		"same":    {"2\n", ""},
		"newer":   {"3\n", "has format 3 and this program knows formats up to 2"},
		"another": {"Debian 12\n", "not a number"},
		"zero":    {"0\n", "not a number"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(dir, VersionName), []byte(tt.text), 0o600))
			err := CheckVersion(dir, 2)
			if tt.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tt.want)
		})
	}
}

func TestGuard(t *testing.T) {
	g, err := NewGuard(t.TempDir(), 1<<62)
	require.NoError(t, err)
	require.ErrorIs(t, g.Check(), ErrDiskFull)
	g, err = NewGuard(t.TempDir(), 0)
	require.NoError(t, err)
	require.NoError(t, g.Check())
	require.GreaterOrEqual(t, g.Reserve(), uint64(minReserve))
	require.LessOrEqual(t, g.Reserve(), uint64(maxReserve))
}

func TestAside(t *testing.T) {
	dir := t.TempDir()
	a := NewAside(dir, time.Date(2026, 11, 21, 18, 0, 0, 0, time.UTC), slog.New(slog.DiscardHandler))
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "in", "file"), 0o700))
	require.NoError(t, a.Move(filepath.Join("in", "file"), "out", errors.New("why")))
	require.DirExists(t, filepath.Join(dir, "out.corrupt-20261121T180000.000Z"))
	require.Error(t, a.Rename("none", errors.New("why")))
	require.Equal(t, 1, a.Count)
	require.True(t, IsMachine(fmt.Errorf("open: %w", syscall.ENOSPC)))
	require.False(t, IsMachine(errors.New("bad magic")))
}
