package protocol

import (
	"strings"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/vetch-dev/vetch/agent/names"
)

// dnsTypes are the types that go by a name; the registry is IANA's. What is not in it is ~other.
var dnsTypes = map[dnsmessage.Type]string{
	1: "A", 2: "NS", 5: "CNAME", 6: "SOA", 10: "NULL", 12: "PTR", 13: "HINFO", 15: "MX", 16: "TXT", 17: "RP", 24: "SIG", 25: "KEY", 28: "AAAA", 29: "LOC",
	33: "SRV", 35: "NAPTR", 37: "CERT", 39: "DNAME", 41: "OPT", 43: "DS", 44: "SSHFP", 46: "RRSIG", 47: "NSEC", 48: "DNSKEY", 50: "NSEC3", 51: "NSEC3PARAM",
	52: "TLSA", 53: "SMIMEA", 59: "CDS", 60: "CDNSKEY", 61: "OPENPGPKEY", 64: "SVCB", 65: "HTTPS", 99: "SPF", 249: "TKEY", 250: "TSIG", 251: "IXFR",
	252: "AXFR", 255: "ANY", 256: "URI", 257: "CAA",
}

// reverseZones hold names that are addresses.
var reverseZones = []string{"in-addr.arpa", "ip6.arpa"}

// operation names a question: "A www.example.com", "PTR in-addr.arpa".
func (q dnsQuestion) operation() string {
	kind := dnsTypes[q.kind]
	if kind == "" {
		kind = "~other"
	}
	return kind + " " + dnsDomain(q.name, MaxOperation-len(kind)-1)
}

// dnsDomain makes a bounded name of a domain: labels that look like identifiers, and what no host name has, become "*". What somebody
// registered stays as it is.
func dnsDomain(name string, limit int) string {
	if name == "" {
		return "."
	}
	for _, zone := range reverseZones {
		if name == zone || strings.HasSuffix(name, "."+zone) {
			return zone
		}
	}
	domain, public := names.Registered(name)
	if !public { // of an inner domain the last label, which is not made up
		domain = name[strings.LastIndexByte(name, '.')+1:]
		if domain == name {
			domain = ""
		}
	}
	folded := foldLabels(name[:len(name)-len(domain)])
	folded += foldInvalid(domain)
	if len(folded) <= limit {
		return folded
	}
	if domain = foldInvalid(domain); domain != "" && len(domain) <= limit {
		return domain
	}
	return "~other"
}

// foldLabels replaces labels, which end with a dot but for the last one of a name, and runs of them by one "*".
func foldLabels(head string) string {
	var out strings.Builder
	star := false
	for head != "" {
		label, rest, dot := strings.Cut(head, ".")
		head = rest
		if idLabel(label) || foldInvalid(label) != label {
			if star {
				continue
			}
			label = "*"
		}
		star = label == "*"
		out.WriteString(label)
		if dot {
			out.WriteByte('.')
		}
	}
	return out.String()
}

// foldInvalid is "*" for what has other characters than host names and service labels have.
func foldInvalid(name string) string {
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return "*"
		}
	}
	return name
}

// idLabel says whether nobody chose a label: numbers and addresses, hexadecimal and random words, on their own or between dashes.
func idLabel(label string) bool {
	if len(label) > maxFoldToken {
		return true
	}
	digits, numbers, words := 0, 0, 0
	for word := range strings.SplitSeq(label, "-") {
		d, turns := 0, 0
		hexadecimal := true
		for i, c := range []byte(word) {
			isDigit := c >= '0' && c <= '9'
			if isDigit {
				d++
			} else if c > 'f' || c == '_' {
				hexadecimal = false
			}
			if i > 0 && isDigit != (word[i-1] >= '0' && word[i-1] <= '9') {
				turns++
			}
		}
		if len(word) >= 5 && turns >= 2 || len(word) >= 8 && hexadecimal && d > 0 || d > 6 {
			return true
		}
		if words++; d == len(word) && d > 0 {
			numbers++
		}
		digits += d
	}
	return digits > 8 || numbers >= 3 || numbers == words
}
