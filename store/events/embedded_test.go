package events

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/vetch-dev/vetch/model"
	"github.com/vetch-dev/vetch/store"
	"github.com/vetch-dev/vetch/store/columnar"
)

func open(t *testing.T, dir string) *Embedded {
	t.Helper()
	e, err := Open(columnar.Options{Dir: dir, RetentionAge: 30 * 24 * time.Hour})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close()) })
	return e
}

func TestEmbedded(t *testing.T) {
	dirs := map[store.Events]string{}
	conformance(t, driver{
		open: func(t *testing.T) store.Events {
			dir := t.TempDir()
			e := open(t, dir)
			dirs[e] = dir
			return e
		},
		reopen: func(t *testing.T, s store.Events) store.Events {
			require.NoError(t, s.(*Embedded).Close())
			e := open(t, dirs[s])
			dirs[e] = dirs[s]
			return e
		},
	})
}

func TestOpenTwiceWithOneRegistry(t *testing.T) {
	reg := prometheus.NewRegistry()
	for range 2 {
		e, err := Open(columnar.Options{Dir: t.TempDir(), Registerer: reg})
		require.NoError(t, err)
		require.NoError(t, e.Close())
	}
	families, err := reg.Gather()
	require.NoError(t, err)
	require.Empty(t, families)
}

func TestKeyOf(t *testing.T) {
	e := backOff(10, "cart-1")
	key := keyOf(&e)
	again := backOff(2000, "cart-1")
	require.Equal(t, key, keyOf(&again), "numbers of the message do not matter")
	for name, change := range map[string]func(*model.Event){
		"uid":     func(e *model.Event) { e.Object.UID = "another" },
		"reason":  func(e *model.Event) { e.Reason = "Failed" },
		"source":  func(e *model.Event) { e.Source = "kernel" },
		"message": func(e *model.Event) { e.Message = "Back-off 10s restarting container web" },
		"node":    func(e *model.Event) { e.Node = "node-b" },
		"moved":   func(e *model.Event) { e.Object.Kind, e.Object.Name = "", "Podcart-1" },
	} {
		other := e
		change(&other)
		require.NotEqual(t, key, keyOf(&other), name)
	}
}

func TestCleanBounds(t *testing.T) {
	long := strings.Repeat("é", maxMessage)
	e := clean(model.Event{Last: base, Message: long, Reason: long, Type: "Loud", First: base.Add(time.Hour)})
	require.Len(t, e.Message, maxMessage)
	require.Len(t, e.Reason, maxWord-1, "no letter is cut in the middle")
	require.Equal(t, model.EventNormal, e.Type)
	require.Equal(t, base, e.First)
	require.EqualValues(t, 1, e.Count)
	e.Fields = map[string]string{}
	for i := range 100 {
		e.Fields[fmt.Sprint(i)] = long
	}
	r := encode(&e, "key")
	further := 0
	for _, f := range r.Fields {
		if strings.HasPrefix(f.Name, furtherPrefix) {
			further++
			require.LessOrEqual(t, len(f.Value), maxValue)
		}
	}
	require.Equal(t, maxFields, further)
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	totals := newRecent[uint64]()
	for i := range 3 * maxRecent {
		totals.put(fmt.Sprint(i), uint64(i))
	}
	require.LessOrEqual(t, len(totals.young)+len(totals.old), maxRecent)
	total, ok := totals.get(fmt.Sprint(3*maxRecent - 1))
	require.True(t, ok)
	require.EqualValues(t, 3*maxRecent-1, total)
	_, ok = totals.get("0")
	require.False(t, ok)
}
