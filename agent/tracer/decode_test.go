package tracer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheSixteenFields(t *testing.T) {
	c := Connection{
		PID: 1, Type: 1, Family: 1, NetNS: math.MaxUint32, Source: "fe80::1", Dest: "10.0.0.1", SPort: 65535, DPort: 80, Direction: 3,
		MonotonicSent: math.MaxUint64, MonotonicReceived: 2, MonotonicRetransmits: math.MaxUint32, LastSent: 3, LastReceived: 4, LastRetransmits: 5, LastUpdate: 6,
	}
	want, err := json.Marshal(c)
	require.NoError(t, err)
	require.JSONEq(t, string(want), string(c.appendJSON(nil)))
	var fields map[string]any
	require.NoError(t, json.Unmarshal(c.appendJSON(nil), &fields))
	require.ElementsMatch(t, []string{
		"pid", "type", "family", "net_ns", "source", "dest", "sport", "dport", "direction", "monotonic_sent_bytes", "monotonic_recv_bytes",
		"monotonic_retransmits", "last_sent_bytes", "last_recv_bytes", "last_retransmits", "last_update_epoch",
	}, slices.Collect(func(yield func(string) bool) {
		for name := range fields {
			if !yield(name) {
				return
			}
		}
	}))
}

func TestDecodeSample(t *testing.T) {
	text, err := os.ReadFile("testdata/sample.json")
	require.NoError(t, err)
	got, err := decode(bytes.NewReader(text))
	require.NoError(t, err)
	require.Len(t, got.rows, 4)
	require.Equal(t, Connection{
		PID: 4211, NetNS: 4026531992, Source: "10.128.0.12", Dest: "10.128.0.15", SPort: 41222, DPort: 5432, Direction: 2,
		MonotonicSent: 18211, LastSent: 812, MonotonicReceived: 904112, LastReceived: 4096, MonotonicRetransmits: 3, LastRetransmits: 1,
		LastUpdate: 11457012345678901,
	}, got.rows[0])
	require.EqualValues(t, typeUDP, got.rows[2].Type)
	require.EqualValues(t, uint64(math.MaxUint64), got.rows[3].MonotonicSent)
}

func TestDecodeWhatIsOdd(t *testing.T) {
	const row = `{"pid":1,"source":"10.0.0.1","dest":"10.0.0.2"}`
	for name, tc := range map[string]struct {
		text            string
		rows, malformed int
		broken          bool
	}{
		"nothing":           {"", 0, 0, true},
		"empty":             {`{"connections":[]}`, 0, 0, false},
		"null":              {`{"connections":null}`, 0, 0, false},
		"bare list":         {`[` + row + `,` + row + `]`, 2, 0, false},
		"other keys":        {`{"a":{"connections":[1]},"connections":[` + row + `],"z":[[]]}`, 1, 0, false},
		"twice":             {`{"connections":[` + row + `],"connections":[` + row + `]}`, 1, 0, false},
		"no list":           {`{"error":"no"}`, 0, 0, true},
		"text":              {`"connections"`, 0, 0, true},
		"keys for a list":   {`{"connections":{"a":1}}`, 0, 0, true},
		"wrong types":       {`{"connections":[{"pid":"1"},{"pid":-1},{"sport":70000},{"monotonic_sent_bytes":1e3},3,"x",[],` + row + `]}`, 1, 7, false},
		"unknown fields":    {`{"connections":[{"pid":1,"conntrack":{"a":[1]},"tags":null}]}`, 1, 0, false},
		"null row":          {`{"connections":[null]}`, 1, 0, false}, // without addresses, which is seen later
		"cut in a row":      {`{"connections":[` + row + `,{"pid":1`, 1, 0, true},
		"cut between":       {`{"connections":[` + row + `,`, 1, 0, true},
		"cut at the end":    {`{"connections":[` + row + `]`, 1, 0, true},
		"comma too many":    {`{"connections":[` + row + `,]}`, 1, 0, true},
		"not JSON":          {`<html>`, 0, 0, true},
		"deep":              {`{"x":` + strings.Repeat("[", 100_000), 0, 0, true},
		"deep in a row":     {`{"connections":[{"x":` + strings.Repeat("[", 100_000), 0, 0, true},
		"a number too long": {`{"connections":[{"pid":` + strings.Repeat("9", 1000) + `}]}`, 0, 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := decode(strings.NewReader(tc.text))
			require.Equal(t, tc.broken, err != nil, "%v", err)
			require.Len(t, got.rows, tc.rows)
			require.EqualValues(t, tc.malformed, got.malformed)
		})
	}
}

func TestDecodeIsBounded(t *testing.T) {
	row := `{"pid":1},`
	got, err := decode(io.MultiReader(strings.NewReader(`{"connections":[`), strings.NewReader(strings.Repeat(row, maxTaken+7)), strings.NewReader(`{}]}`)))
	require.NoError(t, err)
	require.Len(t, got.rows, maxTaken)
	require.EqualValues(t, 8, got.over)
	_, err = decode(io.MultiReader(strings.NewReader(`{"connections":[`), endless{}))
	require.ErrorContains(t, err, "more than")
}

// endless is white space, which a decoder skips.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	return len(p), nil
}

func FuzzDecode(f *testing.F) {
	sample, err := os.ReadFile("testdata/sample.json")
	require.NoError(f, err)
	f.Add(sample)
	for _, text := range []string{`[]`, `{"connections":[null,{"pid":1,"source":"::1%eth0"}]}`, `{"connections":[{"pid":"x"}]}`, `{"connections":[`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := decode(bytes.NewReader(text))
		b := newBook(procfs{t.TempDir()})
		b.read(got.rows, true, err == nil, at(0))
		b.take(at(0))
		if err != nil {
			return
		}
		var again bytes.Buffer
		for i := range got.rows { // our own writer has addresses of netip only
			got.rows[i].Source, got.rows[i].Dest = "", ""
		}
		require.NoError(t, writeConnections(bufio.NewWriter(&again), got.rows))
		back, err := decode(&again)
		require.NoError(t, err)
		require.Equal(t, len(got.rows), len(back.rows))
		for i := range back.rows {
			require.Equal(t, got.rows[i], back.rows[i])
		}
	})
}
