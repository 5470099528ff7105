package spool

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func open(t *testing.T, o Options) *Spool {
	t.Helper()
	if o.Limit == 0 {
		o.Limit = 1 << 20
	}
	o.Reserve = 1
	s, err := Open(o)
	require.NoError(t, err)
	return s
}

func numbered(n, size int) *Batch {
	body := bytes.Repeat([]byte{byte(n)}, size)
	return &Batch{Body: body, Time: int64(1000 + n), Samples: uint32(n), Histograms: 1}
}

// drain takes all batches out and returns the numbers that numbered gave them.
func drain(t *testing.T, s *Spool) (numbers []int) {
	t.Helper()
	for {
		b, id, ok, err := s.Oldest()
		require.NoError(t, err)
		if !ok {
			return numbers
		}
		require.Equal(t, s.OldestTime(), b.Time)
		n := int(b.Samples)
		require.Equal(t, *numbered(n, len(b.Body)), b)
		numbers = append(numbers, n)
		require.NoError(t, s.Done(id))
	}
}

func sequence(from, to int) (numbers []int) {
	for n := from; n <= to; n++ {
		numbers = append(numbers, n)
	}
	return numbers
}

func TestOrder(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir()})
	require.True(t, s.Empty())
	require.Zero(t, s.OldestTime())
	for n := 1; n <= 50; n++ {
		require.NoError(t, s.Append(numbered(n, 10_000)))
	}
	require.Equal(t, sequence(1, 50), drain(t, s))
	require.True(t, s.Empty())
	require.Zero(t, s.Bytes())
	require.NoError(t, s.Append(numbered(51, 0)), "an emptied spool goes on")
	require.Equal(t, []int{51}, drain(t, s))
	require.NoError(t, s.Close())
}

// TestResume opens what a killed process left: nothing is closed, and what was done is not given again.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	for n := 1; n <= 30; n++ {
		require.NoError(t, s.Append(numbered(n, 10_000)))
	}
	for range 10 {
		_, id, _, err := s.Oldest()
		require.NoError(t, err)
		require.NoError(t, s.Done(id))
	}
	require.NoError(t, s.lock.Close()) // as the kernel does it
	s = open(t, Options{Dir: dir})
	require.NoError(t, s.Append(numbered(31, 10_000)))
	require.Equal(t, sequence(11, 31), drain(t, s))
	require.NoError(t, s.Close())
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Equal(t, []string{filepath.Join(dir, "lock")}, files)
}

func TestLimitDropsTheOldest(t *testing.T) {
	lost := 0
	s := open(t, Options{Dir: t.TempDir(), Limit: 1 << 20, Dropped: func(reason string, n int) {
		require.Equal(t, "spool_full", reason)
		lost += n
	}})
	defer s.Close()
	written := 0
	for n := 1; n <= 300; n++ {
		require.NoError(t, s.Append(numbered(n, 10_000)))
		written += n + 1
		require.LessOrEqual(t, s.Bytes(), int64(1<<20))
	}
	left := drain(t, s)
	require.Greater(t, len(left), 80, "not much more is dropped than must be")
	require.Equal(t, sequence(left[0], 300), left)
	for _, n := range left {
		written -= n + 1
	}
	require.Equal(t, written, lost)
	require.ErrorIs(t, s.Append(numbered(1, 1<<20)), ErrTooLarge)
}

// TestDroppedWhileSent says that a batch is done after it was dropped: the one that is first by now must stay.
func TestDroppedWhileSent(t *testing.T) {
	s := open(t, Options{Dir: t.TempDir(), Limit: 1 << 20})
	defer s.Close()
	require.NoError(t, s.Append(numbered(1, 10_000)))
	_, id, _, err := s.Oldest()
	require.NoError(t, err)
	for n := 2; n <= 200; n++ {
		require.NoError(t, s.Append(numbered(n, 10_000)))
	}
	require.NoError(t, s.Done(id))
	left := drain(t, s)
	require.Equal(t, sequence(left[0], 200), left)
}

func TestLowerLimitAtTheStart(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir, Limit: 10 << 20})
	for n := 1; n <= 200; n++ {
		require.NoError(t, s.Append(numbered(n, 40_000)))
	}
	require.NoError(t, s.Close())
	s = open(t, Options{Dir: dir, Limit: 1 << 20})
	defer s.Close()
	require.LessOrEqual(t, s.Bytes(), int64(1<<20))
}

