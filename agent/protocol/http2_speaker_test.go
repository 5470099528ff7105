package protocol

import (
	"bytes"
	"fmt"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// speaker writes the frames of one end of a connection. Its table of headers lasts as long as it does.
type speaker struct {
	*http2.Framer
	out     bytes.Buffer
	list    bytes.Buffer
	encoder *hpack.Encoder
}

func newSpeaker() *speaker {
	s := &speaker{}
	s.Framer = http2.NewFramer(&s.out, nil)
	s.Framer.AllowIllegalWrites = true
	s.encoder = hpack.NewEncoder(&s.list)
	return s
}

// said takes what was written since the last time.
func (s *speaker) said() string {
	text := s.out.String()
	s.out.Reset()
	return text
}

// fields encodes a header list: name and value in turn.
func (s *speaker) fields(pairs ...string) []byte {
	s.list.Reset()
	for i := 0; i < len(pairs); i += 2 {
		s.encoder.WriteField(hpack.HeaderField{Name: pairs[i], Value: pairs[i+1]})
	}
	return bytes.Clone(s.list.Bytes())
}

func (s *speaker) headers(id uint32, last bool, pairs ...string) *speaker {
	s.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: s.fields(pairs...), EndHeaders: true, EndStream: last})
	return s
}

func (s *speaker) data(id uint32, last bool, b string) *speaker {
	s.WriteData(id, last, []byte(b))
	return s
}

func (s *speaker) get(id uint32, path string) *speaker {
	return s.headers(id, true, ":method", "GET", ":scheme", "http", ":authority", "mark-host", ":path", path, "cookie", "mark-cookie")
}

func (s *speaker) call(id uint32, path string) *speaker {
	return s.headers(id, false, ":method", "POST", ":scheme", "http", ":path", path, "content-type", "application/grpc+proto", "te", "trailers", "authorization", "mark-token")
}

func (s *speaker) trailers(id uint32, code string) *speaker {
	return s.headers(id, true, "grpc-status", code, "grpc-message", "mark-message")
}

func (s *speaker) ok(id uint32, last bool) *speaker {
	return s.headers(id, last, ":status", "200", "content-type", "text/plain", "set-cookie", "mark-cookie")
}

func (s *speaker) accept(id uint32) *speaker {
	return s.headers(id, false, ":status", "200", "content-type", "application/grpc+proto")
}

// message is one of gRPC, with its prefix.
func message(text string) string {
	n := len(text)
	return string([]byte{0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}) + text
}

// talkHTTP2 has both ends speak in turn, after the preface and the settings of both.
func talkHTTP2(say func(client, server *speaker, turn func())) []talkChunk {
	client, server := newSpeaker(), newSpeaker()
	var texts []string
	turn := func() { texts = append(texts, client.said(), server.said()) }
	client.out.WriteString(http2Preface)
	client.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 65535})
	server.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1000})
	client.WriteWindowUpdate(0, 1<<20)
	turn()
	client.WriteSettingsAck()
	server.WriteSettingsAck()
	say(client, server, turn)
	turn()
	return turns(texts...)
}

// lines are outcomes with method, protocol and messages.
func http2Lines(exchanges []Exchange) map[string]int {
	out := map[string]int{}
	for _, e := range exchanges {
		line := strings.TrimSpace(e.Protocol+" "+e.Method) + " " + e.Operation
		if e.Open {
			line += " open"
		} else {
			line += ": " + e.Status
		}
		if e.Failed {
			line += "!"
		}
		if e.OneWay {
			line += "~"
		}
		if e.Cut {
			line += "cut"
		}
		if e.Messages != [2]int64{} {
			line += fmt.Sprint(e.Messages)
		}
		out[line]++
	}
	return out
}
