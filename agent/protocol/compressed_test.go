package protocol

import (
	"bytes"
	"math/rand"
	"strings"
	"testing"

	"github.com/golang/snappy"
	"github.com/stretchr/testify/require"
)

// texts that compress well, not at all, and with matches that lie far back and over themselves.
func compressible() [][]byte {
	random := make([]byte, 100_000)
	rand.New(rand.NewSource(1)).Read(random)
	return [][]byte{{}, []byte("a"), []byte("SELECT name FROM users"), bytes.Repeat([]byte("a"), 5000), []byte(strings.Repeat("SELECT name FROM users WHERE name = 'x'; ", 3000)), random[:300],
		bytes.Join([][]byte{random[:40_000], random[:40_000], random[:100]}, nil)}
}

func TestSnappyPrefix(t *testing.T) {
	for _, text := range compressible() {
		block := snappy.Encode(nil, text)
		for _, limit := range []int{0, 1, 100, 4096, 200_000} {
			out, whole := snappyPrefix(block, limit)
			require.Equal(t, string(text[:min(limit, len(text))]), string(out))
			require.Equal(t, uint64(len(text)), whole)
		}
		out, _ := snappyPrefix(block[:len(block)/2], 200_000)
		require.True(t, bytes.HasPrefix(text, out))
	}
}

func TestLZ4Block(t *testing.T) {
	// literals "abcd", then 4+15+3 bytes from 4 back, then "xyz" at the end
	block := []byte("\x4fabcd\x04\x00\x03\x30xyz")
	want := "abcd" + strings.Repeat("abcd", 5) + "ab" + "xyz"
	require.Equal(t, want, string(lz4Prefix(block, 1000)))
	require.Equal(t, want[:9], string(lz4Prefix(block, 9)))
	for size := 1; size < len(block); size++ {
		z := lz4Block{limit: 1000}
		var waiting []byte
		for i := 0; i < len(block); i += size {
			waiting = append(waiting, block[i:min(i+size, len(block))]...)
			used, err := z.decode(waiting)
			require.NoError(t, err)
			waiting = waiting[used:]
		}
		require.Empty(t, waiting)
		require.Equal(t, want, string(z.out), "in pieces of %d", size)
	}
	for _, hostile := range []string{"\x10a\x02\x00", "\x10a\x00\x00", "\x00\x00\x00"} {
		z := lz4Block{limit: 1000}
		_, err := z.decode([]byte(hostile))
		require.ErrorIs(t, err, ErrDesync)
	}
	z := lz4Block{limit: 100}
	used, err := z.decode([]byte("\x1fa\x01\x00" + strings.Repeat("\xff", 1000) + "\x00"))
	require.NoError(t, err)
	require.Equal(t, 1005, used)
	require.Len(t, z.out, 100)
}

func FuzzCompressed(f *testing.F) {
	f.Add([]byte("\x4fabcd\x04\x00\x03\x30xyz"), uint16(100))
	for _, text := range compressible() {
		f.Add(snappy.Encode(nil, text)[:min(500, len(text))], uint16(1000))
	}
	f.Fuzz(func(t *testing.T, b []byte, limit uint16) {
		if out := lz4Prefix(b, int(limit)); len(out) > int(limit) {
			t.Fatalf("%d bytes of LZ4", len(out))
		}
		out, whole := snappyPrefix(b, int(limit))
		if len(out) > int(limit) {
			t.Fatalf("%d bytes of Snappy", len(out))
		}
		if whole > 1<<20 {
			return
		}
		if want, err := snappy.Decode(nil, b); err == nil && (uint64(len(want)) != whole || !bytes.HasPrefix(want, out)) {
			t.Fatalf("%d bytes by another decoder, %d here", len(want), whole)
		}
	})
}
