package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/store/directory"
)

func opened(t *testing.T, o Options) *Directory {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Cluster == "" {
		o.Cluster = "one"
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 20
	}
	d, err := Open(o)
	require.NoError(t, err)
	return d
}

// list gives records in any order.
func list(of map[string]string) Records {
	return func(add func(string, []byte) error) error {
		for uid, body := range of {
			if err := add(uid, []byte(body)); err != nil {
				return err
			}
		}
		return nil
	}
}

// content is what a file has, and its version.
func content(r *Resource) (map[string]string, string, error) {
	from, err := r.Load()
	if err != nil {
		return nil, "", err
	}
	defer from.Close()
	got := map[string]string{}
	for {
		uid, body, err := from.next()
		if errors.Is(err, io.EOF) {
			return got, from.Version(), nil
		}
		if err != nil {
			return nil, "", err
		}
		got[uid] = string(body)
	}
}

func TestWhatIsKept(t *testing.T) {
	dir := t.TempDir()
	d := opened(t, Options{Dir: dir})
	pods := d.Resource("pods", "whole")
	_, err := pods.Load()
	require.ErrorIs(t, err, ErrNone)
	pods.Put("3", "early", []byte("before any list"))
	require.NoError(t, d.Write())
	_, err = pods.Load()
	require.ErrorIs(t, err, ErrNone, "half of what there is must not look like all")

	require.NoError(t, pods.Replace("10", list(map[string]string{"a": "A", "b": "B", "c": ""})))
	pods.Put("11", "d", []byte("D"))
	pods.Put("12", "a", []byte("A2"))
	pods.Delete("13", "b")
	pods.Delete("14", "unknown")
	pods.Reached("20")
	got, version, err := content(pods)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "A", "b": "B", "c": ""}, got)
	require.Equal(t, "10", version, "records and version go together")
	require.NoError(t, d.Close())

	d = opened(t, Options{Dir: dir})
	pods = d.Resource("pods", "whole")
	got, version, err = content(pods)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "A2", "c": "", "d": "D"}, got)
	require.Equal(t, "20", version)
	require.NoError(t, d.Close())
	left, err := filepath.Glob(filepath.Join(dir, "*"+newName))
	require.NoError(t, err)
	require.Empty(t, left)
}

// TestAsAMapWouldBe changes records at random, and writes now and then.
func TestAsAMapWouldBe(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	d := opened(t, Options{})
	pods := d.Resource("pods", "whole")
	want := map[string]string{}
	require.NoError(t, pods.Replace("0", list(want)))
	for i := range 2000 {
		uid := fmt.Sprint("uid-", random.IntN(40))
		if random.IntN(3) == 0 {
			pods.Delete(fmt.Sprint(i), uid)
			delete(want, uid)
		} else {
			want[uid] = fmt.Sprint("body ", i)
			pods.Put(fmt.Sprint(i), uid, []byte(want[uid]))
		}
		if random.IntN(50) == 0 {
			require.NoError(t, pods.Write())
			got, version, err := content(pods)
			require.NoError(t, err)
			require.Equal(t, want, got)
			require.Equal(t, fmt.Sprint(i), version)
		}
	}
	require.NoError(t, d.Close())
}

func TestWhatIsNotUsed(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	dir := t.TempDir()
	clock := func() time.Time { return now }
	d := opened(t, Options{Dir: dir, Now: clock})
	require.NoError(t, d.Resource("pods", "whole").Replace("10", list(map[string]string{"a": "A"})))
	require.NoError(t, d.Close())
	path := filepath.Join(dir, "pods.snapshot")
	whole, err := os.ReadFile(path)
	require.NoError(t, err)

	var got map[string]string
	load := func(o Options, form string) (err error) {
		o.Dir, o.Now = dir, clock
		d := opened(t, o)
		defer d.Close()
		got, _, err = content(d.Resource("pods", form))
		return err
	}
	require.NoError(t, load(Options{}, "whole"))
	require.ErrorIs(t, load(Options{Cluster: "two"}, "whole"), ErrOtherCluster)
	require.ErrorIs(t, load(Options{}, "metadata"), ErrOtherForm)
	now = now.Add(MaxAge + time.Second)
	require.ErrorIs(t, load(Options{}, "whole"), ErrOld)
	now = now.Add(-3 * MaxAge)
	require.ErrorIs(t, load(Options{}, "whole"), ErrOld, "or the clock was set back, which is as bad")
	now = time.Unix(1_800_000_000, 0)

	for n := range whole {
		require.NoError(t, os.WriteFile(path, whole[:n], 0o600))
		require.ErrorIs(t, load(Options{}, "whole"), ErrCorrupt, "%d of %d bytes", n, len(whole))
	}
	for n := range whole {
		changed := slices.Clone(whole)
		changed[n] ^= 0x10
		require.NoError(t, os.WriteFile(path, changed, 0o600))
		if err := load(Options{}, "whole"); err == nil { // zstd has a bit that means nothing
			require.Equal(t, map[string]string{"a": "A"}, got, "byte %d", n)
		}
	}
	newer := slices.Clone(whole)
	newer[len(magic)-1]++
	require.NoError(t, os.WriteFile(path, newer, 0o600))
	require.ErrorIs(t, load(Options{}, "whole"), ErrOtherForm)
	require.NoError(t, os.WriteFile(path, append(slices.Clone(whole), whole[len(magic):]...), 0o600))
	require.ErrorIs(t, load(Options{}, "whole"), ErrCorrupt, "another frame behind it")
}

