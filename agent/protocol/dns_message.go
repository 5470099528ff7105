package protocol

import (
	"errors"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// maxAnswers bounds the records of one answer that are read.
const maxAnswers = 64

// Answer is a name with the addresses that DNS gave for it. TTL is the shortest on the way from one to the others.
type Answer struct {
	Name  string // that was asked for, lower case, without the last dot
	Addrs []netip.Addr
	TTL   time.Duration
}

// dnsQuestion is what is asked for. The name is lower case, for resolvers play with its letters, and has no last dot.
type dnsQuestion struct {
	name string
	kind dnsmessage.Type
}

// dnsMessage is what matters of a DNS message.
type dnsMessage struct {
	id        uint16
	response  bool
	truncated bool // the answer did not fit: it is to be asked for again by TCP
	desired   bool // recursion is
	code      dnsmessage.RCode
	asks      bool // there is a question; an answer that only refuses may have none
	question  dnsQuestion
	answer    *Answer // addresses, if there are any
}

// readDNS reads a plain query or its response (RFC 1035, opcode 0) and says no to anything else. Of a message that was cut, the question
// must be there, and of the answers what is there is read.
func readDNS(b []byte) (m dnsMessage, ok bool) {
	var p dnsmessage.Parser
	h, err := p.Start(b)
	if err != nil || h.OpCode != 0 {
		return m, false
	}
	m = dnsMessage{id: h.ID, response: h.Response, truncated: h.Truncated, desired: h.RecursionDesired, code: h.RCode}
	q, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) {
		return m, m.response && m.code != dnsmessage.RCodeSuccess
	}
	if err != nil || !dnsClass(q.Class) {
		return m, false
	}
	m.asks, m.question = true, dnsQuestion{name: dnsName(&q.Name), kind: q.Type}
	if _, err := p.Question(); !errors.Is(err, dnsmessage.ErrSectionDone) {
		return m, false
	}
	if m.response && m.code == dnsmessage.RCodeSuccess {
		m.answer = readAnswer(&p, m.question)
	}
	return m, true
}

// dnsClass says whether a class may be asked for: IN, CH, HS, NONE, ANY. That of multicast DNS (RFC 6762) has another bit.
func dnsClass(c dnsmessage.Class) bool { return c == 1 || c == 3 || c == 4 || c == 254 || c == 255 }

// readAnswer collects the addresses of the name that was asked for, by way of the names that it stands for (CNAME).
func readAnswer(p *dnsmessage.Parser, q dnsQuestion) *Answer {
	if q.kind != dnsmessage.TypeA && q.kind != dnsmessage.TypeAAAA {
		return nil
	}
	a := Answer{Name: q.name}
	chain, ttl := []string{q.name}, ^uint32(0)
	for range maxAnswers {
		h, err := p.AnswerHeader()
		if err != nil {
			break
		}
		if h.Class != dnsmessage.ClassINET || !slices.Contains(chain, dnsName(&h.Name)) {
			if p.SkipAnswer() != nil {
				break
			}
			continue
		}
		switch h.Type {
		case dnsmessage.TypeCNAME:
			if r, err := p.CNAMEResource(); err == nil {
				chain = append(chain, dnsName(&r.CNAME))
			}
		case dnsmessage.TypeA:
			if r, err := p.AResource(); err == nil {
				a.Addrs = append(a.Addrs, netip.AddrFrom4(r.A))
			}
		case dnsmessage.TypeAAAA:
			if r, err := p.AAAAResource(); err == nil {
				a.Addrs = append(a.Addrs, netip.AddrFrom16(r.AAAA).Unmap())
			}
		default:
			err = p.SkipAnswer()
		}
		if err != nil {
			break
		}
		ttl = min(ttl, h.TTL)
	}
	if len(a.Addrs) == 0 {
		return nil
	}
	a.TTL = time.Duration(ttl) * time.Second
	return &a
}

// dnsName is a name in lower case, without its last dot; "" is the root.
func dnsName(n *dnsmessage.Name) string {
	b := n.Data[:n.Length]
	if len(b) > 0 && b[len(b)-1] == '.' {
		b = b[:len(b)-1]
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// dnsTruncated is the code of an answer by UDP that did not fit, dnsTimeout that of a question without one.
const (
	dnsTruncated = "truncated"
	dnsTimeout   = "timeout"
)

// dnsCodes are the response codes of RFC 1035 and RFC 2136, by the names that coroot-node-agent has for the first of them.
var dnsCodes = [...]string{
	"ok", "format_error", "servfail", "nxdomain", "not_implemented", "refused", "yxdomain", "yxrrset", "nxrrset", "notauth", "notzone",
}

// status is the code of a response, and whether it is a failure. That a name does not exist is none: it is what a search path asks for.
func (m *dnsMessage) status() (code string, failed bool) {
	switch {
	case m.code == dnsmessage.RCodeSuccess && m.truncated:
		return dnsTruncated, false
	case int(m.code) < len(dnsCodes):
		return dnsCodes[m.code], m.code != dnsmessage.RCodeSuccess && m.code != dnsmessage.RCodeNameError
	}
	return "~other", true
}
