package protocol

import "bytes"

// detectCassandra knows envelopes by their contents, and segments by the checksum of their heads.
func detectCassandra(d Direction, b []byte) Verdict {
	if _, ok := checkCQLSegment(d, b, false, false); ok {
		return Yes
	}
	return checkCQLEnvelope(d, b)
}

// checkCQLSegment says whether a segment begins here, and in it an envelope. Where it is not known whether the connection has compression, both are tried.
func checkCQLSegment(d Direction, b []byte, known, compressed bool) (s cqlSegment, ok bool) {
	for _, with := range []bool{false, true} {
		if known && with != compressed {
			continue
		}
		if s, ok = readCQLSegment(b, with); !ok || s.payload == 0 || s.plain > 0 && !s.selfContained {
			continue
		}
		inside := b[s.head:]
		if len(inside) == 0 {
			return s, true // read by itself
		}
		all := s.payload
		if s.plain > 0 {
			all = s.plain
			inside = lz4Prefix(inside[:min(len(inside), s.payload)], cqlHeader)
		}
		if len(inside) < cqlHeader {
			continue
		}
		if e, ok := readCQLHeader(d, inside); ok && e.version == 5 && (!s.selfContained || cqlHeader+e.size <= all) {
			return s, true
		}
	}
	return s, false
}

// checkCQLEnvelope wants a body that its opcode may have.
func checkCQLEnvelope(d Direction, b []byte) Verdict {
	if len(b) < cqlHeader {
		version := byte(0)
		if len(b) > 0 {
			version = b[0] - byte(d)<<7
		}
		return perhaps(len(b) == 0 || version >= 3 && version <= 5 && (len(b) == 1 || b[1]&^cqlFlags == 0))
	}
	e, ok := readCQLHeader(d, b)
	if !ok {
		return No
	}
	raw := b[cqlHeader:min(len(b), cqlHeader+e.size)]
	body, whole := raw, len(raw) == e.size
	if e.flags&cqlCompressed != 0 {
		if e.opcode == cqlStartup || e.opcode == cqlOptions || len(raw) == 0 {
			return perhaps(len(raw) < e.size)
		}
		body, whole = cqlDecompress(cqlGuess(raw), raw)
	}
	r := cqlReader{b: body}
	r.preface(d, e.flags)
	if r.missing {
		return perhaps(len(raw) < min(e.size, cqlLook))
	}
	check := checkCQLAnswer
	if d == FromClient {
		check = checkCQLRequest
	}
	verdict := check(&e, &r, whole)
	if verdict == Maybe && len(raw) == e.size {
		return No
	}
	return verdict
}

// checkCQLRequest looks at the body of a request; Maybe if more of it is needed.
func checkCQLRequest(e *cqlEnvelope, r *cqlReader, whole bool) Verdict {
	switch e.opcode {
	case cqlOptions:
		return either(e.size == 0)
	case cqlStartup:
		if whole {
			return either(e.size < 4096 && bytes.Contains(r.b, []byte("CQL_VERSION")))
		}
	case cqlRegister:
		r.short()
		if event := r.text(r.short()); !r.missing {
			return either(cqlEvents[string(event)])
		}
	case cqlQuery, cqlPrepare:
		if n := r.int(); !r.missing {
			return checkCQLText(e, r, n)
		}
	case cqlExecute:
		return checkCQLIdentifier(r, e.version)
	case cqlBatch:
		kind, n, prepared := r.byte(), r.short(), r.byte()
		if !r.missing && (kind > 2 || n == 0 || prepared > 1) {
			return No
		}
		if prepared == 1 {
			return checkCQLIdentifier(r, 0)
		}
		if n := r.int(); !r.missing {
			return checkCQLText(e, r, n)
		}
	}
	return Maybe
}

// checkCQLText wants a statement of n bytes that the body has room for.
func checkCQLText(e *cqlEnvelope, r *cqlReader, n int) Verdict {
	if n <= 0 || e.flags&cqlCompressed == 0 && n > e.size {
		return No
	}
	if len(r.b) < min(n, 16) {
		return Maybe
	}
	return either(looksLikeSQL(r.b[:min(n, len(r.b))], cqlSQL))
}

// checkCQLIdentifier wants a digest of a statement and, behind it, in version 5 one of its result, and a consistency. version is 0 where they do not follow.
func checkCQLIdentifier(r *cqlReader, version byte) Verdict {
	n := r.short()
	if !r.missing && n != cqlSharing {
		return No
	}
	r.text(n)
	if version == 5 {
		r.text(r.short())
	}
	if version != 0 {
		if consistency := r.short(); !r.missing && consistency > 0x0b {
			return No
		}
	}
	return sure(!r.missing)
}

// perhaps is Maybe or No.
func perhaps(yes bool) Verdict {
	if yes {
		return Maybe
	}
	return No
}

var cqlEvents = map[string]bool{"TOPOLOGY_CHANGE": true, "STATUS_CHANGE": true, "SCHEMA_CHANGE": true}

// checkCQLAnswer looks at the body of an answer; Maybe if more of it is needed.
func checkCQLAnswer(e *cqlEnvelope, r *cqlReader, whole bool) Verdict {
	switch e.opcode {
	case cqlReady:
		return either(e.size == 0)
	case cqlError:
		code, n := r.int(), r.short()
		if !r.missing {
			return either(cqlErrors[code] != "" && (e.flags&cqlCompressed != 0 || n <= e.size))
		}
	case cqlAuthenticate:
		if name := r.text(r.short()); !r.missing {
			return either(javaName(string(name), "._$"))
		}
	case cqlSupported:
		if whole {
			return either(len(r.b) == 2 && r.short() == 0 || bytes.Contains(r.b, []byte("CQL_VERSION")) || bytes.Contains(r.b, []byte("COMPRESSION")))
		}
	case cqlEvent:
		if name := r.text(r.short()); !r.missing {
			return either(e.stream == -1 && cqlEvents[string(name)])
		}
	case cqlResult:
		return checkCQLResult(e, r)
	default:
		return perhaps(!whole)
	}
	return Maybe
}

func checkCQLResult(e *cqlEnvelope, r *cqlReader) Verdict {
	switch kind := r.int(); {
	case r.missing:
		return Maybe
	case kind == cqlVoid:
		return either(len(r.b) == 0)
	case kind == cqlRows:
		flags, columns := r.int(), r.int()
		if !r.missing {
			return either(flags >= 0 && flags < 16 && columns >= 0 && columns < 1<<16)
		}
	case kind == cqlSetKeyspace:
		if n := r.short(); !r.missing {
			return either(e.flags&cqlCompressed != 0 || n > 0 && e.size == 4+2+n)
		}
	case kind == cqlPrepared:
		if n := r.short(); !r.missing {
			return either(n == cqlSharing)
		}
	case kind == cqlSchemaChange:
		if change := r.text(r.short()); !r.missing {
			return either(string(change) == "CREATED" || string(change) == "UPDATED" || string(change) == "DROPPED")
		}
	default:
		return No
	}
	return Maybe
}
