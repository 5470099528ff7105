package protocol

import (
	"bytes"
	"cmp"
)

const zooMaxAnswer = 64 // bytes of the answer to a four letter word that say how it went

// zooOperations are the requests by number, those with a path at their beginning first.
var zooOperations = [2]map[int32]string{
	{
		1: "create", 2: "delete", 3: "exists", 4: "getData", 5: "setData", 6: "getACL", 7: "setACL", 8: "getChildren", 9: "sync", 12: "getChildren2",
		13: "check", 15: "create2", 17: "checkWatches", 18: "removeWatches", 19: "createContainer", 20: "deleteContainer", 21: "createTTL",
		103: "getEphemerals", 104: "getAllChildrenNumber", 106: "addWatch",
	},
	{
		zooOpPing: "ping", zooOpMulti: "multi", 16: "reconfig", 22: "multiRead", zooOpAuth: "auth", 101: "setWatches", 102: "sasl", 105: "setWatches2", 107: "whoAmI",
		zooOpCloseSession: "closeSession",
	},
}

// zooOperation is the name of a request, and whether a path begins it. Numbers that are not known yet are "~other"; "" is none.
func zooOperation(op int32) (name string, pathed bool) {
	if name := zooOperations[0][op]; name != "" {
		return name, true
	}
	if name := zooOperations[1][op]; name != "" {
		return name, false
	}
	if op > 0 && op < 256 {
		return "~other", false
	}
	return "", false
}

// zooSpecial says whether a negative number of a transaction fits a request; zooOpError stands for an answer, which has none.
func zooSpecial(xid, op int32) bool {
	switch xid {
	case zooPing:
		return op == zooOpPing || op == zooOpError
	case zooAuth:
		return op == zooOpAuth || op == zooOpError
	case zooSetWatches:
		return op == 101 || op == 105 || op == zooOpError
	case zooNotification:
		return op == zooOpError
	}
	return false
}

// Errors that are asked for by number.
const (
	zooNotReached = -2 // of the operations of a multi behind the one that failed
	zooNoNode     = -101
	zooExpired    = -112
)

// zooErrors are KeeperException.Code.
var zooErrors = map[int32]string{
	0: "ok", -1: "SYSTEMERROR", zooNotReached: "RUNTIMEINCONSISTENCY", -3: "DATAINCONSISTENCY", -4: "CONNECTIONLOSS", -5: "MARSHALLINGERROR", -6: "UNIMPLEMENTED",
	-7: "OPERATIONTIMEOUT", -8: "BADARGUMENTS", -12: "UNKNOWNSESSION", -13: "NEWCONFIGNOQUORUM", -14: "RECONFIGINPROGRESS", -100: "APIERROR", zooNoNode: "NONODE",
	-102: "NOAUTH", -103: "BADVERSION", -108: "NOCHILDRENFOREPHEMERALS", -110: "NODEEXISTS", -111: "NOTEMPTY", zooExpired: "SESSIONEXPIRED",
	-113: "INVALIDCALLBACK", -114: "INVALIDACL", -115: "AUTHFAILED", -118: "SESSIONMOVED", -119: "NOTREADONLY", -120: "EPHEMERALONLOCALSESSION",
	-121: "NOWATCHER", -122: "REQUESTTIMEOUT", -123: "RECONFIGDISABLED", -124: "SESSIONCLOSEDREQUIRESASLAUTHENTICATION", -125: "QUOTAEXCEEDED", -127: "THROTTLEDOP",
}

var zooSchemes = wordSet("world auth digest ip x509 sasl super")

// zooConnectLike knows the request that opens a session (version, last transaction, timeout, session, password, perhaps a flag for read-only)
// and its answer (version, timeout, session, password, perhaps the flag). Maybe asks for more bytes.
func zooConnectLike(d Direction, b []byte) Verdict {
	fixed, timeout := 24, 16
	if d == FromServer {
		fixed, timeout = 16, 8
	}
	head := [8]byte{3: byte(fixed + 4 + zooPassword)}
	for i, x := range b[:min(len(b), len(head))] {
		if x != head[i] && (i != 3 || x != head[i]+1) {
			return No
		}
	}
	if len(b) < fixed+8 {
		return Maybe
	}
	if t := zooInt(b, timeout); t < 0 || t > 1<<30 || zooInt(b, fixed+4) != zooPassword {
		return No
	}
	return Yes
}

// zooRequestLike knows a request with a path, or a ping.
func zooRequestLike(b []byte) Verdict {
	if len(b) < 12 {
		if len(b) > 0 && b[0] != 0 || len(b) >= 4 && zooSize(b) < 8 {
			return No
		}
		return Maybe
	}
	size, xid, op := zooSize(b), zooInt(b, 4), zooInt(b, 8)
	if xid == zooPing && op == zooOpPing && size == 8 {
		return Yes
	}
	if _, pathed := zooOperation(op); !pathed || xid <= 0 || size < 13 || size > 1<<24 {
		return No
	}
	path, more, err := zooString(b, 12, size)
	switch {
	case err != nil:
		return No
	case more:
		if len(b) > 16 && b[16] != '/' {
			return No
		}
		return Maybe
	case len(path) == 0 || path[0] != '/' || bytes.ContainsFunc(path, func(r rune) bool { return r < ' ' }):
		return No
	}
	return Yes
}