func TestDamage(t *testing.T) {
	damages := map[string]struct {
		do   func(file []byte) []byte
		left []int
	}{
		"a byte of a body":         {func(b []byte) []byte { b[headerSize+recordSize+5] ^= 1; return b }, []int{4, 5}},
		"a byte of a later body":   {func(b []byte) []byte { b[len(b)-1] ^= 1; return b }, []int{1, 2, 4, 5}},
		"a count":                  {func(b []byte) []byte { b[headerSize+atSamples] ^= 1; return b }, []int{4, 5}},
		"a length beyond the file": {func(b []byte) []byte { b[headerSize+atLength+3] = 0xff; return b }, []int{4, 5}},
		"torn in a body":           {func(b []byte) []byte { return b[:len(b)-1] }, []int{1, 2, 4, 5}},
		"torn in a record":         {func(b []byte) []byte { return b[:headerSize+recordSize-1] }, []int{4, 5}},
		"no header":                {func([]byte) []byte { return nil }, []int{4, 5}},
		"torn header":              {func(b []byte) []byte { return b[:3] }, []int{4, 5}},
		"another file":             {func([]byte) []byte { return []byte("something that is no spool at all") }, []int{4, 5}},
		"not damaged":              {func(b []byte) []byte { return b }, sequence(1, 5)},
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir, corrupt := t.TempDir(), 0
			s := open(t, Options{Dir: dir})
			for n := 1; n <= 3; n++ {
				require.NoError(t, s.Append(numbered(n, 1000)))
			}
			require.NoError(t, s.Close())
			file := filepath.Join(dir, "0000000000000001.spool")
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			text = damage.do(text)
			require.NoError(t, os.WriteFile(file, text, 0o600))

			s = open(t, Options{Dir: dir, Corrupt: func() { corrupt++ }})
			for n := 4; n <= 5; n++ {
				require.NoError(t, s.Append(numbered(n, 1000)))
			}
			require.Equal(t, damage.left, drain(t, s))
			require.NoError(t, s.Close())
			kept, err := filepath.Glob(file + ".corrupt-*")
			require.NoError(t, err)
			require.Len(t, kept, corrupt)
			if len(damage.left) == 5 {
				require.Empty(t, kept)
				return
			}
			require.Len(t, kept, 1)
			now, err := os.ReadFile(kept[0])
			require.NoError(t, err)
			require.Len(t, now, len(text))
		})
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "0000000000000001.spool")
	require.NoError(t, os.WriteFile(file, []byte(magic+"\x02"), 0o600))
	_, err := Open(Options{Dir: dir, Limit: 1 << 20})
	require.ErrorIs(t, err, ErrNewerVersion)
	require.ErrorContains(t, err, file)
	require.FileExists(t, file)
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	s := open(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir, Limit: 1 << 20})
	require.ErrorIs(t, err, ErrInUse)
	require.ErrorContains(t, err, dir)
	require.NoError(t, s.Close())
}

// TestReserve asks for more free space than any disk has.
func TestReserve(t *testing.T) {
	s, err := Open(Options{Dir: t.TempDir(), Limit: 1 << 20, Reserve: 1 << 60})
	require.NoError(t, err)
	defer s.Close()
	require.ErrorIs(t, s.Append(numbered(1, 10)), ErrDiskFull)
	require.True(t, s.Empty())
}

// FuzzSegment opens any bytes as a segment: nothing but whole records comes out, and what is left of the file is kept.
func FuzzSegment(f *testing.F) {
	var good []byte
	good = append(good, magic+"\x01"...)
	for n := range 3 {
		good = appendRecord(good, numbered(n, 20*n))
	}
	f.Add(good)
	f.Add(good[:len(good)-7])
	f.Add([]byte(magic))
	f.Add(append([]byte(magic+"\x01"), make([]byte, recordSize)...))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "0000000000000001.spool"), text, 0o600))
		s, err := Open(Options{Dir: dir, Limit: 1 << 20})
		if errors.Is(err, ErrNewerVersion) {
			return
		}
		require.NoError(t, err)
		defer s.Close()
		for taken := 0; ; taken++ {
			b, id, ok, err := s.Oldest()
			require.NoError(t, err)
			if !ok {
				break
			}
			require.LessOrEqual(t, len(b.Body), len(text))
			require.Less(t, taken, len(text), fmt.Sprint(id))
			require.NoError(t, s.Done(id))
		}
	})
}
