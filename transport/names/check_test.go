package names

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

func TestCheckRefusesWhatAWatcherMustNotSend(t *testing.T) {
	long := strings.Repeat("x", maxText+1)
	for name, n := range map[string]*Name{
		"no id":            {},
		"nothing":          nil,
		"negative time":    {Id: 1, From: -1},
		"short address":    {Id: 1, Addresses: [][]byte{{1, 2, 3}}},
		"long address":     {Id: 1, Addresses: [][]byte{make([]byte, 17)}},
		"many addresses":   {Id: 1, Addresses: make([][]byte, maxAddresses+1)},
		"port":             {Id: 1, Ports: []*Port{{Number: 65536}}},
		"node port":        {Id: 1, Ports: []*Port{{NodePort: 1 << 31}}},
		"no port":          {Id: 1, Ports: []*Port{nil}},
		"endpoint":         {Id: 1, Places: []*Place{{Address: []byte{1}, Port: 1}}},
		"long name":        {Id: 1, Workload: &Workload{Name: long}},
		"long backend":     {Id: 1, Backend: &Workload{Kind: long}},
		"long node":        {Id: 1, Node: long},
		"long range":       {Id: 1, Ranges: []string{long}},
		"not UTF-8":        {Id: 1, ExternalName: "\xff"},
		"long uid":         {Id: 1, Pod: &Pod{Uid: long}},
		"long container":   {Id: 1, Pod: &Pod{Containers: []*Container{{Id: long}}}},
		"long label":       {Id: 1, Pod: &Pod{Labels: map[string]string{"a": long}}},
		"many containers":  {Id: 1, Pod: &Pod{Containers: make([]*Container, maxContainers+1)}},
		"a container less": {Id: 1, Pod: &Pod{Containers: []*Container{nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, Check(&Update{Epoch: 1, Names: []*Name{n}}), errInvalid)
		})
	}
	require.ErrorIs(t, Check(&Update{}), errInvalid)
	require.ErrorIs(t, Check(&Update{Epoch: 1, Time: -1}), errInvalid)
	require.ErrorIs(t, Check(&Update{Epoch: 1, Forgotten: make([]uint64, maxNames+1)}), errInvalid)
	require.NoError(t, Check(&Update{Epoch: 1, Names: []*Name{{Id: 1, Addresses: [][]byte{{10, 0, 0, 1}, make([]byte, 16)}, Ports: []*Port{{Protocol: 6, Number: 80}}}}}))
}

func TestClientGivesUpAStreamThatBreaksTheRules(t *testing.T) {
	b := &book{names: map[uint64]*Name{}}
	c, err := NewClient(ClientOptions{URL: "http://127.0.0.1:1", Receiver: b})
	require.NoError(t, err)
	defer c.conn.Close()
	now := time.Now()
	require.ErrorIs(t, c.take(&Update{Epoch: 1, Sequence: 4}, now), errInvalid, "changes before any snapshot")
	require.NoError(t, c.take(&Update{Epoch: 1, Snapshot: true, Names: []*Name{{Id: 1}}}, now))
	require.Zero(t, c.sequence.Load(), "it may not resume within a snapshot")
	require.False(t, b.up)
	require.NoError(t, c.take(&Update{Epoch: 1, Sequence: 9}, now))
	require.EqualValues(t, 9, c.sequence.Load())
	require.True(t, b.up)
	require.ErrorIs(t, c.take(&Update{Epoch: 2, Sequence: 10}, now), errInvalid, "another epoch without its snapshot")
	require.Zero(t, c.epoch, "the next request asks for a snapshot")
}

func TestParseURL(t *testing.T) {
	for text, want := range map[string]string{
		"https://watcher:4781": "watcher:4781", "http://127.0.0.1:4781/": "127.0.0.1:4781", "https://[::1]:1": "[::1]:1",
		"": "", "watcher:4781": "", "https://watcher": "", "ftp://a:1": "", "https://u:p@a:1": "", "https://a:1/x": "", "https://a:1?x": "", "https://:1": "",
	} {
		got, _, err := ParseURL(text)
		require.Equal(t, want, got, text)
		require.Equal(t, want == "", err != nil, text)
	}
}

// FuzzUpdate feeds the client what a hostile peer may send: it is refused, or within the bounds.
func FuzzUpdate(f *testing.F) {
	for _, u := range []*Update{
		{Epoch: 1, Snapshot: true, Sequence: 1, Names: []*Name{podName("a", "b", "c", "d", "\x0a\x00\x00\x01")}},
		{Epoch: 1, Sequence: 2, Forgotten: []uint64{1}},
		{Epoch: 1, Time: 5, Names: []*Name{{Id: 2, Role: Role_ROLE_SERVICE, Ports: []*Port{{Protocol: 6, Number: 80, NodePort: 30000}}, Places: []*Place{{Address: make([]byte, 16)}}}}},
	} {
		text, err := proto.Marshal(u)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		u := &Update{}
		if proto.Unmarshal(text, u) != nil || Check(u) != nil {
			return
		}
		for _, n := range u.Names {
			for _, a := range n.Addresses {
				if !Address(a).IsValid() {
					t.Fatal("an address that is none was let through")
				}
			}
		}
	})
}
