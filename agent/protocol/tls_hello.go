package protocol

import (
	"crypto/tls"
	"encoding/binary"
	"net/netip"
	"strings"
)

// Handshake is what a TLS connection shows of itself before it is encrypted.
type Handshake struct {
	Version string // what the server chose: "1.3"; "none" where the connection ended before it chose one
	SNI     string // the name that the client asked for, in lower case; "" if none. With Encrypted Client Hello it is the outer one
	ALPN    string // protocols that the client offered, in its order: "h2,http/1.1"; only registered ones go by their names
	Cipher  string // cipher suite that the server chose, "TLS_AES_128_GCM_SHA256"
}

// The numbers of RFC 8446, section 4 and 5.1, and of RFC 6066 and 7301.
const (
	tlsHandshake     = 22
	tlsClientHello   = 1
	tlsServerHello   = 2
	tlsServerName    = 0
	tlsALPN          = 16
	tlsVersions      = 43
	tlsRecordHead    = 5
	tlsMessageHead   = 4
	tlsMaxRecord     = 1<<14 + 2048 // of TLS 1.2; 1.3 allows less
	tlsMaxHello      = 16 << 10     // of one hello that is put together from records
	tlsMinHello      = 2 + 32 + 1   // version, random, length of the session id
	tlsMaxOffers     = 4            // protocols of ALPN that are named
	maxServerName    = 253          // RFC 1035
	versionNone      = "none"
	handshakeUnknown = "~other"
)

// helloReader reads the first flights of both sides, as much of them as is there.
type helloReader struct {
	handshake Handshake
	asked     bool // something of a ClientHello was read
	whole     bool // all of it
}

// read looks at the first bytes of both sides, more of them each time, and reports whether all is known that will be.
func (h *helloReader) read(client, server []byte) bool {
	if !h.whole {
		if body, whole, ok := helloBody(client, tlsClientHello); ok {
			if sni, alpn, ok := clientHello(body); ok {
				h.asked, h.whole = true, whole
				h.handshake.SNI, h.handshake.ALPN = sni, alpn
			}
		}
	}
	if len(server) == 0 {
		return len(client) >= tlsMaxHello
	}
	if server[0] != tlsHandshake { // an alert: it refuses
		return true
	}
	if body, whole, ok := helloBody(server, tlsServerHello); ok && whole {
		if version, cipher, ok := serverHello(body); ok {
			h.handshake.Version, h.handshake.Cipher = versionName(version), tls.CipherSuiteName(cipher)
			return true
		}
	}
	return len(server) >= tlsMaxHello
}

// end gives what is known when nothing more is shown; false if that is no handshake.
func (h *helloReader) end() (Handshake, bool) {
	if h.handshake.Version == "" {
		h.handshake.Version = versionNone
	}
	return h.handshake, h.asked || h.handshake.Cipher != ""
}

// helloBody takes the records off a message of the handshake. What is there of a message that is not whole is given too.
func helloBody(b []byte, kind byte) (body []byte, whole, ok bool) {
	var message []byte
	for len(b) >= tlsRecordHead {
		n := int(binary.BigEndian.Uint16(b[3:]))
		if b[0] != tlsHandshake || b[1] != 3 || n == 0 || n > tlsMaxRecord {
			break
		}
		part := b[tlsRecordHead:min(tlsRecordHead+n, len(b))]
		if message == nil {
			message = part[:len(part):len(part)] // mostly all of it
		} else {
			message = append(message, part...)
		}
		b = b[tlsRecordHead+len(part):]
		if len(part) < n || len(message) > tlsMaxHello {
			break
		}
		if size := messageSize(message); size > 0 && len(message) >= size {
			break
		}
	}
	if len(message) < tlsMessageHead || message[0] != kind {
		return nil, false, false
	}
	size := messageSize(message)
	if len(message) >= size {
		return message[tlsMessageHead:size], true, true
	}
	return message[tlsMessageHead:], false, true
}

// messageSize is that of a message of the handshake with its head; 0 while it is not known.
func messageSize(b []byte) int {
	if len(b) < tlsMessageHead {
		return 0
	}
	return tlsMessageHead + int(b[1])<<16 + int(b[2])<<8 + int(b[3])
}

// vector takes a field with a length of n bytes before it off b. Of one that is not whole it gives what is there.
func vector(b []byte, n int) (field, rest []byte, ok bool) {
	if len(b) < n {
		return nil, nil, false
	}
	size := 0
	for _, c := range b[:n] {
		size = size<<8 | int(c)
	}
	b = b[n:]
	if size > len(b) {
		return b, nil, true
	}
	return b[:size], b[size:], true
}

