package agent

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/vetch-dev/vetch/agent/names"
	"github.com/vetch-dev/vetch/agent/probe"
	"github.com/vetch-dev/vetch/agent/protocol"
)

// TestParserPanics: the connection that a parser fails on is given up, and all others go on.
func TestParserPanics(t *testing.T) {
	var log strings.Builder
	s := newStreams(slog.New(slog.NewTextHandler(&log, nil)), names.New())
	s.streams = protocol.NewStreams([]protocol.Protocol{{
		Name: "fragile", New: protocol.Redis().New,
		Detect: func(d protocol.Direction, b []byte) protocol.Verdict {
			if b[0] == '!' {
				return protocol.Verdict(b[len(b)]) // out of bounds
			}
			return protocol.Redis().Detect(d, b)
		},
	}})
	say := func(socket uint64, sent bool, text string) probe.Verdict {
		return s.take(&probe.Record{Socket: socket, Opened: 1, Pair: socket, At: 1, Seq: 1, Sent: sent, Role: probe.RoleClient, Data: []byte(text)})
	}
	for i := range 2 * maxPanicsTold {
		if got := say(uint64(100+i), true, "!"); got != probe.Ignore {
			t.Errorf("the verdict is %v", got)
		}
	}
	if got := s.panics.Load(); got != 2*maxPanicsTold {
		t.Errorf("%d panics counted", got)
	}
	if n := strings.Count(log.String(), "out of range"); n != maxPanicsTold || !strings.Contains(log.String(), "streams_test.go") {
		t.Errorf("%d in the log:\n%s", n, log.String())
	}
	say(1, true, "*1\r\n$4\r\nPING\r\n")
	say(1, false, "+PONG\r\n")
	var snapshot probe.Snapshot
	s.add(&snapshot, func(id uint64) (probe.PairKey, bool) {
		return probe.PairKey{NetNS: uint32(id), Role: probe.RoleClient}, true
	}, nil)
	if len(snapshot.Requests) != 1 || snapshot.Requests[0].Count != 1 || snapshot.Requests[0].Route != "PING" {
		t.Errorf("requests %+v", snapshot.Requests)
	}
}