func TestLimits(t *testing.T) {
	d := opened(t, Options{MaxBytes: 4000})
	pods, nodes := d.Resource("pods", "whole"), d.Resource("nodes", "whole")
	noise := make([]byte, 2500)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	one := map[string]string{"a": string(noise)}
	require.NoError(t, pods.Replace("1", list(one)))
	require.ErrorIs(t, nodes.Replace("1", list(one)), errTooLarge)
	require.EqualValues(t, 1, testutil.ToFloat64(d.failed.WithLabelValues(reasonTooLarge)))
	_, err := nodes.Load()
	require.ErrorIs(t, err, ErrNone)
	require.NoError(t, pods.Replace("2", list(nil)))
	require.NoError(t, nodes.Replace("2", list(one)), "there is room now")
	require.ErrorIs(t, pods.Replace("3", list(map[string]string{"": "no uid"})), errTooLarge)
	require.ErrorIs(t, pods.Replace("3", list(map[string]string{string(make([]byte, maxUID+1)): ""})), errTooLarge)
	require.NoError(t, d.Close())
}

func TestTroubleWithTheDisk(t *testing.T) {
	dir := t.TempDir()
	d := opened(t, Options{Dir: dir})
	pods := d.Resource("pods", "whole")
	require.NoError(t, pods.Replace("1", list(map[string]string{"a": "A"})))
	inTheWay := filepath.Join(dir, "pods.snapshot"+newName)
	require.NoError(t, os.Mkdir(inTheWay, 0o700))
	pods.Put("2", "b", []byte("B"))
	require.Error(t, pods.Write())
	require.EqualValues(t, 1, testutil.ToFloat64(d.failed.WithLabelValues(reasonWrite)))
	pods.Put("3", "c", []byte("C"))
	require.NoError(t, os.RemoveAll(inTheWay))
	require.NoError(t, pods.Write())
	got, version, err := content(pods)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "A", "b": "B", "c": "C"}, got, "nothing is lost by that")
	require.Equal(t, "3", version)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "pods.snapshot"), []byte("garbage"), 0o600))
	pods.Put("4", "d", []byte("D"))
	require.ErrorIs(t, pods.Write(), errUnreadable)
	pods.Put("5", "e", []byte("E"))
	require.NoError(t, pods.Write(), "it is given up")
	_, err = pods.Load()
	require.ErrorIs(t, err, ErrNone)
	require.NoError(t, pods.Replace("9", list(map[string]string{"z": "Z"})), "until the next list")
	got, _, err = content(pods)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"z": "Z"}, got)
	require.NoError(t, d.Close())
}

func TestDirectoryIsOfOne(t *testing.T) {
	dir := t.TempDir()
	d := opened(t, Options{Dir: dir})
	_, err := Open(Options{Dir: dir, Cluster: "one", MaxBytes: 1})
	require.ErrorIs(t, err, directory.ErrInUse)
	require.Equal(t, "watcher-1_a", d.Identity("watcher-1", "a"))
	require.NoError(t, d.Close())
	d = opened(t, Options{Dir: dir})
	require.Equal(t, "watcher-1_a", d.Identity("watcher-1", "b"), "a restart is the same replica")
	require.NoError(t, d.Close())
	copied := t.TempDir()
	require.NoError(t, os.CopyFS(copied, os.DirFS(dir)))
	d = opened(t, Options{Dir: copied})
	require.Equal(t, "watcher_b", d.Identity("watcher", "b"), "a copy on another host is another one, also where one name begins like the other")
	require.Equal(t, "watcher_b", d.Identity("watcher", "c"))
	require.NoFileExists(t, filepath.Join(copied, "identity"+newName))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "identity"), []byte("a\nb"), 0o600))
	require.Equal(t, "watcher-1_c", d.Identity("watcher-1", "c"))
	require.NoError(t, d.Close())
}

// FuzzRead reads any bytes as a file: whatever it takes without an error must be the same when it is written and read again.
func FuzzRead(f *testing.F) {
	var file bytes.Buffer
	h := header{Cluster: "one", Resource: "pods", Form: "whole", Version: "12", Written: 1}
	require.NoError(f, encode(&file, &h, list(map[string]string{"a": "A", "b": "BB"})))
	f.Add(file.Bytes())
	f.Add(file.Bytes()[:file.Len()-3])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, text []byte) {
		read := func(from io.Reader) (map[string]string, *header, error) {
			d, err := newDecoder(from)
			if err != nil {
				return nil, nil, err
			}
			defer d.close()
			got := map[string]string{}
			for {
				uid, body, err := d.next()
				if errors.Is(err, io.EOF) {
					return got, &d.header, nil
				}
				if err != nil {
					return nil, nil, err
				}
				got[uid] = string(body)
			}
		}
		got, h, err := read(bytes.NewReader(text))
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrOtherForm) {
				t.Fatal(err)
			}
			return
		}
		var again bytes.Buffer
		if err := encode(&again, h, list(got)); err != nil {
			t.Fatal(err)
		}
		twice, _, err := read(&again)
		if err != nil || !maps.Equal(got, twice) {
			t.Fatalf("%v, then %v: %v", got, twice, err)
		}
	})
}