// zooAnswerLike knows the answer to a ping, and a notification.
func zooAnswerLike(b []byte) Verdict {
	if len(b) < 20 {
		if len(b) > 0 && b[0] != 0 || len(b) >= 4 && (zooSize(b) < 16 || zooSize(b) > 1<<20) || len(b) >= 8 && zooInt(b, 4) != zooPing && zooInt(b, 4) != zooNotification {
			return No
		}
		return Maybe
	}
	size, xid, code := zooSize(b), zooInt(b, 4), zooInt(b, 16)
	if code != 0 {
		return No
	}
	if xid == zooPing && size == 16 {
		return Yes
	}
	if xid != zooNotification || size < 29 || size > 1<<20 {
		return No
	}
	path, more, err := zooString(b, 28, size)
	switch {
	case err != nil:
		return No
	case more:
		return Maybe
	case len(path) == 0 || path[0] != '/':
		return No
	}
	return Yes
}

func detectZooKeeper(d Direction, b []byte) Verdict {
	if len(b) == 0 {
		return Maybe
	}
	like := zooRequestLike
	if d == FromServer {
		like = zooAnswerLike
	}
	return max(zooConnectLike(d, b), like(b), zooWordLike(d, b))
}

// zooWord is a connection on which an administrator asks by four letters. The answer is text, and ends with the connection; the exchange ends
// when its beginning says how it went, for servers may close late.
type zooWord struct {
	exchange Exchange
	head     []byte // of the answer
	last     int64  // when it came, 0: it did not
	done     bool
}

// zooWords are the four letter words, those first that no other protocol would begin with.
var zooWords = [2]map[string]bool{
	wordSet("ruok srvr mntr isro envi cons crst srst wchs wchc wchp dirs gtmk stmk"),
	wordSet("stat dump conf hash"), // commands of Memcached and Redis, or their beginnings
}

// zooWordOf recognises a word, with or without the line end of who types it.
func zooWordOf(b []byte) *zooWord {
	word := string(bytes.TrimRight(b[:min(len(b), 6)], "\r\n"))
	if len(word) != 4 || !zooWords[0][word] && !zooWords[1][word] {
		return nil
	}
	return &zooWord{exchange: Exchange{Operation: word}}
}

// zooAnswers are how answers to words begin that are failures, or that nobody else would give.
var zooAnswers = []struct{ text, status string }{
	{"imok", "ok"}, {"zk_version\t", "ok"}, {"Zookeeper version: ", "ok"}, {"Environment:\n", "ok"}, {"clientPort=", "ok"}, {"SessionTracker dump:\n", "ok"},
	{"This ZooKeeper instance is not currently serving requests", "not_serving"},
}

// zooRefused follows a word that is not to be used.
const zooRefused = " is not executed because it is not in the whitelist."

// zooAnswer is what an answer to a word says, "" if that is not known. more says that b may be the beginning of one that is.
func zooAnswer(b []byte) (status string, more bool) {
	begins := func(b []byte, text string) bool {
		n := min(len(b), len(text))
		more = more || string(b[:n]) == text[:n]
		return n == len(text) && string(b[:n]) == text
	}
	for _, a := range zooAnswers {
		if begins(b, a.text) {
			return a.status, false
		}
	}
	for _, words := range zooWords {
		for word := range words {
			if begins(b, word+zooRefused) {
				return "not_allowed", false
			}
		}
	}
	return "", more
}

func zooWordLike(d Direction, b []byte) Verdict {
	if d == FromServer {
		switch status, more := zooAnswer(b); {
		case status != "":
			return Yes
		case more:
			return Maybe
		}
		return No
	}
	w := zooWordOf(b)
	switch {
	case w != nil && zooWords[0][w.exchange.Operation]:
		return Yes
	case w != nil:
		return Maybe
	case len(b) < 4:
		for _, set := range zooWords {
			for word := range set {
				if word[:len(b)] == string(b) {
					return Maybe
				}
			}
		}
	}
	return No
}

func (w *zooWord) feed(d Direction, b []byte, at int64, emit func(Exchange)) (int, int64, error) {
	e := &w.exchange
	if d == FromClient {
		if e.Begin == 0 {
			e.Begin = at
		}
		e.RequestBytes += int64(len(b))
		return len(b), 0, nil
	}
	if w.done {
		return len(b), 0, nil
	}
	w.head = append(w.head, b[:min(len(b), zooMaxAnswer-len(w.head))]...)
	w.last = at
	e.ResponseBytes += int64(len(b))
	if _, more := zooAnswer(w.head); !more {
		w.end(at, emit)
	}
	return len(b), 0, nil
}

// end emits the exchange, once.
func (w *zooWord) end(at int64, emit func(Exchange)) {
	e := w.exchange
	switch {
	case w.done:
		return
	case w.last == 0:
		e = cut(e, at)
	default:
		status, _ := zooAnswer(w.head)
		e.Status, e.End = cmp.Or(status, "ok"), max(w.last, e.Begin)
		e.Failed = e.Status != "ok"
	}
	w.done, w.head = true, nil
	emit(e)
}
