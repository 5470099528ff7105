package probe

import (
	"encoding/binary"
	"errors"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/ringbuf"
)

// shipped is what user space gets of one connection.
type shipped struct {
	upgrades []Upgrade
	next     [2]uint32 // by direction, as an upgrade said
	data     [2]string
}

// readShipped empties the ring. Bytes must come without holes, and behind an upgrade from where it said.
func readShipped(t *testing.T, k *kernelParts) shipped {
	t.Helper()
	ring, err := ringbuf.NewReader(k.coll.Maps["records"])
	if err != nil {
		t.Fatal(err)
	}
	defer ring.Close()
	ring.SetDeadline(time.Now())
	var out shipped
	for {
		raw, err := ring.Read()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		r, ok := decodeRecord(raw.RawSample)
		if !ok {
			t.Fatalf("record %x", raw.RawSample)
		}
		d := uint32(received)
		if r.Sent {
			d = sent
		}
		if r.Upgrade != nil {
			out.next[d], out.next[1-d] = r.Seq, r.Upgrade.Seq
			r.Upgrade.Route = (&shipping{routes: k.coll.Maps["routes"]}).route(binary.NativeEndian.Uint64(r.Data))
			out.upgrades = append(out.upgrades, *r.Upgrade)
			continue
		}
		if len(out.upgrades) > 0 && r.Seq != out.next[d] {
			t.Errorf("direction %d: bytes at %d, want %d", d, r.Seq, out.next[d])
		}
		out.next[d] = r.Seq + uint32(len(r.Data))
		out.data[d] += string(r.Data)
	}
}

const (
	askUpgrade  = ">GET /chat/42 HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
	giveUpgrade = "<HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: x\r\n\r\n"
)

// After a change of protocol user space gets exactly the bytes behind the heads, and of a WebSocket what was asked for.
func TestChangeOfProtocol(t *testing.T) {
	k := loadPartsWith(t, func(spec *ebpf.CollectionSpec) {
		if err := spec.Variables["ship_streams"].Set(uint8(1)); err != nil {
			t.Fatal(err)
		}
	})
	sk := uint64(1 << 20)
	for _, tt := range []struct {
		name           string
		say            []string
		upgrade        string
		client, server string // what is shipped of their bytes
		counted        map[string]int
	}{
		{"websocket", []string{askUpgrade, giveUpgrade, ">\x81\x80abcd", "<\x81\x02hi", ">more"}, "GET /chat/{id}", "\x81\x80abcdmore", "\x81\x02hi", map[string]int{"GET /chat/{id} 101": 1}},
		{"frames behind the head", []string{askUpgrade, giveUpgrade + "\x81\x02hi", "<\x81\x02ho", ">\x81\x80abcd"}, "GET /chat/{id}", "\x81\x80abcd", "\x81\x02hi\x81\x02ho", map[string]int{"GET /chat/{id} 101": 1}},
		{"after other requests", []string{">GET /a HTTP/1.1\r\n\r\n", "<" + ok, askUpgrade, giveUpgrade, "<\x81\x02hi"}, "GET /chat/{id}", "", "\x81\x02hi", map[string]int{"GET /a 200": 1, "GET /chat/{id} 101": 1}},
		{"tunnel", []string{">CONNECT cache:6379 HTTP/1.1\r\n\r\n", "<HTTP/1.1 200 Yes\r\n\r\n", ">*1\r\n$4\r\nPING\r\n", "<+PONG\r\n"}, "", "*1\r\n$4\r\nPING\r\n", "+PONG\r\n", map[string]int{"CONNECT cache:{id} 200": 1}},
	} {
		for _, role := range []Role{RoleClient, RoleServer} {
			for _, size := range []int{1 << 20, 1, 2, 3, 7, 16, 100} {
				if tt.upgrade == "" && size < 16 {
					continue // the parser needs the first bytes to see that it is something else, and does not keep them
				}
				sk++
				c := k.converse(t, sk, role)
				(&exchange{say: tt.say}).play(c, role, func(s string) []string { return pieces(s, size) })
				got := readShipped(t, k)
				client, server := got.data[sent], got.data[received]
				if role == RoleServer {
					client, server = server, client
				}
				if client != tt.client || server != tt.server {
					t.Errorf("%s, role %d, pieces of %d: shipped %q and %q, want %q and %q", tt.name, role, size, client, server, tt.client, tt.server)
				}
				upgrade := ""
				for _, u := range got.upgrades {
					upgrade += u.Method + " " + u.Route
					if u.Torn {
						t.Errorf("%s, role %d, pieces of %d: torn", tt.name, role, size)
					}
				}
				if upgrade != tt.upgrade {
					t.Errorf("%s, role %d, pieces of %d: upgraded by %q, want %q", tt.name, role, size, upgrade, tt.upgrade)
				}
				if counted := c.counted(); !maps.Equal(counted, tt.counted) {
					t.Errorf("%s, role %d, pieces of %d: counted %v, want %v", tt.name, role, size, counted, tt.counted)
				}
			}
		}
	}
}

// A server that speaks first in a tunnel does so in the call that holds the head.
func TestServerSpeaksFirstInATunnel(t *testing.T) {
	k := loadPartsWith(t, func(spec *ebpf.CollectionSpec) {
		if err := spec.Variables["ship_streams"].Set(uint8(1)); err != nil {
			t.Fatal(err)
		}
	})
	c := k.converse(t, 1<<21, RoleServer)
	c.say(received, "CONNECT mail:25 HTTP/1.1\r\n\r\n")
	c.say(sent, "HTTP/1.1 200 Yes\r\nX: y\r\n\r\n220 mail ready\r\n")
	c.say(received, "HELO x\r\n")
	if got := readShipped(t, k).data; got != [2]string{"220 mail ready\r\n", "HELO x\r\n"} {
		t.Errorf("shipped %q", got)
	}
}