// extensions gives each extension that is there to each.
func extensions(b []byte, each func(kind uint16, body []byte)) {
	for len(b) >= 4 {
		kind := binary.BigEndian.Uint16(b)
		size := int(binary.BigEndian.Uint16(b[2:]))
		if b = b[4:]; size > len(b) {
			return
		}
		each(kind, b[:size])
		b = b[size:]
	}
}

// clientHello reads RFC 8446, section 4.1.2. Unknown extensions and suites (GREASE, RFC 8701) are passed over.
func clientHello(b []byte) (sni, alpn string, ok bool) {
	if len(b) < tlsMinHello || b[0] != 3 {
		return "", "", false
	}
	_, rest, ok := vector(b[tlsMinHello-1:], 1) // session id
	if !ok {
		return "", "", false
	}
	if _, rest, ok = vector(rest, 2); !ok { // cipher suites
		return "", "", true
	}
	if _, rest, ok = vector(rest, 1); !ok { // compression
		return "", "", true
	}
	if rest, _, ok = vector(rest, 2); !ok {
		return "", "", true // SSL 3 and the first of TLS 1.0 have no extensions
	}
	extensions(rest, func(kind uint16, body []byte) {
		switch kind {
		case tlsServerName:
			sni = serverName(body)
		case tlsALPN:
			alpn = offers(body)
		}
	})
	return sni, alpn, true
}

// serverHello reads RFC 8446, section 4.1.3; a HelloRetryRequest says the same of the version and the suite.
func serverHello(b []byte) (version, cipher uint16, ok bool) {
	if len(b) < tlsMinHello || b[0] != 3 {
		return 0, 0, false
	}
	version = binary.BigEndian.Uint16(b)
	_, rest, ok := vector(b[tlsMinHello-1:], 1)
	if !ok || len(rest) < 3 {
		return 0, 0, false
	}
	cipher, rest = binary.BigEndian.Uint16(rest), rest[3:]
	if rest, _, ok = vector(rest, 2); !ok {
		return version, cipher, true
	}
	extensions(rest, func(kind uint16, body []byte) {
		if kind == tlsVersions && len(body) == 2 {
			version = binary.BigEndian.Uint16(body)
		}
	})
	return version, cipher, true
}

// serverName reads RFC 6066, section 3: a list of names, of which only host names exist.
func serverName(b []byte) string {
	list, _, ok := vector(b, 2)
	if !ok || len(list) < 3 || list[0] != 0 {
		return ""
	}
	name, _, _ := vector(list[1:], 2)
	return hostLabel(string(name))
}

// hostLabel is a name of a host as a label has it; ~other for what is none.
func hostLabel(name string) string {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	if _, err := netip.ParseAddr(name); err == nil || name == "" {
		return name
	}
	if len(name) > maxServerName || name[0] == '.' || strings.Contains(name, "..") || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" {
		return handshakeUnknown
	}
	return name
}

// offers are the protocols of RFC 7301 that the client would speak.
func offers(b []byte) string {
	list, _, ok := vector(b, 2)
	if !ok {
		return ""
	}
	var names []string
	for len(list) > 0 && len(names) < tlsMaxOffers {
		var name []byte
		if name, list, ok = vector(list, 1); !ok {
			break
		}
		label := handshakeUnknown
		if registered[string(name)] {
			label = string(name)
		}
		if len(names) == 0 || names[len(names)-1] != label {
			names = append(names, label)
		}
	}
	return strings.Join(names, ",")
}

// registered are the protocols of the registry of RFC 7301, https://www.iana.org/assignments/tls-extensiontype-values.
var registered = map[string]bool{
	"http/0.9": true, "http/1.0": true, "http/1.1": true, "h2": true, "h2c": true, "h3": true, "spdy/1": true, "spdy/2": true, "spdy/3": true,
	"stun.turn": true, "stun.nat-discovery": true, "webrtc": true, "c-webrtc": true, "ftp": true, "imap": true, "pop3": true,
	"managesieve": true, "coap": true, "co": true, "xmpp-client": true, "xmpp-server": true, "acme-tls/1": true, "mqtt": true, "dot": true,
	"ntske/1": true, "sunrpc": true, "smb": true, "irc": true, "nntp": true, "nnsp": true, "doq": true, "sip/2": true, "tds/8.0": true,
	"dicom": true, "postgresql": true, "radius/1.0": true, "radius/1.1": true,
}

func versionName(v uint16) string {
	switch {
	case v == tls.VersionTLS13 || v>>8 == 0x7f: // the drafts of 1.3
		return "1.3"
	case v == tls.VersionTLS12:
		return "1.2"
	case v == tls.VersionTLS11:
		return "1.1"
	case v == tls.VersionTLS10:
		return "1.0"
	case v == 0x0300:
		return "ssl3"
	}
	return handshakeUnknown
}
